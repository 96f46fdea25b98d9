"""The program itself: options, configuration, exit codes, logs, signals, drains, metrics."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time

import pytest
import requests

from lib import procs
from lib.check import Background, code_of, retry_after, touch
from lib.config import check, refused
from lib.daemon import BINARY, DaemonFailed, clean_env, run_daemon
from lib.rawhttp import RawConnection
from lib.rt import Runtime
from lib.wait import SCALE, holds_for, wait_for
from lib.worker import type_of
from lib.ws import WsClient

SECRET = "s3cret-token-1a2b3c4d5e"


# ---- options ----

@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help(option):
    code, output, _ = run_daemon([option])
    assert code == 0
    for word in ("--config", "--foreground", "--detach", "--listen", "--data-dir", "--check-config", "--drain-timeout",
                 "--admin-listen", "--log-format", "--actor"):
        assert word in output


@pytest.mark.parametrize("option", ["-V", "--version"])
def test_version(option):
    code, output, _ = run_daemon([option])
    assert code == 0
    assert re.search(r"rivet-runnerd \d+\.\d+", output)


@pytest.mark.parametrize("args, words", [
    (["--lisen", "127.0.0.1:0"], ["--lisen", "--listen"]),
    (["--no-such-option-at-all"], ["--no-such-option-at-all"]),
    (["-Z"], ["-Z"]),
    (["--listen"], ["--listen"]),
    (["surplus"], ["surplus"]),
    (["--actor", "a"], ["--actor"]),
    (["--", "program"], ["--actor"]),
    (["--help=yes"], ["--help"]),
])
def test_usage_errors(args, words):
    code, _, errors = run_daemon(args)
    assert code == 64
    for word in words:
        assert word in errors
    assert len(errors.strip().splitlines()) <= 3


@pytest.mark.parametrize("args, word", [
    (["--listen", "nonsense"], "nonsense"), (["--listen", "127.0.0.1:99999"], "99999"),
    (["--drain-timeout", "5 parsecs"], "5 parsecs"), (["--drain-timeout", "10"], "10"),
    (["--log-level", "loud"], "loud"), (["--log-format", "xml"], "xml"), (["--total-slots", "-1"], "-1"),
])
def test_option_values_are_checked(tmp_path, args, word):
    code, _, errors = run_daemon(["--check-config", "--data-dir", str(tmp_path), *args])
    assert code in (64, 78)
    assert word in errors


@pytest.mark.parametrize("variable, value", [("RIVET_LISTEN", "nonsense"), ("RIVET_DRAIN_TIMEOUT", "soon"),
                                             ("RIVET_LOG_LEVEL", "loud"), ("RIVET_TOTAL_SLOTS", "many")])
def test_environment_values_are_checked(tmp_path, variable, value):
    code, _, errors = run_daemon(["--check-config", "--data-dir", str(tmp_path)], {variable: value})
    assert code == 78
    assert variable in errors and value in errors


# ---- configuration ----

def test_check_config_names_sources(tmp_path):
    code, output, errors = check(tmp_path, {"listen": "127.0.0.1:7001", "drain_timeout": "9s"},
                                 "--admin-listen", "127.0.0.1:7002", env={"RIVET_LOG_LEVEL": "debug"})
    assert code == 0, errors
    for value in ("127.0.0.1:7001", "127.0.0.1:7002", "9s", "debug", str(tmp_path / "config.json"), "RIVET_LOG_LEVEL"):
        assert value in output


def test_check_config_leaves_no_trace(tmp_path):
    assert check(tmp_path, {})[0] == 0
    assert not (tmp_path / "data").exists()


def test_check_config_masks_secrets(tmp_path):
    code, output, errors = check(tmp_path, {}, env={"RIVET_TOKEN": SECRET})
    assert code == 0
    assert SECRET not in output + errors
    code, output, errors = check(tmp_path, {}, "--engine", f"https://space:{SECRET}@engine.example")
    assert SECRET not in output + errors


def listen_of(output):
    return next(line for line in output.splitlines() if re.search(r"(?<!admin_)listen\b", line))


def test_precedence(tmp_path):
    file, env = {"listen": "127.0.0.1:7001"}, {"RIVET_LISTEN": "127.0.0.1:7002"}
    assert "7001" in listen_of(check(tmp_path, file)[1])
    assert "7002" in listen_of(check(tmp_path, file, env=env)[1])
    assert "7003" in listen_of(check(tmp_path, file, "--listen", "127.0.0.1:7003", env=env)[1])
    assert "7001" in listen_of(check(tmp_path, file, env={"RIVET_LISTEN": ""})[1])
    assert "6420" in listen_of(check(tmp_path, {})[1])


def test_config_by_environment(tmp_path):
    (tmp_path / "c.json").write_text('{"listen": "127.0.0.1:7009"}')
    code, output, _ = run_daemon(["--check-config"], {"RIVET_RUNNERD_CONFIG": str(tmp_path / "c.json")})
    assert code == 0
    assert "7009" in output


def test_malformed_json_is_located(tmp_path):
    refused(tmp_path, '{\n  "listen": "127.0.0.1:0",\n  "drain_timeout" "9s"\n}', "config.json", "3")
    refused(tmp_path, "", "config.json")
    refused(tmp_path, "[]", "config.json")
    refused(tmp_path, '{"listen": "127.0.0.1:0"} trailing', "config.json")


def test_unknown_key_is_located_and_the_nearest_named(tmp_path):
    errors = refused(tmp_path, '{\n  "listen": "127.0.0.1:0",\n  "drain_timout": "9s"\n}', "drain_timout", "drain_timeout")
    assert re.search(r"config\.json:3(:\d+)?", errors) or "line 3" in errors
    refused(tmp_path, '{"lgo": {"level": "debug"}}', '"lgo"', '"log"')
    refused(tmp_path, '{"log": {"levl": "debug"}}', '"log.levl"', '"log.level"')


def test_unknown_actor_setting_is_located_and_the_nearest_named(tmp_path):
    config = {"actors": {"counter": {"command": ["/bin/true"], "slep_after": "1s"}}}
    errors = refused(tmp_path, config, "slep_after", "sleep_after", "counter")
    line = json.dumps(config, indent=2).splitlines().index('      "slep_after": "1s"') + 1
    assert re.search(rf"config\.json:{line}(:\d+)?", errors) or f"line {line}" in errors


def test_key_twice_is_refused(tmp_path):
    refused(tmp_path, '{"listen": "127.0.0.1:1", "listen": "127.0.0.1:2"}', "listen")


@pytest.mark.parametrize("setting, value", [
    ("command", []), ("command", "a string"), ("command", [1]), ("isolation", "none"), ("serve", "http"),
    ("ready", "whenever"), ("start_timeout", "25"), ("start_timeout", 25), ("sleep_after", "soon"),
    ("workers_max", -1), ("workers_max", 0), ("workers_max", "many"), ("limits", {"memry": "1G"}),
    ("limits", {"open_files": "x"}), ("environment", ["A=1"]), ("environment", {"A": 1}), ("pass_environment", "PATH"),
    ("user", "no-such-user-here"), ("group", "no-such-group-here"), ("environment_file", "/nonexistent/file"),
    ("requests_max", -1), ("stop_grace", "-1s"), ("actors_per_worker", 0),
])
def test_actor_settings_are_checked(tmp_path, setting, value):
    config = {"actors": {"counter": {"command": ["/bin/true"], setting: value}}}
    refused(tmp_path, config, setting if setting != "limits" else next(iter(value)), "counter")


def test_command_is_required(tmp_path):
    refused(tmp_path, {"actors": {"counter": {"isolation": "actor"}}}, "command", "counter")


def test_missing_config_file(tmp_path):
    code, _, errors = run_daemon(["--check-config", "--config", str(tmp_path / "missing.json")])
    assert code == 78
    assert str(tmp_path / "missing.json") in errors


@pytest.mark.parametrize("name", ["RIVET_TOKEN", "RIVET_TOKEN_FILE"])
def test_tokens_cannot_be_passed_on(make_daemon, name):
    """Refused as configuration, or left out; never in the worker."""
    daemon = make_daemon({"actors": {"probe": type_of("probe.py", pass_environment=[name])}},
                         env={"RIVET_TOKEN": SECRET}, token=SECRET, start=False)
    daemon.expected_codes.add(78)
    try:
        daemon.start()
    except DaemonFailed:
        assert daemon.proc.returncode == 78
        return
    assert SECRET not in daemon.create("probe", "k").get("/env").text


def test_bad_config_is_refused_at_start_too(tmp_path):
    (tmp_path / "c.json").write_text('{"lisen": "127.0.0.1:0"}')
    code, _, errors = run_daemon(["--foreground", "--config", str(tmp_path / "c.json"), "--data-dir", str(tmp_path / "d")])
    assert code == 78
    assert "lisen" in errors


def test_runtime_dir_too_long(tmp_path):
    code, _, errors = run_daemon(["--foreground", "--listen", "127.0.0.1:0", "--data-dir", str(tmp_path / "d"),
                                  "--runtime-dir", str(tmp_path / ("r" * 120))])
    assert code == 78
    assert "107" in errors


# ---- start ----

def test_port_in_use(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        code, _, errors = run_daemon(["--foreground", "--listen", address, "--data-dir", str(tmp_path / "d"),
                                      "--runtime-dir", str(tmp_path / "r")])
    assert code == 1
    assert address in errors


def test_foreground_keeps_its_data_here(tmp_path):
    process = subprocess.Popen([BINARY, "-f", "-l", "127.0.0.1:0", "--log-format", "json"], cwd=tmp_path,
                               env=clean_env(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        wait_for((tmp_path / ".rivet-runnerd").exists, what="the data directory")
        wait_for(lambda: b'"listening"' in os.read(process.stderr.fileno(), 65536), what="the listener")
    finally:
        process.terminate()
        assert process.wait(30 * SCALE) == 0
        process.stderr.close()


def test_one_actor_on_the_command_line(make_daemon, inspect_binary):
    daemon = make_daemon(actor=("look", [inspect_binary, "--an-option", "-x"]))
    text = daemon.create("look", "k").get("/").text
    assert "arg --an-option\narg -x" in text


class Detached:
    """Runs with --detach, and finds what it left behind by its data directory."""

    def __init__(self, tmp_path):
        self.log = tmp_path / "detached.log"
        self.data_dir = str(tmp_path / "data")
        self.place = tempfile.mkdtemp(prefix="rr-")

    def run(self, *args, listen="127.0.0.1:0"):
        return run_daemon(["--detach", "--log-file", str(self.log), "--log-format", "json", "--listen", listen,
                           "--data-dir", self.data_dir, "--runtime-dir", os.path.join(self.place, "run"), *args])

    def pids(self):
        """The daemon, without the helpers below it."""
        found = [pid for pid in procs.all_pids() if self.data_dir in procs.cmdline(pid) and procs.alive(pid)]
        return [pid for pid in found if procs.parent(pid) not in found]

    def close(self):
        for pid in self.pids():
            os.kill(pid, signal.SIGTERM)
        wait_for(lambda: not self.pids(), 30, "end of the detached daemon")
        shutil.rmtree(self.place)


@pytest.fixture
def detached(tmp_path):
    made = Detached(tmp_path)
    yield made
    made.close()


def logged_address(log):
    records = [json.loads(line) for line in log.read_text().splitlines()]
    return next(record["address"] for record in records if record["msg"] == "listening" and record["listener"] == "api")


def test_detach_returns_when_ready(detached):
    code, _, errors = detached.run()
    assert code == 0, errors
    assert requests.get(f"http://{logged_address(detached.log)}/health", timeout=10).status_code == 200


def test_detach_reports_failure(detached):
    code, _, errors = detached.run("--config", "/nonexistent/config.json")
    assert code == 78
    assert "/nonexistent/config.json" in errors
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        code, _, errors = detached.run(listen=address)
    assert code == 1
    assert address in errors


def test_detach_leaves_the_terminal(detached):
    assert detached.run()[0] == 0
    [pid] = detached.pids()
    assert int(procs.stat(pid)[3]) != os.getsid(0)
    assert os.readlink(f"/proc/{pid}/fd/0") == "/dev/null"


# ---- log ----

def test_json_records_are_whole(probe):
    daemon = probe()
    daemon.create("probe", "k").get("/pid")
    for line in daemon.log_lines():
        record = json.loads(line)
        assert record["level"] in ("error", "warn", "info", "debug", "trace")
        assert record["msg"]


@pytest.mark.parametrize("style", ["text", "logfmt"])
def test_other_log_formats(tmp_path, style):
    process = subprocess.Popen([BINARY, "-f", "-l", "127.0.0.1:0", "--log-format", style, "-d", str(tmp_path / "d")],
                               cwd=tmp_path, env=clean_env(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    line = process.stderr.readline()
    while "listening" not in line:
        line = process.stderr.readline()
        assert line, "no listener in the log"
    assert "127.0.0.1:" in line
    assert not line.startswith("{")
    process.terminate()
    process.communicate(timeout=30 * SCALE)
    assert process.returncode == 0


def test_stop_at_any_moment_of_the_start(tmp_path):
    for round_number in range(20):
        process = subprocess.Popen([BINARY, "-f", "-l", "127.0.0.1:0", "--log-format", "text", "-d", str(tmp_path / "d")],
                                   cwd=tmp_path, env=clean_env(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        if round_number % 2:
            process.stderr.readline()
        else:
            while "listening" not in process.stderr.readline():
                pass
        process.terminate()
        process.communicate(timeout=30 * SCALE)
        assert process.returncode == 0


def test_log_level(probe):
    daemon = probe(daemon_options={"args": ["--log-level", "warn"], "start": False})
    daemon.spawn()
    wait_for(lambda: os.path.isdir(daemon.runtime_dir), what="the runtime directory")
    time.sleep(0.5)
    assert daemon.stop() == 0
    assert not [record for record in daemon.log_records() if record["level"] in ("info", "debug", "trace")]


def test_log_file_is_reopened_on_hup(make_daemon, tmp_path):
    log = tmp_path / "file.log"
    daemon = make_daemon({"actors": {"probe": type_of("probe.py")}}, args=["--log-file", str(log)], start=False)
    daemon.spawn()
    wait_for(lambda: log.exists() and "listening" in log.read_text(), what="the log file")
    os.rename(log, tmp_path / "old.log")
    daemon.send_signal(signal.SIGHUP)
    wait_for(log.exists, what="the new log file")
    before = (tmp_path / "old.log").read_text()
    daemon.stop()
    assert "listening" in before
    assert log.read_text()


@pytest.mark.parametrize("where", ["option", "config"])
def test_log_file_from_either_place(make_daemon, tmp_path, where):
    log = tmp_path / "file.log"
    config = {"log": {"file": str(log)}} if where == "config" else {}
    daemon = make_daemon(config, args=["--log-file", str(log)] if where == "option" else [], start=False)
    daemon.spawn()
    wait_for(lambda: log.exists() and "listening" in log.read_text(), what="the log file")
    assert daemon.stop() == 0


def test_no_secret_in_any_log(probe, tmp_path):
    daemon = probe(daemon_options={"token": SECRET, "args": ["--log-level", "trace"]})
    made = daemon.create("probe", "k")
    made.get("/pid")
    daemon.get(f"/gateway/{made.id}@{SECRET}/pid")
    daemon.get(daemon.gateway_query("probe", "k", "/pid", token=SECRET))
    daemon.get(f"/gateway/{made.id}@wrong{SECRET}/pid")
    with WsClient(daemon.address, made.path("/ws"), ["rivet", f"rivet_token.{SECRET}"]) as client:
        client.report()
    assert SECRET not in made.get("/env").text
    daemon.stop()
    assert SECRET not in daemon.logs()
    found = subprocess.run(["grep", "-rl", SECRET, daemon.data_dir], capture_output=True, check=False)
    assert found.stdout == b""


def test_token_is_not_on_the_command_line_of_anything(probe):
    daemon = probe(daemon_options={"token": SECRET})
    daemon.create("probe", "k").get("/pid")
    for pid in [daemon.pid, *procs.children(daemon.pid), *daemon.worker_processes()]:
        assert SECRET not in " ".join(procs.cmdline(pid))
    for pid in daemon.worker_processes():
        assert SECRET not in str(procs.environ(pid))


# ---- health and metrics ----

def test_health_and_readiness(calm):
    assert calm.admin("/healthz").status_code == 200
    assert calm.admin("/readyz").status_code == 200
    assert calm.admin("/nothing").status_code == 404


def test_metrics(calm, actor):
    actor.get("/pid")
    answer = calm.admin("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    names = set()
    for line in answer.text.splitlines():
        if line and not line.startswith("#"):
            found = re.fullmatch(r"([a-zA-Z_:][a-zA-Z0-9_:]*)(\{[^}]*\})? -?[0-9.eE+naif-]+( \d+)?", line)
            assert found, line
            names.add(found[1])
    typed = {line.split()[2] for line in answer.text.splitlines() if line.startswith("# TYPE ")}
    assert all(any(name == one or name.startswith(one + "_") for one in typed) for name in names)
    assert names


def test_metrics_labels_are_bounded(probe):
    daemon = probe()
    lines = len(daemon.admin("/metrics").text.splitlines())
    made = [daemon.create("probe", f"k{number}") for number in range(15)]
    for actor in made:
        actor.get(f"/path/{actor.id}")
    text = daemon.admin("/metrics").text
    assert not [actor.id for actor in made if actor.id in text]
    assert len(text.splitlines()) < lines + 60


def test_metrics_count(calm, actor):
    def total():
        numbers = re.findall(r"^[a-z_]*requests[a-z_]*_total(?:\{[^}]*\})? ([0-9.e+]+)$", calm.admin("/metrics").text, re.M)
        return sum(float(number) for number in numbers)
    before = total()
    for _ in range(10):
        actor.get("/pid")
    wait_for(lambda: total() >= before + 10, what="ten more requests")


# ---- drain ----

def test_term_ends_cleanly(probe, trace):
    daemon = probe()
    made = daemon.create("probe", "k")
    made.get("/pid")
    assert daemon.stop(signal.SIGTERM) == 0
    assert trace.events("stop")[0]["body"]["reason"] == "drain"
    assert trace.events("exit")


def test_int_ends_cleanly(probe):
    daemon = probe()
    daemon.create("probe", "k").get("/pid")
    assert daemon.stop(signal.SIGINT) == 0


def test_term_without_any_worker_is_quick(probe):
    began = time.monotonic()
    assert probe().stop() == 0
    assert time.monotonic() - began < 10 * SCALE


def test_drain_lets_requests_finish_and_refuses_new_ones(probe, tmp_path, trace):
    daemon = probe(daemon_options={"args": ["--drain-timeout", "20s"]}, stop_grace="15s")
    made, other = daemon.create("probe", "k"), daemon.create("probe", "other")
    held = Background(made.get, f"/hold?until={tmp_path}/go")
    trace.wait("request")
    address = daemon.address
    daemon.send_signal(signal.SIGTERM)
    wait_for(lambda: daemon.readyz() == 503, what="readiness to end")
    assert daemon.admin("/healthz").status_code == 200
    refusal = asked_fresh(address, other.path("/pid"))
    if refusal is not None:
        assert refusal.status == 503
        assert int(refusal.header("retry-after")) >= 0
    assert not held.done()
    touch(tmp_path / "go")
    assert held.result().status_code == 200
    assert daemon.wait_exit() == 0


def asked_fresh(address, target):
    """An answer on a new connection, or None when nobody listens any more."""
    try:
        with RawConnection(address) as connection:
            connection.request("GET", target)
            return connection.read_answer()
    except ConnectionError:
        return None


def test_drain_answers_waiting_requests(probe):
    daemon = probe(environment={"PROBE_START_DELAY": "3"}, daemon_options={"args": ["--drain-timeout", "10s"]})
    made = daemon.create("probe", "k")
    waiting = Background(made.get, "/pid")
    daemon.wait_workers(1)
    time.sleep(0.5)
    daemon.send_signal(signal.SIGTERM)
    answer = waiting.result()
    assert answer.status_code in (200, 503)
    if answer.status_code == 503:
        code_of(answer)
        retry_after(answer)
    assert daemon.wait_exit() == 0


def test_drain_cuts_what_does_not_end(probe, trace):
    daemon = probe(daemon_options={"args": ["--drain-timeout", "2s"]}, stop_grace="30s",
                   environment={"PROBE_STOP": "never", "PROBE_TERM": "ignore"})
    made = daemon.create("probe", "k")
    with RawConnection(daemon.address) as stream:
        stream.request("GET", made.path("/endless"))
        stream.read_head()
        began = time.monotonic()
        assert daemon.stop() == 0
        assert time.monotonic() - began < 15 * SCALE
        assert not stream.read_rest().endswith(b"0\r\n\r\n")
    assert trace.events("stop")[0]["body"]["deadline_ms"] <= 2000
    assert not trace.events("stop-answered")


def test_drain_reports_progress(probe, tmp_path, trace):
    daemon = probe(daemon_options={"args": ["--drain-timeout", "20s"]})
    held = Background(daemon.create("probe", "k").get, f"/hold?until={tmp_path}/go")
    trace.wait("request")
    daemon.send_signal(signal.SIGTERM)
    daemon.wait_log(lambda record: "drain" in str(record).lower())
    touch(tmp_path / "go")
    held.result()
    assert daemon.wait_exit() == 0


def test_stop_grace_holds_in_a_drain_too(probe, trace):
    """A drain may have much more time: from the stop call to SIGKILL it is stop_grace."""
    daemon = probe(config={"drain_timeout": "50s"}, stop_grace="1s", environment={"PROBE_STOP": "never",
                                                                                  "PROBE_TERM": "ignore"})
    daemon.create("probe", "k").get("/pid")
    assert daemon.stop(timeout=30) == 0
    [stop] = trace.events("stop")
    assert stop["body"]["deadline_ms"] <= 1000


def test_drain_without_any_time(probe):
    daemon = probe(config={"drain_timeout": "0s"}, stop_grace="50s", environment={"PROBE_STOP": "never",
                                                                                  "PROBE_TERM": "ignore"})
    daemon.create("probe", "k").get("/pid")
    assert daemon.stop(timeout=30) == 0


def test_second_term_goes_straight_to_sigkill(probe, trace):
    daemon = probe(daemon_options={"args": ["--drain-timeout", "60s"]}, stop_grace="60s",
                   environment={"PROBE_STOP": "never", "PROBE_TERM": "ignore"})
    daemon.expected_codes = {1}
    daemon.create("probe", "k").get("/pid")
    daemon.send_signal(signal.SIGTERM)
    trace.wait("stop")
    began = time.monotonic()
    daemon.send_signal(signal.SIGTERM)
    assert daemon.wait_exit() == 1
    assert time.monotonic() - began < 15 * SCALE
    wait_for(lambda: not daemon.worker_processes(), what="end of the workers")


def test_usr2_is_reserved_and_ends_nothing(probe):
    daemon = probe()
    made = daemon.create("probe", "k")
    pid = made.get("/pid").text
    daemon.send_signal(signal.SIGUSR2)
    daemon.wait_log(lambda record: "SIGUSR2" in record["msg"])
    assert made.get("/pid").text == pid


def test_blocked_and_ignored_signals_are_not_inherited(probe):
    numbers = {signal.SIGTERM, signal.SIGCHLD, signal.SIGHUP}
    signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        daemon = probe()
    finally:
        signal.signal(signal.SIGTERM, before)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)
    made = daemon.create("probe", "k")
    made.get("/pid")
    os.kill(daemon.workers()[0], signal.SIGKILL)
    daemon.wait_log(lambda record: record["msg"] == "actor ended unasked")
    assert daemon.stop() == 0


@pytest.mark.parametrize("closed", [(0, 1, 2), (0,), (1, 2)])
def test_closed_standard_descriptors_stay_nobodys(tmp_path, closed):
    """Else the log would be written into whatever was opened in their place."""
    process = subprocess.Popen([BINARY, "-f", "-l", "127.0.0.1:0", "-d", str(tmp_path / "d"), "--log-file",
                                str(tmp_path / "log"), "--runtime-dir", str(tmp_path / "r")], env=clean_env(),
                               stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                               preexec_fn=lambda: [os.close(number) for number in closed])
    wait_for(lambda: (tmp_path / "log").exists() and '"ready"' in (tmp_path / "log").read_text(), what="readiness")
    places = [os.readlink(f"/proc/{process.pid}/fd/{number}") for number in range(3)]
    process.terminate()
    assert process.wait(30 * SCALE) == 0
    assert places == ["/dev/null"] * 3


def test_drain_right_after_a_create(probe):
    daemon = probe()
    for number in range(15):
        daemon.create("probe", f"k{number}")
        time.sleep(number % 5 * 0.004)
        began = time.monotonic()
        assert daemon.stop() == 0
        assert time.monotonic() - began < 10 * SCALE
        daemon.restart()


def test_drain_keeps_what_workers_save(probe):
    daemon = probe(environment={"PROBE_ON_STOP": "PUT /v1/actors/self/kv/saved yes"})
    made = daemon.create("probe", "k")
    made.get("/pid")
    assert daemon.stop() == 0
    daemon.restart()
    assert Runtime(made).get("saved").body == b"yes"


# ---- sudden death ----

def test_workers_die_with_a_killed_daemon(probe):
    daemon = probe(environment={"PROBE_TERM": "ignore"})
    made = [daemon.create("probe", f"k{number}") for number in range(3)]
    grandchildren = [int(actor.get("/spawn").text) for actor in made]
    workers = daemon.workers()
    assert len(workers) == 3
    daemon.kill()
    wait_for(lambda: not [pid for pid in workers + grandchildren if procs.alive(pid)], what="end of the workers")


def test_workers_die_with_the_daemon_though_its_guardian_was_killed(probe):
    daemon = probe(environment={"PROBE_TERM": "ignore"})
    made = [daemon.create("probe", f"k{number}") for number in range(3)]
    grandchildren = [int(actor.get("/spawn").text) for actor in made]
    workers = daemon.workers()
    [guardian] = set(procs.children(daemon.pid)) - set(workers)
    os.kill(guardian, signal.SIGKILL)
    daemon.wait_log(lambda record: "guardian" in record["msg"])
    daemon.kill()
    wait_for(lambda: not [pid for pid in workers + grandchildren if procs.alive(pid)], what="end of the workers")


def test_workers_that_are_starting_die_with_a_killed_daemon(probe):
    daemon = probe(environment={"PROBE_BOOT_DELAY": "60"})
    for number in range(3):
        made = daemon.create("probe", f"k{number}")
        Background(lambda made=made: pytest.raises(requests.RequestException, made.get, "/pid"))
    daemon.wait_workers(3)
    daemon.kill()
    wait_for(lambda: not daemon.worker_processes(), what="end of the workers")


def test_nothing_is_left_in_the_runtime_directory(probe):
    daemon = probe()
    daemon.create("probe", "k").get("/pid")
    daemon.kill()
    daemon.restart()
    daemon.create("probe", "other").get("/pid")
    daemon.stop()
    left = [os.path.join(place, name) for place, _, names in os.walk(daemon.runtime_dir) for name in names
            if "lock" not in name]
    assert left == []


def test_sleeping_actors_leave_nothing_behind(probe):
    daemon = probe()
    made = daemon.create("probe", "k")

    def state():
        files = sum(len(names) + len(places) for _, places, names in os.walk(daemon.runtime_dir))
        return files, len(os.listdir(f"/proc/{daemon.pid}/fd")), len(procs.children(daemon.pid))

    def cycle():
        made.get("/pid")
        made.sleep()
        made.wait_asleep()

    cycle()
    daemon.http.close()
    time.sleep(0.3)
    before = state()
    for _ in range(5):
        cycle()
    daemon.http.close()
    wait_for(lambda: all(after <= old for after, old in zip(state(), before)), what="the state of before")


# ---- HUP, PID 1 ----

def test_hup_without_changes_disturbs_nobody(probe):
    daemon = probe()
    made = daemon.create("probe", "k")
    pid = made.get("/pid").text
    daemon.send_signal(signal.SIGHUP)
    holds_for(lambda: made.get("/pid").text == pid, 0.7, "the same worker")


def defunct_below(pid):
    return [child for child in procs.children(pid) if procs.stat(child) and procs.stat(child)[0] == b"Z"]


@pytest.mark.root
def test_as_pid_1_it_reaps_orphans_and_stops(probe):
    daemon = probe(daemon_options={"wrap": ["unshare", "--pid", "--fork", "--mount-proc"], "wrap_forks": True})
    made = daemon.create("probe", "k")
    for _ in range(5):
        made.get("/orphan")
    time.sleep(1)
    wait_for(lambda: not defunct_below(daemon.pid), what="reaping")
    assert made.get("/pid").status_code == 200
    assert daemon.stop() == 0
