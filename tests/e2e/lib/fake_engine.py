"""An engine that does what a test tells it: the runner's side of the protocol, with the real one's traps on demand.

It runs in a thread of its own. What it does by itself (Init, pings, KV, acknowledging events, replaying commands that
were not acknowledged) can be switched off one by one; everything a runner sends is kept.
"""

import asyncio
import contextlib
import secrets
import socket
import string
import struct
import threading
import time
from urllib.parse import parse_qs, urlsplit

import websockets
from websockets.legacy.server import WebSocketServerProtocol

from lib.fake_kv import FakeKv
from lib.loops import end_loop
from lib.ports import free_port
from lib.runner_protocol import TO_CLIENT, TO_SERVER, Malformed, decode
from lib.wait import wait_for

ALPHABET = string.digits + string.ascii_lowercase
PING_EVERY = 3.0


def new_id():
    """As the engine's: 30 characters of base 36."""
    return "".join(secrets.choice(ALPHABET) for _ in range(28)) + "00"


class Got:
    """One message of a runner."""

    def __init__(self, tag, value):
        self.tag = tag
        self.value = value
        self.time = time.monotonic()

    def __repr__(self):
        return f"{self.tag} {self.value!r}"[:300]


class Connection:
    """One socket of a runner, kept after its end."""

    def __init__(self, engine, socket_):
        self.engine = engine
        self.socket = socket_
        url = urlsplit(socket_.path)
        self.path = url.path
        self.query = {name: values[0] for name, values in parse_qs(url.query, keep_blank_values=True).items()}
        self.headers = socket_.request_headers
        self.protocols = [word.strip() for line in self.headers.get_all("Sec-WebSocket-Protocol")
                          for word in line.split(",")]
        self.got = []
        self.bad_frames = []
        self.opened = time.monotonic()
        self.ended = None
        self.close_code = None
        self.close_reason = None

    # ---- what came ----

    def messages(self, tag=None):
        return [got for got in list(self.got) if tag in (None, got.tag)]

    def wait(self, tag, count=1, timeout=15, where=None):
        """The first `count` messages of a kind (for which where(value) holds), once there are that many."""
        def found():
            return [got for got in self.messages(tag) if where is None or where(got.value)]
        wait_for(lambda: len(found()) >= count, timeout, f"{count} x {tag}, got {self.got[-5:]}")
        return found()[:count]

    def init(self, timeout=15):
        return self.wait("ToServerInit", timeout=timeout)[0].value

    def events(self, actor=None, generation=None):
        """Events as (checkpoint, tag, value), with the inner unions taken off."""
        found = []
        for got in self.messages("ToServerEvents"):
            for wrapped in got.value:
                checkpoint = wrapped["checkpoint"]
                if actor in (None, checkpoint["actorId"]) and generation in (None, checkpoint["generation"]):
                    found.append((checkpoint, *flat_event(wrapped["inner"])))
        return found

    def wait_event(self, tag, actor=None, generation=None, count=1, timeout=15):
        """The first event of a kind (ActorStateRunning, ActorStateStopped, ActorIntentSleep, EventActorSetAlarm...)."""
        def found():
            return [event for event in self.events(actor, generation) if event[1] == tag]
        wait_for(lambda: len(found()) >= count, timeout, f"{count} x {tag}, got {self.events(actor)}")
        return found()[count - 1]

    def tunnel(self, pair=None, tag=None):
        """Tunnel messages as (message id, tag, value)."""
        found = []
        for got in self.messages("ToServerTunnelMessage"):
            key, (kind, value) = got.value["messageId"], got.value["messageKind"]
            if pair in (None, (key["gatewayId"], key["requestId"])) and tag in (None, kind):
                found.append((key, kind, value))
        return found

    def wait_tunnel(self, pair, tag, count=1, timeout=15):
        wait_for(lambda: len(self.tunnel(pair, tag)) >= count, timeout, f"{count} x {tag}, got {self.tunnel(pair)}")
        return self.tunnel(pair, tag)[count - 1]

    def wait_ended(self, timeout=15):
        """(code, reason) the runner closed with, or of the loss."""
        wait_for(lambda: self.ended, timeout, "the end of the connection")
        return self.close_code, self.close_reason

    # ---- what goes ----

    def send(self, tag, value=None):
        self.send_raw(TO_CLIENT.put((tag, value)))

    def send_raw(self, raw):
        self.engine.call(self.socket.send(raw))

    def close(self, code=1000, reason=""):
        """As the engine closes: a ray id behind the reason."""
        self.engine.call(self.socket.close(code, f"{reason}#{new_id()}" if reason else ""))

    def reset(self):
        """The connection breaks."""
        async def cut():
            place = self.socket.transport.get_extra_info("socket")
            if place is not None:
                place.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.socket.transport.abort()
        self.engine.call(cut())

    # ---- tunnel ----

    def tunnel_send(self, pair, index, tag, value=None):
        self.send(*tunnel_message(pair, index, tag, value))

    def request(self, actor_id, method="GET", path="/", headers=None, body=None, pair=None, index=0):
        """Sends a request; the pair names it."""
        pair = pair or new_pair()
        self.send(*request_message(actor_id, method, path, headers, body, pair, index))
        return pair

    def answer(self, pair, timeout=15):
        """The one answer: (status, headers, body), or None for an abort."""
        def first():
            return [one for one in self.tunnel(pair) if one[1] in ("ToServerResponseStart", "ToServerResponseAbort")]
        wait_for(first, timeout, "an answer")
        _, tag, value = first()[0]
        return None if tag == "ToServerResponseAbort" else (value["status"], value["headers"], value["body"])

    def open_socket(self, actor_id, path="/ws", headers=None, pair=None, index=0):
        """Opens a client's WebSocket through the tunnel."""
        pair = pair or new_pair()
        self.send(*open_message(actor_id, path, headers, pair, index))
        return pair

    def socket_message(self, pair, index, data):
        binary = not isinstance(data, str)
        self.tunnel_send(pair, index, "ToClientWebSocketMessage",
                         {"data": data if binary else data.encode(), "binary": binary})

    def socket_messages(self, pair):
        """What came out of a socket: str or bytes."""
        return [value["data"] if value["binary"] else value["data"].decode()
                for _, tag, value in self.tunnel(pair) if tag == "ToServerWebSocketMessage"]


def new_pair():
    return secrets.token_bytes(4), secrets.token_bytes(4)


def tunnel_message(pair, index, tag, value=None):
    return "ToClientTunnelMessage", {
        "messageId": {"gatewayId": pair[0], "requestId": pair[1], "messageIndex": index & 0xFFFF},
        "messageKind": (tag, value)}


def request_message(actor_id, method, path, headers, body, pair, index=0):
    return tunnel_message(pair, index, "ToClientRequestStart", {
        "actorId": actor_id, "method": method, "path": path, "headers": {"host": "an.engine", **(headers or {})},
        "body": body, "stream": False})


def open_message(actor_id, path, headers, pair, index=0):
    said = {"host": "an.engine", "upgrade": "websocket", "connection": "Upgrade", "sec-websocket-version": "13",
            "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==", "sec-websocket-protocol": "rivet", **(headers or {})}
    return tunnel_message(pair, index, "ToClientWebSocketOpen", {"actorId": actor_id, "path": path, "headers": said})


def flat_event(inner):
    tag, value = inner
    if tag == "EventActorIntent":
        return value["intent"]
    if tag == "EventActorStateUpdate":
        return value["state"]
    return tag, value


class FakeActor:
    """What the engine remembers of an actor."""

    def __init__(self, name, key=None, input=None):
        self.id = new_id()
        self.name = name
        self.key = key
        self.input = input
        self.generation = -1
        self.command_index = {}
        self.last_event = {}
        self.acked_event = {}


class Protocol(WebSocketServerProtocol):
    """A server connection whose answers to pings can be held back: then it reads nothing either, as the engine."""

    engine = None

    async def pong(self, data=b""):
        while self.engine.hold_pongs:
            await asyncio.sleep(0.01)
        await super().pong(data)

    async def process_request(self, path, request_headers):
        if self.engine.refuse_upgrade:
            return self.engine.refuse_upgrade, [], b"no socket here\n"
        return None


class FakeEngine:
    """Listens on a port of its own until close()."""

    def __init__(self, tls=None, port=0):
        self.tls = tls
        self.port = port or free_port()  # kept while nobody listens
        self.namespace = "default"
        self.pool = "default"
        self.token = None
        self.runner_id = new_id()
        self.lost_threshold_ms = 15000
        self.stop_threshold_ms = 1800000
        # What it does by itself.
        self.auto_init = True
        self.auto_ping = PING_EVERY
        self.auto_kv = True
        self.auto_ack = True
        self.auto_replay = True
        self.auto_stop = True  # answers an intent with a stop command
        self.evict_older = True
        self.behind_welcome = []  # messages (tag, value) that follow it at once
        # What goes wrong.
        self.refuse_upgrade = None  # HTTP status
        self.close_at_once = None   # (code, reason) behind the upgrade
        self.hold_pongs = False
        self.kv = FakeKv()
        self.connections = []
        self.actors = {}
        self.commands = []  # (checkpoint, inner), not acknowledged
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.server = None
        self.thread.start()
        self.listen()

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        self.close()

    @property
    def url(self):
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    @property
    def address(self):
        return "127.0.0.1", self.port

    def _run(self):
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()

    def call(self, coroutine, timeout=30):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(timeout)

    # ---- start and end ----

    def listen(self):
        async def begin():
            self.server = await websockets.serve(
                self._serve, "127.0.0.1", self.port, subprotocols=["rivet"], max_size=None, max_queue=None,
                ping_interval=None, compression=None, ssl=self.tls, close_timeout=1,
                create_protocol=type("BoundProtocol", (Protocol,), {"engine": self}))
            self.port = self.server.sockets[0].getsockname()[1]
        self.call(begin())

    def unlisten(self):
        """Ends like a crashed engine: every connection breaks and nobody answers any more."""
        for connection in self.open_connections():
            connection.reset()

        async def end():
            self.server.close()
            await self.server.wait_closed()
        self.call(end())

    def close(self):
        self.hold_pongs = False
        with contextlib.suppress(Exception):
            self.unlisten()
        end_loop(self.loop, self.thread)

    # ---- connections ----

    def open_connections(self):
        return [one for one in self.connections if not one.ended]

    def wait_connection(self, number=1, timeout=20):
        """The number-th connection since the start."""
        wait_for(lambda: len(self.connections) >= number, timeout, f"connection {number} of a runner")
        return self.connections[number - 1]

    def wait_runner(self, number=1, timeout=20):
        """The same, once it has introduced itself."""
        connection = self.wait_connection(number, timeout)
        connection.init(timeout)
        return connection

    async def _serve(self, socket_):
        connection = Connection(self, socket_)
        self.connections.append(connection)
        if self.close_at_once:
            code, reason = self.close_at_once
            await socket_.close(code, f"{reason}#{new_id()}")
        pinger = None
        try:
            async for raw in socket_:
                if await self._take(connection, raw) and self.auto_ping:
                    pinger = asyncio.ensure_future(self._ping(socket_))
        except websockets.ConnectionClosed:
            pass
        finally:
            if pinger:
                pinger.cancel()
            connection.close_code = socket_.close_code
            connection.close_reason = socket_.close_reason
            connection.ended = time.monotonic()

    async def _ping(self, socket_):
        while True:
            await asyncio.sleep(self.auto_ping)
            await socket_.send(TO_CLIENT.put(("ToClientPing", {"ts": int(time.time() * 1000)})))

    async def _take(self, connection, raw):
        """Keeps one frame and does what the engine does by itself; True for an accepted Init."""
        try:
            if isinstance(raw, str):
                raise Malformed("a text frame")
            tag, value = decode(TO_SERVER, raw)
        except Malformed as error:
            connection.bad_frames.append((raw, str(error)))
            return False
        connection.got.append(Got(tag, value))
        if tag == "ToServerInit" and self.auto_init:
            await self._welcome(connection)
            return True
        if tag == "ToServerKvRequest" and self.auto_kv:
            answer = self.kv.answer(value["actorId"], value["data"])
            await self._send(connection, "ToClientKvResponse", {"requestId": value["requestId"], "data": answer})
        elif tag == "ToServerAckCommands":
            for one in value["lastCommandCheckpoints"]:
                self.commands = [(checkpoint, inner) for checkpoint, inner in self.commands
                                 if not (checkpoint["actorId"] == one["actorId"]
                                         and checkpoint["generation"] == one["generation"]
                                         and checkpoint["index"] <= one["index"])]
        elif tag == "ToServerEvents":
            await self._take_events(connection, value)
        return False

    async def _send(self, connection, tag, value):
        with contextlib.suppress(websockets.ConnectionClosed):
            await connection.socket.send(TO_CLIENT.put((tag, value)))

    async def _welcome(self, connection):
        await self._send(connection, "ToClientInit", {"runnerId": self.runner_id, "metadata": {
            "runnerLostThreshold": self.lost_threshold_ms, "actorStopThreshold": self.stop_threshold_ms,
            "serverlessDrainGracePeriod": None}})
        if self.auto_replay and self.commands:
            ordered = sorted(self.commands, key=lambda one: (one[0]["actorId"], one[0]["generation"], one[0]["index"]))
            # A replayed start never names hibernating sockets.
            await self._send(connection, "ToClientCommands",
                             [{"checkpoint": checkpoint, "inner": without_sockets(inner)}
                              for checkpoint, inner in ordered])
        for tag, value in self.behind_welcome:
            await self._send(connection, tag, value)
        if self.evict_older:
            for older in self.open_connections():
                if older is not connection:
                    await older.socket.close(1000, f"ws.eviction#{new_id()}")

    async def _take_events(self, connection, events):
        acks, stops = [], []
        for wrapped in events:
            checkpoint, actor = wrapped["checkpoint"], self.actors.get(wrapped["checkpoint"]["actorId"])
            if actor is None:
                continue
            generation, index = checkpoint["generation"], checkpoint["index"]
            if index <= actor.last_event.get(generation, -1):
                continue
            actor.last_event[generation] = index
            if self.auto_ack and index - actor.acked_event.get(generation, 0) >= 250:
                actor.acked_event[generation] = index
                acks.append(checkpoint)
            if flat_event(wrapped["inner"])[0] in ("ActorIntentSleep", "ActorIntentStop"):
                stops.append(actor)
        if acks:
            await self._send(connection, "ToClientAckEvents", {"lastEventCheckpoints": acks})
        for actor in stops:
            if self.auto_stop:
                await self._send(connection, "ToClientCommands", [self._command(actor, ("CommandStopActor", None))])

    # ---- actors ----

    def _command(self, actor, inner):
        index = actor.command_index.get(actor.generation, -1) + 1
        actor.command_index[actor.generation] = index
        checkpoint = {"actorId": actor.id, "generation": actor.generation, "index": index}
        self.commands.append((checkpoint, inner))
        return {"checkpoint": checkpoint, "inner": inner}

    def actor(self, name="probe", key=None, input=None):
        """An actor the engine knows and nobody runs yet."""
        made = FakeActor(name, key, input)
        self.actors[made.id] = made
        self.kv.add(made.id)
        return made

    def start_command(self, actor, sockets=()):
        """The next generation's start, to be sent."""
        actor.generation += 1
        return self._command(actor, ("CommandStartActor", {
            "config": {"name": actor.name, "key": actor.key, "createTs": int(time.time() * 1000), "input": actor.input},
            "hibernatingRequests": [{"gatewayId": pair[0], "requestId": pair[1]} for pair in sockets]}))

    def stop_command(self, actor):
        return self._command(actor, ("CommandStopActor", None))

    def start_actor(self, connection, actor=None, sockets=(), wait=True, timeout=20, **made):
        """Starts the next generation of an actor (a new one unless told) and waits for its Running."""
        actor = actor or self.actor(**made)
        connection.send("ToClientCommands", [self.start_command(actor, sockets)])
        if wait:
            connection.wait_event("ActorStateRunning", actor.id, actor.generation, timeout=timeout)
        return actor

    def stop_actor(self, connection, actor, wait=True, timeout=20):
        """The code and message of its Stopped."""
        connection.send("ToClientCommands", [self.stop_command(actor)])
        if not wait:
            return None
        return connection.wait_event("ActorStateStopped", actor.id, actor.generation, timeout=timeout)[2]


def without_sockets(inner):
    tag, value = inner
    return (tag, {**value, "hibernatingRequests": []}) if tag == "CommandStartActor" else inner
