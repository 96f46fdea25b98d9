"""A counter with a page of its own: the smallest actor that keeps something.

    rivet-runnerd --foreground --actor counter -- /usr/bin/python3 counter.py

Every actor (first, second, ...) is a process of this program with a count of its own. The count lives in
the actor's durable key-value store: once an increment is answered, it survives even a power cut.
"""

import http.client
import json
import os
import socket
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Counter</title>
<style>
  body { font: 1.1rem/1.5 system-ui, sans-serif; display: grid; place-content: center;
         min-height: 100vh; margin: 0; text-align: center; color-scheme: light dark; }
  output { display: block; font-size: 6rem; line-height: 1.2; font-variant-numeric: tabular-nums; }
  button { font: inherit; padding: .5rem 1.5rem; border-radius: .5rem; cursor: pointer; }
  #problem { min-height: 1.5rem; color: #c22; }
</style>
<main>
  <output id="count">__COUNT__</output>
  <button id="add">Add one</button>
  <p id="problem" role="status"></p>
</main>
<script>
  // The address names the actor in its query, so the query has to stay on every request.
  const address = location.pathname.replace(/\\/$/, "") + "/increment" + location.search;
  const count = document.getElementById("count"), problem = document.getElementById("problem");
  document.getElementById("add").onclick = async () => {
    try {
      const answer = await fetch(address, { method: "POST" });
      if (!answer.ok) throw new Error(await answer.text());
      count.textContent = (await answer.json()).count;
      problem.textContent = "";
    } catch (error) {
      problem.textContent = "Not counted: " + error.message;
    }
  };
</script>
</html>
"""


class RuntimeConnection(http.client.HTTPConnection):
    """HTTP to the runtime API of this process, which is a Unix socket."""

    def __init__(self):
        super().__init__("localhost")

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(os.environ["RIVET_RUNTIME_SOCKET"])


def runtime_call(method, path, body=None):
    """Status and body of one call about this process's own actor."""
    connection = RuntimeConnection()
    try:
        connection.request(method, "/v1/actors/self" + path, body)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


class Counter:
    """The durable number; read and written under one lock, so that no increment is lost."""

    def __init__(self):
        self.lock = threading.Lock()

    def _read(self):
        status, value = runtime_call("GET", "/kv/count")
        if status == 404:
            return 0
        if status != 200:
            raise OSError(f"reading the count: {status} {value.decode()}")
        return int(value)

    def get(self):
        with self.lock:
            return self._read()

    def increment(self):
        with self.lock:
            count = self._read() + 1
            status, answer = runtime_call("PUT", "/kv/count", str(count).encode())
            if status != 204:
                raise OSError(f"writing the count: {status} {answer.decode()}")
            return count


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # one write for head and body

    def do_GET(self):
        path = self.path.partition("?")[0]
        if path == "/":
            self.count_answer("text/html; charset=utf-8",
                              lambda: PAGE.replace("__COUNT__", str(counter.get())))
        elif path == "/count":
            self.count_answer("application/json", lambda: as_json(counter.get()))
        else:
            self.answer(404, "text/plain", "not found\n")

    do_HEAD = do_GET

    def do_POST(self):
        if "Transfer-Encoding" in self.headers:
            self.close_connection = True  # no request here needs a body: leave it unread
        else:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path.partition("?")[0] == "/increment":
            self.count_answer("application/json", lambda: as_json(counter.increment()))
        else:
            self.answer(404, "text/plain", "not found\n")

    def count_answer(self, content_type, text):
        try:
            status, text = 200, text()
        except OSError as error:
            status, content_type, text = 503, "text/plain", f"{error}\n"
        self.answer(status, content_type, text)

    def answer(self, status, content_type, text):
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format, *args):
        pass


def as_json(count):
    return json.dumps({"count": count}) + "\n"


def main():
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        sys.exit("counter.py is started by rivet-runnerd, which hands it its socket")
    server = ThreadingHTTPServer("", Handler, bind_and_activate=False)
    server.socket.close()
    server.socket = socket.socket(fileno=3)
    server.serve_forever()


counter = Counter()

if __name__ == "__main__":
    main()
