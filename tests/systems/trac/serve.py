"""Answers for the tests what Trac itself shows: the comments as its ticket page groups and numbers them."""
import json
import sys

from trac.env import open_environment
from trac.test import MockRequest
from trac.ticket.model import Ticket
from trac.ticket.web_ui import TicketModule


def read(environment, asked):
    """The comments, numbered by Trac."""
    shown = TicketModule(environment).grouped_changelog_entries(Ticket(environment, asked["ticket"]))
    return [
        {"work": int(group["cnum"]), "text": group["comment"], "public": True, "author": group["author"]}
        for group in shown
        if group.get("comment")
    ]


def changed(environment, asked):
    """When the ticket was last changed."""
    return Ticket(environment, asked["ticket"])["changetime"].timestamp()


def has(environment, asked):
    """Whether a comment of the ticket says this."""
    return any(row["text"] == asked["text"] for row in read(environment, asked))


def find(environment, asked):
    """The ticket with this summary."""
    return next((row[0] for row in environment.db_query("SELECT id FROM ticket WHERE summary = %s", (asked["subject"],))), None)


def add(environment, asked):
    """What the form for a comment does."""
    ticket = Ticket(environment, asked["ticket"])
    ticket.save_changes("alice", asked["text"])
    return max(row["work"] for row in read(environment, asked) if row["text"] == asked["text"])


def publish(environment, asked):
    """Nothing: there are no confidential comments."""
    return asked["work"]


def new_ticket(environment, asked):
    """A new ticket."""
    ticket = Ticket(environment)
    fields = {"summary": asked["subject"], "reporter": "alice", "status": "new", "priority": "major", "type": "defect"}
    for field, value in fields.items():
        ticket[field] = value
    return ticket.insert()


DOES = {"read": read, "changed": changed, "find": find, "has": has, "add": add, "publish": publish, "new_ticket": new_ticket}
answers, sys.stdout = sys.stdout, sys.stderr
print('=> "ready"', file=answers, flush=True)
for line in sys.stdin:
    asked = json.loads(line)
    try:
        # Opened for each question: the server may have been killed meanwhile.
        environment = open_environment(sys.argv[1])
        answer = DOES[asked["do"]](environment, asked)
        environment.shutdown()
    except Exception as error:
        answer = {"error": f"{type(error).__name__}: {error}"}
    print("=> " + json.dumps(answer), file=answers, flush=True)
