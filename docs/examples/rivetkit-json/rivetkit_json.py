"""Actors for RivetKit's clients in Python: actions, events, raw requests and sockets, in JSON.

A class of actors derives from Actor, marks its actions with @action, and is served with serve(Class).
Clients are the official ones, made with `encoding: "json"`. One process may hold one actor or many
(`isolation: actor` or `shared`); everything one actor does happens under its lock, one thing at a time.
"""

import http.client
import json
import os
import socket
import sys
import threading
import traceback
import uuid
from base64 import b64decode
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import quote, unquote

from values import dumps, loads, loads_cbor
from websocket import WebSocket, accept_key

BODY_MAX = 20 * 1024 * 1024


class ActorError(Exception):
    """An error meant for the client; any other exception reaches it only as an internal error."""

    def __init__(self, code, message, metadata=None, group="user", status=500):
        super().__init__(message)
        self.code = code
        self.metadata = metadata
        self.group = group
        self.status = status


def action(function):
    """Lets clients call a method of an actor: function(self, connection, *args)."""
    function.is_action = True
    return function


class Request:
    """One raw request of a client's fetch(), its path without `/request`."""

    def __init__(self, method, path, query, headers, body):
        self.method = method
        self.path = path
        self.query = query
        self.headers = headers
        self.body = body


class Response:
    """What on_request() answers."""

    def __init__(self, body=b"", status=200, headers=None):
        self.body = body.encode() if isinstance(body, str) else body
        self.status = status
        self.headers = dict(headers or {})


class Connection:
    """A client of an actor: a socket of connect(), or just the caller of one action (no socket)."""

    def __init__(self, params, web_socket=None):
        self.id = str(uuid.uuid4())
        self.params = params
        self.events = set()
        self._socket = web_socket

    def send(self, event, *args):
        """Sends an event to this client alone, if it has subscribed."""
        if event in self.events:
            self.send_frame("Event", {"name": event, "args": args})

    def send_frame(self, tag, value):
        try:
            self._socket.send(dumps({"body": {"tag": tag, "val": value}}))
        except OSError:
            self.events.clear()  # its reader notices the end by itself


class Actor:
    """Base of all actors; the hooks below may be overridden."""

    def __init__(self, about):
        self.id = about["actor_id"]
        self.name = about["name"]
        self.key = about["key"]
        self.generation = about["generation"]
        self.input = loads_cbor(b64decode(about["input"])) if about["input"] else None
        self.lock = threading.RLock()
        self.connections = {}

    def on_start(self):
        """Before the first request; an exception fails the start."""

    def on_stop(self, reason):
        """Before the actor leaves this process."""

    def on_connect(self, connection):
        """For each connect() and each call of an action; an ActorError refuses it."""

    def on_request(self, request):
        """A raw request; answers a Response."""
        return Response("not found\n", 404)

    def on_websocket(self, web_socket, path):
        """A raw WebSocket, without the lock; the socket is closed when this returns."""

    def broadcast(self, event, *args):
        """Sends an event to every client that has subscribed."""
        for connection in list(self.connections.values()):
            connection.send(event, *args)

    def kv_get(self, key):
        """The stored bytes, or None."""
        status, value = self._runtime("GET", "/kv/" + quote(key, safe=""), ok=(200, 404))
        return value if status == 200 else None

    def kv_put(self, key, value):
        """Returns once the value would survive a power cut."""
        self._runtime("PUT", "/kv/" + quote(key, safe=""), value, ok=(204,))

    def request_sleep(self):
        self._runtime("POST", "/sleep", ok=(202,))

    def request_destroy(self):
        self._runtime("POST", "/destroy", ok=(202,))

    def about(self):
        """How errors name this actor."""
        names = {"actorId": self.id, "generation": self.generation}
        return names if self.key is None else {**names, "key": self.key}

    def call(self, connection, name, args):
        """Runs an action by name."""
        function = getattr(type(self), name, None)
        if not getattr(function, "is_action", False):
            raise ActorError("action_not_found", f"Action `{name}` was not found.", group="actor", status=404)
        if args is None:
            args = []
        return function(self, connection, *(args if isinstance(args, list) else [args]))

    def _runtime(self, method, path, body=None, ok=()):
        connection = _RuntimeConnection()
        try:
            connection.request(method, f"/v1/actors/{self.id}{path}", body)
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        if answer.status not in ok:
            raise OSError(f"{method} {path}: {answer.status} {content.decode(errors='replace')}")
        return answer.status, content


class _RuntimeConnection(http.client.HTTPConnection):
    """HTTP to the runtime API of this process, which is a Unix socket."""

    def __init__(self):
        super().__init__("localhost")

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(os.environ["RIVET_RUNTIME_SOCKET"])


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # one write for head and body
    actor_class = None  # these two are set by serve()
    actors = None

    def handle_any(self):
        path, _, query = self.path.partition("?")
        if self.headers.get("Upgrade", "").lower() == "websocket":
            self.web_socket(path)
            return
        body = self.body()
        if body is None:
            self.close_connection = True
            self.answer(413, b"body too large\n")
        elif path.startswith("/.rivet/"):
            self.life_cycle(path.removeprefix("/.rivet/"), body)
        elif path.startswith("/action/"):
            self.action(unquote(path.removeprefix("/action/")), body)
        elif path == "/request" or path.startswith("/request/"):
            self.raw_request(path.removeprefix("/request") or "/", query, body)
        elif path == "/health":
            self.answer(200, b"ok")
        elif path == "/metadata":
            self.answer(200, dumps({"runtime": "rivetkit", "type": "local", "version": "2.3.19"}).encode(),
                        {"Content-Type": "application/json"})
        elif path == "/":
            self.answer(200, b"This is an actor; talk to it with a RivetKit client.\n")
        else:
            self.answer(404, b"not found\n")

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = handle_any

    # ---- HTTP ----

    def actor(self):
        return self.actors[self.headers["x-rivet-actor-id"]]

    def life_cycle(self, call, body):
        if call == "start":
            about = json.loads(body)
            actor = self.actor_class(about)
            try:
                actor.on_start()
            except Exception as error:
                traceback.print_exc()
                self.answer(500, f"{error}\n".encode())
                return
            self.actors[actor.id] = actor
            self.answer(204)
        elif call == "stop":
            actor = self.actor()
            with actor.lock:  # what runs now is answered first
                actor.on_stop(json.loads(body)["reason"])
                del self.actors[actor.id]
            self.answer(204)
        else:
            self.answer(404)

    def action(self, name, body):
        actor = self.actor()
        with actor.lock:
            try:
                self.check_action_call()
                args = _parse(body or b"{}").get("args")
                connection = Connection(_parse(self.headers.get("x-rivet-conn-params") or "null"))
                actor.on_connect(connection)
                status, text = 200, dumps({"output": actor.call(connection, name, args)})
            except Exception as error:
                status, described = _describe(actor, error)
                text = dumps(described)
            self.answer(status, text.encode(), {"Content-Type": "application/json"})

    def check_action_call(self):
        encoding = self.headers.get("x-rivet-encoding", "json")
        if encoding != "json":
            raise ActorError("unsupported_encoding", f"This actor speaks JSON, not {encoding}.", group="protocol",
                             status=400)
        if self.command != "POST":
            raise ActorError("method_not_allowed", "Actions are called with POST.",
                             {"method": self.command, "path": self.path}, group="actor", status=405)

    def raw_request(self, path, query, body):
        actor = self.actor()
        with actor.lock:
            try:
                response = actor.on_request(Request(self.command, path, query, self.headers, body))
            except Exception as error:
                status, described = _describe(actor, error)
                response = Response(dumps(described), status, {"Content-Type": "application/json"})
            self.answer(response.status, response.body, response.headers)

    def body(self):
        """The whole body, or None if it is too large."""
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            return self.chunks()
        size = int(self.headers.get("Content-Length", 0))
        return self.rfile.read(size) if size <= BODY_MAX else None

    def chunks(self):
        parts, total = [], 0
        while True:
            size = int(self.rfile.readline().partition(b";")[0], 16)
            total += size
            if total > BODY_MAX:
                return None
            parts.append(self.rfile.read(size))
            if size == 0:
                break
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass  # trailers
        return b"".join(parts)

    def answer(self, status, body=b"", headers=None):
        self.send_response(status)
        for name, value in {"Content-Type": "text/plain", **(headers or {})}.items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        self.wfile.flush()

    # ---- WebSockets ----

    def web_socket(self, path):
        offered = [word.strip() for word in self.headers.get("Sec-WebSocket-Protocol", "").split(",")]
        self.close_connection = True
        if path != "/connect" and path != "/websocket" and not path.startswith("/websocket/"):
            self.answer(404, b"not found\n")
            return
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.send_header("Sec-WebSocket-Accept", accept_key(self.headers["Sec-WebSocket-Key"]))
        if "rivet" in offered:
            self.send_header("Sec-WebSocket-Protocol", "rivet")
        self.end_headers()
        self.wfile.flush()
        web_socket = WebSocket(self.rfile, self.connection, offered)
        try:
            if path == "/connect":
                self.connect(web_socket)
            else:
                self.actor().on_websocket(web_socket, path.removeprefix("/websocket") or "/")
                web_socket.close()
        except OSError:
            pass  # the client is gone

    def connect(self, web_socket):
        actor = self.actor()
        if _offer(web_socket, "rivet_encoding.", "json") != "json":
            web_socket.close(1003, "actor.unsupported_websocket_encoding")
            return
        params = loads(unquote(_offer(web_socket, "rivet_conn_params.", "null")))
        connection = Connection(params, web_socket)
        with actor.lock:
            try:
                actor.on_connect(connection)
            except Exception as error:
                _, described = _describe(actor, error)
                connection.send_frame("Error", {"actionId": None, **described})
                web_socket.close(1011, f"{described['group']}.{described['code']}")
                return
            connection.send_frame("Init", {"actorId": actor.id, "connectionId": connection.id})
            actor.connections[connection.id] = connection
        try:
            while (frame := web_socket.receive()) is not None:
                if not self.frame(actor, connection, frame):
                    web_socket.close(1011, "actor.invalid_request")
        finally:
            with actor.lock:
                del actor.connections[connection.id]

    def frame(self, actor, connection, frame):
        """Acts on one frame of a client; False for one that cannot be understood."""
        try:
            body = loads(frame)["body"]
            tag, value = body["tag"], body["val"]
            if tag == "SubscriptionRequest":
                change = connection.events.add if value["subscribe"] else connection.events.discard
                change(value["eventName"])
                return True
            call_id, name, args = value["id"], value["name"], value["args"]
        except (ValueError, KeyError, TypeError):
            return False
        with actor.lock:
            try:
                connection.send_frame("ActionResponse", {"id": call_id, "output": actor.call(connection, name, args)})
            except Exception as error:
                _, described = _describe(actor, error)
                connection.send_frame("Error", {"actionId": call_id, **described})
        return True

    def log_message(self, format, *args):
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        if not isinstance(sys.exc_info()[1], ConnectionError):  # a client that left is no news
            super().handle_error(request, client_address)


def serve(actor_class):
    """Serves actors of a class on the socket that rivet-runnerd hands over, for ever."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        sys.exit("this program is started by rivet-runnerd, which hands it its socket")
    handler = type("Handler", (_Handler,), {"actor_class": actor_class, "actors": {}})
    server = _Server("", handler, bind_and_activate=False)
    server.socket.close()
    server.socket = socket.socket(fileno=3)
    server.serve_forever()


def _parse(text):
    try:
        return loads(text)
    except ValueError as error:
        raise ActorError("invalid_request", f"Not JSON as the protocol has it: {error}", group="actor",
                         status=400) from None


def _offer(web_socket, prefix, default):
    """What a client says in a subprotocol such as `rivet_encoding.json`."""
    return next((word.removeprefix(prefix) for word in web_socket.subprotocols if word.startswith(prefix)), default)


def _describe(actor, error):
    """HTTP status and JSON form of an error."""
    if not isinstance(error, ActorError):
        traceback.print_exception(error)
        error = ActorError("internal_error", "An internal error occurred", group="rivetkit")
    described = {"group": error.group, "code": error.code, "message": str(error), "actor": actor.about()}
    if error.metadata is not None:
        described["metadata"] = error.metadata
    return error.status, described
