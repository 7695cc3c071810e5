"""Answers for the tests what django-helpdesk itself shows: its REST interface, its staff's page and its customer's page."""
import html
import json
import re
import sys

import django

django.setup()

from django.contrib.auth import get_user_model
from django.db import connections
from django.test import Client
from helpdesk.models import FollowUp, Queue, Ticket
from helpdesk.update_ticket import update_ticket


def letters(text):
    """What remains when markup, quotes and spaces do not count."""
    tag = r"<[^>]*>"
    # Once more behind the quoting: a tag that somebody wrote counts as little as one of the page.
    return re.sub(r"[\W_]+", "", re.sub(tag, " ", html.unescape(re.sub(tag, " ", text))))


def page(client, path, parameters=None):
    """The letters of a page."""
    response = client.get(path, parameters)
    if response.status_code != 200:
        raise RuntimeError(f"{path.split('?')[0]} says {response.status_code}")
    return letters(response.content.decode())


def read(asked):
    """What is seen of a ticket. Others may write between two looks; then it is looked again."""
    state = lambda: list(FollowUp.objects.filter(ticket_id=asked["ticket"]).order_by("pk").values_list("pk", "public"))
    while True:
        before = state()
        try:
            return look(asked["ticket"])
        except RuntimeError:
            if before == state():
                raise


def look(number):
    """The follow-ups with a text, if everything that shows them agrees."""
    ticket = Ticket.objects.get(pk=number)
    staff = Client()
    staff.force_login(get_user_model().objects.get(username="admin"))
    known = {row["id"] for row in staff.get(f"/api/tickets/{number}/").json()["followup_set"]}
    inside = page(staff, f"/tickets/{number}/")
    customer = {"ticket": ticket.ticket_for_url, "email": ticket.submitter_email, "key": ticket.secret_key}
    # A ticket that no customer sent has no page for one.
    outside = page(Client(), "/view/", customer) if ticket.submitter_email else None
    rows = [row for row in ticket.followup_set.all() if row.comment]
    open_texts = {row.comment for row in rows if row.public}
    for row in rows:
        text = letters(row.comment)
        if row.pk not in known or text not in inside:
            raise RuntimeError(f"follow-up {row.pk} is not shown to the staff")
        if outside is not None and (row.comment in open_texts) != (text in outside):
            raise RuntimeError(f"the customer's page and the flag differ about follow-up {row.pk}")
    author = lambda row: row.user.username if row.user else None
    return [{"work": row.pk, "text": row.comment, "public": row.public, "author": author(row)} for row in rows]


def changed(asked):
    """When the ticket was last changed."""
    return Ticket.objects.get(pk=asked["ticket"]).modified.timestamp()


def has(asked):
    """Whether a follow-up of the ticket says this."""
    return FollowUp.objects.filter(ticket_id=asked["ticket"], comment=asked["text"]).exists()


def find(asked):
    """The ticket with this subject."""
    return Ticket.objects.filter(title=asked["subject"]).values_list("pk", flat=True).first()


def add(asked):
    """What the form for a follow-up does."""
    who = get_user_model().objects.get(username="alice")
    return update_ticket(who, Ticket.objects.get(pk=asked["ticket"]), comment=asked["text"], public=asked["public"]).pk


def publish(asked):
    """What the form for editing a follow-up does to its flag."""
    followup = FollowUp.objects.get(pk=asked["work"])
    followup.public = True
    followup.save()
    return followup.pk


def new_ticket(asked):
    """A new ticket."""
    customer = {"submitter_email": "cust@c.example", "status": 1, "priority": 3}
    return Ticket.objects.create(queue=Queue.objects.get(slug="hd"), title=asked["subject"], description="", **customer).pk


DOES = {"read": read, "changed": changed, "find": find, "has": has, "add": add, "publish": publish, "new_ticket": new_ticket}
answers, sys.stdout = sys.stdout, sys.stderr
print('=> "ready"', file=answers, flush=True)
for line in sys.stdin:
    asked = json.loads(line)
    try:
        answer = DOES[asked["do"]](asked)
    except Exception as error:
        answer = {"error": f"{type(error).__name__}: {error}"}
    # The server may be killed before the next question.
    connections.close_all()
    print("=> " + json.dumps(answer), file=answers, flush=True)
