"""A worker for very many WebSockets in one thread: every message comes back as it went in."""

import asyncio
import os
import socket
import struct

import wsock

HEAD_END = b"\r\n\r\n"


class Peer(asyncio.Protocol):
    """One connection: plain requests until it becomes a WebSocket."""

    def connection_made(self, transport):
        self.transport = transport
        self.buffer = bytearray()
        self.open = False

    def data_received(self, data):
        self.buffer += data
        while self.take_frame() if self.open else self.take_request():
            pass

    def take_request(self):
        end = self.buffer.find(HEAD_END)
        if end < 0:
            return False
        lines = bytes(self.buffer[:end]).decode("latin-1").split("\r\n")
        fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        whole = end + len(HEAD_END) + int(fields.get("content-length", 0))
        if len(self.buffer) < whole:
            return False
        del self.buffer[:whole]
        if fields.get("upgrade", "").lower() == "websocket":
            self.open = True
            answer = ["HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade",
                      "Sec-WebSocket-Accept: " + wsock.accept_key(fields["sec-websocket-key"])]
        else:
            answer = ["HTTP/1.1 200 OK", "Content-Length: 0"]
        self.transport.write("\r\n".join([*answer, "", ""]).encode())
        return True

    def take_frame(self):
        """Small frames only; a close is answered."""
        buffer = self.buffer
        if len(buffer) < 6:
            return False
        length, at = buffer[1] & 0x7F, 2
        if length == 126:
            length, at = struct.unpack_from("!H", buffer, 2)[0], 4
        if len(buffer) < at + 4 + length:
            return False
        opcode = buffer[0] & 0x0F
        payload = wsock.unmask(bytes(buffer[at + 4:at + 4 + length]), bytes(buffer[at:at + 4]))
        del buffer[:at + 4 + length]
        self.transport.write(wsock.frame(wsock.PONG if opcode == wsock.PING else opcode, payload))
        if opcode == wsock.CLOSE:
            self.transport.close()
            return False
        return True


async def main():
    listening = socket.socket(fileno=3) if os.environ.get("LISTEN_PID") == str(os.getpid()) else None
    place = {"sock": listening} if listening else {"path": os.environ["RIVET_SOCKET"]}
    server = await asyncio.get_running_loop().create_unix_server(Peer, backlog=1024, **place)
    await server.serve_forever()


asyncio.run(main())
