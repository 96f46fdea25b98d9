"""Reading the configuration again: what changes at once, what rolls over, what is refused."""

import json
import os
import signal
import subprocess
import threading

import pytest
import requests

from lib.daemon import BINARY
from lib.rt import Runtime
from lib.wait import SCALE, holds_for, wait_for
from lib.worker import type_of
from lib.ws import WsClient

CTL = os.path.join(os.path.dirname(BINARY), "rivet-runnerctl")
APPLIED, REFUSED = "the new configuration is in force", "the new configuration is refused; the old one stays in force"
ROLLED = "all actors are on the new configuration"


class Site:
    """A daemon whose file the test writes."""

    def __init__(self, make_daemon, trace):
        self.make = make_daemon
        self.trace = trace
        self.daemon = None

    def type(self, version="1", **settings):
        settings.setdefault("sleep_after", "never")
        environment = {"VERSION": version, **settings.pop("environment", {})}
        return type_of("probe.py", trace=self.trace, environment=environment, **settings)

    def start(self, types, config=None, **options):
        self.daemon = self.make({"actors": types, **(config or {})}, **options)
        return self.daemon

    def write(self, text):
        with open(self.daemon.config_path(), "w", encoding="utf-8") as file:
            file.write(text)

    def write_types(self, types, **config):
        self.daemon.config = {"actors": types, **config}
        self.write(json.dumps(self.daemon.config, indent=2))

    def ctl(self, *words, code=0):
        done = subprocess.run([CTL, "--runtime-dir", self.daemon.runtime_dir, *words], capture_output=True, text=True,
                              timeout=60 * SCALE, check=False)
        assert done.returncode == code, (done.stdout, done.stderr)
        return done

    def status(self):
        return json.loads(self.ctl("status", "--json").stdout)

    def reload(self, types=None, **config):
        """By the control socket: what the daemon said."""
        if types is not None:
            self.write_types(types, **config)
        return json.loads(self.ctl("reload", "--json").stdout)

    def hup(self):
        """By the signal: done when the log has its outcome."""
        before = len(self.outcomes())
        self.daemon.send_signal(signal.SIGHUP)
        return wait_for(lambda: self.outcomes()[before:], 15, "the outcome of a reload")[0]

    def outcomes(self):
        return [record for record in self.daemon.log_records() if record.get("msg") in (APPLIED, REFUSED)]

    def rolled(self, count=1):
        def there():
            return len([record for record in self.daemon.log_records() if record.get("msg") == ROLLED]) >= count
        wait_for(there, 30, "the end of rolling over")
        wait_for(lambda: self.status()["rolling_over"] == 0, 30, "the end of what a later reload began")


@pytest.fixture
def site(make_daemon, trace):
    return Site(make_daemon, trace)


def version_of(actor):
    answer = actor.get("/env")
    assert answer.status_code == 200, answer.text
    return answer.json()["VERSION"]


# ---- unchanged, added, changed, removed ----

@pytest.mark.parametrize("isolation", ["actor", "shared"])
def test_what_is_unchanged_is_not_disturbed(site, isolation):
    daemon = site.start({"probe": site.type(isolation=isolation)})
    made = daemon.create("probe", "k")
    pid = made.get("/pid").text
    said = site.reload()
    assert (said["added"], said["changed"], said["removed"], said["unchanged"]) == ([], [], [], 1)
    assert said["rolling_over"] == 0
    said = site.hup()
    assert (said["msg"], said["unchanged"]) == (APPLIED, 1)
    holds_for(lambda: made.get("/pid").text == pid, 0.5, "the same worker")
    assert not site.trace.events("stop")


def test_added_types_work_at_once(site):
    daemon = site.start({"probe": site.type()})
    assert daemon.post("/actors?namespace=default", json={"name": "new", "runner_name_selector": "default",
                                                          "crash_policy": "sleep"}).status_code == 400
    said = site.reload({"probe": site.type(), "new": site.type("7")})
    assert said["added"] == ["new"] and said["unchanged"] == 1
    assert version_of(daemon.create("new", "k")) == "7"
    assert "new" in daemon.get("/actors/names?namespace=default").json()["names"]


@pytest.mark.parametrize("isolation", ["actor", "shared"])
def test_changed_types_roll_over(site, isolation):
    daemon = site.start({"probe": site.type(isolation=isolation), "calm": site.type()})
    awake = [daemon.create("probe", f"k{i}") for i in range(6)]
    asleep, calm = daemon.create("probe", "asleep"), daemon.create("calm", "k")
    assert {version_of(one) for one in [*awake, asleep]} == {"1"}
    calm_pid, old_pids = calm.get("/pid").text, {one.get("/pid").text for one in awake}
    asleep.sleep()
    asleep.wait_asleep()
    generations = {one.id: daemon_generation(site, one) for one in awake}
    said = site.reload({"probe": site.type("2", isolation=isolation), "calm": site.type()})
    assert (said["changed"], said["unchanged"]) == (["probe"], 1)
    assert said["rolling_over"] >= 6
    site.rolled()
    assert version_of(asleep) == "2" and calm.get("/pid").text == calm_pid
    for one in awake:
        assert version_of(one) == "2"
        stop, = [event for event in site.trace.events("stop") if event["body"]["actor_id"] == one.id]
        assert stop["body"]["reason"] == "restart"
        assert daemon_generation(site, one) == generations[one.id] + 1
    wait_for(lambda: not old_pids & {str(pid) for pid in daemon.workers()}, 15, "the end of the old workers")


def daemon_generation(site, actor):
    return json.loads(site.ctl("actor", actor.id, "--json").stdout)["generation"]


def test_rolling_over_is_paced_and_nobody_runs_twice(site):
    daemon = site.start({"probe": site.type(environment={"PROBE_START_DELAY": "0.2"})}, {"starts_max": 2})
    actors = [daemon.create("probe", f"k{i}") for i in range(7)]
    for one in actors:
        one.wait_running()
    before = len(site.trace.events())
    site.reload({"probe": site.type("2", environment={"PROBE_START_DELAY": "0.2"})}, starts_max=2)
    site.rolled()
    down, most = set(), 0
    for event in site.trace.events()[before:]:
        if event["event"] == "stop":
            down.add(event["body"]["actor_id"])
            most = max(most, len(down))
        elif event["event"] == "start":
            down.discard(event["body"]["actor_id"])
    assert 1 <= most <= 2
    for one in actors:
        starts = [event for event in site.trace.events("start") if event["body"]["actor_id"] == one.id]
        assert [event["body"]["generation"] for event in starts] == [0, 1]
        stop, = [event for event in site.trace.events("stop-answered") if event["pid"] == starts[0]["pid"]]
        assert stop["time"] <= starts[1]["time"]


@pytest.mark.parametrize("isolation", ["actor", "shared"])
def test_under_traffic_no_request_is_lost(site, isolation):
    daemon = site.start({"probe": site.type(isolation=isolation)})
    actors = [daemon.create("probe", f"k{i}") for i in range(4)]
    for one in actors:
        one.wait_running()
    over, failures, served = threading.Event(), [], set()

    def call(actor, rest):
        while not over.is_set():
            answer = requests.get(daemon.url + actor.path(rest), timeout=40 * SCALE)
            served.add(answer.text) if answer.status_code == 200 else failures.append((answer.status_code, answer.text))

    callers = [threading.Thread(target=call, args=(one, rest)) for one in actors for rest in ("/pid", "/sleep?s=0.2")]
    for caller in callers:
        caller.start()
    try:
        for count in 1, 2, 3:
            site.reload({"probe": site.type(str(count + 1), isolation=isolation)})
            site.rolled(count)
    finally:
        over.set()
        for caller in callers:
            caller.join()
    assert not failures
    assert {version_of(one) for one in actors} == {"4"}


def test_a_request_in_flight_is_finished_by_the_old_worker(site, tmp_path):
    daemon = site.start({"probe": site.type(stop_grace="20s")})
    made = daemon.create("probe", "k")
    pid, gate, answers = made.get("/pid").text, tmp_path / "gate", {}

    def ask(name, rest):
        answers[name] = requests.get(daemon.url + made.path(rest), timeout=40 * SCALE)

    first = threading.Thread(target=ask, args=("first", f"/hold?until={gate}"))
    first.start()
    wait_for(lambda: [event for event in site.trace.events("request") if "/hold" in event["target"]])
    assert site.reload({"probe": site.type("2", stop_grace="20s")})["rolling_over"] == 1
    second = threading.Thread(target=ask, args=("second", "/pid"))
    second.start()
    holds_for(lambda: not answers, 0.5, "both requests waiting")
    gate.touch()
    first.join()
    second.join()
    assert answers["first"].status_code == 200 and answers["second"].status_code == 200
    assert answers["second"].text != pid
    site.rolled()


def opens_of_one_client(site):
    """Of the old worker and of the new one, which know the client by the same name."""
    first, second = site.trace.wait("ws-open", 2)
    assert (first["again"], second["again"]) == (False, True)
    assert first["connection"] == second["connection"] and first["pid"] != second["pid"]


@pytest.mark.parametrize("isolation", ["actor", "shared"])
def test_a_client_that_outlives_its_worker_rolls_over(site, isolation):
    daemon = site.start({"probe": site.type(isolation=isolation)})
    made = daemon.create("probe", "k")
    with WsClient(daemon.address, made.path("/ws?hibernate=1")) as client:
        client.send("before")
        assert client.recv() == "before"
        site.reload({"probe": site.type("2", isolation=isolation)})
        client.send("meanwhile")
        assert client.recv() == "meanwhile"
        site.rolled()
        client.send("after")
        assert client.recv() == "after"
        assert version_of(made) == "2"
        opens_of_one_client(site)
    assert [event["text"] for event in site.trace.events("ws-message")] == ["before", "meanwhile", "after"]


def test_a_second_reload_while_the_first_rolls_over(site):
    slow = {"PROBE_START_DELAY": "0.3"}
    daemon = site.start({"probe": site.type(environment=slow)}, {"starts_max": 1})
    actors = [daemon.create("probe", f"k{i}") for i in range(4)]
    for one in actors:
        one.wait_running()
    for version in "2", "3", "4":
        site.reload({"probe": site.type(version, environment=slow)}, starts_max=1)
    site.rolled()
    assert {version_of(one) for one in actors} == {"4"}


def test_a_command_that_does_not_start_holds_nobody_up(site):
    daemon = site.start({"probe": site.type()}, {"starts_max": 1})
    actors = [daemon.create("probe", f"k{i}") for i in range(3)]
    for one in actors:
        one.wait_running()
    site.reload({"probe": site.type("2", environment={"PROBE_START_STATUS": "500"})}, starts_max=1)
    site.rolled()
    assert {one.get("/pid").json()["code"] for one in actors} == {"start_failed"}
    site.reload({"probe": site.type("3")}, starts_max=1)
    for one in actors:
        wait_for(lambda one=one: one.get("/pid").status_code == 200, 30, "an answer after the back-off")
        assert version_of(one) == "3"


HALTED = "rolling over is halted: actors do not start on the new settings"


def halted_site(site):
    """Six actors, three of which did not start on the new settings, and the pids of the rest."""
    daemon = site.start({"probe": site.type()}, {"starts_max": 1})
    actors = [daemon.create("probe", f"k{i}") for i in range(6)]
    for one in actors:
        one.wait_running()
    site.reload({"probe": site.type("2", environment={"PROBE_START_STATUS": "500"})}, starts_max=1)
    record = daemon.wait_log(lambda record: record.get("msg") == HALTED)
    assert (record["actor_name"], record["failures"], record["actors_left"]) == ("probe", 3, 3)
    assert "500" in record["why"]
    status = site.status()
    assert (status["rolling_over"], status["rollover_halted"]) == (0, 3)
    pids = {one: one.get("/pid") for one in actors}
    down = [one for one, answer in pids.items() if answer.status_code != 200]
    assert len(down) == 3 and {pids[one].json()["code"] for one in down} == {"start_failed"}
    left = {one: pids[one].text for one in actors if one not in down}
    assert {version_of(one) for one in left} == {"1"}
    return down, left


def test_failing_starts_halt_rolling_over_until_the_type_is_corrected(site):
    down, left = halted_site(site)
    site.reload({"probe": site.type("3")}, starts_max=1)
    site.rolled()
    assert site.status()["rollover_halted"] == 0
    assert {version_of(one) for one in left} == {"3"}
    for one in down:
        wait_for(lambda one=one: one.get("/pid").status_code == 200, 30, "an answer after the back-off")
        assert version_of(one) == "3"


@pytest.mark.parametrize("isolation", ["actor", "shared"])
def test_a_type_that_is_back_while_its_actors_still_end(site, isolation):
    daemon = site.start({"probe": site.type(isolation=isolation)})
    slow, quick = daemon.create("probe", "slow"), daemon.create("probe", "quick")
    slow.wait_running()
    quick.wait_running()
    caller = threading.Thread(target=lambda: slow.get("/sleep?s=2"))
    caller.start()
    wait_for(lambda: [event for event in site.trace.events("request") if "/sleep" in event["target"]])
    site.reload({"other": site.type()})
    site.reload({"probe": site.type(isolation=isolation)})
    caller.join()
    site.rolled()
    assert version_of(slow) == version_of(quick) == "1"


def test_taking_a_change_back_leaves_alone_what_was_not_touched(site):
    down, left = halted_site(site)
    site.reload({"probe": site.type()}, starts_max=1)
    site.rolled()
    assert site.status()["rollover_halted"] == 0
    assert {one: one.get("/pid").text for one in left} == left
    for one in down:
        wait_for(lambda one=one: one.get("/pid").status_code == 200, 30, "an answer after the back-off")
        assert version_of(one) == "1"


def test_what_ran_of_a_removed_type_runs_again_with_the_daemon(site):
    daemon = site.start({"probe": site.type(), "gone": site.type()})
    made = daemon.create("gone", "k", crash_policy="restart")
    made.wait_running()
    site.reload({"probe": site.type()})
    site.rolled()
    daemon.restart({"actors": {"gone": site.type("2")}})
    site.trace.wait("start", 2)
    assert version_of(made) == "2"


def test_removed_types_stop_and_come_back(site):
    daemon = site.start({"probe": site.type(), "gone": site.type()})
    made = daemon.create("gone", "k")
    assert version_of(made) == "1"
    said = site.reload({"probe": site.type()})
    assert said["removed"] == ["gone"]
    site.rolled()
    assert [event["body"]["reason"] for event in site.trace.events("stop")] == ["drain"]
    answer = made.get("/")
    assert answer.status_code == 503 and answer.json()["code"] == "not_registered" and "probe" in answer.json()["message"]
    assert daemon.post("/actors?namespace=default", json={"name": "gone", "runner_name_selector": "default",
                                                          "crash_policy": "sleep"}).json()["code"] == "not_registered"
    assert site.reload({"probe": site.type(), "gone": site.type("2")})["added"] == ["gone"]
    assert version_of(made) == "2"


def test_an_alarm_that_was_due_while_its_type_was_missing_rings_when_it_is_back(site):
    """The actor sets it while its type goes."""
    gone = site.type(environment={"PROBE_ON_STOP": 'PUT /v1/actors/self/alarm {"after":"500ms"}'})
    daemon = site.start({"probe": site.type(), "gone": gone})
    daemon.create("gone", "k").wait_running()
    site.reload({"probe": site.type()})
    site.rolled()
    assert site.trace.wait("scripted")[0]["status"] == 204
    holds_for(lambda: not site.trace.events("alarm"), 1, "silence")
    site.reload({"probe": site.type(), "gone": gone})
    site.trace.wait("alarm")


# ---- refused ----

@pytest.mark.parametrize("how", ["hup", "ctl"])
def test_a_bad_file_is_refused_whole_with_its_line(site, how):
    daemon = site.start({"probe": site.type()})
    made = daemon.create("probe", "k")
    pid = made.get("/pid").text
    types = {"probe": site.type("2"), "other": site.type()}
    lines = json.dumps({"actors": types, "log": {"level": "debug"}}, indent=2).splitlines()
    lines[1:1] = ['  "no_such_key": 1,']
    site.write("\n".join(lines))
    if how == "hup":
        said = site.hup()
        assert said["msg"] == REFUSED and said["level"] == "error"
        why = said["reason"]
    else:
        why = site.ctl("reload", code=1).stderr
        assert why.startswith("rivet-runnerctl: ") and why.count("\n") == 1
    assert f"{daemon.config_path()}:2:" in why and "no_such_key" in why
    assert made.get("/pid").text == pid
    assert daemon.post("/actors?namespace=default", json={"name": "other", "runner_name_selector": "default",
                                                          "crash_policy": "sleep"}).status_code == 400
    assert not [record for record in daemon.log_records() if record["level"] == "debug"]


@pytest.mark.parametrize("text, word", [("{", "line 1"), ("[]", "must be a JSON object"), ('{"actors": {"probe": {}}}', "has no command"),
                                        ('{"actors": {"probe": {"command": ["x"], "stop_grace": "1"}}}', "stop_grace")])
def test_refusals(site, text, word):
    daemon = site.start({"probe": site.type()})
    made = daemon.create("probe", "k")
    site.write(text)
    assert word in site.ctl("reload", code=1).stderr
    os.unlink(daemon.config_path())
    assert daemon.config_path() in site.ctl("reload", code=1).stderr
    assert version_of(made) == "1"


def test_local_mode_does_not_become_engine_mode(site):
    site.start({"probe": site.type()})
    site.write_types({"probe": site.type("2")}, engine={"endpoint": "http://127.0.0.1:1"})
    why = site.ctl("reload", code=1).stderr
    assert "engine.endpoint" in why and "restart" in why


def test_the_api_is_not_left_open_to_everyone(site):
    token = site.start({}, listen="0.0.0.0:0", token="secret")
    token.env.pop("RIVET_TOKEN")
    with open(os.path.join(token.tmp, "token"), "w", encoding="utf-8") as file:
        file.write("secret")
    token.restart({"actors": {}, "engine": {"token_file": file.name}})
    site.write_types({})
    assert "no token is set" in site.ctl("reload", code=1).stderr
    assert token.http.get(token.url + "/actors?namespace=default&name=x", headers={"Authorization": "x"}).status_code == 403


# ---- settings ----

def test_what_takes_a_restart_is_named_and_not_applied(site):
    daemon = site.start({"probe": site.type()})
    before = daemon.address
    site.write_types({"probe": site.type()}, engine={"namespace": "elsewhere"}, log={"level": "debug"})
    said = site.reload()
    assert said["restart_needed"] == ["engine.namespace"]
    record = daemon.wait_log(lambda one: one.get("key") == "engine.namespace")
    assert record["level"] == "warn"
    assert site.status()["restart_needed"] == ["engine.namespace"]
    assert "not applied before a restart of the daemon: engine.namespace" in site.ctl("reload").stdout
    assert daemon.address == before
    site.write_types({"probe": site.type()})
    assert site.reload()["restart_needed"] == [] == site.status()["restart_needed"]


def test_live_settings(site, tmp_path):
    daemon = site.start({"probe": site.type()}, {"hosts": ["a.example"]})
    foreign = {"Host": "b.example"}
    assert daemon.get("/health", headers=foreign).status_code == 421
    site.reload({"probe": site.type()}, hosts=["b.example"], cors_origins=["http://web.example"], drain_timeout="7s")
    assert daemon.get("/health", headers=foreign).status_code == 200
    assert daemon.get("/health", headers={"Host": "a.example"}).status_code == 421
    answer = daemon.get("/health", headers={"Origin": "http://web.example"})
    assert answer.headers["access-control-allow-origin"] == "http://web.example"
    log = tmp_path / "moved.log"
    site.reload({"probe": site.type()}, drain_timeout="7s", log={"file": str(log), "level": "debug"})
    wait_for(lambda: log.exists() and APPLIED in log.read_text(), 15, "the record in the new file")
    version_of(daemon.create("probe", "k"))
    assert '"debug"' in log.read_text()
    site.reload({"probe": site.type()}, drain_timeout="7s")
    assert APPLIED in daemon.log_lines()[-1] or daemon.wait_log(lambda one: one.get("msg") == APPLIED)
    assert daemon.stop() == 0
    stopping, = [one for one in daemon.log_records() if one.get("msg") == "stopping"]
    assert stopping["drain_timeout_ms"] == 7000


def test_a_token_file_is_read_anew(site, tmp_path):
    place = tmp_path / "token"
    place.write_text("one")
    daemon = site.start({}, {"engine": {"token_file": str(place)}})

    def answers(token):
        return daemon.http.get(daemon.url + "/actors?namespace=default&name=x",
                               headers={"Authorization": f"Bearer {token}"}).status_code

    assert (answers("one"), answers("two")) == (200, 403)
    place.write_text("two")
    site.reload()
    assert (answers("one"), answers("two")) == (403, 200)


def test_a_refused_reload_reopens_the_log_file_all_the_same(site, tmp_path):
    log = tmp_path / "file.log"
    daemon = site.start({}, {"log": {"file": str(log)}}, start=False)
    daemon.spawn()
    wait_for(lambda: log.exists() and '"ready"' in log.read_text(), 15, "the log file")
    os.rename(log, tmp_path / "old.log")
    site.write("{")
    daemon.send_signal(signal.SIGHUP)
    wait_for(lambda: log.exists() and REFUSED in log.read_text(), 15, "the refusal in the new log file")
    assert daemon.stop() == 0


def test_relative_paths_of_a_detached_daemon(site, tmp_path, make_daemon):
    daemon = site.start({"probe": site.type()}, start=False)
    daemon.argv()  # writes the file
    words = [BINARY, "--detach", "--listen", "127.0.0.1:0", "--data-dir", "data", "--runtime-dir", daemon.runtime_dir,
             "--config", "rivet-runnerd.json", "--log-file", "own.log", "--log-format", "json"]
    done = subprocess.run(words, cwd=daemon.tmp, capture_output=True, text=True, timeout=60 * SCALE, check=False)
    assert done.returncode == 0, done.stderr
    try:
        site.write_types({"probe": site.type("2")})
        said = site.reload()
        assert said["changed"] == ["probe"] and said["restart_needed"] == []
    finally:
        pid = site.status()["pid"]
        os.kill(pid, signal.SIGTERM)
        wait_for(lambda: not os.path.exists(f"/proc/{pid}"), 30, "its end")


# ---- with an engine ----

@pytest.mark.deadline(300)
def test_engine_mode_rolls_over_by_sleep(site, pool):
    """The engine starts actors: it is asked to put them to sleep, and wakes them on the new settings."""
    site.start({"probe": site.type()}, engine=pool.url,
               env={"RIVET_NAMESPACE": pool.namespace, "RIVET_RUNNER": pool.pool})
    pool.wait_ready()
    made = pool.create("probe", "k")
    quiet, busy = pool.create("probe", "quiet"), pool.create("probe", "busy")
    assert {version_of(one) for one in (made, quiet, busy)} == {"1"}
    answers = []
    caller = threading.Thread(target=lambda: answers.append(busy.get("/sleep?s=2")))
    caller.start()
    wait_for(lambda: [event for event in site.trace.events("request") if "/sleep" in event["target"]])
    said = site.reload({"probe": site.type("2"), "new": site.type("7")})
    assert (said["added"], said["changed"]) == (["new"], ["probe"])
    site.rolled()
    caller.join()
    assert answers[0].status_code == 200
    assert {event["body"]["reason"] for event in site.trace.events("stop")} == {"restart"}
    quiet.wait_asleep()
    assert {version_of(one) for one in (made, quiet, busy)} == {"2"}
    assert version_of(pool.create("new", "k")) == "7"
    site.write("{")
    assert "line 1" in site.ctl("reload", code=1).stderr
    assert version_of(made) == "2" and len(pool.runners()) == 1


@pytest.mark.deadline(300)
def test_engine_mode_keeps_a_client_that_outlives_its_worker(site, pool):
    site.start({"probe": site.type()}, engine=pool.url,
               env={"RIVET_NAMESPACE": pool.namespace, "RIVET_RUNNER": pool.pool})
    pool.wait_ready()
    made = pool.create("probe", "k")
    with pool.websocket(made, "/ws?hibernate=1") as client:
        client.send("before")
        assert client.recv() == "before"
        site.reload({"probe": site.type("2")})
        site.rolled()
        made.wait_asleep()
        client.send("after")
        assert client.recv() == "after"
        assert version_of(made) == "2"
        opens_of_one_client(site)
    assert [event["text"] for event in site.trace.events("ws-message")] == ["before", "after"]


def test_engine_mode_keeps_its_engine(site, fake_engine):
    daemon = site.start({"probe": site.type()}, engine=fake_engine.url, env={"RIVET_TOKEN": "one"})
    one = fake_engine.wait_runner()
    site.write_types({"probe": site.type(), "new": site.type()}, engine={"total_slots": 7})
    assert site.reload()["restart_needed"] == ["engine.total_slots"]
    site.write_types({"probe": site.type(start_timeout="1min")})
    assert "start_timeout" in site.ctl("reload", code=1).stderr
    assert daemon.running and not one.ended
