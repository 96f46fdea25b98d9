"""Engine mode: what rivet-runnerctl shows of a runner's actors, and does to them."""

import struct
import time

import pytest

from lib.ctl import Ctl
from lib.wait import wait_for

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
    assert kept["due_at"] == due and "500" in kept["reason"] and kept["failed_at"] > due
    wait_for(lambda: list(store) == [ALARM_FAILED], what="the end of the alarm")
    fake_engine.stop_actor(link, actor)
    assert Ctl(daemon).json("actor", actor.id)["alarm_failed"] == kept
    daemon.restart()
    fake_engine.start_actor(fake_engine.wait_runner(2), actor)
    wait_for(lambda: Ctl(daemon).json("actor", actor.id)["alarm_failed"] == kept, what="the note, read again")
    assert len(trace.events("alarm")) == 1
