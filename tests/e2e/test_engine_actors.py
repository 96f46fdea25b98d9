"""Engine mode: actors start, sleep, wake, crash and end as the real engine wants them to."""

import base64
import os
import signal
import time

import pytest

from lib import procs
from lib.check import Background, headers_of
from lib.forwarder import Forwarder
from lib.rt import Runtime
from lib.wait import holds_for, wait_for

pytestmark = pytest.mark.deadline(120)

QUICK = "400ms"


def pid_of(actor, within=20):
    """Asks again when an answer does not come: what is sent while the way is broken gets lost in the engine."""
    def asked():
        try:
            return actor.get("/pid", timeout=2).text
        except OSError:
            return None
    return wait_for(asked, within, "an answer")


def generation(actor):
    return int(headers_of(actor.get("/echo").json())["x-rivet-actor-generation"][0])


# ---- start ----

def test_start_call_says_who_it_is(runner, pool, trace):
    runner(pool)
    made = pool.create("probe", "a/key", input=b"\x00\xffinput")
    said = trace.wait("start")[0]["body"]
    assert (said["actor_id"], said["name"], said["key"], said["generation"]) == (made.id, "probe", "a/key", 0)
    assert (said["namespace"], base64.b64decode(said["input"])) == (pool.namespace, b"\x00\xffinput")
    made.wait_running()
    assert made.get("/env").json()["RIVET_ACTOR_ID"] == made.id


def test_no_input_and_empty_input_differ(runner, pool):
    runner(pool)
    assert Runtime(pool.create("probe", "none")).call("GET", "/input").status == 204
    empty = Runtime(pool.create("probe", "empty", input=b"")).call("GET", "/input")
    assert (empty.status, empty.body) == (200, b"")


def test_get_or_create_through_the_gateway(runner, pool):
    runner(pool)
    assert pool.get(pool.gateway_query("probe", "k", "/pid")).text == pool.get(pool.gateway_query("probe", "k", "/pid")).text


def test_request_waits_through_a_slow_start(runner, pool):
    runner(pool, environment={"PROBE_START_DELAY": "2"})
    assert pool.get(pool.gateway_query("probe", "k", "/echo")).status_code == 200


@pytest.mark.parametrize("settings, word", [
    ({"environment": {"PROBE_START_STATUS": "500"}}, "500"),
    ({"environment": {"PROBE_START_DELAY": "60"}, "start_timeout": "4s"}, "4000 ms"),
])
def test_failed_start_is_told_to_the_engine(runner, pool, settings, word):
    runner(pool, **settings)
    made = pool.create("probe", "k")
    error = wait_for(lambda: made.info().get("error"), 60, "an error in the record")
    assert word in error["crashed"]["message"]
    made.wait_asleep()


def test_more_actors_than_slots_are_not_taken(runner, pool):
    runner(pool, env={"RIVET_TOTAL_SLOTS": "1"}, sleep_after="never")
    first = pool.create("probe", "1")
    first.wait_running()
    second = pool.create("probe", "2")
    holds_for(lambda: second.info()["connectable_ts"] is None, 2, "waiting")
    assert first.get("/pid").status_code == 200
    assert pool.runner()["remaining_slots"] == 0


# ---- sleep and wake ----

def test_idle_actor_sleeps_without_an_error(runner, pool, trace):
    daemon = runner(pool, sleep_after=QUICK)
    made = pool.create("probe", "k")
    made.get("/pid")
    made.wait_asleep()
    assert made.info().get("error") is None
    assert {event["body"]["reason"] for event in trace.events("stop")} == {"sleep"}
    wait_for(lambda: not daemon.workers(), 10, "the worker's end")


def test_request_wakes_with_the_next_generation(runner, pool):
    runner(pool, sleep_after=QUICK)
    made = pool.create("probe", "k")
    first = generation(made)
    made.wait_asleep()
    assert generation(made) == first + 1


def test_actor_asks_for_its_sleep(runner, pool):
    runner(pool, sleep_after="never")
    made = pool.create("probe", "k")
    made.get("/pid")
    Runtime(made).leave("sleep")
    made.wait_asleep()
    assert made.info().get("error") is None


def test_alarm_wakes_once(runner, pool, trace):
    runner(pool, sleep_after=QUICK)
    made = pool.create("probe", "k")
    assert Runtime(made).call("PUT", "/alarm", {"after": "3s"}).status == 204
    starts = len(trace.events("start"))
    made.wait_asleep()
    alarm = trace.wait("alarm")[0]
    assert (alarm["body"]["actor_id"], alarm["body"]["attempt"]) == (made.id, 1)
    # The engine wakes a little early; an alarm that is due within a second is due.
    assert alarm["time"] * 1000 >= alarm["body"]["due_at"] - 1000
    made.wait_asleep()
    holds_for(lambda: len(trace.events("start")) == starts + 1 and len(trace.events("alarm")) == 1, 3, "sleep behind the alarm")


def test_alarm_rings_in_a_running_actor(runner, pool, trace):
    runner(pool, sleep_after="never")
    made = pool.create("probe", "k")
    Runtime(made).call("PUT", "/alarm", {"after": "1s"})
    trace.wait("alarm")
    assert len(trace.events("start")) == 1
    assert Runtime(made).alarm_at() is None


def test_alarm_survives_the_daemon(runner, pool, trace):
    daemon = runner(pool, sleep_after=QUICK)
    made = pool.create("probe", "k")
    Runtime(made).call("PUT", "/alarm", {"after": "4s"})
    made.wait_asleep()
    daemon.restart()
    assert trace.wait("alarm")[0]["body"]["actor_id"] == made.id


# ---- the end ----

def test_destroy_through_the_api(runner, pool, trace):
    daemon = runner(pool, sleep_after="never")
    made = pool.create("probe", "k")
    made.get("/pid")
    assert made.destroy().status_code == 200
    trace.wait("stop")
    wait_for(lambda: not daemon.workers(), 10, "the worker's end")
    assert made.info()["destroy_ts"] is not None


def test_actor_asks_for_its_end(runner, pool, trace):
    runner(pool, sleep_after="never")
    made = pool.create("probe", "k")
    made.get("/pid")
    Runtime(made).leave("destroy")
    made.wait_destroyed()
    assert trace.wait("stop")[0]["body"]["reason"] == "destroy"


def test_destroy_answers_what_is_in_flight(runner, pool, tmp_path):
    """The gateway is not told of a destroyed actor: whoever waits would wait for minutes."""
    runner(pool, sleep_after="never", stop_grace="1s")
    made = pool.create("probe", "k")
    made.get("/pid")
    waiting = Background(made.get, f"/hold?until={tmp_path}/never")
    with pool.websocket(made) as client:
        client.send("hello")
        client.recv()
        made.destroy()
        assert client.recv_close()[0] == 1001
    assert waiting.result(20).status_code >= 400


@pytest.mark.parametrize("policy", ["sleep", "restart", "destroy"])
def test_crash_policies(runner, pool, trace, policy):
    runner(pool, sleep_after="never")
    made = pool.create("probe", "k", crash_policy=policy)
    made.get("/pid")
    pid = trace.events("boot")[0]["pid"]
    os.kill(pid, signal.SIGKILL)
    if policy == "sleep":
        made.wait_asleep()
        assert "signal" in str(made.info().get("error")).lower() or "SIGKILL" in str(made.info().get("error"))
        assert generation(made) == 1
    elif policy == "restart":
        trace.wait("start", 2)
        assert generation(made) == 1
    else:
        made.wait_destroyed()


def test_crash_with_code_0_is_a_crash(runner, pool):
    """Reported as a clean end it would be destroyed, its state with it."""
    runner(pool, sleep_after="never")
    made = pool.create("probe", "k", crash_policy="sleep")
    Runtime(made).put("kept", b"yes")
    made.get("/exit?code=0")
    wait_for(lambda: made.get("/pid").status_code == 200, what="an answer of the next worker")
    assert Runtime(made).get("kept").body == b"yes"
    assert generation(made) >= 1


# ---- reconnects and restarts ----

def test_reconnect_runs_nothing_twice(runner, pool, trace):
    with Forwarder(pool) as link:
        runner(link, sleep_after="never")
        made = [pool.create("probe", str(number)) for number in range(3)]
        pids = [one.get("/pid").text for one in made]
        for _ in range(3):
            link.reset()
            assert [pid_of(one) for one in made] == pids
        assert len(trace.events("start")) == 3
        made[0].destroy()
        wait_for(lambda: not procs.alive(int(pids[0])), 10, "the end")
        link.reset()
        assert [pid_of(one) for one in made[1:]] == pids[1:]
        holds_for(lambda: len(trace.events("start")) == 3, 1, "peace")
        assert len(pool.runners()) == 1


def test_restart_of_the_daemon_hands_its_actors_back(runner, pool):
    daemon = runner(pool, key="kept")
    made = pool.create("probe", "k")
    Runtime(made).put("state", b"1")
    daemon.restart()
    assert Runtime(made).get("state").body == b"1"
    assert made.info().get("error") is None


def test_killed_daemon_gets_its_actors_back_at_once(runner, pool, trace):
    """The starts were not acknowledged, so the successor with the same key is told them again."""
    daemon = runner(pool, key="kept", sleep_after="never")
    made = pool.create("probe", "k")
    made.get("/pid")
    daemon.kill()
    began = time.monotonic()
    daemon.restart()
    trace.wait("start", 2)
    pid_of(made)
    # Not by way of being declared lost, which takes 15 s.
    assert time.monotonic() - began < 12
    assert generation(made) == 0
