"""Engine mode: the official clients against the real engine and actors in Python behind the daemon."""

import json
import os

import pytest

from lib.daemon import BINARY, Daemon
from lib.engine import Engine, Hosted
# The same subjects on another ground; pytest runs what it finds here.
from test_clients import (  # noqa: F401  pylint: disable=unused-import
    DEMO, Client, client, error, test_actions, test_connect, test_destroy, test_errors, test_events, test_fetch,
    test_input, test_raw_websocket, test_sleep_and_wake, version)

pytestmark = pytest.mark.deadline(300)


@pytest.fixture(scope="module")
def demo_engine(version, tmp_path_factory):  # noqa: F811
    """Either client knows one pool, `default`, and makes the same actors, so the engine is its own."""
    del version
    with Engine() as engine:
        with Daemon(tmp_path_factory.mktemp("demo"), {"actors": {"demo": DEMO}}, engine=engine.url) as daemon:
            pool = engine.in_pool("default")
            pool.pool = "default"
            pool.wait_ready()
            yield Hosted(pool, daemon, None)


@pytest.fixture(scope="module")
def module_client(version, demo_engine):  # noqa: F811
    """The engine's own call that puts an actor to sleep answers 200 and does nothing for a runner's."""
    ctl = os.path.join(os.path.dirname(BINARY), "rivet-runnerctl")
    words = [ctl, "--runtime-dir", demo_engine.daemon.runtime_dir, "sleep"]
    return Client(version, demo_engine, {"SLEEPER": json.dumps(words), "ASK_AGAIN": "yes"})


def test_create(client):  # noqa: F811
    found = client.run("create")
    assert (found["count"], found["viaKey"]) == (2, 2)
    assert found["who"]["id"] == found["id"]
    assert (found["who"]["name"], found["who"]["key"]) == ("demo", "c")
    # Which of the two is a race inside the engine.
    assert error(found["duplicate"]) in [("actor", "duplicate_key"), ("actor", "destroyed_during_creation")]
    assert found["otherKey"]


def test_params(client):  # noqa: F811
    found = client.run("params")
    # The engine drops a header field whose value is more than ASCII; a connection's parameters come another way.
    assert found["action"] is None
    assert found["connection"] == {"name": "zo\u00eb", "list": [1, 2]}
    assert found["other"] == {"name": "other"}
    assert found["none"] is None
    for refused in (found["refusedAction"], found["refusedConnection"]):
        assert error(refused) == ("user", "no_ticket")
        assert refused["metadata"] == {"ticket": "void"}
