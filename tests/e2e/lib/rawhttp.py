"""HTTP/1.1 with nothing hidden: bytes out, heads and bodies in."""

import socket

from lib.wait import SCALE


class Closed(Exception):
    """The peer closed the connection where an answer, or more of one, was due."""


class Answer:
    """One answer: status, header fields in order, body bytes."""

    def __init__(self, version, status, fields):
        self.version = version
        self.status = status
        self.fields = fields
        self.body = b""
        self.trailers = []

    def all(self, name):
        return [value for field, value in self.fields if field.lower() == name.lower()]

    def header(self, name):
        found = self.all(name)
        return found[0] if found else None


class RawConnection:
    """One client connection."""

    def __init__(self, address, timeout=30):
        self.host = f"{address[0]}:{address[1]}"
        self.sock = socket.create_connection(address, timeout=timeout * SCALE)
        self.buffer = bytearray()

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        self.close()

    def close(self):
        self.sock.close()

    def send(self, data):
        self.sock.sendall(data)

    def request(self, method, target, fields=(), body=b"", version="HTTP/1.1", host=True, framed=False):
        """Sends one request; a body gets a Content-Length unless it, or the fields, say how it is framed."""
        lines = [f"{method} {target} {version}"]
        if host:
            lines.append(f"Host: {self.host}")
        lines += [f"{name}: {value}" for name, value in fields]
        framed = framed or any(name.lower() in ("content-length", "transfer-encoding") for name, _ in fields)
        if body and not framed:
            lines.append(f"Content-Length: {len(body)}")
        self.send("\r\n".join([*lines, "", ""]).encode("latin-1") + body)

    def chunk(self, data):
        self.send(b"%x\r\n%b\r\n" % (len(data), data))

    # ---- reading ----

    def _fill(self):
        part = self.sock.recv(1 << 18)
        if not part:
            raise Closed(bytes(self.buffer))
        self.buffer += part

    def read_until(self, mark):
        while mark not in self.buffer:
            self._fill()
        before = bytes(self.buffer[:self.buffer.index(mark)])
        del self.buffer[:len(before) + len(mark)]
        return before

    def read_exactly(self, size):
        while len(self.buffer) < size:
            self._fill()
        found = bytes(self.buffer[:size])
        del self.buffer[:size]
        return found

    def read_head(self):
        """The next head, 1xx included."""
        lines = self.read_until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        version, status, *_ = lines[0].split(" ", 2)
        pairs = [line.partition(":") for line in lines[1:]]
        return Answer(version, int(status), [(name, value.strip()) for name, _, value in pairs])

    def read_chunk(self):
        """The next chunk; empty at the end of the body."""
        size = int(self.read_until(b"\r\n").split(b";")[0], 16)
        if size == 0:
            return b""
        data = self.read_exactly(size)
        assert self.read_exactly(2) == b"\r\n"
        return data

    def read_body(self, answer, method="GET"):
        if method == "HEAD" or answer.status in (204, 304) or answer.status < 200:
            return answer
        if "chunked" in (answer.header("transfer-encoding") or "").lower():
            while part := self.read_chunk():
                answer.body += part
            while line := self.read_until(b"\r\n"):
                answer.trailers.append(line.decode())
        elif answer.header("content-length") is not None:
            answer.body = self.read_exactly(int(answer.header("content-length")))
        else:
            answer.body = self.read_rest()
        return answer

    def read_answer(self, method="GET"):
        """The next final answer with its body."""
        answer = self.read_head()
        while answer.status < 200:
            answer = self.read_head()
        return self.read_body(answer, method)

    def read_rest(self):
        """Everything until the peer closes, whichever way it does."""
        try:
            while True:
                self._fill()
        except (Closed, ConnectionError):
            return self.read_exactly(len(self.buffer))

    def closed(self):
        """True once the peer has closed and sent nothing more."""
        return self.read_rest() == b""


def once(address, method, target, fields=(), body=b"", **options):
    """One request on a connection of its own."""
    with RawConnection(address) as connection:
        connection.request(method, target, fields, body, **options)
        return connection.read_answer(method)
