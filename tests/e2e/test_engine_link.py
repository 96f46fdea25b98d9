"""Engine mode: what happens to actors when the way to the engine breaks, stalls or swallows."""

import json
import os
import signal
import time

import pytest

from lib import procs
from lib.check import Background
from lib.forwarder import PASS, STALL, SWALLOW, Forwarder
from lib.rt import Runtime, b64
from lib.wait import holds_for, wait_for

pytestmark = pytest.mark.deadline(180)


def answers(actor, within=5):
    """Converged: the actor answers."""
    def asked():
        try:
            return actor.get("/pid", timeout=2).status_code == 200
        except OSError:
            return False
    wait_for(asked, within, "an answer")


# ---- the real engine ----

def test_engine_restarted(own_engine, runner, trace):
    engine = own_engine()
    pool = engine.in_pool()
    daemon = runner(pool, sleep_after="never")
    made = pool.create("probe", "k")
    pid = made.get("/pid").text
    engine.stop()
    engine.start()
    wait_for(lambda: daemon.readyz() == 200, 5, "the way back")
    answers(made)
    assert made.get("/pid").text == pid
    assert len(trace.events("start")) == 1


def test_engine_killed_for_longer_than_the_threshold(own_engine, runner, trace):
    """The actors stop themselves before anybody else could run them; afterwards they run again, once, with their
    state."""
    engine = own_engine()
    pool = engine.in_pool()
    daemon = runner(pool, sleep_after="never")
    made = pool.create("probe", "k", crash_policy="restart")
    assert Runtime(made).put("a", b"1").status == 204
    engine.kill()
    killed = time.time()
    stop = trace.wait("stop", timeout=20)[0]
    wait_for(lambda: not daemon.workers(), 5, "the workers' end")
    assert stop["body"]["reason"] == "lost"
    assert time.time() - killed < 15
    assert daemon.readyz() == 503
    engine.start()
    wait_for(lambda: daemon.readyz() == 200, 5, "readiness")
    assert Runtime(pool.create("probe", "new")).put("a", b"1").status == 204
    answers(made, 90)  # the engine takes up what a killed one left half a minute after its death
    assert Runtime(made).get("a").body == b"1"
    runs = [event["body"]["generation"] for event in trace.events("start") if event["body"]["key"] == "k"]
    assert len(runs) > 1 and runs == sorted(set(runs)), runs
    assert len(daemon.workers()) == 2


@pytest.mark.parametrize("mode", [SWALLOW, STALL])
def test_half_open_link(pool, runner, trace, mode):
    """Nothing comes and nothing breaks: noticed by the pings that stay away."""
    with Forwarder(pool) as link:
        daemon = runner(link, sleep_after="never")
        made = pool.create("probe", "k")
        pid = made.get("/pid").text
        link.mode = mode
        wait_for(lambda: daemon.readyz() == 503, 20, "the loss")
        link.mode = PASS
        wait_for(lambda: daemon.readyz() == 200, 5, "the way back")
        answers(made)
        assert (made.get("/pid").text, len(trace.events("start"))) == (pid, 1)


def test_slow_link(pool, runner):
    with Forwarder(pool) as link:
        runner(link, sleep_after="never")
        made = pool.create("probe", "k")
        answers(made)
        link.rate = 200000
        calls = [Background(made.get, "/download?bytes=200000", timeout=60) for _ in range(4)]
        for call in calls:
            assert len(call.result(60).content) == 200000
        assert len(pool.runners()) == 1


def test_resets_under_traffic(pool, runner, trace):
    """A request may wait or fail; none is run by two processes, and nothing stays broken."""
    with Forwarder(pool) as link:
        runner(link, sleep_after="never")
        made = pool.create("probe", "k")
        made.get("/pid")
        ends = time.monotonic() + 6
        while time.monotonic() < ends:
            link.reset()
            answers(made, 10)
        assert len(trace.events("boot")) == 1


# ---- a fake one ----

@pytest.fixture
def link(runner, fake_engine):
    fake_engine.daemon = runner(fake_engine, sleep_after="never")
    return fake_engine.wait_runner()


def test_first_retry_is_immediate_and_later_ones_back_off(link, fake_engine):
    for number in range(2, 5):
        fake_engine.connections[-1].reset()
        began = time.monotonic()
        fake_engine.wait_runner(number)
        assert time.monotonic() - began < 3
    fake_engine.auto_init = False
    fake_engine.close_at_once = (1011, "core.internal_error")
    fake_engine.connections[-1].reset()
    time.sleep(4)
    assert 2 <= len(fake_engine.connections) - 4 <= 9


def test_attempt_that_was_swallowed_does_not_hold_up_the_next(runner, fake_engine):
    """What was sent while nothing passed is never answered; healing must not wait for it."""
    with Forwarder(fake_engine) as way:
        runner(way, sleep_after="never")
        fake_engine.wait_runner()
        way.mode = SWALLOW
        before = way.accepted
        way.reset()
        wait_for(lambda: way.accepted == before + 3, 15, "three attempts")
        way.mode = PASS
        fake_engine.wait_runner(2, timeout=5)


def test_welcome_that_was_swallowed_does_not_hold_up_the_next(link, fake_engine):
    """Between the upgrade and the engine's word that this is its runner."""
    fake_engine.auto_init = False
    link.reset()
    fake_engine.wait_runner(2)
    fake_engine.auto_init = True
    fake_engine.wait_runner(3, timeout=5)
    wait_for(lambda: fake_engine.daemon.readyz() == 200, 5, "readiness")


def test_going_away_is_followed_at_once(link, fake_engine):
    link.close(1011, "ws.going_away")
    fake_engine.wait_runner(2, timeout=3)


def test_silence_is_a_dead_peer(runner, fake_engine):
    fake_engine.auto_ping = 0.5
    runner(fake_engine, sleep_after="never")
    link = fake_engine.wait_runner()
    link.wait("ToServerPong", 2)
    fake_engine.auto_ping = 3600
    quiet = time.monotonic()
    fake_engine.wait_connection(2, timeout=25)
    assert time.monotonic() - quiet > 5


def test_no_welcome_is_given_up(runner, fake_engine):
    fake_engine.auto_init = False
    runner(fake_engine, options={"start": False}).spawn()
    fake_engine.wait_connection(2, timeout=30)


@pytest.mark.alone
def test_everything_stops_before_the_threshold(runner, fake_engine, trace):
    """Measured from the last ping, with the stop call inside it."""
    fake_engine.lost_threshold_ms = 6000
    fake_engine.auto_ping = 0.5
    daemon = runner(fake_engine, sleep_after="never", stop_grace="20s", environment={"PROBE_STOP": "never"})
    link = fake_engine.wait_runner()
    fake_engine.start_actor(link)
    fake_engine.unlisten()
    lost = time.monotonic()
    wait_for(lambda: trace.events("stop"), 10, "the stop call")
    wait_for(lambda: not daemon.workers(), 10, "the workers' end")
    assert time.monotonic() - lost < 6
    assert trace.events("stop")[0]["body"]["reason"] == "lost"
    assert daemon.running
    fake_engine.listen()
    fake_engine.wait_runner(2)


def test_short_loss_stops_nobody(link, fake_engine, trace):
    actor = fake_engine.start_actor(link)
    pid = link.answer(link.request(actor.id, path="/pid"))[2]
    fake_engine.unlisten()
    time.sleep(3)
    fake_engine.listen()
    again = fake_engine.wait_runner(2)
    assert again.answer(again.request(actor.id, path="/pid"))[2] == pid
    assert not trace.events("stop")


def test_state_calls_without_a_link_fail_named(runner, fake_engine, trace):
    """What was sent may have been done; what was not has not. Both are told before the actor is told to stop."""
    # It has the time to write down what both of its calls came to.
    runner(fake_engine, sleep_after="never", environment={"PROBE_STOP": "never"})
    link = fake_engine.wait_runner()
    actor = fake_engine.start_actor(link)
    fake_engine.auto_kv = False
    for key in "ab":
        said = {"method": "PUT", "target": b64("/v1/actors/self/kv/" + key), "body": "MQ=="}
        link.request(actor.id, "POST", "/rt", body=json.dumps(said).encode())
    link.wait("ToServerKvRequest", 2, where=lambda value: value["data"][0] == "KvPutRequest")
    fake_engine.unlisten()
    # The answers to the requests go nowhere; the probe's diary says what the calls came to.
    said = trace.wait("rt", 2, timeout=20)
    assert [one["status"] for one in said] == [503, 503]
    assert all(json.loads(one["answer"])["metadata"]["indeterminate"] for one in said)
    assert trace.wait("stop")[0]["body"]["reason"] == "lost"


def test_socket_for_an_absent_actor_is_rejected(link, fake_engine):
    """Not accepted, so that the engine looks where the actor is; whatever becomes of the connection meanwhile."""
    pair = link.open_socket(fake_engine.actor().id)

    def said():
        return {tag for each in fake_engine.connections for _, tag, _ in each.tunnel(pair)}
    wait_for(said, 15, "an answer")
    assert said() == {"ToServerWebSocketClose"}


def test_socket_whose_messages_may_be_lost_is_closed(link, fake_engine):
    """What was on its way when the connection broke did not arrive; what the engine has read did."""
    actor = fake_engine.start_actor(link, key="k")
    quiet, loud = link.open_socket(actor.id), link.open_socket(actor.id)
    link.wait_tunnel(quiet, "ToServerWebSocketOpen")
    link.wait_tunnel(loud, "ToServerWebSocketOpen")
    time.sleep(1)
    fake_engine.hold_pongs = True
    link.socket_message(loud, 1, "hello")
    link.wait_tunnel(loud, "ToServerWebSocketMessage")
    link.reset()
    fake_engine.hold_pongs = False
    again = fake_engine.wait_runner(2)
    close = again.wait_tunnel(loud, "ToServerWebSocketClose")[2]
    assert (close["code"], close["reason"].partition("#")[0]) == (1011, "runner.message_lost")
    said = fake_engine.daemon.wait_log(lambda record: "messages to a client may have been lost" in record["msg"])
    assert (said["actor_id"], said["actor_name"], said["actor_key"], said["generation"]) == (actor.id, "probe", "k", 0)
    again.socket_message(quiet, 1, "hello")
    again.wait_tunnel(quiet, "ToServerWebSocketMessage")


def test_answer_of_a_request_from_before_the_reset_is_sent(link, fake_engine, trace, tmp_path):
    actor = fake_engine.start_actor(link)
    pair = link.request(actor.id, path=f"/hold?until={tmp_path}/go")
    trace.wait("request")
    link.reset()
    again = fake_engine.wait_runner(2)
    (tmp_path / "go").touch()
    assert again.answer(pair)[0] == 200


def test_one_line_for_each_trouble(link, fake_engine):
    fake_engine.unlisten()
    daemon = fake_engine.daemon
    wait_for(lambda: daemon.readyz() == 503, 10, "the loss")
    time.sleep(3)
    lines = [record for record in daemon.log_records() if record.get("level") in ("warn", "warning", "error")]
    assert 1 <= len(lines) <= 3, lines
    fake_engine.listen()
    fake_engine.wait_runner(2)
    wait_for(lambda: daemon.readyz() == 200, 10, "readiness")


def test_zombie_that_wakes_does_no_harm(runner, pool, trace):
    """Stopped for longer than the threshold, it finds its actors elsewhere and lets go of its own."""
    first = runner(pool, key="one", sleep_after="never")
    made = pool.create("probe", "k", crash_policy="restart")
    made.get("/pid")
    old = trace.events("boot")[0]["pid"]
    first.send_signal(signal.SIGSTOP)
    try:
        runner(pool, key="two", sleep_after="never")
        trace.wait("start", 2, timeout=60)
    finally:
        os.kill(first.pid, signal.SIGCONT)
    wait_for(lambda: not procs.alive(old), 10, "the zombie's worker's end")
    answers(made, 20)
    holds_for(lambda: len(trace.events("start")) == 2, 2, "peace")
