"""How bytes travel: plain HTTP requests over raw sockets, so that nothing corrects what is wrong on purpose, frames of
zstd that expand, and frames of HTTP/2. What is sent, and why, is decided in attacks.py."""

import json
import socket
import struct
import time

PATIENCE = 60
CONNECT_SECONDS = 20


class Peer:
    """Who this program gives itself out as, and whom it speaks to."""

    def __init__(self, facts):
        host, port = facts["address"].rsplit(":", 1)
        self.address = (host, int(port))
        self.token = facts["token"]
        self.name = facts["from"]
        self.to = facts["to"]
        self.history = facts["history"]
        self.facts = facts

    def connect(self, patience=PATIENCE):
        # On a busy machine a connection may take its time; what it is used for keeps its own patience.
        stream = socket.create_connection(self.address, timeout=max(patience, CONNECT_SECONDS))
        stream.settimeout(patience)
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return stream

    def head(self, path, length=None, extra=(), token=None, method="POST"):
        lines = [f"{method} {path} HTTP/1.1", "Host: bridge", "Content-Type: application/json"]
        token = self.token if token is None else token
        if token:
            lines.append(f"Authorization: Bearer {token}")
        if length is not None:
            lines.append(f"Content-Length: {length}")
        lines += [f"{name}: {value}" for name, value in extra]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

    def raw(self, data, patience=PATIENCE):
        """Sends bytes and reads one answer. What breaks off is an answer too."""
        try:
            with self.connect(patience) as stream:
                try:
                    stream.sendall(data)
                except OSError:
                    pass  # It may have answered before it closed.
                return read_answer(stream)
        except OSError as error:
            return {"status": 0, "broke": type(error).__name__}

    def post(self, path, body, extra=(), token=None, method="POST"):
        if not isinstance(body, bytes):
            body = json.dumps(body).encode()
        extra = [("Connection", "close"), *extra]
        return self.raw(self.head(path, len(body), extra, token, method) + body)

    def push(self, deliveries, **other):
        message = {"wire": 1, "from": self.name, "to": self.to, "history": self.history, "deliveries": deliveries}
        return self.post("/v1/push", message | other)

    def pull(self, receipts=(), batch=None, wait=0, **other):
        message = {"wire": 1, "from": self.name, "to": self.to, "history": self.history, "wait_seconds": wait}
        if receipts or batch:
            message |= {"batch": batch, "receipts": list(receipts)}
        return self.post("/v1/pull", message | other)

    def delivery(self, problem, entries, belief=(0, 0), **other):
        return {
            "names": {self.name: problem},
            "belief": {"count": belief[0], "sum": f"{belief[1]:016x}"},
            "entries": entries,
        } | other

    def entry(self, work, text, **other):
        return {"origin": f"{self.name}/{work}", "text": text} | other


def read_answer(stream):
    """The status, the headers and the body of one answer over HTTP/1.1."""
    file = stream.makefile("rb")
    while True:
        line = file.readline().decode("latin-1")
        if not line.startswith("HTTP/1."):
            return {"status": 0, "broke": line[:40]}
        status, headers = int(line.split(" ")[1]), {}
        while (line := file.readline().decode("latin-1")) not in ("\r\n", "\n", ""):
            name, _, value = line.partition(":")
            headers[name.strip().lower()] = value.strip()
        if status >= 200:
            break
    body = file.read(int(headers["content-length"])) if "content-length" in headers else file.read()
    try:
        body = json.loads(body)
    except ValueError:
        body = body.decode("utf-8", "replace")[:1000]
    return {"status": status, "body": body, "retry_after": headers.get("retry-after")}


def zeros_in_zstd(blocks, window=0x58, trailer=True):
    """A frame of RFC 8878 of `blocks` blocks, each of which says "128 KiB of this byte": four bytes for 131072."""
    frame = struct.pack("<I", 0xFD2FB528) + bytes([0x00, window])
    size = 128 << 10
    for n in range(blocks):
        last = int(trailer and n == blocks - 1)
        frame += struct.pack("<I", last | (1 << 1) | (size << 3))[:3] + b" "
    return frame


# HTTP/2, as far as a rude client needs it: RFC 9113 frames, and headers as literals that are not indexed (RFC 7541).

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, CONTINUATION = 0, 1, 3, 4, 6, 9


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def literal(name, value):
    def text(s):
        data = s.encode()
        assert len(data) < 127
        return bytes([len(data)]) + data

    return b"\x00" + text(name) + text(value)


def h2_headers(peer, length):
    fields = [(":method", "POST"), (":scheme", "http"), (":path", "/v1/pull"), (":authority", "bridge")]
    fields += [("authorization", f"Bearer {peer.token}"), ("content-length", str(length))]
    return b"".join(literal(name, value) for name, value in fields)


def h2_read(file, until, patience=PATIENCE):
    """Frames until one of `until` comes, or the connection ends."""
    frames, begun = [], time.monotonic()
    while time.monotonic() - begun < patience:
        try:
            head = file.read(9)
            if len(head) < 9:
                break
            length = int.from_bytes(head[:3], "big")
            kind, flags, number = head[3], head[4], int.from_bytes(head[5:9], "big")
            payload = file.read(length)
        except OSError:
            break
        frames.append((kind, flags, number, payload))
        if kind in until:
            break
    return frames
