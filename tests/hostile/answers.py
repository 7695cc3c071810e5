"""What a hostile peer answers when a bridge dials it. A mode is a function from a request to the bytes of an answer, or to
something that goes on for as long as the bridge listens. How often it was asked, and what it was told, is counted."""

import hashlib
import json
import socket
import sys
import threading
import time

from wire import zeros_in_zstd

MAX = 2**63 - 1
COUNTS = {"requests": 0, "pushes": 0, "pulls": 0, "texts": 0, "receipts": 0}
SEEN = []


def answer(body, status="200 OK", extra=""):
    if not isinstance(body, bytes):
        body = json.dumps(body).encode()
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n{extra}\r\n"
    return head.encode() + body


def receipts(message, **other):
    name = message["to"]
    return {"receipts": [{"names": {name: list(d["names"].values())[0]}, "holds": {}} | other
                         for d in message["deliveries"]]}


def everything(message):
    return {site: f"1-{MAX}" for site in (message["from"], message["to"], "C")}


def forged(message):
    """Everything is held, wanted and refused, whatever was sent."""
    return answer(receipts(message, holds=everything(message), refused=[
        {"origin": f"{message['from']}/{MAX}", "code": "\x1b[2J", "limit": 2**64 - 1}] * 3000))


def wanting(message):
    """What came without its text is wanted, but for the first: what stands behind that can never come with its text."""
    said = []
    for delivery in message["deliveries"]:
        bare = [entry for entry in delivery["entries"] if "text" not in entry]
        name = list(delivery["names"].values())[0]
        said.append({"names": {message["to"]: name}, "holds": {}, "wanted": own({"entries": bare[1:]})})
    return answer({"receipts": said})


def denying(message):
    """Nothing of what was exchanged is there any more, although it held it before."""
    if any(d["belief"]["count"] for d in message["deliveries"]):
        return answer(receipts(message, knows={}))
    held = [{"names": {message["to"]: list(d["names"].values())[0]}, "holds": own(d)} for d in message["deliveries"]]
    return answer({"receipts": held})


def own(delivery):
    holds = {}
    for entry in delivery["entries"]:
        site, work = entry["origin"].split("/")
        holds.setdefault(site, []).append(int(work))
    return {site: ",".join(map(str, sorted(works))) for site, works in holds.items()}


def too_few(message):
    return answer({"receipts": []})


def too_many(message):
    return answer({"receipts": receipts(message)["receipts"] * 3})


def garbage(message):
    return answer(b'{"receipts": [{"names": {"\x1b[2J": 1e999}')


def deep(message):
    return answer(b'{"later":' + b"[" * 2_000_000)


def wide(message):
    return answer(b'{"later":[' + b"0," * 5_000_000 + b'0],"receipts":[]}')


def wide_refusals(message):
    inside = ",".join(["0"] * 3_000_000)
    text = f'{{"origin":"1/1","code":"other","later":[{inside}]}}'
    return answer(json.dumps(receipts(message, refused=["X"])).replace('"X"', text).encode())


def redirect(message):
    return answer({}, "307 Temporary Redirect", "Location: http://127.0.0.1:9/v1/push\r\n")


def pause(message):
    return answer({"error": "later\x1b[2J, please"}, "429 Too Many Requests", "Retry-After: 99999999999\r\n")


def odd_pause(message):
    return answer({"error": "later"}, "429 Too Many Requests", "Retry-After: NaN, -5\r\n")


def bomb(message):
    return answer(zeros_in_zstd(16 << 10), extra="Content-Encoding: zstd\r\n")


def too_large(message):
    return answer({"error": "too large"}, "413 Payload Too Large")


def endless(message):
    yield b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    while True:
        yield b"10000\r\n" + b" " * 0x10000 + b"\r\n"


def slow(message):
    yield b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"
    while True:
        yield b" "
        time.sleep(0.1)


def continues(message):
    while True:
        yield b"HTTP/1.1 100 Continue\r\n\r\n" * 100


def deliveries(message, entries, problem="ABC"):
    form = {"names": {message["to"]: problem}, "belief": {"count": 0, "sum": "0" * 16}, "entries": entries}
    batch = hashlib.md5(json.dumps(entries).encode()).hexdigest()
    return answer({"batch": batch, "deliveries": [form]})


def same(message):
    """To every pull the same entry, at once, whatever the receipts say."""
    if "deliveries" in message:
        return answer(receipts(message, holds={}))
    return deliveries(message, [{"origin": f"{message['to']}/1", "text": "the same for ever"}])


def foreign(message):
    """Entries of the asking site, of a third one and of its own."""
    if "deliveries" in message:
        return answer(receipts(message))
    me, you = message["to"], message["from"]
    return deliveries(message, [
        {"origin": f"{you}/1", "text": "yours, says the peer"}, {"origin": "C/1", "text": "of C"},
        {"origin": f"{me}/1", "text": "its own"}])


def ever_more(message):
    """To every pull new entries, as many as an answer takes."""
    if "deliveries" in message:
        return answer(receipts(message))
    first = COUNTS["pulls"] * 1000
    return deliveries(message, [{"origin": f"{message['to']}/{first + n}", "text": "more"} for n in range(1000)])


def nothing(message):
    """A pull finds nothing owed, after a while."""
    time.sleep(0.3)
    return answer({"batch": "0" * 32, "deliveries": []})


# These answer what was pushed; who pulls from them gets nothing.
ABOUT_PUSHES = (forged, wanting, denying, too_few, too_many, wide_refusals)


def serve(mode):
    mode = globals()[mode]
    listener = socket.create_server(("127.0.0.1", 0))
    print(json.dumps({"port": listener.getsockname()[1]}), flush=True)
    threading.Thread(target=accept, args=(listener, mode), daemon=True).start()
    for line in sys.stdin:  # Each line asks for what was counted so far; the end of it ends the program.
        print(json.dumps(COUNTS | {"seen": SEEN}), flush=True)


def accept(listener, mode):
    while True:
        stream, _ = listener.accept()
        threading.Thread(target=converse, args=(stream, mode), daemon=True).start()


def converse(stream, mode):
    try:
        file = stream.makefile("rb")
        while (line := file.readline()):
            length, packed = 0, False
            while (head := file.readline()) not in (b"\r\n", b""):
                name, _, value = head.decode("latin-1").partition(":")
                if name.lower() == "content-length":
                    length = int(value)
            message = json.loads(file.read(length) or b"{}")
            count(line, message)
            idle = mode in ABOUT_PUSHES and "deliveries" not in message
            said = (nothing if idle else mode)(message)
            for part in [said] if isinstance(said, bytes) else said:
                stream.sendall(part)
    except (OSError, ValueError):
        pass
    finally:
        stream.close()


def count(line, message):
    COUNTS["requests"] += 1
    COUNTS["pushes"] += line.startswith(b"POST /v1/push ")
    COUNTS["pulls"] += line.startswith(b"POST /v1/pull ")
    COUNTS["receipts"] += len(message.get("receipts", []))
    entries = [entry for delivery in message.get("deliveries", []) for entry in delivery["entries"]]
    COUNTS["texts"] += sum("text" in entry for entry in entries)
    SEEN.extend(entry["text"] for entry in entries[: 50 - len(SEEN)] if "text" in entry)
