"""A queue and three tickets with public notes, a confidential one and a change without text, all through its own code."""
import django

django.setup()

from django.contrib.auth import get_user_model
from helpdesk.models import Queue, Ticket
from helpdesk.update_ticket import update_ticket

users = get_user_model().objects
admin = users.create_superuser("admin", "admin@a.example")
alice = users.create_user("alice", "alice@a.example", is_staff=True)
users.create_user("bridge", "bridge@a.example", is_staff=True)
queue = Queue.objects.create(title="Helpdesk", slug="hd", allow_public_submission=True)


def ticket(title, description):
    """A new ticket."""
    customer = {"submitter_email": "cust@c.example", "status": 1, "priority": 3}
    return Ticket.objects.create(queue=queue, title=title, description=description, **customer)


def update(ticket, who, text, public, **change):
    """What the form for a follow-up does."""
    update_ticket(who, Ticket.objects.get(pk=ticket.pk), comment=text, public=public, **change)


notebook = ticket("Notebook does not boot", "Customer's notebook stops at the BIOS logo – „Überprüfung“ läuft.\nSecond line.")
printer = ticket("Printer prints blank pages", "New toner, still blank.")
ticket("Internal only ticket", "Nobody outside should see it")
update(notebook, alice, "Asked the customer to reseat the memory.", True)
update(notebook, admin, "INTERNAL: customer's contract has lapsed, bill at 200%.", False)
update(notebook, alice, "Reseated; now 'beeps' 3x.  Emoji: \U0001F4BB\U0001F525 and CJK: 日本語", True)
update(notebook, alice, "", True, priority=1)
update(notebook, alice, "Closing for now. Überprüfung fertig.", True, new_status=4)
update(printer, alice, "Driver reinstalled.", True)
