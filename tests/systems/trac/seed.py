"""Three tickets with comments, a reply, an edit and changes without text, all through Trac's own models.

Trac has no confidential comments, so the seed has none that anybody would want to keep.
"""
import sys

from trac.env import open_environment
from trac.ticket.model import Ticket

environment = open_environment(sys.argv[1])


def ticket(summary, description):
    """A new ticket."""
    new = Ticket(environment)
    fields = {"reporter": "alice", "status": "new", "component": "component1", "priority": "major", "type": "defect"}
    for field, value in {"summary": summary, "description": description, **fields}.items():
        new[field] = value
    return new.insert()


def change(number, author, comment, replyto=None, **fields):
    """What the form does."""
    changed = Ticket(environment, number)
    for field, value in fields.items():
        changed[field] = value
    changed.save_changes(author, comment, replyto=replyto)


notebook = ticket("Notebook does not boot", "Customer's notebook stops at the BIOS logo – „Überprüfung“ läuft.\nSecond line.")
printer = ticket("Printer prints blank pages", "New toner, still blank.")
ticket("Internal only ticket", "Nobody outside should see it")
change(notebook, "alice", "Asked the customer to reseat the memory.")
change(notebook, "admin", "Überprüfung: the customer's contract was extended, 200%.")
change(notebook, "alice", "Reseated; now 'beeps' 3x.  Emoji: \U0001F4BB\U0001F525 and CJK: 日本語", replyto="1")
change(notebook, "alice", "", status="assigned", owner="alice")
change(notebook, "alice", "Closing for now.", status="closed", resolution="fixed")
edited = Ticket(environment, notebook)
edited.modify_comment(edited.get_change(1)["date"], "alice", "Asked the customer to reseat the memory (edited).")
change(printer, "alice", "Driver reinstalled.")
