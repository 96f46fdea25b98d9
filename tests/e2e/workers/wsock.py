"""The server side of a WebSocket, by hand, so that nothing between the wire and the test is clever."""

import base64
import hashlib
import json
import os
import signal
import struct
import time

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


def accept_key(key):
    return base64.b64encode(hashlib.sha1(key.encode() + GUID).digest()).decode()


def frame(opcode, payload=b"", fin=True):
    head = bytes([(0x80 if fin else 0) | opcode])
    if len(payload) < 126:
        head += bytes([len(payload)])
    elif len(payload) < 65536:
        head += struct.pack("!BH", 126, len(payload))
    else:
        head += struct.pack("!BQ", 127, len(payload))
    return head + payload


def close_payload(code, reason=""):
    return struct.pack("!H", code) + reason.encode()


class Session:
    """One open socket: echoes messages, and does what a message that begins with ! tells it."""

    def __init__(self, rfile, wfile, report, note):
        self.rfile = rfile
        self.wfile = wfile
        self.report = report
        self.note = note
        self.frames = []
        self.closing = False

    def send(self, opcode, payload=b"", fin=True):
        self.closing = self.closing or opcode == CLOSE
        self.wfile.write(frame(opcode, payload, fin))
        self.wfile.flush()

    def read_frame(self):
        """fin, opcode, payload, masked; None when the peer is gone."""
        head = self.rfile.read(2)
        if len(head) < 2:
            return None
        length = head[1] & 0x7F
        if length == 126:
            length = struct.unpack("!H", self.rfile.read(2))[0]
        elif length == 127:
            length = struct.unpack("!Q", self.rfile.read(8))[0]
        masked = bool(head[1] & 0x80)
        mask = self.rfile.read(4) if masked else bytes(4)
        payload = self.rfile.read(length)
        if len(payload) < length:
            return None
        if masked:
            payload = unmask(payload, mask)
        return bool(head[0] & 0x80), head[0] & 0x0F, payload, masked

    def run(self):
        """Serves until the socket ends; notes how it ended."""
        message, kind = b"", None
        while True:
            got = self.read_frame()
            if got is None:
                self.note("ws-lost")
                return
            fin, opcode, payload, masked = got
            self.frames.append([opcode, fin, len(payload), masked])
            if opcode == CLOSE:
                code = struct.unpack("!H", payload[:2])[0] if payload else None
                self.note("ws-closed", code=code, reason=payload[2:].decode())
                if not self.closing:
                    self.send(CLOSE, payload[:2])
                return
            if opcode == PING:
                self.note("ws-ping", payload=payload.decode())
                self.send(PONG, payload)
            elif opcode == PONG:
                self.note("ws-pong", payload=payload.decode())
            else:
                kind = opcode or kind
                message += payload
                if fin:
                    self.on_message(kind, message)
                    message = b""

    def on_message(self, kind, message):
        if kind != TEXT or not message.startswith(b"!"):
            if len(message) < 200:
                self.note("ws-message", text=message.decode("utf-8", "replace"))
            self.send(kind, message)
            return
        word, _, rest = message[1:].decode().partition(" ")
        getattr(self, "do_" + word)(rest)

    def do_report(self, _rest):
        self.send(TEXT, json.dumps({**self.report, "frames": self.frames}).encode())

    def do_close(self, rest):
        code, _, reason = rest.partition(" ")
        self.send(CLOSE, close_payload(int(code), reason))

    def do_closeempty(self, _rest):
        self.send(CLOSE)

    def do_ping(self, rest):
        self.send(PING, rest.encode())

    def do_parts(self, rest):
        """Sends its argument one byte to a frame, as one message."""
        data = rest.encode()
        for place, byte in enumerate(data):
            self.send(TEXT if place == 0 else 0, bytes([byte]), fin=place == len(data) - 1)

    def do_bytes(self, rest):
        self.send(BINARY, b"\xa5" * int(rest))

    def do_deaf(self, rest):
        """Reads nothing: for some seconds, or until a file is there."""
        self.note("ws-deaf")
        wait_out(rest)

    def do_badframe(self, _rest):
        self.wfile.write(b"\xff\xff\xff\xff")
        self.wfile.flush()

    def do_killdaemon(self, rest):
        """Ends the daemon as soon as this message, of whatever length, is read."""
        self.note("ws-killdaemon", length=len(rest))
        os.kill(os.getppid(), signal.SIGKILL)

    def do_die(self, rest):
        os._exit(int(rest or 3))


def unmask(payload, mask):
    if not payload:
        return payload
    repeated = (mask * (len(payload) // 4 + 1))[:len(payload)]
    whole = int.from_bytes(payload, "big") ^ int.from_bytes(repeated, "big")
    return whole.to_bytes(len(payload), "big")


def wait_out(said):
    """Seconds, or the path of a file that is waited for."""
    if not said.startswith("/"):
        time.sleep(float(said))
        return
    while not os.path.exists(said):
        time.sleep(0.02)
