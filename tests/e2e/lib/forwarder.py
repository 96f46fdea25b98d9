"""A link between two programs that can be spoilt: stalled, swallowing, slow, broken."""

import asyncio
import contextlib
import socket
import struct
import threading

from lib.loops import end_loop

PASS, STALL, SWALLOW = "pass", "stall", "swallow"
PIECE = 65536


class Forwarder:
    """Listens on a port of its own and passes everything on to an engine, as long as it is told to.

    mode PASS; STALL: nothing is read any more, so that the sender's buffers fill; SWALLOW: everything is read and thrown
    away, in both directions. rate: bytes a second and direction, None for all there is.
    like: a pool or a fake engine, as which it can be given to a runner. tls: a server's context; then it speaks TLS to
    whoever connects.
    """

    def __init__(self, like, tls=None):
        self.tls = tls
        self.target = like.address
        self.namespace = like.namespace
        self.pool = like.pool
        self.token = like.token
        if hasattr(like, "wait_ready"):
            self.wait_ready = like.wait_ready
        self.mode = PASS
        self.rate = None
        self.passed = 0
        self.accepted = 0
        self.pairs = []
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()
        self.port = 0
        self.server = None
        self.listen()

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        self.close()

    @property
    def address(self):
        return "127.0.0.1", self.port

    @property
    def url(self):
        return f"https://localhost:{self.port}" if self.tls else f"http://127.0.0.1:{self.port}"

    def _run(self):
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()

    def _call(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(30)

    # ---- what a test does to the link ----

    def listen(self):
        async def begin():
            self.server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, ssl=self.tls)
            self.port = self.server.sockets[0].getsockname()[1]
        self._call(begin())

    def unlisten(self):
        """New connections are refused; those there are stay."""
        async def end():
            self.server.close()
            await self.server.wait_closed()
        self._call(end())

    def reset(self):
        """Breaks every connection, on both sides."""
        async def cut():
            for pair in self.pairs:
                for writer in pair:
                    abort(writer)
        self._call(cut())

    def close(self):
        with contextlib.suppress(Exception):
            self.unlisten()
            self.reset()
        end_loop(self.loop, self.thread)

    # ---- passing on ----

    async def _serve(self, reader, writer):
        self.accepted += 1
        try:
            far_reader, far_writer = await asyncio.open_connection(*self.target)
        except OSError:
            abort(writer)
            return
        pair = (writer, far_writer)
        self.pairs.append(pair)
        await asyncio.gather(self._pass(reader, far_writer), self._pass(far_reader, writer))
        self.pairs.remove(pair)

    async def _pass(self, reader, writer):
        try:
            while True:
                while self.mode == STALL:
                    await asyncio.sleep(0.02)
                data = await reader.read(min(PIECE, max(1, self.rate // 10)) if self.rate else PIECE)
                while self.mode == STALL:
                    await asyncio.sleep(0.02)
                if not data:
                    break
                if self.mode == SWALLOW:
                    continue
                if self.rate:
                    await asyncio.sleep(len(data) / self.rate)
                writer.write(data)
                await writer.drain()
                self.passed += len(data)
            if self.mode == PASS:
                writer.close()
        except OSError:
            abort(writer)


def abort(writer):
    place = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):
        if place is not None:
            place.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
