"""A WebSocket client that shows every frame and hides nothing."""

import base64
import json
import os
import struct

from lib.rawhttp import Closed, RawConnection

CONT, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10


class Refused(Exception):
    """The server answered the upgrade with something other than 101."""

    def __init__(self, answer):
        super().__init__(f"{answer.status} {answer.body!r}")
        self.answer = answer


def frame(opcode, payload=b"", fin=True, mask=True):
    head = bytes([(0x80 if fin else 0) | opcode])
    bit = 0x80 if mask else 0
    if len(payload) < 126:
        head += bytes([bit | len(payload)])
    elif len(payload) < 65536:
        head += struct.pack("!BH", bit | 126, len(payload))
    else:
        head += struct.pack("!BQ", bit | 127, len(payload))
    if not mask:
        return head + payload
    key = os.urandom(4)
    return head + key + masked(payload, key)


def masked(payload, key):
    repeated = (key * (len(payload) // 4 + 1))[:len(payload)]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(repeated, "big")).to_bytes(len(payload), "big")


class WsClient:
    """Opens at once; raises Refused when the server does not upgrade."""

    def __init__(self, address, target, protocols=(), fields=(), timeout=30):
        self.raw = RawConnection(address, timeout)
        key = base64.b64encode(os.urandom(16)).decode()
        own = [("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Key", key),
               ("Sec-WebSocket-Version", "13")]
        if protocols:
            own.append(("Sec-WebSocket-Protocol", ", ".join(protocols)))
        self.raw.request("GET", target, [*own, *fields])
        self.answer = self.raw.read_head()
        if self.answer.status != 101:
            self.raw.read_body(self.answer)
            self.raw.close()
            raise Refused(self.answer)
        self.protocol = self.answer.header("sec-websocket-protocol")

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        self.raw.close()

    def send_frame(self, opcode, payload=b"", fin=True, mask=True):
        self.raw.send(frame(opcode, payload, fin, mask))

    def send(self, message):
        if isinstance(message, str):
            self.send_frame(TEXT, message.encode())
        else:
            self.send_frame(BINARY, message)

    def read_frame(self):
        """fin, opcode, payload; a server's frame must not be masked."""
        first, second = self.raw.read_exactly(2)
        assert not second & 0x80, "a masked frame from the server"
        assert not first & 0x70, "reserved bits without an extension"
        length = second & 0x7F
        if length == 126:
            length = struct.unpack("!H", self.raw.read_exactly(2))[0]
        elif length == 127:
            length = struct.unpack("!Q", self.raw.read_exactly(8))[0]
        return bool(first & 0x80), first & 0x0F, self.raw.read_exactly(length)

    def recv(self):
        """The next whole message: str or bytes. A close in its place is an error."""
        kind, message = None, b""
        while True:
            fin, opcode, payload = self.read_frame()
            if opcode == CLOSE:
                raise Closed(close_of(payload))
            if opcode in (PING, PONG):
                continue
            kind = opcode or kind
            message += payload
            if fin:
                return message.decode() if kind == TEXT else message

    def recv_close(self):
        """(code, reason) of the close frame, past whatever comes before it; answers it."""
        while True:
            _, opcode, payload = self.read_frame()
            if opcode == CLOSE:
                self.send_frame(CLOSE, payload[:2])
                return close_of(payload)

    def recv_control(self, wanted):
        """The payload of the next control frame of a kind."""
        while True:
            _, opcode, payload = self.read_frame()
            if opcode == wanted:
                return payload

    def report(self):
        """What the probe saw of the upgrade request and the frames so far."""
        self.send("!report")
        return json.loads(self.recv())

    def close(self, code=1000, reason=""):
        """Closes and waits for the server's answer: (code, reason)."""
        self.send_frame(CLOSE, struct.pack("!H", code) + reason.encode())
        _, opcode, payload = self.read_frame()
        while opcode != CLOSE:
            _, opcode, payload = self.read_frame()
        return close_of(payload)


def close_of(payload):
    return (struct.unpack("!H", payload[:2])[0], payload[2:].decode()) if payload else (None, "")

