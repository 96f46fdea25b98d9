"""The configuration word by word: what is refused, with which line, and what --check-config shows."""

import json
import os
import signal
import subprocess

import pytest
import requests

from lib.config import check, refused, settings_of
from lib.daemon import BINARY, ROOT, clean_env, run_daemon
from lib.wait import wait_for
from lib.worker import type_of


def line_of(config, word):
    """The line of the first member of this name in the file that lib.config writes."""
    lines = json.dumps(config, indent=2).splitlines()
    return next(number for number, line in enumerate(lines, 1) if f'"{word}"' in line)


def one(**settings):
    return {"actors": {"counter": {"command": ["/bin/true"], **settings}}}


# ---- what is refused ----

@pytest.mark.parametrize("args, words", [
    (["--check-config=yes"], ["--check-config", "no value"]),
    (["--foreground=1"], ["--foreground", "no value"]),
    (["--pass-env", ""], ["--pass-env"]),
    (["--pass-env", "A=B"], ["A=B"]),
])
def test_usage(args, words):
    code, _, errors = run_daemon(args)
    assert code == 64
    for word in words:
        assert word in errors
    assert "did you mean" not in errors


@pytest.mark.parametrize("option", ["--listen", "--data-dir", "--runtime-dir", "--auth", "--drain-timeout"])
def test_empty_options_are_refused(option):
    code, _, errors = run_daemon(["--check-config", option, ""])
    assert code == 78
    assert option in errors and "empty" in errors


@pytest.mark.parametrize("config, words", [
    ({"listen": ""}, ["listen", "empty"]), ({"runtime_dir": ""}, ["runtime_dir", "empty"]),
    ({"hosts": [1]}, ["hosts", "list of texts"]), ({"hosts": [""]}, ["hosts"]), ({"hosts": [None]}, ["hosts"]),
    ({"cors_origins": {}}, ["cors_origins"]),
    ({"log": {"file": "a\0b"}}, ["log.file"]),
    ({"log.level": "debug"}, ["log.level", '"log": {"level"']),
    (one(pass_environment=[""]), ["pass_environment"]),
    (one(pass_environment=["A=B"]), ["pass_environment", "A=B"]),
    (one(limits={"memory": "64K"}), ["limits.memory", "at least 1M"]),
    (one(limits={"cpu": "much"}), ["limits.cpu", "number"]),
])
def test_nothing_is_ignored_in_silence(tmp_path, config, words):
    refused(tmp_path, config, *words)


@pytest.mark.parametrize("variables", [{f"V{number}": "x" for number in range(1100)}, {"V": "x" * 600000}])
def test_too_much_environment(tmp_path, variables):
    refused(tmp_path, one(environment=variables), "config.json:7", "environment", "1024", "512 KiB")


@pytest.mark.parametrize("config, word", [
    (one(limits={"core": 0, "memry": 1}), "memry"),
    (one(limits={"core": 0, "open_files": "x"}), "open_files"),
    (one(environment={"A": "x", "B": 1}), "B"),
    ({"actors": {"first": {"command": ["x"]}, "second": {"serve": "fd"}}}, "second"),
])
def test_lines_of_what_is_inside(tmp_path, config, word):
    refused(tmp_path, config, f"config.json:{line_of(config, word)}:", word)


def test_lines_of_escaped_names(tmp_path):
    refused(tmp_path, '{"actors": {\n"\\u0061": {\n"command": ["x"],\n"serv": "fd"}}}', "config.json:4:", "serve")


@pytest.mark.parametrize("name", ["", "a\r\nX-Forged: b", "tab\there", "\x7f", " ahead", "behind ", "n" * 513])
def test_names_that_fit_in_no_header(tmp_path, name):
    refused(tmp_path, {"actors": {name: {"command": ["/bin/true"]}}}, "config.json:3", "name")
    if name:
        code, _, errors = run_daemon(["--check-config", "--actor", name, "--", "/bin/true"])
        assert code == 64
        assert "--actor" in errors


@pytest.mark.parametrize("token", ["two words", "line\nbreak"])
def test_token_with_white_space(tmp_path, token):
    errors = refused(tmp_path, {}, "RIVET_TOKEN", env={"RIVET_TOKEN": token})
    assert token not in errors


def test_longest_runtime_directory():
    """A socket's path may have 107 bytes, "/w-", 16 digits and "/runtime" of them below the directory."""
    fits = "/" + "r" * 79
    assert run_daemon(["--check-config", "--runtime-dir", fits])[0] == 0
    code, _, errors = run_daemon(["--check-config", "--runtime-dir", fits + "r"])
    assert code == 78
    assert "107" in errors and fits in errors


def test_values_that_are_overridden_are_checked_too(tmp_path):
    refused(tmp_path, {"listen": 6420}, "config.json:2", "listen", env={"RIVET_LISTEN": "127.0.0.1:0"})


# ---- values ----

@pytest.mark.parametrize("text", ["4min50s", "1h30min", "1s500ms", "2d"])
def test_durations_of_several_units(tmp_path, text):
    code, output, errors = check(tmp_path, one(request_timeout=text))
    assert code == 0, errors
    assert text in settings_of(output)["actors.counter.request_timeout"][0]


@pytest.mark.parametrize("text", ["50s4min", "1s1s", "1min 30s", "1h30", "s", "1sec", "1S", "24856d", "1h1h"])
def test_what_is_no_duration(tmp_path, text):
    refused(tmp_path, one(request_timeout=text), "request_timeout", text)


@pytest.mark.root
@pytest.mark.parametrize("args, env, data, runtime", [
    ((), {}, "/var/lib/rivet-runnerd", "/run/rivet-runnerd"),
    ((), {"STATE_DIRECTORY": "/srv/one:/srv/two", "RUNTIME_DIRECTORY": "/run/one:/run/two"}, "/srv/one", "/run/one"),
    ((), {"STATE_DIRECTORY": "", "RUNTIME_DIRECTORY": ""}, "/var/lib/rivet-runnerd", "/run/rivet-runnerd"),
    (("-f",), {"STATE_DIRECTORY": "/srv/one", "RUNTIME_DIRECTORY": "/run/one"}, "{here}/.rivet-runnerd", "/tmp/rivet-runnerd-0/"),
    ((), {"RIVET_DATA_DIR": "below", "RIVET_RUNTIME_DIR": "r", "STATE_DIRECTORY": "/srv/one"}, "{here}/below", "{here}/r"),
    (("-d", "own", "--runtime-dir", "/r"), {"RIVET_DATA_DIR": "/env", "RIVET_RUNTIME_DIR": "/env"}, "{here}/own", "/r"),
])
def test_directories(tmp_path, args, env, data, runtime):
    code, output, errors = run_daemon(["--check-config", *args], env, cwd=tmp_path)
    assert code == 0, errors
    found = settings_of(output)
    assert found["data_dir"][0] == data.format(here=tmp_path)
    assert found["runtime_dir"][0].startswith(runtime.format(here=tmp_path))


@pytest.mark.root
@pytest.mark.parametrize("env, runtime", [({"XDG_RUNTIME_DIR": "/xdg"}, "/xdg/rivet-runnerd"),
                                          ({}, "/tmp/rivet-runnerd-65534/")])
def test_runtime_directory_of_a_user(env, runtime):
    done = subprocess.run(["setpriv", "--reuid", "65534", "--clear-groups", BINARY, "--check-config"], env=clean_env(env),
                          cwd="/", capture_output=True, text=True, timeout=60, check=False)
    if done.returncode == 126 or "setpriv" in done.stderr:
        pytest.skip("the program is out of another user's reach")
    assert settings_of(done.stdout)["runtime_dir"][0].startswith(runtime)


# ---- --check-config ----

def test_every_actor_setting_is_shown(tmp_path):
    code, output, errors = check(tmp_path, one(sleep_after="5s"), "--pass-env", "LANG")
    assert code == 0, errors
    found = settings_of(output)
    assert found["actors.counter.sleep_after"] == ('"5s"', f"{tmp_path}/config.json:7")
    assert found["actors.counter.start_timeout"] == ("25s", "default")
    assert found["actors.counter.workers_max"] == ("256", "default")
    assert "LANG" in found["actors.counter.pass_environment"][0]
    assert "--pass-env" in found["actors.counter.pass_environment"][1]
    for name in ("directory", "user", "group", "environment", "environment_file", "isolation", "actors_per_worker",
                 "serve", "ready", "stop_grace", "request_timeout", "requests_max", "limits"):
        assert found[f"actors.counter.{name}"][1] == "default"


def test_command_of_the_command_line_is_the_one_shown(tmp_path):
    code, output, errors = check(tmp_path, one(), "--actor", "counter", "--", "/bin/false")
    assert code == 0, errors
    shown = [line for line in output.splitlines() if line.startswith("actors.counter.command")]
    assert len(shown) == 1 and "/bin/false" in shown[0]


def test_starts_max_is_worked_out(tmp_path):
    assert settings_of(check(tmp_path, {})[1])["starts_max"] == (str(2 * os.cpu_count()), "default")


def test_token_in_a_url_is_masked_whole(tmp_path):
    code, output, _ = check(tmp_path, {}, "--engine", "https://space:t0k-en@engine.example/a")
    assert code == 0
    assert "t0k-en" not in output
    assert settings_of(output)["engine.endpoint"][0] == "https://space:***@engine.example/a"


@pytest.mark.parametrize("token", ["with@at", "with:colon", "a@b@c"])
def test_token_that_no_handshake_can_carry_is_refused_unseen(tmp_path, token):
    code, output, errors = check(tmp_path, {}, "--engine", f"https://space:{token}@engine.example/a@b")
    assert code == 78
    assert "engine.endpoint" in errors
    assert token not in output + errors


@pytest.mark.parametrize("settings, args, word", [
    ({"pass_environment": ["RIVET_TOKEN"]}, (), "RIVET_TOKEN"),
    ({"environment": {"RIVET_TOKEN_X": "1"}}, (), "RIVET_TOKEN_X"),
    ({"environment": {"RIVET_ACTOR_ID": "1"}}, (), "RIVET_ACTOR_ID"),
    ({}, ("--pass-env", "RIVET_TOKEN_FILE"), "RIVET_TOKEN_FILE"),
    ({"actors_per_worker": 5}, (), "actors_per_worker"),
])
def test_settings_without_effect_are_named(tmp_path, settings, args, word):
    code, output, errors = check(tmp_path, one(**settings), *args)
    assert code == 0, errors
    assert any(word in line for line in output.splitlines() if line.startswith("# warning"))


def test_settings_without_effect_are_logged(make_daemon):
    daemon = make_daemon({"actors": {"probe": type_of("probe.py", pass_environment=["RIVET_TOKEN"])}})
    assert daemon.wait_log(lambda record: record["level"] == "warn" and "RIVET_TOKEN" in record.get("why", ""))


# ---- detached ----

def test_detached_workers_start_where_the_daemon_was_started(tmp_path):
    """Paths are resolved before the daemon goes to the root directory, those of commands and directories too."""
    (tmp_path / "below").mkdir()
    (tmp_path / "worker.py").symlink_to(os.path.join(ROOT, "tests", "e2e", "workers", "probe.py"))
    workers = os.path.join(ROOT, "tests", "e2e", "workers")
    (tmp_path / "c.json").write_text(json.dumps({"actors": {
        "here": {"command": ["/usr/bin/python3", "worker.py"]},
        "below": {"command": ["/usr/bin/python3", "../worker.py"], "directory": "below"}}}))
    done = subprocess.run(
        [BINARY, "--detach", "-f", "-l", "127.0.0.1:0", "--log-file", "daemon.log", "--runtime-dir", "r", "-c", "c.json"],
        cwd=tmp_path, env=clean_env({"PYTHONPATH": workers}), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr

    def records():
        return [json.loads(line) for line in (tmp_path / "daemon.log").read_text().splitlines()]
    pid = next(record["pid"] for record in records() if record["msg"] == "ready")
    address = next(record["address"] for record in records() if record.get("listener") == "api")
    try:
        for name in ("here", "below"):
            path = f"/gateway/{name}/pid?rvt-namespace=default&rvt-method=getOrCreate&rvt-key=k&rvt-runner=default"
            answer = requests.get(f"http://{address}{path}", timeout=60)
            assert answer.status_code == 200, answer.text
            assert os.path.realpath(f"/proc/{answer.text}/cwd") == str(tmp_path / ("below" if name == "below" else ""))
    finally:
        os.kill(pid, signal.SIGTERM)
        wait_for(lambda: not os.path.exists(f"/proc/{pid}"), what="the daemon's end")


def test_the_sample_is_a_good_configuration(tmp_path):
    with open(os.path.join(ROOT, "conf", "rivet-runnerd.json"), encoding="utf-8") as sample:
        text = sample.read()
    assert "// " in text
    code, output, errors = check(tmp_path, text)
    assert code == 0, errors
    assert settings_of(output)["listen"][0] == "127.0.0.1:6420"
