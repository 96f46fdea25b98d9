"""When an actor wakes, sleeps, stops, is destroyed, crashes; and what requests feel of it."""

import resource
import select
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from lib import procs
from lib.check import Background, code_of, headers_of, together, touch
from lib.rawhttp import RawConnection
from lib.rt import Runtime
from lib.wait import holds_for, wait_for
from lib.worker import type_of
from lib.ws import WsClient

QUICK = "400ms"


def generation(actor):
    return int(headers_of(actor.get("/echo").json())["x-rivet-actor-generation"][0])


def running(actor):
    return actor.info()["connectable_ts"] is not None


def wait_exchanges(daemon, count):
    """Until so many requests are with the daemon, answered or waiting."""
    wait_for(lambda: f"rivet_runnerd_exchanges {count}\n" in daemon.admin("/metrics").text, what=f"{count} requests")


# ---- sleep and wake ----

def test_created_actor_starts_without_being_asked(probe, trace):
    made = probe(sleep_after=QUICK).create("probe", "k")
    assert trace.wait("start")[0]["body"]["actor_id"] == made.id
    made.wait_asleep()


def test_idle_actor_sleeps(probe, trace):
    daemon = probe(sleep_after=QUICK)
    made = daemon.create("probe", "k")
    made.get("/pid")
    made.wait_asleep()
    assert daemon.workers() == []
    assert {event["body"]["reason"] for event in trace.events("stop")} == {"sleep"}


def test_request_wakes_with_the_next_generation(probe):
    made = probe().create("probe", "k")
    first = generation(made)
    made.sleep()
    made.wait_asleep()
    assert generation(made) == first + 1
    assert not made.sleeping()


def test_generation_agrees_everywhere(probe, trace):
    made = probe().create("probe", "k")
    number = generation(made)
    assert trace.events("start")[0]["body"]["generation"] == number
    assert made.get("/env").json()["RIVET_ACTOR_GENERATION"] == str(number)
    assert Runtime(made).call("GET").json()["generation"] == number


def test_sleep_never(probe):
    made = probe(sleep_after="never").create("probe", "k")
    made.get("/pid")
    holds_for(lambda: running(made), 1.5, "being awake")


def test_request_in_flight_keeps_awake(probe, trace):
    made = probe(sleep_after=QUICK).create("probe", "k")
    assert made.get("/sleep?s=1.5").status_code == 200
    request = trace.events("request")[0]
    stop = trace.wait("stop", pid=request["pid"])[0]
    assert stop["time"] - request["time"] > 1.5


def test_each_request_starts_the_idle_time_anew(probe):
    """Two requests less than `sleep_after` apart, the time they take included, reach the same worker."""
    made = probe(sleep_after="1s").create("probe", "k")
    began, pid, close = time.monotonic(), made.get("/pid").text, 0
    while close < 6:
        time.sleep(0.25)
        again, then = time.monotonic(), made.get("/pid").text
        if time.monotonic() - began < 1:
            assert then == pid
            close += 1
        began, pid = again, then


def test_open_websocket_keeps_awake(probe):
    daemon = probe(sleep_after=QUICK)
    made = daemon.create("probe", "k")
    with WsClient(daemon.address, made.path("/ws")) as socket:
        holds_for(lambda: running(made), 1.5, "being awake")
        socket.send("still there")
        assert socket.recv() == "still there"
        socket.close()
    made.wait_asleep()


def test_websocket_wakes(probe):
    daemon = probe()
    made = daemon.create("probe", "k")
    made.get("/pid")
    made.sleep()
    made.wait_asleep()
    with WsClient(daemon.address, made.path("/ws")) as socket:
        socket.send("hello")
        assert socket.recv() == "hello"


def test_alarm_wakes(probe, trace):
    """One set at the last moment, lest it rings before the sleep."""
    made = probe(environment={"PROBE_ON_STOP": 'PUT /v1/actors/self/alarm {"after":"500ms"}'}).create("probe", "k")
    made.wait_running()
    made.sleep()
    assert trace.wait("scripted")[0]["status"] == 204
    alarm = trace.wait("alarm")[0]
    assert alarm["body"]["actor_id"] == made.id
    assert alarm["body"]["attempt"] == 1
    assert alarm["headers"]["x-rivet-lifecycle"] == "alarm"
    assert alarm["time"] * 1000 >= alarm["body"]["due_at"]
    assert alarm["pid"] != trace.events("boot")[0]["pid"]


def test_alarm_rings_in_a_running_actor(probe, trace):
    made = probe().create("probe", "k")
    runtime = Runtime(made)
    assert runtime.call("PUT", "/alarm", {"after": "300ms"}).status == 204
    assert trace.wait("alarm")[0]["pid"] == trace.events("boot")[0]["pid"]
    wait_for(lambda: runtime.alarm_at() is None, what="a cleared alarm")


def test_sleep_by_the_worker(probe, trace):
    made = probe().create("probe", "k")
    Runtime(made).leave("sleep")
    assert trace.wait("rt")[0]["status"] == 202
    made.wait_asleep()
    assert trace.events("stop")[0]["body"]["reason"] == "sleep"


def test_sleep_by_the_api_of_a_sleeping_actor(probe):
    made = probe().create("probe", "k")
    made.get("/pid")
    assert made.sleep().status_code == 200
    made.wait_asleep()
    assert made.sleep().status_code == 200


def test_sleep_asked_for_before_the_start_is_done(probe, trace):
    made = probe(environment={"PROBE_ON_START": "POST /v1/actors/self/sleep"}).create("probe", "k")
    Background(made.get, "/pid")
    assert trace.wait("scripted")[0]["status"] == 202
    assert trace.wait("stop")[0]["body"]["reason"] == "sleep"


def test_sleep_by_the_api_waits_for_the_end_of_a_start(probe, trace):
    """The request that began the start is answered, and the worker gets its stop call."""
    daemon = probe(environment={"PROBE_START_DELAY": "2"})
    made = daemon.create("probe", "k")
    asking = Background(made.get, "/pid")
    wait_exchanges(daemon, 1)
    trace.wait("start")
    assert made.sleep().status_code == 200
    assert asking.result().status_code == 200
    [stop] = trace.wait("stop")
    assert stop["body"]["reason"] == "sleep"
    assert len(trace.events("boot")) == 1


def test_timestamps_tell_the_state(probe):
    made = probe().create("probe", "k")
    assert made.record["start_ts"] is None
    made.get("/pid")
    awake = made.info()
    assert awake["start_ts"] and awake["connectable_ts"] and awake["sleep_ts"] is None
    made.sleep()
    made.wait_asleep()
    asleep = made.info()
    assert asleep["connectable_ts"] is None and asleep["sleep_ts"]
    made.get("/pid")
    again = made.info()
    assert (again["start_ts"], again["create_ts"]) == (awake["start_ts"], awake["create_ts"])


# ---- keep-awake ----

def test_keep_awake_until_released(probe):
    made = probe(sleep_after=QUICK).create("probe", "k")
    runtime = Runtime(made)
    answer = runtime.call("POST", "/keep-awake", {"ttl": "60s", "reason": "a test"})
    assert answer.status == 200
    holds_for(lambda: running(made), 1.5, "being awake")
    assert runtime.call("DELETE", f"/keep-awake/{answer.json()['lease']}").status == 204
    made.wait_asleep()


def test_keep_awake_lapses(probe):
    made = probe(sleep_after=QUICK).create("probe", "k")
    began = time.monotonic()
    assert Runtime(made).call("POST", "/keep-awake", {"ttl": "2s"}).status == 200
    made.wait_asleep()
    assert time.monotonic() - began > 1.9


def test_keep_awake_leases_are_separate(probe):
    made = probe(sleep_after=QUICK).create("probe", "k")
    runtime = Runtime(made)
    first, second = (runtime.call("POST", "/keep-awake", {"ttl": "60s"}).json()["lease"] for _ in range(2))
    assert first != second
    assert runtime.call("DELETE", f"/keep-awake/{first}").status == 204
    holds_for(lambda: running(made), 1.2, "being awake")


@pytest.mark.parametrize("body", [{"ttl": "61min"}, {"ttl": "soon"}, {"ttl": -1}, {}, {"ttl": "1s", "colour": "red"}, []])
def test_keep_awake_refuses_nonsense(actor, body):
    assert Runtime(actor).call("POST", "/keep-awake", body).status in (400, 413, 422)


def test_keep_awake_does_not_stop_an_asked_for_sleep(probe):
    made = probe().create("probe", "k")
    Runtime(made).call("POST", "/keep-awake", {"ttl": "60s"})
    made.sleep()
    made.wait_asleep()


# ---- the stop ladder ----

def test_stop_call_then_sigterm(probe, trace):
    made = probe(stop_grace="7s").create("probe", "k")
    made.get("/pid")
    made.sleep()
    made.wait_asleep()
    stop = trace.events("stop")[0]
    assert stop["headers"]["x-rivet-lifecycle"] == "stop"
    assert stop["body"]["actor_id"] == made.id
    assert 0 < stop["body"]["deadline_ms"] <= 7000
    assert trace.events("stop-answered")[0]["time"] <= trace.events("sigterm")[0]["time"]


def test_worker_may_save_while_it_stops(probe, trace):
    made = probe(environment={"PROBE_ON_STOP": "PUT /v1/actors/self/kv/saved yes"}).create("probe", "k")
    made.get("/pid")
    made.sleep()
    made.wait_asleep()
    assert trace.events("scripted")[0]["status"] == 204
    assert Runtime(made).get("saved").body == b"yes"


def test_stopping_refuses_to_be_stopped_again(probe, trace):
    made = probe(environment={"PROBE_ON_STOP": "POST /v1/actors/self/sleep"}).create("probe", "k")
    made.get("/pid")
    made.sleep()
    said = trace.wait("scripted")[0]
    assert said["status"] == 409
    assert '"stopping"' in said["body"]


def test_stop_call_that_is_never_answered_ends_in_sigkill(probe, trace):
    daemon = probe(stop_grace="1s", environment={"PROBE_STOP": "never", "PROBE_TERM": "ignore"})
    made = daemon.create("probe", "k")
    pid = int(made.get("/pid").text)
    began = time.monotonic()
    made.sleep()
    trace.wait("stop")
    wait_for(lambda: not procs.alive(pid), what="end of the worker")
    assert time.monotonic() - began >= 1
    made.wait_asleep()


def test_sigterm_ignored_ends_in_sigkill(probe, trace):
    daemon = probe(stop_grace="2s", environment={"PROBE_TERM": "ignore"})
    made = daemon.create("probe", "k")
    pid = int(made.get("/pid").text)
    made.sleep()
    wait_for(lambda: not procs.alive(pid), what="end of the worker")
    assert trace.events("sigterm")
    assert not trace.events("exit")


def test_stop_leaves_time_until_the_deadline(probe, trace):
    made = probe(stop_grace="10s", environment={"PROBE_STOP": "1.2"}).create("probe", "k")
    made.get("/pid")
    made.sleep()
    made.wait_asleep()
    assert trace.events("stop-answered")
    assert trace.events("exit")


def test_asked_for_stop_is_no_crash(probe):
    made = probe().create("probe", "k", crash_policy="destroy")
    made.get("/pid")
    made.sleep()
    made.wait_asleep()
    record = made.info()
    assert record["destroy_ts"] is None
    assert not record.get("error")


def test_request_in_flight_may_finish_before_an_asked_for_sleep_ends_it(probe):
    made = probe(stop_grace="10s").create("probe", "k")
    made.get("/pid")
    slow = Background(made.get, "/sleep?s=1")
    time.sleep(0.3)
    made.sleep()
    assert slow.result().status_code in (200, 502, 503)
    assert made.get("/echo").status_code == 200


def test_request_during_a_stop_gets_the_next_generation(probe, trace):
    made = probe(stop_grace="10s", environment={"PROBE_STOP": "1"}).create("probe", "k")
    first = generation(made)
    Background(made.sleep)
    trace.wait("stop")
    assert generation(made) == first + 1


# ---- destroy ----

def test_destroy_by_the_api(probe, trace):
    daemon = probe()
    made = daemon.create("probe", "k")
    Runtime(made).put("a", b"1")
    assert made.destroy().status_code == 200
    assert trace.events("stop")[0]["body"]["reason"] == "destroy"
    assert daemon.workers() == []
    assert made.info()["destroy_ts"]
    answer = made.get("/echo")
    assert answer.status_code == 404
    assert code_of(answer) == "actor.not_found"


def test_destroy_frees_the_key_and_forgets_the_state(probe):
    daemon = probe()
    made = daemon.create("probe", "k")
    Runtime(made).put("a", b"1")
    made.destroy()
    again = daemon.create("probe", "k")
    assert again.id != made.id
    assert Runtime(again).get("a").status == 404


def test_destroy_of_a_sleeping_actor_wakes_nobody(probe, trace):
    daemon = probe()
    made = daemon.create("probe", "k")
    made.get("/pid")
    made.sleep()
    made.wait_asleep()
    assert made.destroy().status_code == 200
    assert made.info()["destroy_ts"]
    assert len(trace.events("boot")) == 1


def test_destroy_by_the_worker(probe, trace):
    made = probe().create("probe", "k")
    Runtime(made).leave("destroy")
    assert trace.wait("rt")[0]["status"] == 202
    wait_for(lambda: made.info()["destroy_ts"], what="destruction")
    assert trace.events("stop")[0]["body"]["reason"] == "destroy"
    assert made.get("/echo").status_code == 404


def test_destroy_forgets_the_alarm(probe, trace):
    daemon = probe()
    made = daemon.create("probe", "k")
    Runtime(made).call("PUT", "/alarm", {"after": "800ms"})
    made.destroy()
    destroyed = time.time()
    time.sleep(1.5)
    assert not [event for event in trace.events("alarm") if event["time"] > destroyed]


def test_destroy_waits_for_the_stop(probe, trace):
    made = probe(stop_grace="10s", environment={"PROBE_STOP": "0.7"}).create("probe", "k")
    made.get("/pid")
    made.destroy()
    assert trace.events("stop-answered")


# ---- crashes ----

def test_crash_policy_sleep(probe, trace):
    made = probe().create("probe", "k")
    first = generation(made)
    assert made.get("/exit?code=1").status_code == 502
    made.wait_asleep()
    assert made.info()["error"]
    assert len(trace.events("boot")) == 1
    assert generation(made) == first + 1


def test_crash_policy_restart(probe, trace):
    made = probe().create("probe", "k", crash_policy="restart")
    made.get("/exit?code=1")
    trace.wait("start", 2)
    wait_for(lambda: running(made), what="the restarted actor")


def test_crash_policy_destroy(probe):
    made = probe().create("probe", "k", crash_policy="destroy")
    made.get("/exit?code=1")
    wait_for(lambda: made.info()["destroy_ts"], what="destruction")
    assert made.get("/echo").status_code == 404


@pytest.mark.parametrize("how", ["/exit?code=0", f"/kill?signal={int(signal.SIGKILL)}"])
def test_any_exit_not_asked_for_is_a_crash(probe, trace, how):
    made = probe().create("probe", "k", crash_policy="restart")
    made.get(how)
    trace.wait("start", 2)


def test_crash_is_logged_with_its_cause(probe):
    daemon = probe()
    made = daemon.create("probe", "k")
    made.get("/exit?code=41")
    daemon.wait_log(lambda record: record.get("level") in ("warn", "error") and "41" in str(record)
                    and made.id in str(record))


def test_crash_loop_backs_off(probe, trace):
    made = probe(environment={"PROBE_START_STATUS": "500"}).create("probe", "k", crash_policy="restart")
    made.get("/pid")
    trace.wait("boot", 2)
    time.sleep(3)
    assert len(trace.events("boot")) <= 6


def test_crash_of_a_shared_worker_is_a_crash_of_all(probe, trace):
    daemon = probe(isolation="shared")
    asleep = daemon.create("probe", "a")
    back = daemon.create("probe", "b", crash_policy="restart")
    asleep.get("/pid")
    back.get("/pid")
    asleep.get("/exit?code=1")
    asleep.wait_asleep()
    wait_for(lambda: len([event for event in trace.events("start") if event["body"]["actor_id"] == back.id]) == 2,
             what="the restart of the neighbour")


def test_restart_policy_survives_a_restart_of_the_daemon(probe, trace):
    daemon = probe()
    back, stays = daemon.create("probe", "a", crash_policy="restart"), daemon.create("probe", "b")
    back.get("/pid")
    stays.get("/pid")
    daemon.restart()
    trace.wait("start", 3)
    holds_for(lambda: len(trace.events("start")) == 3, 0.7, "rest of the other")
    assert trace.events("start")[2]["body"]["actor_id"] == back.id
    assert stays.sleeping()


@pytest.mark.deadline(180)
def test_restart_policy_knows_no_number(probe, trace):
    daemon = probe(isolation="shared", workers_max=1, actors_per_worker=2000, sleep_after="never")
    made = [daemon.create("probe", f"k{number}", crash_policy="restart") for number in range(1100)]
    with ThreadPoolExecutor(8) as clients:
        for answer in clients.map(lambda one: one.get("/pid"), made):
            assert answer.status_code == 200
    daemon.kill()
    before = len(trace.events("start"))
    daemon.start()
    wait_for(lambda: len({event["body"]["actor_id"] for event in trace.events("start")[before:]}) == len(made),
             timeout=90, interval=0.2, what="the start of every one")


# ---- shared workers and fences ----

def test_actor_leaves_a_shared_worker_that_lives_on(probe, trace):
    daemon = probe(isolation="shared")
    first, second = daemon.create("probe", "a"), daemon.create("probe", "b")
    pid = first.get("/pid").text
    second.get("/pid")
    first.sleep()
    first.wait_asleep()
    assert trace.events("stop")[0]["body"]["actor_id"] == first.id
    assert not trace.events("sigterm")
    assert second.get("/pid").text == pid


def test_actor_that_does_not_leave_is_cut_off_alone(probe, tmp_path):
    daemon = probe(isolation="shared", stop_grace="1s", environment={"PROBE_STOP": "never"})
    stuck, neighbour = daemon.create("probe", "a"), daemon.create("probe", "b")
    pid = stuck.get("/pid").text
    held = Background(neighbour.get, f"/hold?until={tmp_path}/go")
    stuck.sleep()
    stuck.wait_asleep()
    answer = Runtime(stuck, stuck.id, via=neighbour).get("a")
    assert (answer.status, answer.code) == (409, "actor.stale_generation")
    touch(tmp_path / "go")
    assert held.result().status_code == 200
    assert neighbour.get("/pid").text == pid
    neighbour.get("/exit?code=0")


def test_fence_of_an_actor_held_before(probe):
    daemon = probe(isolation="shared")
    first, second = daemon.create("probe", "a"), daemon.create("probe", "b")
    first.get("/pid")
    assert Runtime(first, first.id, via=second).put("k", b"1").status == 204
    first.sleep()
    first.wait_asleep()
    for call in (Runtime(first, first.id, via=second).put("k", b"2"), Runtime(first, first.id, via=second).get("k")):
        assert call.status == 409
        assert call.code.endswith(".stale_generation")
    assert Runtime(first, first.id).get("k").body == b"1"


def test_fence_by_generation_header(probe):
    daemon = probe(isolation="shared")
    made = daemon.create("probe", "a")
    made.get("/pid")
    made.sleep()
    made.wait_asleep()
    number = generation(made)
    runtime = Runtime(made, made.id)
    assert runtime.call("PUT", "/kv/a", b"1", {"x-rivet-actor-generation": str(number)}).status == 204
    stale = runtime.call("PUT", "/kv/a", b"2", {"x-rivet-actor-generation": str(number - 1)})
    assert stale.status == 409
    assert runtime.get("a").body == b"1"


@pytest.mark.parametrize("isolation", ["actor", "shared"])
def test_fence_of_an_actor_never_held(make_daemon, trace, isolation):
    daemon = make_daemon({"actors": {name: type_of("probe.py", trace=trace, isolation=isolation)
                                     for name in ("mine", "theirs")}})
    mine, theirs = daemon.create("mine", "k"), daemon.create("theirs", "k")
    assert Runtime(theirs, theirs.id).put("a", b"1").status == 204
    for method, rest in (("GET", ""), ("GET", "/kv/a"), ("PUT", "/kv/a"), ("POST", "/sleep"), ("POST", "/destroy"),
                         ("PUT", "/alarm"), ("GET", "/kv"), ("GET", "/input")):
        answer = Runtime(theirs, theirs.id, via=mine).call(method, rest, b"{}" if method != "GET" else None)
        assert answer.status == 403, (method, rest, answer.body)
    assert running(theirs)


def test_self_is_ambiguous_in_a_pool(probe):
    daemon = probe(isolation="shared")
    first, second = daemon.create("probe", "a"), daemon.create("probe", "b")
    second.get("/pid")
    assert Runtime(first).get("a").status in (400, 403, 404, 409)


def test_one_live_generation_at_a_time(probe, trace):
    daemon = probe(stop_grace="5s")
    made = daemon.create("probe", "k")
    over = threading.Event()

    def ask():
        codes = []
        while not over.is_set():
            codes.append(made.get("/pid").status_code)
        return codes

    asking = [Background(ask) for _ in range(4)]
    while len(trace.events("start")) < 10:
        made.sleep()
        time.sleep(0.2)
    over.set()
    codes = [code for call in asking for code in call.result()]
    assert codes.count(200) > len(codes) * 0.9
    starts, exits = trace.events("start"), {event["pid"]: event["time"] for event in trace.events("exit")}
    assert all(exits[before["pid"]] <= after["time"] for before, after in zip(starts, starts[1:]))
    numbers = [event["body"]["generation"] for event in starts]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


# ---- waiting requests ----

def test_requests_wait_through_the_start(probe, trace):
    made = probe(environment={"PROBE_START_DELAY": "0.6"}).create("probe", "k")
    answers = together(20, made.post, "/echo", data=b"body")
    assert [answer.status_code for answer in answers] == [200] * 20
    assert {answer.json()["length"] for answer in answers} == {4}
    assert len(trace.events("boot")) == 1


def test_big_request_body_waits_through_the_start(probe):
    made = probe(environment={"PROBE_START_DELAY": "0.6"}).create("probe", "k")
    assert made.post("/count", data=b"z" * (8 << 20)).json() == {"length": 8 << 20}


def test_requests_max_holds_the_rest_back(probe, trace, tmp_path):
    daemon = probe(requests_max=2)
    made = daemon.create("probe", "k")
    made.get("/pid")
    calls = [Background(made.get, f"/hold?until={tmp_path}/go") for _ in range(6)]
    wait_exchanges(daemon, 6)
    trace.wait("holding", 2)
    touch(tmp_path / "go")
    answers = [call.result() for call in calls]
    assert [answer.status_code for answer in answers] == [200] * 6
    assert max(answer.json()["most"] for answer in answers) == 2


def test_without_requests_max_nothing_is_held_back(probe, trace, tmp_path):
    made = probe().create("probe", "k")
    made.get("/pid")
    calls = [Background(made.get, f"/hold?until={tmp_path}/go") for _ in range(12)]
    trace.wait("holding", 12)
    touch(tmp_path / "go")
    assert max(call.result().json()["most"] for call in calls) == 12


@pytest.fixture
def many_descriptors():
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, before[1]), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_the_waiting_line_is_bounded(probe, tmp_path, many_descriptors):
    daemon = probe(requests_max=1)
    made = daemon.create("probe", "k")
    made.get("/pid")
    connections = [RawConnection(daemon.address) for _ in range(1021)]
    for connection in connections:
        connection.request("GET", made.path(f"/hold?until={tmp_path}/go"))
    by_socket = {connection.sock: connection for connection in connections}
    ready = wait_for(lambda: answered(by_socket) if len(answered(by_socket)) >= 20 else None, 20, "refusals")
    for sock in ready:
        answer = by_socket[sock].read_answer()
        assert answer.status == 503
        assert int(answer.header("retry-after")) >= 0
    assert len(ready) == 20
    for connection in connections:
        connection.close()
    touch(tmp_path / "go")
    wait_for(lambda: made.get("/pid").status_code == 200, what="an answer after the crowd")


def answered(by_socket):
    watch = select.poll()
    by_number = {sock.fileno(): sock for sock in by_socket}
    for sock in by_socket:
        watch.register(sock, select.POLLIN)
    return [by_number[number] for number, _ in watch.poll(0)]


def test_client_that_leaves_the_line_is_forgotten(probe, trace, tmp_path):
    daemon = probe(requests_max=1)
    made = daemon.create("probe", "k")
    held = Background(made.get, f"/hold?until={tmp_path}/go")
    trace.wait("request")
    with RawConnection(daemon.address) as gone:
        gone.request("GET", made.path("/never-asked"))
        wait_exchanges(daemon, 2)
    wait_exchanges(daemon, 1)
    touch(tmp_path / "go")
    assert held.result().status_code == 200
    assert made.get("/pid").status_code == 200
    assert not [event for event in trace.events("request") if event["target"] == "/never-asked"]


def test_request_timeout(probe):
    made = probe(request_timeout="1s").create("probe", "k")
    answer = made.get("/sleep?s=20")
    assert answer.status_code == 504
    code_of(answer)
    assert made.get("/echo").status_code == 200


def test_request_timeout_is_for_the_first_byte_only(probe):
    made = probe(request_timeout="1s").create("probe", "k")
    answer = made.get("/stream?count=8&every=0.25")
    assert answer.status_code == 200
    assert answer.text.count("part") == 8

