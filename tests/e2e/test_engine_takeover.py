"""Engine mode: one runner key, two runners; and the drain of one into another."""

import signal
import time

import pytest

from lib import procs
from lib.check import Background
from lib.fake_engine import new_pair, open_message, request_message
from lib.peer import OfficialRunner
from lib.rt import Runtime
from lib.wait import wait_for

pytestmark = pytest.mark.deadline(180)

EVICTED = 79


def wait_evicted(daemon):
    """It says so in one line, ends with its code, and takes its workers along."""
    daemon.expected_codes.add(EVICTED)
    assert daemon.wait_exit(10) == EVICTED
    lines = [record for record in daemon.log_records()
             if record.get("level") in ("warn", "warning", "error") and "key" in record.get("msg", "")]
    assert len(lines) == 1, lines
    assert not daemon.workers()


def test_second_daemon_takes_the_actors(runner, pool, trace):
    first = runner(pool, key="the-key", sleep_after="never")
    made = [pool.create("probe", str(number)) for number in range(3)]
    for one in made:
        Runtime(one).put("owner", b"first")
    second = runner(pool, key="the-key", sleep_after="never")
    wait_evicted(first)
    assert {event["body"]["reason"] for event in trace.events("stop")} == {"evicted"}
    for one in made:
        assert Runtime(one).get("owner").body == b"first"
    assert len(second.workers()) == 3
    assert len(pool.runners()) == 1


@pytest.mark.alone
def test_workers_of_the_evicted_are_gone_within_two_seconds(runner, fake_engine, trace):
    """Even those that do not answer the stop call."""
    daemon = runner(fake_engine, sleep_after="never", stop_grace="20s",
                    environment={"PROBE_STOP": "never", "PROBE_TERM": "ignore"})
    link = fake_engine.wait_runner()
    fake_engine.start_actor(link)
    link.close(1000, "ws.eviction")
    closed = time.monotonic()
    wait_for(lambda: not daemon.workers(), 5, "the workers' end")
    assert time.monotonic() - closed < 2.5
    wait_evicted(daemon)
    stop = trace.events("stop")[0]["body"]
    assert stop["reason"] == "evicted" and stop["deadline_ms"] <= 1500
    assert len(fake_engine.connections) == 1


def test_evicted_stays_away_unless_told(runner, fake_engine):
    daemon = runner(fake_engine, key="the-key")
    fake_engine.wait_runner().close(1000, "ws.eviction")
    wait_evicted(daemon)
    daemon.spawn()
    assert daemon.wait_exit(10) == EVICTED
    assert len(fake_engine.connections) == 1
    daemon.args.append("--takeover")
    daemon.start()
    fake_engine.wait_runner(2)


def test_another_key_may_start_after_an_eviction(runner, fake_engine):
    daemon = runner(fake_engine, key="the-key")
    fake_engine.wait_runner().close(1000, "ws.eviction")
    wait_evicted(daemon)
    daemon.env["RIVET_RUNNER_KEY"] = "another"
    daemon.start()
    fake_engine.wait_runner(2)


def test_official_runner_takes_over(runner, pool, tmp_path):
    daemon = runner(pool, key="the-key", sleep_after="never")
    made = pool.create("probe", "k")
    made.get("/pid")
    with OfficialRunner(pool, tmp_path, key="the-key") as official:
        wait_evicted(daemon)
        official.wait("start", actor=made.id)
        wait_for(lambda: made.get("/x").json().get("who") == "official", 20, "its answer")


def test_official_runner_is_taken_over(runner, pool, tmp_path):
    with OfficialRunner(pool, tmp_path) as official:
        made = pool.create("probe", "k")
        assert made.get("/x").json()["who"] == "official"
        daemon = runner(pool, key=pool.runner()["key"], sleep_after="never")
        assert official.wait("disconnected")[0]["reason"].startswith("ws.eviction")
        official.kill()
        wait_for(lambda: made.get("/pid", timeout=10).text.isdigit(), 30, "the daemon's answer")
        assert len(daemon.workers()) == 1


def test_two_that_fight_over_a_key_make_one_eviction(runner, pool):
    """Both are started again whatever they end with, thirty times: a minute of a patient supervisor."""
    both = [runner(pool, key="the-key", sleep_after="never", options={"start": False}) for _ in range(2)]
    ends = []

    def supervise(daemon):
        daemon.expected_codes.add(EVICTED)
        while len(ends) < 30:
            daemon.spawn()
            ends.append(daemon.proc.wait())
    loops = [Background(supervise, daemon) for daemon in both]
    wait_for(lambda: len(ends) >= 30, 100, "thirty ends")
    wait_for(lambda: sum(loop.done() for loop in loops) == 1, 20, "the end of the loser")
    assert set(ends) == {EVICTED}
    assert sum(daemon.logs().count('"registered with the engine"') for daemon in both) <= 2
    pool.wait_runners(1)  # two that came in one moment are two records, until one is let go
    assert pool.create("probe", "k").get("/pid").status_code == 200


def test_zombie_that_wakes_behind_its_successor_does_no_harm(runner, pool, trace, tmp_path):
    """Stopped in the middle of writing state; its key and its actor are another's when it goes on."""
    first = runner(pool, key="the-key", sleep_after="never")
    made = pool.create("probe", "k")
    assert made.post(f"/load?writers=3&file={tmp_path}/written").status_code == 202
    wait_for((tmp_path / "written").exists, 10, "a write")
    old = trace.events("boot")[0]["pid"]
    first.send_signal(signal.SIGSTOP)
    try:
        runner(pool, key="the-key", sleep_after="never")
        trace.wait("start", 2)
        runtime = Runtime(made)
        runtime.put("owner", b"second")
        before = runtime.keys()
    finally:
        first.send_signal(signal.SIGCONT)
    wait_evicted(first)
    assert not procs.alive(old)
    assert (runtime.keys(), runtime.get("owner").body) == (before, b"second")
    assert len(trace.events("start")) == 2


def test_zombie_that_slept_past_the_threshold_is_evicted_too(runner, fake_engine):
    fake_engine.lost_threshold_ms = 5000
    daemon = runner(fake_engine, key="the-key", sleep_after="never")
    link = fake_engine.wait_runner()
    fake_engine.start_actor(link)
    daemon.send_signal(signal.SIGSTOP)
    try:
        link.close(1000, "ws.eviction")
        time.sleep(6)
    finally:
        daemon.send_signal(signal.SIGCONT)
    wait_evicted(daemon)
    assert len(fake_engine.connections) == 1


def test_what_both_are_sent_is_left_to_the_old_one(runner, fake_engine):
    """Until the engine has let go of the old connection; then it asks again where it has no answer."""
    fake_engine.evict_older = False
    runner(fake_engine, key="the-key", sleep_after="never")
    actor = fake_engine.start_actor(fake_engine.wait_runner())
    request, socket = new_pair(), new_pair()
    fake_engine.behind_welcome = [request_message(actor.id, "GET", "/pid", None, None, request),
                                  open_message(actor.id, "/ws", None, socket)]
    runner(fake_engine, key="the-key", sleep_after="never")
    link = fake_engine.wait_runner(2)
    assert link.answer(request) is None
    close = link.wait_tunnel(socket, "ToServerWebSocketClose")[2]
    # Both refuses an open that nobody has accepted, and lets the client of one that somebody has come back, or stay.
    assert (close["code"], close["hibernate"]) == (1012, True)
    assert len(link.tunnel()) == 2
    link.wait_event("ActorStateRunning", actor.id)
    link.open_socket(actor.id, pair=socket, index=1)
    link.wait_tunnel(socket, "ToServerWebSocketOpen")
    assert link.answer(link.request(actor.id, path="/pid"))[0] == 200


@pytest.mark.alone
def test_takeover_under_load(runner, pool, trace):
    """200 requests a second: none that the old one answered is given to the new one too, and those that fail are few."""
    first = runner(pool, key="the-key", sleep_after="never")
    made = pool.create("probe", "k")
    made.get("/pid")
    began, results = time.monotonic(), []

    def load(name):
        for number in range(150):
            time.sleep(max(0, began + number * 0.04 - time.monotonic()))
            target = f"/echo?{name}-{number}"
            try:
                answer = pool.get(made.path(target), timeout=10)
                results.append((target, answer.json()["pid"] if answer.status_code == 200 else 0))
            except OSError:
                results.append((target, 0))
    callers = [Background(load, f"caller-{number}") for number in range(8)]
    time.sleep(1.5)
    runner(pool, key="the-key", sleep_after="never")
    wait_evicted(first)
    for caller in callers:
        caller.result(120)
    failed = [target for target, pid in results if not pid]
    print(f"takeover under load: {len(results)} requests, {len(failed)} failed")
    assert len(failed) < len(results) / 10, failed[:20]
    runs = {}
    for event in trace.events("request"):
        runs.setdefault(event["target"], set()).add(event["pid"])
    old, new = [event["pid"] for event in trace.events("boot")]
    assert {pid for _, pid in results} - {0} == {old, new}
    assert not [target for target, pid in results if pid == old and new in runs[target]]


# ---- drain ----

def test_drain_announces_stops_and_leaves(runner, fake_engine, trace):
    daemon = runner(fake_engine, sleep_after="never")
    link = fake_engine.wait_runner()
    actor = fake_engine.start_actor(link)
    daemon.send_signal(signal.SIGTERM)
    link.wait("ToServerStopping")
    link.send("ToClientCommands", [fake_engine.stop_command(actor)])
    assert link.wait_event("ActorStateStopped", actor.id)[2]["code"] == "Ok"
    assert link.wait_ended() == (1000, "pegboard.runner_shutdown")
    assert daemon.wait_exit() == 0
    assert trace.events("stop")[0]["body"]["reason"] == "drain"


def test_long_drain_is_announced_again(runner, fake_engine):
    """The engine gives a draining runner 15 s from the last announcement."""
    daemon = runner(fake_engine, sleep_after="never", stop_grace="20s", environment={"PROBE_STOP": "7"})
    link = fake_engine.wait_runner()
    actor = fake_engine.start_actor(link)
    daemon.send_signal(signal.SIGTERM)
    link.wait("ToServerStopping")
    link.send("ToClientCommands", [fake_engine.stop_command(actor)])
    link.wait("ToServerStopping", 2, timeout=20)
    link.wait_event("ActorStateStopped", actor.id, timeout=30)
    assert daemon.wait_exit() == 0


def test_drain_does_not_wait_for_an_engine_that_says_nothing(runner, fake_engine):
    daemon = runner(fake_engine, sleep_after="never", options={"args": ["--drain-timeout", "3s"]})
    link = fake_engine.wait_runner()
    fake_engine.start_actor(link)
    began = time.monotonic()
    daemon.send_signal(signal.SIGTERM)
    link.wait("ToServerStopping")
    assert daemon.wait_exit(20) == 0
    assert time.monotonic() - began < 10
    assert not daemon.workers()


def test_end_of_the_drain_by_the_engine_is_no_eviction(runner, fake_engine):
    daemon = runner(fake_engine, sleep_after="never")
    link = fake_engine.wait_runner()
    daemon.send_signal(signal.SIGTERM)
    link.wait("ToServerStopping")
    if not link.ended:
        try:
            link.close(1000, "ws.eviction")
        except Exception:  # pylint: disable=broad-except
            pass
    assert daemon.wait_exit() == 0
    daemon.start()
    fake_engine.wait_runner(2)


def test_no_connection_is_made_while_draining(runner, fake_engine):
    daemon = runner(fake_engine, sleep_after="never", environment={"PROBE_STOP": "3"})
    link = fake_engine.wait_runner()
    fake_engine.start_actor(link)
    daemon.send_signal(signal.SIGTERM)
    link.wait("ToServerStopping")
    link.reset()
    assert daemon.wait_exit() == 0
    assert len(fake_engine.connections) == 1


def test_drain_moves_actors_to_another_runner(runner, pool):
    """Two daemons, clients that try again once: none sees an error."""
    first = runner(pool, key="one", sleep_after="never")
    made = [pool.create("probe", str(number), crash_policy="restart") for number in range(4)]
    for one in made:
        Runtime(one).put("a", one.key.encode())
    second = runner(pool, key="two", sleep_after="never")
    stop, failures = time.monotonic() + 6, []

    def load(one):
        while time.monotonic() < stop:
            for attempt in range(2):
                try:
                    answer = pool.get(one.path("/pid"), timeout=40)
                    if answer.status_code == 200:
                        break
                except OSError as error:
                    answer = error
            else:
                failures.append(str(answer))
            time.sleep(0.02)
    callers = [Background(load, one) for one in made]
    time.sleep(1)
    assert first.stop() == 0
    for caller in callers:
        caller.result(120)
    assert not failures, failures[:5]
    for one in made:
        assert Runtime(one).get("a").body == one.key.encode()
    assert len(second.workers()) == 4
    assert [one["key"] for one in pool.runners() if one["drain_ts"] is None] == ["two"]
