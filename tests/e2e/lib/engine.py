"""A real engine under test: its start, its ports, its HTTP interface, its end."""

import glob
import json
import os
import secrets
import shutil
import signal
import subprocess
import tempfile

import requests

from lib.api import Api
from lib.ports import free_ports
from lib.programs import npm_modules
from lib.wait import SCALE, wait_for
from lib.ws import WsClient


def engine_binary():
    """The engine comes with the npm packages of the tests."""
    found = glob.glob(os.path.join(npm_modules(), "@rivetkit", "engine-cli-linux-*", "rivet-engine"))
    assert len(found) == 1, f"no engine for this machine: {found}"
    return found[0]


class Engine(Api):
    """Starts an engine with a fresh directory and stays with it until close()."""

    def __init__(self, token=None, start=True):
        super().__init__(token)
        self.tmp = tempfile.mkdtemp(prefix="rr-engine-")
        self.port, self.peer_port, self.metrics_port = free_ports(3)
        self.address = ("127.0.0.1", self.port)
        self.proc = None
        self._configure()
        if start:
            self.start()

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        self.close()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def _configure(self):
        place = {"datacenter_label": 1, "is_leader": True, "public_url": self.url,
                 "peer_url": f"http://127.0.0.1:{self.peer_port}"}
        config = {"topology": {"datacenter_label": 1, "datacenters": {"default": place}},
                  "guard": {"host": "127.0.0.1", "port": self.port},
                  "api_peer": {"host": "127.0.0.1", "port": self.peer_port},
                  "metrics": {"host": "127.0.0.1", "port": self.metrics_port}, "telemetry": {"enabled": False},
                  # On a busy machine it would leave nineteen of twenty of its workflows lying, for minutes; of a
                  # thousand cores it never sees enough used.
                  "runtime": {"worker_cpu_max": 1000000}}
        if self.token:
            config["auth"] = {"admin_token": self.token}
        with open(os.path.join(self.tmp, "config.json"), "w", encoding="utf-8") as file:
            json.dump(config, file)

    # ---- start and end ----

    def start(self):
        # Nothing of the tester's environment: RUST_BACKTRACE alone makes it five times slower.
        env = {"PATH": os.environ["PATH"], "HOME": self.tmp, "RUST_LOG": "warn",
               "RIVET__FILE_SYSTEM__PATH": os.path.join(self.tmp, "data")}
        with open(os.path.join(self.tmp, "engine.log"), "ab") as log:
            # It must not outlive the tests, however they end.
            self.proc = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", engine_binary(), "start", "--config",
                                          os.path.join(self.tmp, "config.json")],
                                         env=env, cwd=self.tmp, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait_for(self._healthy, 60, "the engine")
        return self

    def _healthy(self):
        assert self.proc.poll() is None, f"the engine ended with {self.proc.returncode}:\n{self.log_tail()}"
        try:
            return self.get("/health", timeout=2).status_code == 200
        except requests.RequestException:
            return False

    def stop(self):
        """As an impatient service manager would: it says that it goes away, then waits for its clients for an hour."""
        self.http.close()
        if self.proc.poll() is not None:
            return
        self.proc.send_signal(signal.SIGTERM)
        try:
            self.proc.wait(2 * SCALE)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self):
        self.http.close()
        if self.proc.poll() is None:
            self.proc.kill()
            self.proc.wait()

    def close(self):
        if self.proc is not None:
            self.kill()
        shutil.rmtree(self.tmp, ignore_errors=True)

    def log_tail(self, lines=40):
        with open(os.path.join(self.tmp, "engine.log"), encoding="utf-8", errors="replace") as file:
            return "\n".join(file.read().splitlines()[-lines:])

    # ---- what it knows ----

    def in_pool(self, namespace=None):
        """The same engine seen by a test that has a pool of its own, in a namespace of its own unless told."""
        word = secrets.token_hex(4)
        if namespace is None:
            namespace = "space-" + word
            self.make_namespace(namespace)
        return Pool(self, "pool-" + word, namespace)

    def make_namespace(self, name):
        answer = self.post("/namespaces", json={"name": name, "display_name": name})
        assert answer.status_code == 200, answer.text


class Pool(Api):
    """One pool of an engine."""

    def __init__(self, engine, pool, namespace):
        super().__init__(engine.token)
        self.engine = engine
        self.pool = pool
        self.namespace = namespace
        self.address = engine.address

    @property
    def url(self):
        return self.engine.url

    def runners(self, **query):
        pairs = "".join(f"&{name}={value}" for name, value in query.items())
        answer = self.get(f"/runners?namespace={self.namespace}&name={self.pool}{pairs}")
        assert answer.status_code == 200, answer.text
        return answer.json()["runners"]

    def wait_ready(self, timeout=40):
        """Actors can be made: the engine has taken note of the pool, a moment after its first runner came."""
        def noted():
            answer = self.get(f"/runner-configs?namespace={self.namespace}")
            return answer.status_code == 200 and self.pool in answer.json()["runner_configs"]
        wait_for(noted, timeout, "the pool")

    def runner(self):
        """The one runner of the pool; the listing lags behind a little."""
        return self.wait_runners(1)[0]

    def wait_runners(self, count, timeout=40):
        wait_for(lambda: len(self.runners()) == count, timeout, f"{count} runners")
        return self.runners()

    def actor_names(self):
        answer = self.get(f"/actors/names?namespace={self.namespace}&limit=1000")
        assert answer.status_code == 200, answer.text
        return answer.json()["names"]

    def websocket(self, actor, rest="/ws", protocols=("rivet",), fields=(), **options):
        """A client's socket to an actor."""
        return WsClient(self.address, actor.path(rest), protocols, fields, **options)


class Hosted(Pool):
    """A pool with the one daemon that runs its actors; for tests that were written for the daemon's own interface."""

    def __init__(self, pool, daemon, trace):
        super().__init__(pool.engine, pool.pool, pool.namespace)
        self.daemon = daemon
        self.trace = trace
        self.tmp = daemon.tmp

    def log_tail(self, lines=40):
        return self.daemon.log_tail(lines)

    def workers(self):
        return self.daemon.workers()
