"""Engine mode: what rivet-runnerctl shows of a runner's actors, and does to them."""

import signal
import struct
import time

import pytest

from lib.check import Background
from lib.ctl import Ctl
from lib.rt import Runtime
from lib.wait import holds_for, wait_for

pytestmark = pytest.mark.deadline(120)

ALARM, ALARM_FAILED = b"\0rivet-runnerd/alarm", b"\0rivet-runnerd/alarm_failed"


def test_alarm_that_was_given_up_is_kept(runner, fake_engine, trace):
    """The sixth attempt is made here, the five before it by whoever wrote the record; and the next to run the actor
    knows of it."""
    daemon = runner(fake_engine, sleep_after="never", environment={"PROBE_ALARM": "500"})
    link = fake_engine.wait_runner()
    actor = fake_engine.actor()
    due = int(time.time() * 1000) - 70000
    store = fake_engine.kv.stores[actor.id]
    store[ALARM] = (struct.pack("<BqqIB", 1, due, due + 62000, 5, 0), 0)
    fake_engine.start_actor(link, actor)
    trace.wait("alarm-answered")
    kept = wait_for(lambda: Ctl(daemon).json("actor", actor.id)["alarm_failed"], what="the note of the failure")
    said = daemon.wait_log(lambda record: record.get("msg") == "alarm given up after six attempts")
    assert (said["actor_id"], said["actor_name"], said["generation"]) == (actor.id, "probe", 0)
    assert kept["due_at"] == due and "500" in kept["reason"] and kept["failed_at"] > due
    wait_for(lambda: list(store) == [ALARM_FAILED], what="the end of the alarm")
    fake_engine.stop_actor(link, actor)
    assert Ctl(daemon).json("actor", actor.id)["alarm_failed"] == kept
    daemon.restart()
    fake_engine.start_actor(fake_engine.wait_runner(2), actor)
    wait_for(lambda: Ctl(daemon).json("actor", actor.id)["alarm_failed"] == kept, what="the note, read again")
    assert len(trace.events("alarm")) == 1


def test_sleep_and_destroy(runner, pool, trace):
    daemon = runner(pool, sleep_after="never")
    ctl, made = Ctl(daemon), pool.create("probe", "k")
    made.get("/pid")
    ctl.run("wake", made.id)  # it is awake
    ctl.run("sleep", made.id)
    daemon.wait_log(lambda record: record.get("msg") == "actor has stopped")
    for words in (["wake", made.id], ["sleep", made.id], ["restart", made.id], ["destroy", made.id],
                  ["kv", made.id, "ls"], ["kv", made.id, "put", "a", "b"]):
        assert "not awake on this runner" in ctl.refused(*words)
    made.wait_asleep()
    made.get("/pid")
    ctl.run("destroy", made.id)
    made.wait_destroyed()
    assert [stop["body"]["reason"] for stop in trace.wait("stop", 2)] == ["sleep", "destroy"]


def test_restart(runner, pool, trace):
    """Nobody asks for the actor: the engine wakes it by itself, once, with its state and its own alarm."""
    ctl = Ctl(runner(pool, sleep_after="never"))
    made = pool.create("probe", "k")
    runtime = Runtime(made)
    runtime.put("a", b"1")
    runtime.call("PUT", "/alarm", {"after": "1h"})
    due, first = runtime.alarm_at(), made.get("/pid").text
    ctl.run("restart", made.id)
    starts = trace.wait("start", 2)
    assert starts[1]["body"]["generation"] > starts[0]["body"]["generation"]
    assert trace.events("stop")[0]["body"]["reason"] == "restart"
    wait_for(lambda: ctl.state(made) == "running", what="the next generation")
    holds_for(lambda: len(trace.events("start")) == 2, 3, "one start")
    assert made.get("/pid").text != first
    assert (runtime.get("a").body, runtime.alarm_at()) == (b"1", due)
    assert made.info().get("error") is None


def test_values(runner, pool):
    daemon = runner(pool, sleep_after="never")
    ctl, made = Ctl(daemon), pool.create("probe", "k")
    Runtime(made).call("PUT", "/alarm", {"after": "1h"})
    value = bytes(range(256)) * 50
    ctl.run("kv", made.id, "put", "a key/with?signs", stdin=value)
    assert ctl.run("kv", made.id, "get", "a key/with?signs").stdout == value
    assert Runtime(made).get("a key/with?signs").body == value
    Runtime(made).put("b", b"word")
    assert ctl.run("kv", made.id, "get", "b").stdout == b"word"
    entries = ctl.json("kv", made.id, "ls")["entries"]
    assert [(entry["key"], entry["bytes"]) for entry in entries] == [("a key/with?signs", len(value)), ("b", 4)]
    assert abs(entries[1]["updated_at"] - time.time() * 1000) < 60000
    assert [entry["key"] for entry in ctl.json("kv", made.id, "ls", "b")["entries"]] == ["b"]
    ctl.run("kv", made.id, "rm", "b")
    assert "no such key" in ctl.refused("kv", made.id, "get", "b")
    assert "2046" in ctl.refused("kv", made.id, "put", "k" * 2047, "v")
    assert "131072" in ctl.refused("kv", made.id, "put", "more", stdin=b"x" * 131073)
    ctl.run("kv", made.id, "put", "full", stdin=b"x" * 131072)
    assert Runtime(made).alarm_at() is not None


def test_values_without_a_link(runner, fake_engine):
    daemon = runner(fake_engine, sleep_after="never")
    actor = fake_engine.start_actor(fake_engine.wait_runner())
    fake_engine.kv.fail = "out of order"
    assert "out of order" in Ctl(daemon).refused("kv", actor.id, "get", "a")
    fake_engine.kv.fail = None
    fake_engine.unlisten()
    wait_for(lambda: daemon.readyz() == 503, what="the loss")
    # Ends with the actor, a moment before the engine could run it elsewhere.
    assert "cannot be reached" in Ctl(daemon).refused("kv", actor.id, "put", "a", "b")
    fake_engine.listen()


@pytest.mark.parametrize("signals, timeout, code", [(1, "2s", 0), (2, "60s", 1)], ids=["drained", "killed"])
def test_a_value_that_does_not_come_does_not_hold_up_the_end(runner, fake_engine, signals, timeout, code):
    """The engine is there and says nothing; the time to drain is all there is, and a second signal ends that, too."""
    daemon = runner(fake_engine, sleep_after="never", options={"args": ["--drain-timeout", timeout]})
    daemon.expected_codes.add(code)
    link = fake_engine.wait_runner()
    actor = fake_engine.start_actor(link)
    fake_engine.auto_kv = False
    call = Background(Ctl(daemon).refused, "kv", actor.id, "get", "a")
    link.wait("ToServerKvRequest", where=lambda value: value["data"][1].get("keys") == [b"a"])
    for _ in range(signals):
        daemon.send_signal(signal.SIGTERM)
        link.wait("ToServerStopping")
    assert daemon.wait_exit(15) == code
    assert "did not answer" in call.result()


def test_what_only_the_engine_can_do(runner, fake_engine, tmp_path):
    daemon = runner(fake_engine)
    assert "engine" in Ctl(daemon).refused("backup", str(tmp_path / "copy"))
    assert not (tmp_path / "copy").exists()
