"""The server's end of a WebSocket (RFC 6455) on an accepted connection."""

import base64
import hashlib
import socket
import struct
import threading

GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
MESSAGE_MAX = 32 * 1024 * 1024
SEND_SECONDS = 10
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10


def accept_key(key):
    return base64.b64encode(hashlib.sha1((key + GUID).encode()).digest()).decode()


class Broken(Exception):
    """The peer broke the protocol."""

    def __init__(self, code, reason):
        super().__init__(reason)
        self.code = code


class WebSocket:
    """Messages of one client; send() may be called from any thread, receive() from one."""

    def __init__(self, reader, connection, subprotocols):
        self.subprotocols = subprotocols
        self._reader = reader
        self._connection = connection
        self._sending = threading.Lock()
        self._closed = False
        # A client that does not read must not hold up its actor for ever.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", SEND_SECONDS, 0))

    def receive(self):
        """The next message as str or bytes, or None when the socket is over."""
        try:
            return self._message()
        except Broken as broken:
            self.close(broken.code, str(broken))
        except (OSError, EOFError):
            pass
        return None

    def send(self, message):
        if isinstance(message, str):
            self._send_frame(TEXT, message.encode())
        else:
            self._send_frame(BINARY, bytes(message))

    def close(self, code=1000, reason=""):
        if not self._closed:
            self._send_frame(CLOSE, struct.pack(">H", code) + reason.encode()[:123])
            self._closed = True

    def _message(self):
        kind, parts, size = None, [], 0
        while True:
            final, opcode, payload = self._frame()
            if opcode == CLOSE:
                code = struct.unpack(">H", payload[:2])[0] if len(payload) >= 2 else 1000
                self.close(code)
                return None
            if opcode == PING:
                self._send_frame(PONG, payload)
                continue
            if opcode == PONG:
                continue
            if (opcode == CONTINUATION) == (kind is None) or opcode > BINARY:
                raise Broken(1002, "frames out of order")
            kind = kind or opcode
            size += len(payload)
            if size > MESSAGE_MAX:
                raise Broken(1009, "message too big")
            parts.append(payload)
            if final:
                return self._whole(kind, b"".join(parts))

    def _whole(self, kind, payload):
        if kind == BINARY:
            return payload
        try:
            return payload.decode()
        except UnicodeDecodeError:
            raise Broken(1007, "text is not UTF-8") from None

    def _frame(self):
        first, second = self._read(2)
        size = second & 0x7F
        if first & 0x70 or not second & 0x80:
            raise Broken(1002, "unexpected frame")
        if first & 8 and (size > 125 or not first & 0x80):
            raise Broken(1002, "bad control frame")
        if size >= 126:
            size = int.from_bytes(self._read(2 if size == 126 else 8), "big")
        if size > MESSAGE_MAX:
            raise Broken(1009, "message too big")
        mask = self._read(4)
        return bool(first & 0x80), first & 15, _unmask(self._read(size), mask)

    def _read(self, size):
        data = self._reader.read(size)
        if len(data) < size:
            raise EOFError
        return data

    def _send_frame(self, opcode, payload):
        size = len(payload)
        if size < 126:
            head = struct.pack(">BB", 0x80 | opcode, size)
        elif size < 1 << 16:
            head = struct.pack(">BBH", 0x80 | opcode, 126, size)
        else:
            head = struct.pack(">BBQ", 0x80 | opcode, 127, size)
        with self._sending:
            try:
                self._connection.sendall(head + payload)
            except OSError:
                self._connection.shutdown(socket.SHUT_RDWR)  # half a frame may be out: nothing may follow
                raise


def _unmask(data, mask):
    size = len(data)
    repeated = mask * (size // 4 + 1)
    return (int.from_bytes(data, "big") ^ int.from_bytes(repeated[:size], "big")).to_bytes(size, "big")
