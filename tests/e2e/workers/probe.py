"""The all-round test worker: what it does on a request is in the path, how it lives is in PROBE_* variables.

PROBE_TRACE           file that gets one JSON line for each event
PROBE_BOOT_DELAY      seconds before it listens
PROBE_ACCEPT_DELAY    seconds between listening and the first accept
PROBE_NOTIFY          sends READY=1 to NOTIFY_SOCKET this many seconds after it listens
PROBE_START_STATUS    status answered to the start call (200)
PROBE_START_DELAY     seconds before that answer
PROBE_STOP            `never`, or seconds before the stop call is answered, or a file it waits for
PROBE_TERM            `ignore`: SIGTERM has no effect
PROBE_ALARM           statuses answered to alarm calls, by attempt; `crash` dies instead
PROBE_HEALTH          file whose existence makes /healthz answer 200 instead of 503
PROBE_ON_START, PROBE_ON_STOP, PROBE_ON_ALARM   `METHOD target [body]`: a runtime API call made at that point
"""

import base64
import hashlib
import http.client
import http.server
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from urllib.parse import parse_qs, urlsplit

import runtime
import wsock

http.client._MAXHEADERS = 1000
BLOCK = b"x" * 65536
GARBAGE = {
    "text": b"this is not HTTP at all\r\n\r\n",
    "binary": bytes(range(256)) * 4,
    "both-lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    "two-lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    "bad-length": b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
    "bad-status": b"HTTP/1.1 9 OK\r\nContent-Length: 0\r\n\r\n",
    "folded": b"HTTP/1.1 200 OK\r\nX-A: b\r\n c\r\nContent-Length: 0\r\n\r\n",
    "bare-cr": b"HTTP/1.1 200 OK\r\nX-A: b\rSet-Cookie: evil=1\r\nContent-Length: 0\r\n\r\n",
    "bad-chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n",
    "huge-head": b"HTTP/1.1 200 OK\r\nX-A: " + b"a" * 200000 + b"\r\nContent-Length: 0\r\n\r\n",
    "empty": b"",
}
gates = threading.Lock()
concurrent = {"now": 0, "most": 0}


def note(event, **fields):
    place = os.environ.get("PROBE_TRACE")
    if not place:
        return
    line = json.dumps({"event": event, "pid": os.getpid(), "time": time.time(), **fields}) + "\n"
    file = os.open(place, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    os.write(file, line.encode())
    os.close(file)


def seconds(name, fallback="0"):
    return float(os.environ.get(name, fallback))


def scripted(name, actor):
    """The runtime API call that PROBE_ON_... asks for."""
    text = os.environ.get(name)
    if not text:
        return
    method, target, *body = text.split(" ", 2)
    status, _, answer = runtime.call(method, target.replace("{id}", actor), body[0].encode() if body else None)
    note("scripted", at=name, status=status, body=answer.decode("utf-8", "replace"))


class Handler(http.server.BaseHTTPRequestHandler):
    """One connection from the daemon."""

    protocol_version = "HTTP/1.1"
    server_version = "probe"

    def log_message(self, format, *args):
        pass

    def __getattr__(self, name):
        if name.startswith("do_"):
            return self.serve
        raise AttributeError(name)

    # ---- reading and answering ----

    def body_parts(self):
        """The request body as it comes in."""
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            while True:
                size = int(self.rfile.readline().split(b";")[0], 16)
                if size == 0:
                    break
                yield self.rfile.read(size)
                self.rfile.readline()
            self.trailers = []
            while (line := self.rfile.readline()) not in (b"\r\n", b""):
                self.trailers.append(line.decode())
            return
        left = int(self.headers.get("Content-Length", 0))
        while left:
            part = self.rfile.read1(min(left, 1 << 20))
            if not part:
                raise ConnectionError("the request body ended early")
            left -= len(part)
            yield part

    def body(self):
        return b"".join(self.body_parts())

    def answer(self, status=200, body=b"", headers=()):
        if isinstance(body, (dict, list)):
            body, headers = json.dumps(body).encode(), [*headers, ("Content-Type", "application/json")]
        elif isinstance(body, str):
            body = body.encode()
        self.send_response_only(status)
        for name, value in headers:
            self.send_header(name, value)
        if status not in (204, 304):
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD" and status not in (204, 304):
            self.wfile.write(body)

    def begin_chunks(self, kind="text/plain"):
        self.send_response_only(200)
        self.send_header("Content-Type", kind)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def chunk(self, data):
        self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))

    def report(self):
        return {"method": self.command, "target": self.path, "version": self.request_version,
                "headers": [[name, value] for name, value in self.headers.items()],
                "pid": os.getpid(), "trailers": getattr(self, "trailers", [])}

    # ---- dispatch ----

    def serve(self):
        self.url = urlsplit(self.path)
        self.query = {name: values[0] for name, values in parse_qs(self.url.query, keep_blank_values=True).items()}
        if self.url.path.startswith("/.rivet/"):
            self.life_cycle(self.url.path.rpartition("/")[2])
            return
        note("request", target=self.path, method=self.command, actor=self.headers.get("x-rivet-actor-id"),
             generation=self.headers.get("x-rivet-actor-generation"), id=self.headers.get("x-rivet-request-id"))
        if self.headers.get("Upgrade", "").lower() == "websocket":
            self.websocket()
            return
        word = self.url.path.strip("/").split("/")[0].replace("-", "_")
        getattr(self, "on_" + word, self.on_echo)()

    def life_cycle(self, word):
        raw = self.body()
        said = json.loads(raw) if raw else {}
        note(word, body=said, headers={name.lower(): value for name, value in self.headers.items()}, method=self.command)
        actor = said.get("actor_id", "")
        scripted("PROBE_ON_" + word.upper(), actor)
        if word == "start":
            time.sleep(seconds("PROBE_START_DELAY"))
            status = int(os.environ.get("PROBE_START_STATUS", 200))
            self.answer(status, os.environ.get("PROBE_START_BODY", ""))
        elif word == "alarm":
            self.answer(self.alarm_status(said["attempt"]))
        else:
            self.stop_call()
            return
        note(word + "-answered", actor=actor)

    def alarm_status(self, attempt):
        script = os.environ.get("PROBE_ALARM", "200").split(",")
        wanted = script[min(attempt, len(script)) - 1]
        if wanted == "crash":
            os._exit(9)
        return int(wanted)

    def stop_call(self):
        how = os.environ.get("PROBE_STOP", "0")
        wsock.wait_out("3600" if how == "never" else how)
        note("stop-answered")  # before: SIGTERM follows the answer at once
        self.answer()

    # ---- plain answers ----

    def on_echo(self):
        digest, length = hashlib.sha256(), 0
        for part in self.body_parts():
            digest.update(part)
            length += len(part)
        self.answer(200, {**self.report(), "length": length, "sha256": digest.hexdigest()})

    def on_pid(self):
        self.answer(200, str(os.getpid()))

    def on_healthz(self):
        self.body()
        self.answer(200 if os.path.exists(os.environ.get("PROBE_HEALTH", "/")) else 503)

    def on_env(self):
        self.answer(200, dict(os.environ))

    def on_status(self):
        self.body()
        self.answer(int(self.query["code"]), self.query.get("body", ""))

    def on_headers(self):
        """Answers with the headers of the query's `json`: a list of pairs."""
        self.answer(200, "headers", [tuple(pair) for pair in json.loads(self.query["json"])])

    def on_sleep(self):
        self.body()
        time.sleep(float(self.query["s"]))
        self.answer(200, str(os.getpid()))

    def on_hold(self):
        """Answers when the file named in the query exists; counts how many wait at once."""
        with gates:
            concurrent["now"] += 1
            concurrent["most"] = max(concurrent["most"], concurrent["now"])
        note("holding")
        while not os.path.exists(self.query["until"]):
            time.sleep(0.02)
        with gates:
            concurrent["now"] -= 1
        self.answer(200, {"most": concurrent["most"]})

    def on_log(self):
        stream = sys.stderr if self.query.get("to") == "stderr" else sys.stdout
        stream.write(self.query["text"])
        stream.flush()
        self.answer()

    # ---- streams ----

    def on_stream(self):
        self.begin_chunks()
        for number in range(int(self.query["count"])):
            self.chunk(b"part %d\n" % number)
            time.sleep(float(self.query.get("every", 0)))
            while not os.path.exists(self.query.get("until", "/")):
                time.sleep(0.02)
        self.wfile.write(b"0\r\n\r\n")

    def on_sse(self):
        self.begin_chunks("text/event-stream")
        for number in range(int(self.query["count"])):
            self.chunk(b"id: %d\ndata: tick\n\n" % number)
            time.sleep(float(self.query.get("every", 0)))
        self.wfile.write(b"0\r\n\r\n")

    def on_until_close(self):
        """A body without a length that ends with the connection."""
        self.close_connection = True
        self.send_response_only(200)
        self.end_headers()
        self.wfile.write(self.query.get("body", "till the end").encode())

    def on_trailers(self):
        self.begin_chunks()
        self.chunk(b"body")
        self.wfile.write(b"0\r\nX-Trailer: late\r\nSet-Cookie: late=1\r\n\r\n")

    def on_interim(self):
        self.wfile.write(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n")
        self.answer(200, "final")

    def on_download(self):
        left = int(self.query["bytes"])
        self.send_response_only(200)
        self.send_header("Content-Length", str(left))
        self.end_headers()
        while left:
            left -= self.wfile.write(BLOCK[:left])
        note("downloaded")

    def on_pour(self):
        """So many bytes in chunks."""
        left = int(self.query["bytes"])
        self.begin_chunks()
        while left:
            self.chunk(BLOCK[:left])
            left -= len(BLOCK[:left])
        self.wfile.write(b"0\r\n\r\n")

    def on_count(self):
        """Reads the body without keeping it."""
        length = sum(len(part) for part in self.body_parts())
        note("counted", length=length)
        self.answer(200, {"length": length})

    def on_duplex(self):
        """Sends every piece of the request body back as soon as it is there."""
        self.begin_chunks()
        for part in self.body_parts():
            self.chunk(part)
        self.wfile.write(b"0\r\n\r\n")

    def on_stall(self):
        """Reads one piece of the body, then nothing until the file named in the query exists."""
        parts = self.body_parts()
        length = len(next(parts))
        note("stalled")
        while not os.path.exists(self.query["until"]):
            time.sleep(0.05)
        self.answer(200, {"length": length + sum(len(part) for part in parts)})

    def on_endless(self):
        """Writes until the daemon closes the connection, and notes that."""
        self.begin_chunks()
        try:
            while True:
                self.chunk(b"tick\n")
                time.sleep(0.02)
        except OSError:
            note("left")

    def on_wait_leave(self):
        """Answers nothing; notes when the daemon closes the connection."""
        note("waiting")
        if not self.connection.recv(1):
            note("left")
        self.close_connection = True

    def on_early(self):
        """Answers before the body was read, and closes."""
        self.close_connection = True
        self.answer(413, "too much", [("Connection", "close")])

    # ---- bad ends ----

    def on_exit(self):
        os._exit(int(self.query.get("code", 1)))

    def on_kill(self):
        os.kill(os.getpid(), int(self.query["signal"]))
        time.sleep(10)

    def on_exit_mid(self):
        self.send_response_only(200)
        self.send_header("Content-Length", "100000")
        self.end_headers()
        self.wfile.write(b"some of it")
        os._exit(1)

    def on_exit_mid_chunks(self):
        self.begin_chunks()
        self.chunk(b"some of it")
        time.sleep(0.3)
        os._exit(1)

    def on_drop(self):
        self.close_connection = True

    def on_drop_mid(self):
        self.close_connection = True
        self.send_response_only(200)
        self.send_header("Content-Length", "100000")
        self.end_headers()
        self.wfile.write(b"some of it")

    def on_garbage(self):
        self.close_connection = True
        self.wfile.write(GARBAGE[self.query["kind"]])

    def on_spawn(self):
        """Starts a grandchild that ignores SIGTERM."""
        child = subprocess.Popen(["/bin/sh", "-c", "trap '' TERM; while :; do sleep 1; done"])
        self.answer(200, str(child.pid))

    def on_orphan(self):
        """Starts a grandchild whose parent ends at once, and which ends by itself soon after, or after ?s= seconds."""
        after = float(self.query.get("s", "0.5"))
        shell = subprocess.run(["/bin/sh", "-c", f"sleep {after} >/dev/null 2>&1 & echo $!"], capture_output=True, check=True)
        self.answer(200, shell.stdout.strip())

    # ---- runtime API ----

    def on_rt(self):
        """Makes the runtime API call described by the JSON body, and answers with what came back."""
        said = json.loads(self.body())
        body = base64.b64decode(said["body"]) if said.get("body") is not None else None
        target = base64.b64decode(said["target"]).decode("latin-1")
        status, headers, got = runtime.call(said["method"], target, body, said.get("headers"))
        note("rt", method=said["method"], target=target, status=status,
             answer=got.decode("utf-8", "replace") if status >= 400 else None)
        self.answer(200, {"status": status, "headers": {name.lower(): value for name, value in headers.items()},
                          "body": base64.b64encode(got).decode()})

    def on_rtraw(self):
        """Sends raw bytes to the runtime socket and answers with everything that comes back within a moment."""
        raw = self.body()
        with socket.socket(socket.AF_UNIX) as peer:
            peer.connect(os.environ["RIVET_RUNTIME_SOCKET"])
            peer.sendall(raw)
            peer.settimeout(float(self.query.get("s", 1)))
            got = b""
            try:
                while part := peer.recv(65536):
                    got += part
            except TimeoutError:
                pass
        self.answer(200, got)

    def on_load(self):
        """Writes numbered keys for ever on several connections; each number acknowledged goes to a file."""
        for writer in range(int(self.query["writers"])):
            threading.Thread(target=write_load, args=(writer, self.query["file"]), daemon=True).start()
        self.answer(202)

    # ---- WebSocket ----

    def websocket(self):
        if self.query.get("refuse") == "at-length":
            self.on_pour() if "chunked" in self.query else self.on_download()
            return
        again = self.headers.get("x-rivet-hibernated") == "true"
        if "refuse" in self.query or (again and "refuse-again" in self.query):
            self.answer(int(self.query.get("refuse") or self.query["refuse-again"]), "no socket here",
                        [("X-Refused", "yes")])
            return
        if again and "crash-again" in self.query and not os.path.exists(self.query["crash-again"]):
            if self.query["crash-again"] != "always":
                os.close(os.open(self.query["crash-again"], os.O_CREAT))
            os._exit(9)
        if again and "answer-again" in self.query:
            note("ws-asked")
            wsock.wait_out(self.query["answer-again"])
        self.close_connection = True
        lines = ["HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade",
                 "Sec-WebSocket-Accept: " + wsock.accept_key(self.headers["Sec-WebSocket-Key"])]
        protocol = self.query.get("protocol-again" if again else "protocol") or self.query.get("protocol")
        if protocol:
            lines.append("Sec-WebSocket-Protocol: " + protocol)
        if "hibernate" in self.query:
            lines.append("X-Rivet-Hibernate: true")
        if "cookie" in self.query:
            lines += ["Set-Cookie: a=1", "Set-Cookie: b=2", "X-Rivet-Error: made.up"]
        self.wfile.write("\r\n".join([*lines, "", ""]).encode())
        session = wsock.Session(self.rfile, self.wfile, self.report(), note)
        note("ws-open", target=self.path, connection=self.headers.get("x-rivet-connection-id"), again=again,
             own=self.headers.get_all("X-Own"), claimed=self.headers.get_all("x-rivet-hibernated"))
        if "hello" in self.query:
            session.send(wsock.TEXT, self.query["hello"].encode())
        if "close" in self.query:
            session.do_close(self.query["close"] + " " + self.query.get("reason", ""))
        if again and "deaf-again" in self.query:
            session.do_deaf(self.query["deaf-again"])
        session.run()


def write_load(writer, place):
    file = os.open(place, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    connection = runtime.Connection()
    number = 0
    while True:
        name = f"{writer}-{number}"
        status, _, _ = runtime.call("PUT", "/v1/actors/self/kv/load-" + name, name.encode(), connection=connection)
        if status != 204:
            return
        os.write(file, (name + "\n").encode())
        number += 1


class Server(http.server.ThreadingHTTPServer):
    """Serves a socket that is already listening."""

    def __init__(self, listening):
        super().__init__(("", 0), Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listening

    def handle_error(self, request, client_address):
        note("worker-error", text=repr(sys.exc_info()[1]))


def listening_socket():
    if os.environ.get("LISTEN_FDS") == "1" and os.environ.get("LISTEN_PID") == str(os.getpid()):
        return socket.socket(fileno=3)
    port = os.environ["PORT"]
    if port.isdigit():
        return socket.create_server(("127.0.0.1", int(port)), backlog=128)
    unix = socket.socket(socket.AF_UNIX)
    unix.bind(os.environ["RIVET_SOCKET"])
    unix.listen(128)
    return unix


def on_term(_number, _frame):
    note("sigterm")
    if os.environ.get("PROBE_TERM") != "ignore":
        note("exit")
        os._exit(0)


def notify_ready():
    time.sleep(seconds("PROBE_NOTIFY"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as peer:
        place = os.environ["NOTIFY_SOCKET"]
        peer.connect("\0" + place[1:] if place.startswith("@") else place)
        peer.send(b"STATUS=up\nREADY=1\n")
    note("notified")


def main():
    signal.signal(signal.SIGTERM, on_term)
    note("boot", worker=os.environ.get("RIVET_WORKER_ID"), actor=os.environ.get("RIVET_ACTOR_ID"),
         generation=os.environ.get("RIVET_ACTOR_GENERATION"))
    time.sleep(seconds("PROBE_BOOT_DELAY"))
    server = Server(listening_socket())
    if "PROBE_NOTIFY" in os.environ:
        threading.Thread(target=notify_ready, daemon=True).start()
    time.sleep(seconds("PROBE_ACCEPT_DELAY"))
    server.serve_forever(poll_interval=3600)


if __name__ == "__main__":
    main()
