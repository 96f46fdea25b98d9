"""Calls to the daemon's runtime API, from inside a worker."""

import http.client
import os
import socket


class Connection(http.client.HTTPConnection):
    """HTTP over the worker's runtime socket."""

    def __init__(self, path=None, timeout=60):
        super().__init__("runtime", timeout=timeout)
        self.path = path or os.environ["RIVET_RUNTIME_SOCKET"]

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


def call(method, target, body=None, headers=None, connection=None):
    """One call: (status, headers, body). Keeps the connection when one is given."""
    own = connection or Connection()
    try:
        own.putrequest(method, target, skip_accept_encoding=True)
        if body is not None:
            own.putheader("Content-Length", str(len(body)))
        for name, value in (headers or {}).items():
            own.putheader(name, value)
        own.endheaders(body)
        answer = own.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()
    finally:
        if connection is None:
            own.close()
