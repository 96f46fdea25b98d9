"""Programs that know nothing of the daemon run as workers as they are, and so do the examples."""

import concurrent.futures
import hashlib
import json
import os
import random
import re
import subprocess
import time
from dataclasses import dataclass
from typing import Callable

import pytest

from lib import procs
from lib.daemon import ROOT, Daemon
from lib.programs import go_build, node_22, npm_modules, program, python_module
from lib.wait import SCALE, wait_for
from lib.worker import PYTHON
from lib.ws import WsClient

MATRIX = os.path.join(ROOT, "tests", "e2e", "matrix")
EXAMPLES = os.path.join(ROOT, "docs", "examples")
LARGE = bytes(index % 251 for index in range(65536)) * 512

# The first test may have to install or build what the others only use.
pytestmark = pytest.mark.deadline(300)


def node(script, **settings):
    modules = npm_modules()
    return {"command": [node_22(modules), os.path.join(MATRIX, script)], "environment": {"NODE_PATH": modules},
            **settings}


def uvicorn(app, socket, **settings):
    python_module("starlette", "python3-starlette")
    python_module("fastapi", "python3-fastapi")
    python_module("websockets", "python3-websockets")
    command = f'exec "$0" --app-dir "$1" --log-level warning {socket} "$2"'
    return {"command": ["/bin/sh", "-c", command, program("uvicorn", "uvicorn"), MATRIX, app], **settings}


def gunicorn(_place):
    python_module("flask", "python3-flask")
    return {"command": [program("gunicorn", "gunicorn"), "--chdir", MATRIX, "--worker-class", "gthread", "--threads",
                        "8", "flask_app:app"], "ready": "notify"}


def go(place, **settings):
    return {"command": [go_build(os.path.join(MATRIX, "server.go"), str(place / "server"))], **settings}


def nginx(place, **settings):
    prefix = place / "nginx"
    prefix.mkdir(mode=0o755)
    return {"command": ["/bin/sh", os.path.join(MATRIX, "nginx.sh"), program("nginx", "nginx-light"), str(prefix)],
            **settings}


@dataclass(frozen=True)
class Program:
    """One line of the matrix: its settings, made in a directory of its own, and what it offers."""

    settings: Callable
    offers: frozenset = frozenset({"http", "bodies", "connection"})


HTTP_ONLY = frozenset({"http", "connection"})
ASGI = frozenset({"http", "bodies", "websocket"})
PROGRAMS = {
    "node-http-fd": Program(lambda place: node("node_http.cjs")),
    "node-http-bind": Program(lambda place: node("node_http.cjs", serve="bind")),
    "node-http-tcp": Program(lambda place: node("node_http.cjs", serve="tcp")),
    "express-bind": Program(lambda place: node("express.cjs", serve="bind")),
    "fastify-bind": Program(lambda place: node("fastify.cjs", serve="bind")),
    "fastify-tcp-path": Program(lambda place: node("fastify.cjs", serve="tcp", ready="/hello?x=0")),
    "ws-fd": Program(lambda place: node("ws.cjs"), frozenset({"websocket"})),
    "starlette-fd": Program(lambda place: uvicorn("starlette_app:app", "--fd 3"), ASGI),
    "fastapi-bind": Program(lambda place: uvicorn("fastapi_app:app", '--uds "$RIVET_SOCKET"', serve="bind"), ASGI),
    "fastapi-tcp-path": Program(lambda place: uvicorn("fastapi_app:app", '--port "$PORT"', serve="tcp",
                                                      ready="/hello?x=0"), ASGI),
    "gunicorn-flask-notify": Program(gunicorn, frozenset({"http", "bodies"})),
    "go-fd": Program(go),
    "go-tcp": Program(lambda place: go(place, serve="tcp")),
    "nginx-fd": Program(nginx, HTTP_ONLY),
    "nginx-bind": Program(lambda place: nginx(place, serve="bind"), HTTP_ONLY),
}


def programs(*offer):
    """Runs a test with every program that offers all this."""
    names = [name for name, each in PROGRAMS.items() if each.offers.issuperset(offer)]
    return pytest.mark.parametrize("served", names, indirect=True)


@pytest.fixture(scope="module")
def served(request, tmp_path_factory):
    """A daemon with one program as its actor type, and an actor of it."""
    place = tmp_path_factory.mktemp(request.param)
    settings = {"sleep_after": "never", "stop_grace": "20s", **PROGRAMS[request.param].settings(place)}
    with Daemon(place, {"actors": {"program": settings}}) as daemon:
        yield daemon.create("program", "one")


@pytest.fixture(autouse=True)
def logs_of(request):
    """Has the daemon's log shown when a test with a program fails."""
    if "served" in request.fixturenames:
        request.node.daemons = [request.getfixturevalue("served").api]


def bytes_in_parts(data):
    """A body of unknown length, which goes out chunked."""
    for start in range(0, len(data), 100_000):
        yield data[start:start + 100_000]


def sha256_of(answer):
    found = hashlib.sha256()
    for part in answer.iter_content(1 << 16):
        found.update(part)
    return found.hexdigest()


# ---- programs nobody here wrote ----

@programs("http")
def test_get(served):
    answer = served.get("/hello?x=1")
    assert answer.status_code == 200
    assert re.fullmatch(r"hello from \S+, x=1", answer.text)


@programs("http")
def test_not_found(served):
    assert served.get("/no/such/page").status_code == 404


@programs("bodies")
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_post_echo(served, framing):
    body = random.Random(1).randbytes(300_000)
    answer = served.post("/echo", data=body if framing == "length" else bytes_in_parts(body),
                         headers={"Content-Type": "application/x-noise"})
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("application/x-noise")
    assert answer.content == body


@programs("bodies")
def test_large_answer(served):
    with served.get("/large", stream=True) as answer:
        assert answer.status_code == 200
        assert sha256_of(answer) == hashlib.sha256(LARGE).hexdigest()


@programs("bodies")
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_large_upload(served, framing):
    body = LARGE if framing == "length" else bytes_in_parts(LARGE)
    answer = served.post("/digest", data=body, headers={"Content-Type": "application/octet-stream"})
    assert answer.status_code == 200
    assert answer.text == hashlib.sha256(LARGE).hexdigest()


@programs("http")
def test_many_requests(served):
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda number: served.get(f"/hello?x={number}").text, range(200)))
    assert [text.rpartition("=")[2] for text in found] == [str(number) for number in range(200)]
    assert len(served.api.workers()) <= 1


@programs("connection")
def test_connections_are_kept(served):
    """The program itself says which request of its connection it has just seen."""
    assert max(int(served.get("/connection").text) for _ in range(20)) >= 10


@programs("websocket")
def test_websocket(served):
    with WsClient(served.api.address, served.path("/ws"), protocols=["other", "chat"]) as client:
        assert client.protocol == "chat"
        for message in ("zażółć 🦊", b"\x00\xff" * 1000, "", "x" * 200_000, bytes(1 << 20)):
            client.send(message)
            assert client.recv() == message
        client.send("bye")
        assert client.recv_close()[0] == 4001


@programs("websocket")
def test_websocket_closed_by_client(served):
    with WsClient(served.api.address, served.path("/ws"), protocols=["chat"]) as client:
        client.send("hello")
        assert client.recv() == "hello"
        assert client.close(4002, "enough")[0] == 4002


@programs("http")
def test_sleeps_in_time_and_wakes(served):
    assert served.get("/hello?x=1").status_code == 200
    before = time.monotonic()
    served.sleep()
    served.wait_asleep()
    assert time.monotonic() - before < 15 * SCALE  # by itself, that is: SIGKILL would come after 20 s
    served.api.wait_workers(0)
    assert served.get("/hello?x=2").text.endswith("x=2")
    assert not [record for record in served.api.log_records() if "SIGKILL" in str(record)]


@pytest.mark.parametrize("served", ["nginx-fd", "nginx-bind"], indirect=True)
def test_nginx_stores_and_serves(served):
    assert served.request("PUT", "/large.bin", data=bytes_in_parts(LARGE)).status_code in (201, 204)
    with served.get("/large.bin", stream=True) as answer:
        assert int(answer.headers["content-length"]) == len(LARGE)
        assert sha256_of(answer) == hashlib.sha256(LARGE).hexdigest()
    part = served.get("/large.bin", headers={"Range": "bytes=65530-65540"})
    assert part.status_code == 206
    assert part.content == LARGE[65530:65541]
    assert served.request("DELETE", "/large.bin").status_code == 204


@pytest.mark.parametrize("served", ["nginx-fd", "nginx-bind"], indirect=True)
def test_nginx_leaves_nobody_behind(served):
    """nginx writes its title over its environment, so the general check does not see it."""
    prefix = served.api.config["actors"]["program"]["command"][-1]
    served.get("/hello?x=1")
    with open(os.path.join(prefix, "nginx.pid"), encoding="ascii") as file:
        master = int(file.read())
    family = [master, *procs.children(master)]
    assert len(family) == 2
    served.sleep()
    served.wait_asleep()
    wait_for(lambda: not any(map(procs.alive, family)), what="the end of nginx")


# ---- the examples ----

def example_counter():
    return {"command": [PYTHON, os.path.join(EXAMPLES, "counter", "counter.py")], "stop_grace": "5s"}


def test_counter_page(make_daemon):
    daemon = make_daemon({"actors": {"counter": example_counter()}})
    page = daemon.get(daemon.gateway_query("counter", "first", "/"))
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert '<output id="count">0</output>' in page.text
    assert not re.search(r'(src|href)=|https?:', page.text), "the page loads something from elsewhere"
    for count in (1, 2):
        answer = daemon.post(daemon.gateway_query("counter", "first", "/increment"))
        assert answer.json() == {"count": count}
    assert '<output id="count">2</output>' in daemon.get(daemon.gateway_query("counter", "first", "/")).text
    assert daemon.get(daemon.gateway_query("counter", "second", "/count")).json() == {"count": 0}


def test_counter_loses_nothing(make_daemon):
    daemon = make_daemon({"actors": {"counter": example_counter()}})
    path = daemon.gateway_query("counter", "first", "/increment")
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        counts = list(pool.map(lambda _: daemon.post(path).json()["count"], range(100)))
    assert sorted(counts) == list(range(1, 101))
    daemon.kill()
    daemon.start()
    assert daemon.get(daemon.gateway_query("counter", "first", "/count")).json() == {"count": 100}
    assert daemon.post(path).json() == {"count": 101}


def test_example_c(make_daemon, tmp_path):
    binary = str(tmp_path / "worker")
    subprocess.run([program("cc", "gcc"), "-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-o", binary,
                    os.path.join(EXAMPLES, "c", "worker.c")], check=True)
    worker = make_daemon({"actors": {"c": {"command": [binary]}}}).create("c", "one")
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: worker.get("/").content, range(500)))
    assert set(answers) == {b"Hello from a durable actor in C\n" * 4}
    assert len(worker.post("/", data=LARGE).content) == 128
    head = worker.request("HEAD", "/")
    assert (head.headers["content-length"], head.content) == ("128", b"")


def test_example_shell(make_daemon):
    program("socat", "socat")
    with open(os.path.join(EXAMPLES, "sh", "rivet-runnerd.json"), encoding="utf-8") as file:
        config = json.load(file)
    config["actors"]["shell"]["directory"] = ROOT
    daemon = make_daemon(config)
    shell = daemon.create("shell", "bourne")
    assert shell.get("/").text == "Hello from shell bourne\n"
    assert shell.post("/", data=b"louder " * 10_000).content == b"LOUDER " * 10_000
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert all(pool.map(lambda _: shell.get("/").ok, range(40)))
    assert shell.request("DELETE", "/").status_code == 405


def test_example_node(make_daemon):
    command = [node_22(npm_modules()), os.path.join(EXAMPLES, "node", "worker.mjs")]
    note = make_daemon({"actors": {"note": {"command": command, "stop_grace": "5s"}}}).create("note", "one")
    assert note.get("/note").status_code == 404
    text = "buy milk\n" * 10_000
    assert note.request("PUT", "/note", data=text).status_code == 204
    note.sleep()
    note.wait_asleep()
    assert note.get("/note").text == text
