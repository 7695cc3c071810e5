"""What a hostile peer tries against a bridge that it dials. Each attack says what it got and judges nothing: the tests look
at the databases, at the bridge and at what it answered."""

import json
import threading
import time

from schema import answer_faults
from wire import (CONTINUATION, DATA, HEADERS, PING, PREFACE, RST_STREAM, SETTINGS, Peer, frame, h2_headers, h2_read,
                  literal, read_answer, zeros_in_zstd)

MAX = 2**63 - 1
ATTACKS = {}


def attack(function):
    ATTACKS[function.__name__] = function
    return function


def holding(peer, deliveries, **other):
    """Receipts of a peer in order: everything is held."""
    receipts = []
    for delivery in deliveries:
        holds = {}
        for entry in delivery["entries"]:
            site, work = entry["origin"].split("/")
            holds.setdefault(site, []).append(int(work))
        holds = {site: ",".join(str(n) for n in sorted(works)) for site, works in holds.items()}
        receipts.append({"names": {peer.name: delivery["names"][peer.to]}, "holds": holds} | other)
    return receipts


@attack
def ordinary(peer):
    """A conversation of a peer in order. Every answer must be what the document says, which the bridge serves itself."""
    document = peer.raw(peer.head("/v1/openapi.json", method="GET", extra=[("Connection", "close")]))["body"]
    said = []

    def checked(path, answer):
        said.extend(answer_faults(document, path, answer))
        return answer

    problem = peer.facts["problem"]
    push = [peer.delivery(problem, [peer.entry(1, "first of the peer"), peer.entry(2, "second of the peer")])]
    first, again = checked("/v1/push", peer.push(push)), checked("/v1/push", peer.push(push))
    pulled = checked("/v1/pull", peer.pull(wait=10))
    deliveries = pulled["body"]["deliveries"]
    empty = checked("/v1/pull", peer.pull(holding(peer, deliveries), pulled["body"]["batch"]))
    for wrong in ({}, [], {"wire": 7}, peer.facts):
        checked("/v1/push", peer.post("/v1/push", wrong))
    checked("/v1/push", peer.post("/v1/push", b"{", extra=[("Content-Encoding", "gzip")]))
    checked("/v1/pull", peer.post("/v1/pull", b"{}", token="no-such-token-at-all"))
    return {"document": document, "faults": said, "first": first, "again": again, "pulled": pulled, "empty": empty}


@attack
def origins(peer):
    """Entries of the receiver itself and of a third site for which nobody let it speak, with and without their texts."""
    problem, digest = peer.facts["problem"], "00" * 16
    entries = [{"origin": f"{peer.to}/1", "text": "yours, says the peer"}, {"origin": "C/5", "text": "of C"}]
    entries += [{"origin": "C/6", "digest": digest}, {"origin": f"{peer.to}/77", "digest": digest}]
    entries += [peer.entry(1, "its own")]
    return {"answer": peer.push([peer.delivery(problem, entries)])}


@attack
def scope(peer):
    """The same entry for problems that are hidden, that are not there, and whose ids are odd: all must answer alike."""
    answers = []
    for problem in peer.facts["problems"]:
        entries = [peer.entry(1, "let me in"), {"origin": f"{peer.to}/1", "digest": "00" * 16}]
        answer = peer.push([peer.delivery(problem, entries, belief=(3, 99))])
        answers.append(json.loads(json.dumps(answer).replace(json.dumps(problem), '"P"')))
    return {"answers": answers}


@attack
def receipts(peer):
    """Receipts for what was never delivered, too many, too few, for another batch and for the same batch again."""
    answers, everything = [], {peer.to: f"1-{MAX}", peer.name: f"1-{MAX}", "C": f"1-{MAX}"}
    forms = [
        {"holds": everything},
        {"holds": {}, "wanted": everything},
        {"holds": {}, "refused": [{"origin": f"{peer.to}/{MAX}", "code": "constraint", "limit": 2**64 - 1}] * 2000},
        {"holds": {}, "refused": [{"origin": f"{peer.to}/1", "code": "moon_phase"}], "knows": {}},
        {"holds": {}, "knows": {f"S{n}": f"1-{MAX}" for n in range(1000)}},
    ]
    for form in forms:
        pulled = peer.pull()
        forged = [{"names": {peer.name: "ABC"}} | form for _ in pulled["body"]["deliveries"]]
        answers.append(peer.pull(forged, pulled["body"]["batch"]))
    pulled = peer.pull()
    batch, deliveries = pulled["body"]["batch"], pulled["body"]["deliveries"]
    good = holding(peer, deliveries)
    answers.append(peer.pull(good * 3, batch))
    answers.append(peer.pull(good, "00" * 16))
    answers.append(peer.pull([], batch))
    answers.append(peer.pull(good * 900, batch))
    return {"answers": answers, "deliveries": deliveries}


@attack
def replays(peer):
    """One push and one pull, recorded and sent thousands of times over a few connections."""
    push = {"wire": 1, "from": peer.name, "to": peer.to, "history": peer.history}
    push["deliveries"] = [peer.delivery(peer.facts["problem"], [peer.entry(n, f"said once, {n}") for n in (1, 2, 3)])]
    pull = {"wire": 1, "from": peer.name, "to": peer.to, "history": peer.history, "batch": "00" * 16}
    statuses = {}

    def again(path, message):
        body = json.dumps(message).encode()
        request = peer.head(path, len(body)) + body
        with peer.connect() as stream:
            for _ in range(peer.facts["times"]):
                stream.sendall(request)
                status = read_answer(stream)["status"]
                statuses[status] = statuses.get(status, 0) + 1

    threads = [threading.Thread(target=again, args=args) for args in [("/v1/push", push), ("/v1/pull", pull)] * 2]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    return {"statuses": statuses}


@attack
def bodies(peer):
    """Bodies whose length is a lie, that do not end, and that are far too large."""
    answers = {}
    small = json.dumps({"wire": 1}).encode()
    answers["shorter than it says"] = peer.raw(peer.head("/v1/push", 10**15) + small, patience=3)
    answers["longer than it says"] = peer.raw(peer.head("/v1/push", 3) + small * 50)
    answers["no number"] = peer.raw(peer.head("/v1/push", "1e3") + small)
    answers["two lengths"] = peer.raw(peer.head("/v1/push", 3, [("Content-Length", "11")]) + small)
    chunk = b"100000\r\n" + b" " * 0x100000 + b"\r\n"
    head = peer.head("/v1/push", extra=[("Transfer-Encoding", "chunked")])
    with peer.connect() as stream:
        stream.sendall(head)
        try:
            for _ in range(peer.facts["mib"]):
                stream.sendall(chunk)
        except OSError:
            pass
        stream.settimeout(5)
        try:
            answers["without an end"] = read_answer(stream)
        except OSError as error:
            answers["without an end"] = {"status": 0, "broke": type(error).__name__}
    for token in (None, "a-wrong-token-of-a-stranger"):
        whole = peer.head("/v1/push", 60 << 20, token=token) + b" " * (60 << 20)
        answers[f"large, {token}"] = peer.raw(whole)
    return {"answers": answers}


@attack
def slow(peer):
    """Heads and bodies that come one byte after the other, by many connections at once."""
    ended = []
    body = peer.head("/v1/push", 100_000)
    streams = [(peer.connect(1), body) for _ in range(peer.facts["bodies"])]
    streams += [(peer.connect(1), b"POST /v1/push HTTP/1.1\r\nX-Slow: ") for _ in range(peer.facts["heads"])]
    for stream, begin in streams:
        stream.sendall(begin)
    print(json.dumps({"standing": len(streams)}), flush=True)
    begun = time.monotonic()
    while streams and time.monotonic() - begun < peer.facts["seconds"]:
        for pair in list(streams):
            try:
                pair[0].sendall(b" ")
                pair[0].setblocking(False)
                try:
                    gone = pair[0].recv(4096)
                    ended.append(gone[:12].decode("latin-1"))
                    streams.remove(pair)
                except BlockingIOError:
                    pass
                pair[0].setblocking(True)
            except OSError:
                ended.append("")
                streams.remove(pair)
        time.sleep(0.2)
    return {"ended": ended, "left": len(streams)}


@attack
def bombs(peer):
    """A few bytes of zstd that expand to gigabytes, windows that are memory, frames that do not end."""
    packed = [("Content-Encoding", "zstd")]
    forms = {
        "two gigabytes": zeros_in_zstd(16 << 10),
        "a thousand frames": zeros_in_zstd(512) * 1000,
        "a window of two gigabytes": zeros_in_zstd(4, window=0xA8),
        "without an end": zeros_in_zstd(100, trailer=False),
        "empty frames": zeros_in_zstd(1, trailer=True)[:6] + b"\x01\x00\x00",
        "skippable frames": b"\x50\x2a\x4d\x18\x00\x00\x10\x00" + b"x" * (1 << 20),
        "no zstd": b"\x28\xb5\x2f\xfd" + b"\xff" * 1000,
    }
    answers = {name: peer.post("/v1/push", form, packed) for name, form in forms.items()}
    answers["in zstd twice"] = peer.post("/v1/push", forms["no zstd"], packed * 2)
    return {"answers": answers}


@attack
def jsons(peer):
    """JSON that is deep, wide, broken, or not quite JSON."""
    def around(inner):
        return (f'{{"wire":1,"from":"{peer.name}","to":"{peer.to}","history":"{peer.history}","deliveries":[],'
                f'{inner}}}').encode()

    one = json.dumps(peer.delivery(peer.facts["problem"], [peer.entry(1, "TEXT")]))
    message = around('"x":1').replace(b'"deliveries":[]', f'"deliveries":[{one}]'.encode())
    forms = {
        "deep lists": b"[" * 5_000_000,
        "deep objects": b'{"a":' * 1_000_000,
        "deep in an unknown field": around('"later":' + "[" * 100_000 + "]" * 100_000),
        "many values": around('"later":[' + "0," * 4_000_000 + "0]"),
        "many keys": around('"later":{' + ",".join(f'"{n}":0' for n in range(1_000_000)) + "}"),
        "wire twice": around('"wire":1'),
        "names twice": message.replace(b'"names": {', b'"names": {}, "names": {'),
        "NaN": message.replace(b'"count": 0', b'"count": NaN'),
        "a huge number": message.replace(b'"count": 0', b'"count": 1e400'),
        "a long number": message.replace(b'"count": 0', b'"count": ' + b"9" * 1_000_000),
        "less than nothing": message.replace(b'"count": 0', b'"count": -1'),
        "a lone surrogate": message.replace(b"TEXT", b"\\ud800"),
        "half a pair": message.replace(b"TEXT", b"\\ud83d\\u0041"),
        "no UTF-8": message.replace(b"TEXT", b"\xff\xfe"),
        "overlong": message.replace(b"TEXT", b"\xc0\x80"),
        "a mark first": b"\xef\xbb\xbf" + message,
        "a control character": message.replace(b"TEXT", b"\x01"),
        "behind the end": message + b"{}",
        "nothing": b"",
        "null": b"null",
    }
    return {"answers": {name: peer.post("/v1/push", form) for name, form in forms.items()}}


@attack
def nuls(peer):
    """NUL characters, which not every database takes, wherever a text may stand; and an entry in order beside each."""
    problem, answers = peer.facts["problem"], {}
    forms = {
        "text": peer.delivery(problem, [peer.entry(1, "a\0b"), peer.entry(2, "beside the text")]),
        "problem": peer.delivery(problem + "\0", [peer.entry(3, "x")]),
        "field": peer.delivery(problem, [peer.entry(4, "c", fields={"author": "a\0b"}), peer.entry(5, "beside a field")]),
        "field name": peer.delivery(problem, [peer.entry(6, "beside a name", fields={"author\0": "a"})]),
        "third name": peer.delivery(problem, [peer.entry(7, "beside a third")]) | {"names": {peer.name: problem, "C": "\0"}},
        "home": peer.delivery(problem, [peer.entry(8, "h")], home=f"{peer.name}/\0"),
        "all": peer.delivery("\0" * 1024, [peer.entry(9, "\0" * 100_000)]),
    }
    for name, form in forms.items():
        ordinary = peer.delivery(peer.facts["other"], [peer.entry(100 + len(answers), f"in order beside {name}")])
        answers[name] = peer.push([form, ordinary])
    return {"answers": answers}


@attack
def edges(peer):
    """Numbers and names at and beyond their ends."""
    problem, answers = peer.facts["problem"], {}
    for work in ("0", "-1", "00", "01", "+1", "1.0", "1e30", str(MAX), str(MAX + 1), str(2**64), "9" * 1000, "", " 1"):
        entry = {"origin": f"{peer.name}/{work}", "text": f"number {work[:30]}"}
        answers[f"origin {work[:30]}"] = peer.push([peer.delivery(problem, [entry])])
    for site in ("", "-a", "a b", "a" * 65, "ä", "../x", "N\r\nX: y", peer.name.lower()):
        answers[f"site {site!r:.20}"] = peer.push([peer.delivery(problem, [{"origin": f"{site}/1", "text": "x"}])])
    for size in (0, 1, 1024, 1025, 1 << 20):
        answers[f"problem of {size}"] = peer.push([peer.delivery("p" * size, [peer.entry(1, "x")])])
    names = {f"S{n}": "x" for n in range(1000)} | {peer.name: problem}
    answers["a thousand sites"] = peer.push([peer.delivery(problem, [peer.entry(50, "many names")]) | {"names": names}])
    names = {f"S{n}": "x" for n in range(3000)} | {peer.name: problem}
    answers["too many sites"] = peer.push([peer.delivery(problem, [peer.entry(51, "x")]) | {"names": names}])
    answers["no names"] = peer.push([peer.delivery(problem, [peer.entry(52, "x")]) | {"names": {}}])
    answers["the same twice"] = peer.push([peer.delivery(problem, [peer.entry(53, "x"), peer.entry(53, "y")])])
    answers["a problem twice"] = peer.push([peer.delivery(problem, [peer.entry(54, "once")])] * 5)
    answers["no entries"] = peer.push([peer.delivery(problem, [])])
    for ids in (f"1-{MAX}", f"1-{MAX + 1}", "5-1", "1,1", "1-3,2-4", "4,1", "0", "1-", "-", ",", "1,,2", "x" * 100_000):
        receipt = {"names": {}, "holds": {peer.to: ids}}
        answers[f"ids {ids[:30]}"] = peer.pull([receipt], "00" * 16)
    for count, total in ((2**64 - 1, 2**64 - 1), (2**63, 0), (0, 1)):
        form = peer.delivery(problem, [peer.entry(60, "believed")], belief=(count, total))
        answers[f"belief {count} {total}"] = peer.push([form])
    for wait in (-1, 2**32, "1", 1.5):
        answers[f"wait {wait}"] = peer.pull(wait=wait)
    return {"answers": answers}


@attack
def texts(peer):
    """Texts that are markers, SQL, HTML and orders to a terminal, in every place that takes a text."""
    nasty = peer.facts["texts"]
    entries = [peer.entry(n + 1, text, fields={"author": text[:200]}) for n, text in enumerate(nasty)]
    answer = peer.push([peer.delivery(peer.facts["problem"], entries)])
    elsewhere = [peer.delivery(text[:1000] or "x", [peer.entry(1, "x", fields={text[:200]: text})]) for text in nasty]
    return {"answer": answer, "elsewhere": peer.push(elsewhere)}


@attack
def fields(peer):
    """Shared columns that nobody mapped, thousands of them, with long names."""
    problem, answers = peer.facts["problem"], {}

    def one(work, fields):
        return peer.push([peer.delivery(problem, [peer.entry(work, f"with fields {work}", fields=fields)])])

    answers["not mapped"] = one(1, {"VISIBILITY": "internal", "customer_phone": "1", "id": "7", "KIND": "state"})
    answers["some"] = one(2, {f"field {n}": None for n in range(200)})
    answers["ten thousand"] = one(3, {f"{n}": "x" for n in range(10_000)})
    answers["a long name"] = one(4, {"n" * 100_000: "x"})
    answers["a long value"] = one(5, {"author": "v" * 1_000_000})
    answers["of the problem"] = peer.push([peer.delivery(problem, [peer.entry(6, "p")], fields={"title": "t" * 99_999})])
    answers["no text"] = one(7, {"author": 5})
    return {"answers": answers}


@attack
def many(peer):
    """A hundred thousand of everything in one message."""
    one = peer.delivery("P", [peer.entry(1, "x")])
    deliveries = [one | {"names": {peer.name: f"P{n}"}} for n in range(100_000)]
    entries = [peer.entry(n + 1, "") for n in range(100_000)]
    empty = [one | {"entries": []}] * 50_000
    return {"answers": {
        "problems": peer.push(deliveries),
        "entries": peer.push([peer.delivery(peer.facts["problem"], entries)]),
        "deliveries without entries": peer.push(empty),
        "receipts": peer.pull([{"names": {}, "holds": {}}] * 100_000, "00" * 16),
    }}


@attack
def flood(peer):
    """As many requests as it can, until it is told to stop; then it waits as told and comes again."""
    statuses, told = {}, None
    body = json.dumps({"wire": 1, "from": peer.name, "to": peer.to, "history": peer.history, "deliveries": []}).encode()
    with peer.connect() as stream:
        for _ in range(peer.facts["times"]):
            stream.sendall(peer.head("/v1/push", len(body)) + body)
            answer = read_answer(stream)
            statuses[answer["status"]] = statuses.get(answer["status"], 0) + 1
            told = answer if answer["status"] == 429 else told
    faults = answer_faults(peer.facts["document"], "/v1/push", told) if told else ["nothing was refused"]
    if told:
        time.sleep(int(told["retry_after"]))
    after = peer.post("/v1/push", body)
    return {"statuses": statuses, "told": told, "faults": faults, "after": after}


@attack
def grow(peer):
    """Entry after entry, as fast as they are taken, to fill the other's history."""
    statuses, taken, told = {}, 0, None
    for n in range(peer.facts["times"]):
        entries = [peer.entry(n * 100 + i + 1, "more and more") for i in range(100)]
        answer = peer.push([peer.delivery(peer.facts["problem"], entries)])
        statuses[answer["status"]] = statuses.get(answer["status"], 0) + 1
        taken += 100 if answer["status"] == 200 else 0
        told = answer if answer["status"] == 429 else told
    return {"statuses": statuses, "taken": taken, "told": told}


@attack
def memory(peer):
    """Many large bodies at once, each stopped just before its end, and then all of them ended."""
    size = peer.facts["mib"] << 20
    streams, answers = [], []
    part = b" " * (1 << 20)

    def fill(stream):
        try:
            stream.sendall(peer.head("/v1/push", size))
            for _ in range((size >> 20) - 1):
                stream.sendall(part)
        except OSError:
            pass

    streams = [peer.connect() for _ in range(peer.facts["connections"])]
    threads = [threading.Thread(target=fill, args=(stream,)) for stream in streams]
    [thread.start() for thread in threads]
    [thread.join(40) for thread in threads]
    for stream in streams:
        try:
            stream.sendall(part)
            answers.append(read_answer(stream)["status"])
        except OSError:
            answers.append(0)
        stream.close()
    return {"statuses": answers}


@attack
def unread(peer):
    """Pulls over many streams of one connection whose answers it never reads."""
    statuses = []
    with peer.connect(5) as stream:
        file = stream.makefile("rb")
        stream.sendall(PREFACE + frame(SETTINGS, 0, 0, b"\x00\x04\x00\x00\x00\x00"))
        message = {"wire": 1, "from": peer.name, "to": peer.to, "history": peer.history}
        body = json.dumps(message).encode()
        for n in range(peer.facts["streams"]):
            number = 2 * n + 1
            try:
                stream.sendall(frame(HEADERS, 4, number, h2_headers(peer, len(body))) + frame(DATA, 1, number, body))
            except OSError:
                break
            # The head of an answer comes although nothing of its body may.
            read = h2_read(file, (HEADERS,), 5)
            statuses += [payload[0] for kind, _, _, payload in read if kind == HEADERS]
        print(json.dumps({"standing": len(statuses)}), flush=True)
        time.sleep(peer.facts["seconds"])
    # A status of 200 is the eighth of HPACK's table.
    return {"answered": statuses.count(0x88), "refused": len(statuses) - statuses.count(0x88)}


@attack
def crowd(peer):
    """Connections by the hundred that say nothing, or half of something; the test looks whether others are served."""
    streams = []
    for n in range(peer.facts["connections"]):
        try:
            stream = peer.connect(2)
            stream.sendall([b"", b"POST /v1/pu", PREFACE, b"\x16\x03\x01\x02\x00\x01\x00"][n % 4])
            streams.append(stream)
        except OSError:
            break
    print(json.dumps({"standing": len(streams)}), flush=True)
    time.sleep(peer.facts["seconds"])
    [stream.close() for stream in streams]
    return {"connections": len(streams)}


@attack
def requests(peer):
    """Requests that are none, or two in one: wrong methods and paths, smuggled lengths, pipelines, expectations."""
    body = json.dumps({"wire": 1, "from": peer.name, "to": peer.to, "history": peer.history, "deliveries": []}).encode()
    chunked = [("Transfer-Encoding", "chunked")]
    in_chunks = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    hidden = b"GET /v1/openapi.json HTTP/1.1\r\nHost: x\r\n\r\n"
    answers = {
        f"{method} {path}": peer.post(path, body, method=method)
        for method in ("GET", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PUSH")
        for path in ("/v1/push", "/", "/v1/push/../pull", "//v1/push", "/v1/push?a=b", "/%2e%2e/etc/passwd")
    }
    answers |= {
        "both lengths": peer.raw(peer.head("/v1/push", 4, chunked) + in_chunks),
        "length within": peer.raw(peer.head("/v1/push", len(in_chunks), chunked) + in_chunks + hidden),
        "chunked twice": peer.raw(peer.head("/v1/push", None, chunked * 2) + in_chunks),
        "chunked, hidden": peer.raw(peer.head("/v1/push", None, [("Transfer-Encoding", "xchunked")]) + in_chunks),
        "chunk of a huge size": peer.raw(peer.head("/v1/push", None, chunked) + b"FFFFFFFFFFFFFFFFF\r\n" + body),
        "chunk of less than nothing": peer.raw(peer.head("/v1/push", None, chunked) + b"-1\r\n" + body),
        "expects": peer.raw(peer.head("/v1/push", len(body), [("Expect", "100-continue"), ("Connection", "close")]) + body),
        "expects what is not": peer.raw(peer.head("/v1/push", len(body), [("Expect", "tea"), ("Connection", "close")]) + body),
        "many headers": peer.raw(peer.head("/v1/push", len(body), [(f"X-{n}", "x") for n in range(5000)]) + body),
        "a huge header": peer.raw(peer.head("/v1/push", len(body), [("X", "x" * 5_000_000)]) + body),
        "a header of two lines": peer.raw(peer.head("/v1/push", len(body), [("X", "a\r\n b")]) + body),
        "a space before the colon": peer.raw(peer.head("/v1/push", None, [("Content-Length ", len(body))]) + body),
        "no HTTP": peer.raw(b"\x00" * 1000 + b"\r\n\r\n"),
        "HTTP/0.9": peer.raw(b"GET /v1/openapi.json\r\n\r\n"),
        "HTTP/9": peer.raw(b"POST /v1/push HTTP/9.9\r\n\r\n"),
        "an upgrade": peer.post("/v1/push", body, [("Upgrade", "h2c, websocket"), ("HTTP2-Settings", "AAMAAABk")]),
        "from a page": peer.post("/v1/push", body, [("Origin", "https://evil.example")]),
        "two tokens": peer.post("/v1/push", body, [("Authorization", "Bearer another-token-of-somebody")]),
    }
    with peer.connect() as stream:
        request = peer.head("/v1/push", len(body)) + body
        stream.sendall(request * 50)
        answers["a pipeline"] = read_answer(stream)
    return {"answers": answers}


@attack
def names(peer):
    """Messages in another's name, to another, of another history or version, and with wrong tokens."""
    entry = peer.delivery(peer.facts["problem"], [peer.entry(1, "from whom?")])
    answers = {
        "as another site": peer.push([entry], **{"from": peer.facts["third"]}),
        "as the receiver": peer.push([entry], **{"from": peer.to}),
        "as nobody": peer.push([entry], **{"from": "X"}),
        "to another": peer.push([entry], to="Z"),
        "another history": peer.push([entry], history="h" * 5000),
        "an escape": peer.push([entry], history="\x1b[2J\u202e"),
        "another version": peer.push([entry], wire=2),
        "version zero": peer.push([entry], wire=0),
        "a huge version": peer.push([entry], wire=2**40),
        "pull as another": peer.pull(**{"from": peer.facts["third"]}),
    }
    body = {"wire": 1, "from": peer.name, "to": peer.to, "history": peer.history, "deliveries": [entry]}
    for token in ("", "x", peer.token[:-1], peer.token + "x", peer.token.upper(), peer.token * 50, "\xff" * 40):
        answers[f"token {len(token)}"] = peer.post("/v1/push", body, token=token or " ")
    return {"answers": answers}


@attack
def http2(peer):
    """Streams opened and reset without end, headers that never end, pings, and one request in order."""
    said = {}
    message = {"wire": 1, "from": peer.name, "to": peer.to, "history": peer.history}
    body = json.dumps(message).encode()
    hello = PREFACE + frame(SETTINGS, 0, 0)

    def run(name, send, until=(HEADERS,), patience=10):
        try:
            with peer.connect(patience) as stream:
                stream.sendall(hello)
                try:
                    send(stream)
                except OSError:
                    pass  # It closed, which is an answer.
                kinds = [kind for kind, *_ in h2_read(stream.makefile("rb"), until, patience)]
                said[name] = {"frames": len(kinds), "last": kinds[-1] if kinds else None}
        except OSError as error:
            said[name] = {"frames": 0, "last": type(error).__name__}

    def in_order(stream):
        stream.sendall(frame(HEADERS, 4, 1, h2_headers(peer, len(body))) + frame(DATA, 1, 1, body))

    def resets(stream):
        for n in range(peer.facts["times"]):
            opened = frame(HEADERS, 4, 2 * n + 1, h2_headers(peer, len(body)))
            stream.sendall(opened + frame(RST_STREAM, 0, 2 * n + 1, b"\0\0\0\x08"))

    def streams(stream):
        for n in range(peer.facts["times"]):
            stream.sendall(frame(HEADERS, 4, 2 * n + 1, h2_headers(peer, 10**9)))

    def continued(stream):
        stream.sendall(frame(HEADERS, 0, 1, h2_headers(peer, 10)))
        for n in range(peer.facts["times"]):
            stream.sendall(frame(CONTINUATION, 0, 1, literal(f"x-{n}", "y" * 120) * 50))

    def pings(stream):
        for _ in range(peer.facts["times"]):
            stream.sendall(frame(PING, 0, 0, b"12345678") * 10)

    def settings(stream):
        for _ in range(peer.facts["times"]):
            stream.sendall(frame(SETTINGS, 0, 0) * 10)

    run("in order", in_order)
    for send in (resets, streams, continued, pings, settings):
        run(send.__name__, send, until=(7,), patience=3)
    run("in order again", in_order)
    return {"said": said}


@attack
def guesses(peer):
    """Digests of a few bytes for every entry of the other, however long that is: it has to look at each."""
    entries = [{"origin": f"{peer.to}/{n}", "digest": "00" * 16} for n in range(1, peer.facts["entries"] + 1)]
    answers = {n: peer.push([peer.delivery(peer.facts["problem"], entries)]) for n in range(3)}
    return {"answers": answers}


@attack
def compares(peer):
    """What it may ask of an exchange that was, asked of what is hidden, of what is not there, and of every number there is;
    and losses that it never had."""
    message = {"wire": 1, "from": peer.name, "to": peer.to, "history": peer.history}
    everything = {peer.to: f"1-{MAX}", peer.name: f"1-{MAX}"} | {f"S{n}": f"1-{MAX}" for n in range(500)}
    texts = [{"origin": f"{peer.to}/{n}", "digest": "00" * 16} for n in range(1, 1000)]
    answers, alike = {}, []
    for after in (None, peer.facts["problem"], "\0", "x" * 1024, "' or 1=1 --"):
        answers[f"verify {after!r:.20}"] = peer.post("/v1/verify", message | ({"after": after} if after else {}))
    for problem in [*peer.facts["problems"], peer.facts["problem"]]:
        names = {peer.name: problem, peer.to: problem}
        account = {"names": names, "exchanged": everything, "texts": texts}
        compared = peer.post("/v1/compare", message | {"problems": [account]})
        lost = {"names": names, "lost": {"origins": everything, "texts": texts}}
        taken = [peer.post("/v1/lost", message | {"meant": n % 2 == 1, "problems": [lost]}) for n in range(10)]
        answers[f"compare {problem!r:.20}"], answers[f"lost {problem!r:.20}"] = compared, taken[-1]
        if problem != peer.facts["problem"]:
            alike.append([compared, taken])
    many = [{"names": {peer.name: "x"}, "exchanged": {}}] * 5000
    answers["many"] = peer.post("/v1/compare", message | {"problems": many})
    return {"answers": answers, "alike": alike}


@attack
def pairs(peer):
    """Where tickets are linked: names that try to lead entries into a ticket of somebody else's."""
    answers = {}

    def push(name, names, text, belief=(0, 0), **other):
        form = peer.delivery("x", [peer.entry(len(answers) + 1, text)], belief) | {"names": names} | other
        answers[name] = peer.push([form])

    for ticket in peer.facts["tickets"]:
        push(f"calls it {ticket}", {peer.name: f"mine-{ticket}", peer.to: ticket}, f"into {ticket}", belief=(3, 7))
        push(f"home {ticket}", {peer.name: f"home-{ticket}"}, f"home {ticket}", belief=(3, 7), home=f"{peer.to}/{ticket}")
        third = {peer.name: f"third-{ticket}", "C": ticket, "D": ticket}
        push(f"third {ticket}", third, f"third {ticket}", belief=(3, 7))
    push("without its own name", {peer.to: peer.facts["tickets"][0]}, "no name")
    push("an odd home", {peer.name: "odd"}, "odd home", home="C/1")
    return {"answers": answers}
