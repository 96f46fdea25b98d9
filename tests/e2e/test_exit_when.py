"""exit_when: a daemon that ends by itself, for orchestrators."""

import os
import signal

import pytest

from lib import procs
from lib.config import check, refused, settings_of
from lib.wait import holds_for, wait_for
from lib.worker import type_of

BROKEN = ["sh", "-c", "echo no such luck >&2; exit 3"]
# As the first process of a container; the exit code is what unshare passes on, as an orchestrator sees it.
FIRST = {"wrap": ["unshare", "--pid", "--fork", "--mount-proc"], "wrap_forks": True}


def reason(daemon):
    return next(record for record in daemon.log_records() if "exit_when" in record.get("msg", ""))


def test_never_is_the_default(tmp_path):
    _code, output, _errors = check(tmp_path, {})
    assert settings_of(output)["exit_when"] == ("never", "default")
    refused(tmp_path, {"exit_when": "sometimes"}, "exit_when", "never, idle, failed")


def test_idle(make_daemon):
    """While an actor is awake the daemon stays; ten seconds after the last has gone to sleep it ends."""
    types = {"probe": type_of("probe.py", sleep_after="1s"), "awake": type_of("probe.py", sleep_after="never")}
    daemon = make_daemon({"exit_when": "idle", "actors": types})
    awake = daemon.create("awake", "k")
    awake.get("/pid")
    daemon.create("probe", "k").get("/pid")
    holds_for(lambda: daemon.running, 13)
    awake.destroy()
    assert daemon.wait_exit() == 0
    assert reason(daemon)["idle_ms"] >= 10000
    assert reason(daemon)["level"] == "info"


def test_failed(make_daemon):
    """Five starts in a row that fail: code 1, and which actor it was and why."""
    daemon = make_daemon({"exit_when": "failed", "actors": {"bad": {"command": BROKEN}}})
    daemon.expected_codes = {1}
    made = daemon.create("bad", "k", crash_policy="restart")
    assert daemon.wait_exit() == 1
    said = reason(daemon)
    assert said["level"] == "error"
    for word in (made.id, "bad", "5 starts in a row", "exit code 3", "no such luck"):
        assert word in said["why"]


def test_a_failing_actor_ends_nothing_otherwise(make_daemon):
    daemon = make_daemon({"actors": {"bad": {"command": ["false"]}}})
    made = daemon.create("bad", "k", crash_policy="restart")
    daemon.wait_log(lambda record: record.get("failures") == 5 and record.get("actor_id") == made.id, timeout=30)
    holds_for(lambda: daemon.running, 3)


# ---- as the first process of a container ----

def adopted(daemon, made):
    """An orphan of the actor's worker that runs until it is told otherwise, as the daemon's child."""
    before = set(procs.children(daemon.pid))
    made.get("/orphan?s=600")
    return wait_for(lambda: next((pid for pid in set(procs.children(daemon.pid)) - before
                                  if procs.cmdline(pid)[:1] == ["sleep"]), None), what="an orphan")


@pytest.mark.root
def test_failed_as_the_first_process(make_daemon, trace):
    """The orchestrator sees code 1; what still ran was told to stop, and orphans are gone with the container."""
    types = {"bad": {"command": BROKEN}, "probe": type_of("probe.py", trace=trace, sleep_after="never")}
    daemon = make_daemon({"exit_when": "failed", "actors": types}, **FIRST)
    daemon.expected_codes = {1}
    orphan = adopted(daemon, daemon.create("probe", "k"))
    daemon.create("bad", "k", crash_policy="restart")
    assert daemon.wait_exit() == 1
    assert "5 starts in a row" in reason(daemon)["why"]
    assert [event["body"]["reason"] for event in trace.events("stop")] == ["drain"]
    assert not procs.alive(orphan)


@pytest.mark.root
def test_idle_as_the_first_process(make_daemon, trace):
    """An orphan is no actor: it is reaped when it ends, and keeps nobody from ending."""
    daemon = make_daemon({"exit_when": "idle", "actors": {"probe": type_of("probe.py", trace=trace, sleep_after="1s")}}, **FIRST)
    made = daemon.create("probe", "k")
    first, second = adopted(daemon, made), adopted(daemon, made)
    os.kill(first, signal.SIGKILL)
    wait_for(lambda: not os.path.exists(f"/proc/{first}"), what="the end of an orphan")
    assert daemon.wait_exit() == 0
    assert reason(daemon)["idle_ms"] >= 10000
    assert [event["body"]["reason"] for event in trace.events("stop")] == ["sleep"]
    assert not procs.alive(second)


@pytest.mark.root
@pytest.mark.parametrize("when", ["idle", "failed"])
def test_term_drains_the_first_process(make_daemon, trace, when):
    daemon = make_daemon({"exit_when": when, "actors": {"probe": type_of("probe.py", trace=trace, sleep_after="never")}}, **FIRST)
    adopted(daemon, daemon.create("probe", "k"))
    assert daemon.stop() == 0
    assert [event["body"]["reason"] for event in trace.events("stop")] == ["drain"]
    assert not [record for record in daemon.log_records() if "exit_when" in record.get("msg", "")]


# ---- with an engine ----

def test_failed_in_engine_mode(make_daemon, fake_engine):
    """The engine starts it again and again; the last failures are told before the daemon ends."""
    daemon = make_daemon({"exit_when": "failed", "actors": {"bad": {"command": BROKEN}}}, engine=fake_engine.url)
    daemon.expected_codes = {1}
    link = fake_engine.wait_runner()
    made = fake_engine.actor("bad", "k")

    def start_again():
        told = link.events(made.id, made.generation)
        if made.generation < 0 or any(event[1] == "ActorStateStopped" for event in told):
            fake_engine.start_actor(link, made, wait=False)

    def ended():
        if not link.messages("ToServerStopping"):  # behind it no engine starts anything
            start_again()
        return not daemon.running

    wait_for(ended, 60, "the end of the daemon", interval=0.2)
    assert daemon.wait_exit() == 1
    said = reason(daemon)
    for word in (made.id, "bad", "5 starts in a row", "exit code 3", "no such luck"):
        assert word in said["why"]
    failed = [event[2] for event in link.events(made.id) if event[1] == "ActorStateStopped"]
    assert len(failed) >= 5


def test_idle_in_engine_mode(make_daemon, fake_engine, trace):
    """Idle is counted from the end of the last actor; the engine is told before the daemon goes."""
    types = {"probe": type_of("probe.py", trace=trace, sleep_after="never")}
    daemon = make_daemon({"exit_when": "idle", "actors": types}, engine=fake_engine.url)
    link = fake_engine.wait_runner()
    made = fake_engine.start_actor(link)
    holds_for(lambda: daemon.running, 2)
    fake_engine.stop_actor(link, made)
    assert daemon.wait_exit() == 0
    assert reason(daemon)["idle_ms"] >= 10000
    assert link.messages("ToServerStopping")
