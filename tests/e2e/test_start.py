"""How a worker is started: sockets, readiness, its surroundings, and what a start that fails says."""

import base64
import os
import stat
import time

import pytest

from lib import procs
from lib.check import Background, code_of, headers_of, nobody, retry_after, together, touch
from lib.rt import Runtime
from lib.wait import holds_for, wait_for
from lib.worker import WORKERS, Trace, command, type_of

CONTRACT = {"LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "RIVET_SOCKET", "RIVET_RUNTIME_SOCKET", "RIVET_WORKER_ID",
            "RIVET_NAMESPACE", "RIVET_ACTOR_NAME", "RIVET_ACTOR_ID", "RIVET_ACTOR_KEY", "RIVET_ACTOR_GENERATION"}


def odd(mode, *args, **settings):
    settings.setdefault("start_timeout", "1s")
    return {"actors": {"odd": type_of("odd.py", mode, *args, **settings)}}


def failed_start(answer):
    """The message of a 503 that says a start failed."""
    assert answer.status_code == 503, answer.text
    assert code_of(answer) == "actor.start_failed"
    assert answer.headers["x-rivet-error"] == "actor.start_failed"
    retry_after(answer)
    return answer.json()["message"]


class Look:
    """The inspecting worker's report, parsed."""

    def __init__(self, text):
        self.env, self.fds, self.status, self.limits, self.args, self.one = {}, {}, {}, {}, [], {}
        for line in text.splitlines():
            kind, _, rest = line.partition(" ")
            getattr(self, "_" + kind, lambda value, kind=kind: self.one.__setitem__(kind, value))(rest)

    def _env(self, rest):
        name, _, value = rest.partition("=")
        assert name not in self.env, f"{name} twice"
        self.env[name] = value

    def _fd(self, rest):
        number, _, target = rest.partition(" ")
        self.fds[int(number)] = target

    def _status(self, rest):
        name, _, value = rest.partition(":")
        self.status[name] = value.split()

    def _limit(self, rest):
        name, soft, hard = rest.split()
        self.limits[name] = (int(soft), int(hard))

    def _arg(self, rest):
        self.args.append(rest)


@pytest.fixture
def look(make_daemon, inspect_binary):
    """Starts the inspecting worker with the given type settings, and returns what it saw."""
    def make(daemon_options=None, args=(), **settings):
        settings = {"command": [inspect_binary, *args], "stop_grace": "2s", **settings}
        daemon = make_daemon({"actors": {"look": settings}}, **(daemon_options or {}))
        made = daemon.create("look", "the/key")
        answer = made.get("/")
        assert answer.status_code == 200, answer.text
        seen = Look(answer.text)
        seen.daemon, seen.actor = daemon, made
        return seen
    return make


# ---- one process per actor, or a pool ----

def test_each_actor_has_a_process_of_its_own(probe):
    daemon = probe()
    pids = {daemon.create("probe", f"k{number}").get("/pid").text for number in range(3)}
    assert len(pids) == 3
    assert pids == {str(pid) for pid in daemon.workers()}


def test_shared_actors_live_in_one_process(probe):
    daemon = probe(isolation="shared")
    pids = {daemon.create("probe", f"k{number}").get("/pid").text for number in range(5)}
    assert len(pids) == 1


def test_shared_pool_grows_when_a_worker_is_full(probe):
    daemon = probe(isolation="shared", actors_per_worker=2, workers_max=3)
    pids = [daemon.create("probe", f"k{number}").get("/pid").text for number in range(4)]
    assert sorted(pids.count(pid) for pid in set(pids)) == [2, 2]


def test_shared_requests_name_their_actor(probe):
    daemon = probe(isolation="shared")
    for key in ("a", "b"):
        made = daemon.create("probe", key)
        fields = headers_of(made.get("/echo").json())
        assert fields["x-rivet-actor-id"] == [made.id]
        assert fields["x-rivet-actor-name"] == ["probe"]
        assert fields["x-rivet-actor-key"] == [key]


def test_shared_environment_names_no_actor(probe):
    daemon = probe(isolation="shared")
    env = daemon.create("probe", "k").get("/env").json()
    assert not {"RIVET_ACTOR_ID", "RIVET_ACTOR_KEY", "RIVET_ACTOR_GENERATION"} & set(env)
    assert env["RIVET_ACTOR_NAME"] == "probe"


def test_shared_actor_gets_its_own_start_call(probe, trace):
    daemon = probe(isolation="shared")
    made = [daemon.create("probe", key) for key in ("a", "b")]
    for actor in made:
        actor.get("/pid")
    assert {event["body"]["actor_id"] for event in trace.events("start")} == {actor.id for actor in made}
    assert len(trace.events("start")) == 2
    assert len(trace.events("boot")) == 1


# ---- serve ----

def test_serve_fd_follows_socket_activation(look):
    seen = look()
    assert seen.env["LISTEN_FDS"] == "1"
    assert seen.env["LISTEN_PID"] == seen.one["pid"]
    assert seen.env["LISTEN_FDNAMES"] == "http"
    assert seen.one["listener"] == "unix stream listening blocking"


@pytest.mark.parametrize("serve", ["bind", "tcp"])
def test_serve_without_descriptor_says_so(probe, serve):
    env = probe(serve=serve).create("probe", "k").get("/env").json()
    assert not {name for name in env if name.startswith("LISTEN_")}


def test_serve_bind_names_the_socket_as_port(probe):
    env = probe(serve="bind").create("probe", "k").get("/env").json()
    assert env["PORT"] == env["RIVET_SOCKET"]
    assert env["PORT"].startswith("/")


def test_serve_tcp_gives_a_port(probe):
    env = probe(serve="tcp").create("probe", "k").get("/env").json()
    assert 0 < int(env["PORT"]) < 65536


def test_serve_tcp_actors_do_not_share_a_port(probe):
    daemon = probe(serve="tcp")
    ports = [daemon.create("probe", key).get("/env").json()["PORT"] for key in "abc"]
    assert len(set(ports)) == 3


def test_serve_bind_waits_for_a_slow_program(probe):
    daemon = probe(serve="bind", environment={"PROBE_BOOT_DELAY": "0.7"})
    assert daemon.create("probe", "k").get("/echo").status_code == 200


# ---- ready ----

def test_request_waits_until_the_worker_accepts(probe):
    daemon = probe(environment={"PROBE_ACCEPT_DELAY": "0.7"})
    assert daemon.create("probe", "k").get("/echo").status_code == 200


def test_ready_notify(probe, trace):
    daemon = probe(ready="notify", environment={"PROBE_NOTIFY": "0.7"})
    made = daemon.create("probe", "k")
    assert made.get("/echo").status_code == 200
    # It notes that it has notified behind that; this is when it does, at the earliest.
    assert trace.events("start")[0]["time"] >= trace.events("boot")[0]["time"] + 0.7
    assert "NOTIFY_SOCKET" in made.get("/env").json()


def test_no_notify_socket_unless_asked_for(look):
    assert "NOTIFY_SOCKET" not in look().env


def test_ready_path(probe, trace, tmp_path):
    health = tmp_path / "healthy"
    daemon = probe(ready="/healthz", environment={"PROBE_HEALTH": str(health)})
    waiting = Background(daemon.create("probe", "k").get, "/echo")
    wait_for(lambda: trace.events("request"), what="a health check")
    holds_for(lambda: not waiting.done(), 0.5, "waiting for health")
    assert not trace.events("start")
    touch(health)
    assert waiting.result().status_code == 200
    assert len(trace.events("start")) == 1


def test_ready_path_fails_when_never_healthy(probe, tmp_path):
    daemon = probe(ready="/healthz", start_timeout="1s", environment={"PROBE_HEALTH": str(tmp_path / "never")})
    failed_start(daemon.create("probe", "k").get("/echo"))
    wait_for(lambda: not daemon.workers(), what="end of the worker")


# ---- the start call ----

def test_start_call_says_who_the_actor_is(probe, trace):
    daemon = probe()
    made = daemon.create("probe", "a/b", input=b"\x00\xffinput")
    made.get("/pid")
    call = trace.events("start")[0]
    assert call["method"] == "POST"
    assert call["headers"]["x-rivet-lifecycle"] == "start"
    assert call["headers"]["x-rivet-actor-id"] == made.id
    body = call["body"]
    assert set(body) == {"actor_id", "name", "key", "generation", "created_at", "namespace", "input"}
    assert (body["actor_id"], body["name"], body["key"], body["namespace"]) == (made.id, "probe", "a/b", "default")
    assert body["created_at"] == made.record["create_ts"]
    assert base64.b64decode(body["input"]) == b"\x00\xffinput"


def test_start_call_without_input(probe, trace):
    probe().create("probe", "k").get("/pid")
    assert trace.events("start")[0]["body"]["input"] is None


@pytest.mark.parametrize("status", ["404", "405", "501", "204"])
def test_start_call_may_be_unknown_to_the_worker(probe, status):
    daemon = probe(environment={"PROBE_START_STATUS": status})
    assert daemon.create("probe", "k").get("/echo").status_code == 200


@pytest.mark.parametrize("status", ["500", "403", "302"])
def test_start_call_refused_fails_the_start(probe, status):
    daemon = probe(environment={"PROBE_START_STATUS": status})
    assert status in failed_start(daemon.create("probe", "k").get("/echo"))


def test_start_call_comes_before_the_first_request_and_once(probe, trace):
    daemon = probe(environment={"PROBE_START_DELAY": "0.4"})
    made = daemon.create("probe", "k")
    assert [answer.status_code for answer in together(5, made.get, "/echo")] == [200] * 5
    assert len(trace.events("start")) == 1
    answered = trace.events("start")[0]["time"] + 0.4  # at the earliest
    assert all(event["time"] >= answered for event in trace.events("request"))


def test_start_call_counts_towards_the_start_timeout(probe):
    daemon = probe(start_timeout="1s", environment={"PROBE_START_DELAY": "20"})
    began = time.monotonic()
    failed_start(daemon.create("probe", "k").get("/echo"))
    assert time.monotonic() - began < 15


# ---- surroundings ----

def test_environment_is_the_contract_and_nothing_else(look):
    own = {"PATH": os.environ["PATH"], "HOME": "/tmp", "USER": "tester", "LANG": "C", "LC_TIME": "C", "TZ": "UTC",
           "TMPDIR": "/tmp"}
    foreign = {"FOREIGN": "1", "LD_LIBRARY_PATH": "/nowhere", "NOTIFY_SOCKET": None, "RIVET_LOG_LEVEL": "info"}
    seen = look({"env": {**own, **foreign}})
    assert {name: seen.env.get(name) for name in own} == own
    assert set(seen.env) == set(own) | CONTRACT


def test_environment_values(look):
    seen = look()
    assert seen.env["RIVET_NAMESPACE"] == "default"
    assert seen.env["RIVET_ACTOR_NAME"] == "look"
    assert seen.env["RIVET_ACTOR_ID"] == seen.actor.id
    assert seen.env["RIVET_ACTOR_KEY"] == "the/key"
    assert seen.env["RIVET_ACTOR_GENERATION"].isdigit()
    assert seen.env["RIVET_WORKER_ID"]
    assert stat.S_ISSOCK(os.stat(seen.env["RIVET_SOCKET"]).st_mode)
    assert stat.S_ISSOCK(os.stat(seen.env["RIVET_RUNTIME_SOCKET"]).st_mode)


def test_environment_settings(look, tmp_path):
    (tmp_path / "extra.env").write_text("# a comment\n\nFROM_FILE=file value\nQUOTED=a=b\n")
    seen = look({"env": {"TAKEN": "from the daemon", "NOT_TAKEN": "x"}}, environment={"SET": "a b $HOME"},
                environment_file=str(tmp_path / "extra.env"), pass_environment=["TAKEN", "ABSENT"])
    assert seen.env["SET"] == "a b $HOME"
    assert seen.env["FROM_FILE"] == "file value"
    assert seen.env["QUOTED"] == "a=b"
    assert seen.env["TAKEN"] == "from the daemon"
    assert not {"NOT_TAKEN", "ABSENT"} & set(seen.env)


def test_pass_env_option(make_daemon, inspect_binary):
    daemon = make_daemon(args=["--pass-env", "TAKEN"], env={"TAKEN": "yes"}, actor=("look", [inspect_binary]))
    assert Look(daemon.create("look", "k").get("/").text).env["TAKEN"] == "yes"


def test_settings_cannot_forge_the_contract(look):
    seen = look(environment={"HOME": "/elsewhere", "RIVET_ACTOR_ID": "forged"})
    assert seen.env["HOME"] == "/elsewhere"
    assert seen.env["RIVET_ACTOR_ID"] == seen.actor.id


def test_descriptors(look):
    seen = look()
    assert set(seen.fds) == {0, 1, 2, 3}
    assert seen.fds[0] == "/dev/null"
    assert seen.fds[3].startswith("socket:")


def test_signals_umask_and_group_are_reset(look):
    odd_start = ["/bin/sh", "-c", "trap '' PIPE HUP USR1 INT; umask 077; exec \"$@\"", "sh"]
    seen = look({"wrap": odd_start})
    assert int(seen.status["SigBlk"][0], 16) == 0
    assert int(seen.status["SigIgn"][0], 16) == 0
    assert seen.one["umask"] == "0022"
    assert seen.one["pgid"] == seen.one["pid"]


def test_open_files_limit_is_reset(look):
    seen = look({"wrap": ["/usr/bin/prlimit", "--nofile=700:4000"]})
    assert seen.limits["open_files"] == (700, 4000)


def test_limits(look):
    seen = look(limits={"open_files": 64, "core": 0, "cpu_time": "1h", "address_space": "1G"})
    assert seen.limits["open_files"][0] == 64
    assert seen.limits["core"][0] == 0
    assert seen.limits["cpu_time"][0] == 3600
    assert seen.limits["address_space"][0] == 1 << 30


def test_command_is_no_shell_line(look):
    seen = look(args=["two words", "$HOME", "; exit 1", "*", ""])
    assert seen.args[1:] == ["two words", "$HOME", "; exit 1", "*", ""]


def test_command_is_found_in_path(make_daemon, inspect_binary):
    place = f"{os.path.dirname(inspect_binary)}:{os.environ['PATH']}"
    daemon = make_daemon({"actors": {"look": {"command": ["inspect"]}}}, env={"PATH": place})
    assert daemon.create("look", "k").get("/").status_code == 200


def test_directory(look, tmp_path):
    assert look(directory=str(tmp_path)).one["cwd"] == str(tmp_path)


@pytest.mark.root
def test_user(look):
    user = nobody()
    seen = look(user="nobody")
    assert seen.status["Uid"] == [str(user.pw_uid)] * 4
    assert seen.status["Gid"] == [str(user.pw_gid)] * 4
    assert set(seen.status["Groups"]) <= {str(user.pw_gid)}
    assert int(seen.status["CapEff"][0], 16) == 0
    assert int(seen.status["CapPrm"][0], 16) == 0
    assert seen.env["HOME"] == user.pw_dir
    assert (seen.env["USER"], seen.env["LOGNAME"], seen.env["SHELL"]) == ("nobody", "nobody", user.pw_shell)


@pytest.mark.root
def test_user_owns_its_sockets_alone(look):
    seen = look(user="nobody")
    runtime = os.stat(seen.env["RIVET_RUNTIME_SOCKET"])
    assert runtime.st_uid == nobody().pw_uid
    assert stat.S_IMODE(runtime.st_mode) == 0o600
    home = os.stat(os.path.dirname(seen.env["RIVET_RUNTIME_SOCKET"]))
    assert home.st_uid == nobody().pw_uid
    assert stat.S_IMODE(home.st_mode) == 0o700
    assert stat.S_IMODE(os.stat(seen.daemon.runtime_dir).st_mode) == 0o711


@pytest.mark.root
def test_user_can_use_the_runtime_api(make_daemon):
    daemon = make_daemon({"actors": {"probe": type_of("probe.py", user="nobody")}})
    runtime = Runtime(daemon.create("probe", "k"))
    assert runtime.put("a", b"1").status == 204
    assert runtime.get("a").body == b"1"


def test_successor_gets_new_names(probe):
    made = probe().create("probe", "k")
    before = made.get("/env").json()
    made.sleep()
    made.wait_asleep()
    after = made.get("/env").json()
    for name in ("RIVET_WORKER_ID", "RIVET_SOCKET", "RIVET_RUNTIME_SOCKET"):
        assert before[name] != after[name]
    assert not os.path.exists(before["RIVET_RUNTIME_SOCKET"])


# ---- output ----

@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_output_lines_are_tagged(probe, stream):
    daemon = probe()
    made = daemon.create("probe", "k")
    worker = made.get("/env").json()["RIVET_WORKER_ID"]
    made.get("/log", params={"to": stream, "text": "first line\nsecond line\n"})
    for text in ("first line", "second line"):
        record = daemon.wait_log(lambda record, text=text: text in record.values())
        assert {worker, "probe", made.id} <= set(record.values())


def test_output_of_a_pool_names_no_actor(probe):
    daemon = probe(isolation="shared")
    made = daemon.create("probe", "k")
    made.get("/log", params={"to": "stderr", "text": "a pool line\n"})
    record = daemon.wait_log(lambda record: "a pool line" in record.values())
    assert made.id not in record.values()


def test_output_cannot_forge_log_records(probe):
    daemon = probe()
    forged = '{"msg":"listening","listener":"forged","address":"1.2.3.4:5"}'
    daemon.create("probe", "k").get("/log", params={"to": "stderr", "text": forged + "\n"})
    daemon.wait_log(lambda record: forged in record.values())
    assert daemon.listening("forged") is None


def test_last_line_without_newline_is_logged(probe):
    daemon = probe()
    made = daemon.create("probe", "k")
    made.get("/log", params={"to": "stderr", "text": "famous last words"})
    made.get("/exit?code=1")
    daemon.wait_log(lambda record: "famous last words" in record.values())


# ---- failures ----

def test_missing_program_is_named(make_daemon):
    daemon = make_daemon({"actors": {"odd": {"command": ["/nonexistent/program"]}}})
    assert "/nonexistent/program" in failed_start(daemon.create("odd", "k").get("/"))


def test_program_that_is_not_executable(make_daemon, tmp_path):
    file = touch(tmp_path / "plain")
    daemon = make_daemon({"actors": {"odd": {"command": [file]}}})
    assert "ermission" in failed_start(daemon.create("odd", "k").get("/"))


def test_directory_that_went_away_is_named(make_daemon, inspect_binary, tmp_path):
    place = tmp_path / "place"
    place.mkdir()
    daemon = make_daemon({"actors": {"odd": {"command": [inspect_binary], "directory": str(place)}}})
    place.rmdir()
    assert str(place) in failed_start(daemon.create("odd", "k").get("/"))


def test_exit_code_and_last_words_reach_the_client_and_the_log(make_daemon):
    daemon = make_daemon(odd("exits", "37"))
    message = failed_start(daemon.create("odd", "k").get("/"))
    assert "37" in message
    assert "complaint 5 of 5" in message
    daemon.wait_log(lambda record: record.get("level") in ("error", "warn") and "37" in str(record))


def test_any_byte_may_be_among_the_last_words(make_daemon):
    script = "printf 'before \\000 \\377 \\033[31m \\042 behind\\n' >&2; exit 1"
    daemon = make_daemon({"actors": {"odd": {"command": ["/bin/sh", "-c", script]}}})
    message = failed_start(daemon.create("odd", "k").get("/"))
    assert "before" in message and "behind" in message


def test_signal_is_named(make_daemon):
    daemon = make_daemon(odd("dies", "11"))
    message = failed_start(daemon.create("odd", "k").get("/"))
    assert "SEGV" in message or "signal 11" in message
    assert "about to be killed" in message


@pytest.mark.parametrize("mode", ["never_listens", "hangs", "deaf"])
def test_worker_that_never_answers(make_daemon, mode):
    daemon = make_daemon(odd(mode))
    began = time.monotonic()
    message = failed_start(daemon.create("odd", "k").get("/"))
    assert 0.9 < time.monotonic() - began < 20
    assert "1s" in message or "1 s" in message or "1000" in message
    wait_for(lambda: not daemon.workers(), what="end of the worker")


@pytest.mark.parametrize("mode", ["closes", "garbage"])
def test_worker_that_answers_nonsense(make_daemon, mode):
    daemon = make_daemon(odd(mode, start_timeout="3s"))
    failed_start(daemon.create("odd", "k").get("/"))
    wait_for(lambda: not daemon.workers(), what="end of the worker")


@pytest.mark.parametrize("serve", ["bind", "tcp"])
def test_worker_that_never_binds(make_daemon, serve):
    daemon = make_daemon(odd("never_listens", serve=serve))
    failed_start(daemon.create("odd", "k").get("/"))


@pytest.mark.root
@pytest.mark.parametrize("what", ["file", "link", "owner"])
def test_only_the_workers_own_socket_will_do(make_daemon, what):
    """No link is followed, and the socket is its user's."""
    daemon = make_daemon(odd("pretends", what, serve="bind", start_timeout="20s"))
    assert "not the worker's own" in failed_start(daemon.create("odd", "k").get("/"))


def test_all_waiting_requests_hear_of_one_failure(probe, trace):
    daemon = probe(environment={"PROBE_START_DELAY": "1", "PROBE_START_STATUS": "500"})
    made = daemon.create("probe", "k")
    for answer in together(6, made.get, "/echo"):
        failed_start(answer)
    assert len(trace.events("boot")) == 1


def test_back_off_spares_the_machine_and_recovers(make_daemon, tmp_path):
    broken, counter = touch(tmp_path / "broken"), str(tmp_path / "counter")
    settings = {"command": command("failing.sh", broken, counter, os.path.join(WORKERS, "probe.py"))}
    daemon = make_daemon({"actors": {"odd": settings}})
    made = daemon.create("odd", "k")
    began = time.monotonic()
    for _ in range(8):
        assert "not today" in failed_start(made.get("/echo"))
    took = time.monotonic() - began
    with open(counter, encoding="utf-8") as file:
        starts = len(file.readlines())
    assert 2 <= starts <= 4 + took
    os.unlink(broken)
    wait_for(lambda: made.get("/echo").status_code == 200, 30, "recovery", interval=0.3)


def test_back_off_is_per_actor(make_daemon, tmp_path):
    broken, counter = touch(tmp_path / "broken"), str(tmp_path / "counter")
    settings = {"command": command("failing.sh", broken, counter, os.path.join(WORKERS, "probe.py"))}
    daemon = make_daemon({"actors": {"odd": settings}})
    made = daemon.create("odd", "k")
    for _ in range(4):
        failed_start(made.get("/echo"))
    os.unlink(broken)
    assert daemon.create("odd", "neighbour").get("/echo").status_code == 200


def test_other_types_do_not_suffer(make_daemon, trace):
    config = odd("never_listens", start_timeout="20s")
    config["actors"]["probe"] = type_of("probe.py", trace=trace)
    daemon = make_daemon(config)
    stuck = Background(daemon.create("odd", "k").get, "/")
    assert daemon.create("probe", "k").get("/echo").status_code == 200
    assert not stuck.done()


# ---- how many ----

def test_workers_max_puts_the_longest_idle_to_sleep(probe, trace):
    daemon = probe(workers_max=2)
    made = []
    for key in "abc":
        made.append(daemon.create("probe", key))
        assert made[-1].get("/pid").status_code == 200
    assert [(event["body"]["actor_id"], event["body"]["reason"]) for event in trace.wait("stop")] == \
        [(made[0].id, "sleep")]
    assert len(daemon.workers()) == 2


def test_workers_max_waits_while_all_are_busy(probe, tmp_path, trace):
    daemon = probe(workers_max=1)
    busy = Background(daemon.create("probe", "a").get, f"/hold?until={tmp_path}/go")
    trace.wait("request")
    waiting = Background(daemon.create("probe", "b").get, "/echo")
    holds_for(lambda: not waiting.done() and len(daemon.workers()) <= 1, 1, "waiting for a free place")
    touch(tmp_path / "go")
    assert busy.result().status_code == 200
    assert waiting.result().status_code == 200


def test_waiting_for_a_place_takes_no_time_of_the_start(probe, tmp_path, trace):
    """start_timeout begins with the process; a request waits for a place until its ready time-out."""
    daemon = probe(workers_max=1, start_timeout="5s")
    busy = Background(daemon.create("probe", "a").get, f"/hold?until={tmp_path}/go")
    trace.wait("request")
    waiting = Background(daemon.create("probe", "b").get, "/echo")
    holds_for(lambda: not waiting.done(), 7, "waiting for longer than a start may take")
    touch(tmp_path / "go")
    assert busy.result().status_code == 200
    assert waiting.result().status_code == 200


@pytest.mark.deadline(120)
def test_workers_max_overloaded_in_the_end(probe, tmp_path, trace):
    daemon = probe(workers_max=1)
    busy = Background(daemon.create("probe", "a").get, f"/hold?until={tmp_path}/go", timeout=100)
    trace.wait("request")
    began = time.monotonic()
    answer = daemon.create("probe", "b").get("/echo", timeout=100)
    assert answer.status_code == 503
    assert code_of(answer) == "actor.overloaded"
    assert time.monotonic() - began > 29
    retry_after(answer)
    touch(tmp_path / "go")
    assert busy.result().status_code == 200


def test_starts_max_bounds_concurrent_starts(probe, trace):
    daemon = probe(config={"starts_max": 1}, environment={"PROBE_START_DELAY": "0.3"})
    made = [daemon.create("probe", f"k{number}") for number in range(4)]
    calls = [Background(actor.get, "/pid") for actor in made]
    assert [call.result().status_code for call in calls] == [200] * 4
    # the worker notes its answer after sending it; this is when it is sent, at the earliest
    spans = sorted((boot["time"], trace.events("start", pid=boot["pid"])[0]["time"] + 0.3) for boot in trace.events("boot"))
    assert all(before[1] <= after[0] for before, after in zip(spans, spans[1:]))


def test_starts_are_shared_fairly_between_types(make_daemon, tmp_path):
    """While many of one type wait to be started, one of another has to wait for a start or two."""
    many, one = Trace(tmp_path / "many"), Trace(tmp_path / "one")
    daemon = make_daemon({"starts_max": 1, "actors": {
        "many": type_of("probe.py", trace=many, environment={"PROBE_START_DELAY": "0.2"}),
        "one": type_of("probe.py", trace=one)}})
    for number in range(12):
        daemon.create("many", f"k{number}")
    many.wait("boot")
    made, created = daemon.create("one", "k"), time.time()
    assert made.get("/pid").status_code == 200
    [began] = [event["time"] for event in one.events("boot")]
    assert len([event for event in many.events("boot") if created <= event["time"] < began]) <= 3


def test_many_actors_start_at_once(probe):
    daemon = probe()
    made = [daemon.create("probe", f"k{number}") for number in range(20)]
    calls = [Background(actor.get, "/pid") for actor in made]
    assert len({call.result().text for call in calls}) == 20


# ---- types that are not there ----

def test_creating_an_unknown_type_names_the_known_ones(probe):
    daemon = probe()
    answer = daemon.post("/actors?namespace=default", json={"name": "prode", "key": "k", "crash_policy": "sleep",
                                                             "runner_name_selector": "default"})
    assert answer.status_code == 400
    assert code_of(answer) == "actor.not_registered"
    assert "probe" in answer.json()["message"]


def test_actor_of_a_removed_type(make_daemon, trace):
    daemon = make_daemon({"actors": {"old": type_of("probe.py", trace=trace), "new": type_of("probe.py")}})
    made = daemon.create("old", "k")
    assert made.get("/echo").status_code == 200
    daemon.restart({"actors": {"new": type_of("probe.py")}})
    answer = made.get("/echo")
    assert answer.status_code == 503
    assert code_of(answer) == "actor.not_registered"


# ---- no orphans ----

def test_orphans_of_a_worker_are_ended_with_it(probe):
    daemon = probe()
    made = daemon.create("probe", "k")
    grandchild = int(made.get("/spawn").text)
    assert procs.alive(grandchild)
    made.sleep()
    made.wait_asleep()
    wait_for(lambda: not procs.alive(grandchild), what="end of the grandchild")


def test_crashed_worker_takes_its_group_along(probe):
    daemon = probe()
    made = daemon.create("probe", "k")
    grandchild = int(made.get("/spawn").text)
    made.get("/exit?code=2")
    wait_for(lambda: not procs.alive(grandchild), what="end of the grandchild")
