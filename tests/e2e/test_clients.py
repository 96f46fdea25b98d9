"""The official clients of two generations, unmodified, against the daemon and actors in Python."""

import json
import os
import subprocess

import pytest

from lib.daemon import ROOT, Daemon
from lib.programs import node_22, npm_modules
from lib.wait import SCALE
from lib.worker import PYTHON

CLIENTS = os.path.join(ROOT, "tests", "e2e", "clients")
DEMO = {"command": [PYTHON, os.path.join(ROOT, "docs", "examples", "rivetkit-json", "demo.py")],
        "sleep_after": "never", "stop_grace": "5s"}
TOKEN = "a-token-of-the-tests"

# The first test may have to install the clients.
pytestmark = pytest.mark.deadline(300)


class Client:
    """One version of the client beside one daemon."""

    def __init__(self, version, daemon, env=None):
        self.version = version
        self.daemon = daemon
        self.env = env or {}

    def run(self, subject, token=None):
        """What the script of a subject found out."""
        modules = npm_modules()
        words = [node_22(modules), os.path.join(CLIENTS, "run.mjs"),
                 os.path.join(modules, "rivetkit-" + self.version.replace(".", "-")), self.daemon.url, subject]
        # Nothing but the client: no engine of its own, no helper service.
        env = {"PATH": os.environ["PATH"], "HOME": self.daemon.tmp, "RIVET_RUN_SERVICES": "0", "RIVET_RUN_ENGINE": "0",
               "RIVETKIT_ENGINE_SPAWN": "never", "RIVET_LOG_LEVEL": "silent", "LOG_LEVEL": "silent", **self.env}
        done = subprocess.run([*words, token] if token else words, env=env, capture_output=True, text=True,
                              timeout=55 * SCALE, check=False)
        assert done.returncode == 0, f"{subject}: {done.stderr}"
        return json.loads(done.stdout)


@pytest.fixture(scope="module", params=["2.3", "2.0"])
def version(request):
    return request.param


@pytest.fixture(scope="module")
def module_client(version, tmp_path_factory):
    with Daemon(tmp_path_factory.mktemp("clients"), {"actors": {"demo": DEMO}}) as daemon:
        yield Client(version, daemon)


@pytest.fixture
def client(module_client, request):
    request.node.daemons = [module_client.daemon]
    return module_client


@pytest.fixture
def pooled(version, make_daemon):
    """The same with all actors in few processes."""
    return Client(version, make_daemon({"actors": {"demo": {**DEMO, "isolation": "shared"}}}))


def error(found):
    return found["group"], found["code"]


# ---- one test for each subject ----

def test_handles(client):
    check_handles(client.run("handles"))


def check_handles(found):
    assert error(found["missing"]) == ("actor", "not_found")
    assert (found["first"], found["again"], found["got"], found["byId"]) == (3, 3, 3, 4)
    assert len(set(found["ids"])) == 1
    assert found["other"] == 0
    assert error(found["unknownId"]) == ("actor", "not_found")
    assert error(found["unknownName"]) == ("actor", "not_registered")
    assert "demo" in found["unknownName"]["message"]


def test_create(client):
    found = client.run("create")
    assert (found["count"], found["viaKey"]) == (2, 2)
    assert found["who"]["id"] == found["id"]
    assert (found["who"]["name"], found["who"]["key"]) == ("demo", "c")
    assert error(found["duplicate"]) == ("actor", "duplicate_key")
    assert found["duplicate"]["metadata"] == {"existing_actor_id": found["id"], "key": "c"}
    assert found["otherKey"]


def test_actions(client):
    found = client.run("actions")
    assert found["echo"] == [1, -2.5, "zażółć 🦊", None, True, {"a": [1, {"b": []}]}, []]
    assert found["none"] == []
    assert found["nothing"] is None
    assert found["concurrent"] == list(range(1, 26))
    assert found["byName"] == 35
    assert found["bigint"] == "12345678901234567890"
    assert found["bytes"] == ["Uint8Array", 0, 1, 254, 255]
    assert found["tagged"] == [["$Uint8Array", "not base64"]]
    assert found["large"]


@pytest.mark.parametrize("way", ["http", "connection"])
def test_errors(client, way):
    found = client.run("errors")[way]
    assert error(found["user"]) == ("user", "refused")
    assert found["user"]["message"] == "Refused: too late"
    assert found["user"]["metadata"] == {"reason": "too late", "count": 0}
    assert error(found["internal"]) == ("rivetkit", "internal_error")
    assert "secret" not in json.dumps(found["internal"])
    assert error(found["unknown"]) == error(found["hook"]) == ("actor", "action_not_found")
    assert found["after"] == ["still here"]


def test_fetch(client):
    found = client.run("fetch")
    assert found["get"] == {"status": 200, "count": "7", "body": {
        "method": "GET", "path": "/some/where", "query": "a=1&b=%2f&a=2", "custom": "mine", "body": ""}}
    assert (found["post"]["status"], found["post"]["body"]["body"]) == (201, "hello")
    assert found["remove"]["body"]["method"] == "DELETE"
    assert found["byId"]["body"]["query"] == "q=1"
    assert found["large"]


def test_raw_websocket(client):
    found = client.run("websocket")
    assert found["greeting"] == {"path": "/room/one", "actor": found["id"]}
    assert (found["text"], found["bytes"], found["large"]) == ("text", [0, 128, 255], True)
    assert found["close"] == {"code": 4001, "reason": "so long"}
    assert found["secondClose"]["code"] == 4002


def test_connect(client):
    check_connect(client.run("connect"))


def check_connect(found):
    assert found["counts"] == list(range(1, 11))
    assert found["echo"] == ["a", {"b": [None]}]
    assert found["nothing"] is None
    assert found["audience"] == 2
    assert found["afterDispose"] == 10


def test_events(client):
    check_events(client.run("events"))


def check_events(found):
    assert found["one"] == [[1, 1], [3, 2]], "none after unsubscribing"
    assert found["once"] == [[1, 1]]
    assert found["two"] == [[1, 1], [3, 2], [6, 3]]
    assert found["whisper"] == [[{"psst": "ł"}]]
    assert found["elsewhere"] == []


def test_params(client):
    found = client.run("params")
    assert found["action"] == found["connection"] == {"name": "zoë", "list": [1, 2]}
    assert found["other"] == {"name": "other"}
    assert found["none"] is None
    for refused in (found["refusedAction"], found["refusedConnection"]):
        assert error(refused) == ("user", "no_ticket")
        assert refused["metadata"] == {"ticket": "void"}


def test_destroy(client):
    check_destroy(client.run("destroy"))


def check_destroy(found):
    assert found["record"]["actor_id"] == found["id"]
    assert found["record"]["destroy_ts"] is not None
    assert error(found["byId"]) == ("actor", "not_found")
    assert found["count"] == 0, "nothing of the old actor's state"
    assert found["newId"] != found["id"]


def serialized(key):
    """A key as the API has it in one string."""
    parts = [part.replace("\\", "\\\\").replace("/", "\\/") or "\\0" for part in key]
    return "/".join(parts) if parts else "/"


def test_keys(client):
    found = client.run("keys")
    assert len(found) == 20
    for each in found:
        key = each["key"]
        # The 2.3 client joins the parts of a key with commas on its way to the gateway.
        lost = client.version == "2.3" and (key == [""] or any("," in part for part in key))
        seen = [part for part in ",".join(key).split(",") if part] if lost else key
        assert each["text"] == serialized(seen)
        assert lost or each["resolved"] == each["id"]
    ids = {each["text"]: each["id"] for each in found}
    assert len(set(ids.values())) == len(ids)


def test_input(client):
    found = client.run("input")
    assert found["created"] == found["viaGateway"] == found["unchanged"] == found["sent"]
    assert found["count"] == 42
    assert found["none"] is None


def test_sleep_and_wake(client):
    found = client.run("wake")
    assert found["count"] == 5
    assert found["after"]["id"] == found["before"]["id"]
    assert found["after"]["generation"] == found["before"]["generation"] + 1
    assert found["heard"] == [6], "a connection comes back with its subscriptions"


def test_addressed_by_header(client):
    found = client.run("headers")
    assert found["fetched"]["path"] == "/over/here"
    assert found["fetched"]["query"] == "x=1"
    assert found["socket"] == {"path": "/there", "actor": found["id"]}
    assert (found["connection"], found["action"]) == (1, 1)


def test_token(version, make_daemon):
    client = Client(version, make_daemon({"actors": {"demo": DEMO}}, token=TOKEN))
    found = client.run("token", TOKEN)
    assert (found["action"], found["byId"], found["fetched"]) == (1, 2, "/x")
    if version == "2.0":
        assert found["socket"] is None, "this client sends no token with its sockets"
    else:
        assert (found["socket"], found["connection"]) == ("/with/token", 3)
    found = client.run("token")
    assert error(found["action"]) == error(found["resolve"]) == ("api", "forbidden")


def test_many_actors_in_one_process(pooled):
    check_handles(pooled.run("handles"))
    check_connect(pooled.run("connect"))
    check_events(pooled.run("events"))
    check_destroy(pooled.run("destroy"))
