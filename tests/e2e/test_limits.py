"""Limits and sandbox of actor types, and what the machine cannot give."""

import json
import os
import shutil
import signal
import subprocess
import tempfile

import pytest

from lib import procs
from lib.check import nobody
from lib.config import refused
from lib.daemon import BINARY, Daemon, clean_env
from lib.wait import wait_for
from lib.worker import WORKERS, command
from test_start import Look

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="users and mounts take root")

SH = "/bin/sh"


def as_nobody():
    return ["setpriv", "--reuid", "nobody", "--regid", str(nobody().pw_gid), "--clear-groups"]


@pytest.fixture
def looked(make_daemon, inspect_binary):
    """A worker that runs a script, says on stderr what it found, and then shows its state."""
    def make(script=":", daemon_options=None, **settings):
        command = [SH, "-c", f"{script}; exec {inspect_binary}"]
        daemon = make_daemon({"actors": {"look": {"command": command, "stop_grace": "2s", **settings}}},
                             **(daemon_options or {}))
        answer = daemon.create("look", "k").get("/")
        assert answer.status_code == 200, answer.text
        seen = Look(answer.text)
        seen.daemon = daemon
        seen.said = [record["msg"] for record in daemon.log_records() if record.get("stream") == "stderr"]
        return seen
    return make


def attempt(name, command):
    return f"if ({command}) 2>&-; then echo {name} yes >&2; else echo {name} no >&2; fi"


def test_defaults(looked):
    seen = looked()
    assert seen.one["umask"] == "0022"
    assert seen.status["NoNewPrivs"] == ["1"]
    assert seen.one["nice"] == str(os.getpriority(os.PRIO_PROCESS, 0))
    with open("/proc/self/oom_score_adj", encoding="ascii") as file:
        assert seen.one["oom_score_adj"] == file.read().strip()


def test_settings_of_the_process(looked):
    seen = looked(umask="0077", nice=5, oom_score_adj=444, no_new_privs=False)
    assert (seen.one["umask"], seen.one["nice"], seen.one["oom_score_adj"]) == ("0077", "5", "444")
    assert seen.status["NoNewPrivs"] == ["0"]
    with open(f"/proc/{seen.daemon.pid}/oom_score_adj", encoding="ascii") as file, \
            open("/proc/self/oom_score_adj", encoding="ascii") as mine:
        assert file.read() == mine.read()


def test_a_user_with_all_of_it(looked, tmp_path):
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o777)
    locked.chmod(0o777)
    seen = looked(attempt("locked", f": >{locked}/new"), user="nobody", umask="0027", nice=3, oom_score_adj=200,
                  read_only_paths=[str(locked)])
    assert seen.status["Uid"][0] == str(nobody().pw_uid)
    assert (seen.one["umask"], seen.one["nice"], seen.one["oom_score_adj"]) == ("0027", "3", "200")
    assert seen.said == ["locked no"]


def test_read_only_paths_as_root(looked, tmp_path):
    locked = tmp_path / "locked"
    locked.mkdir()
    script = "; ".join([attempt("locked", f": >{locked}/new"), attempt("beside", f": >{tmp_path}/new"),
                        attempt("relative", ": >locked/newer")])
    assert looked(script, read_only_paths=[str(locked)]).said == ["locked no", "beside yes", "relative no"]
    (locked / "daemon-side").write_text("only the worker's view is read-only")


def test_everything_read_only(looked):
    """The worker's own sockets stay usable, bound by itself too."""
    seen = looked(attempt("tmp", ": >/tmp/new") + "; " + attempt("own", ": >${RIVET_SOCKET%/*}/new"), read_only_paths=["/"])
    assert seen.said == ["tmp no", "own yes"]


def test_private_tmp(make_daemon, tmp_path):
    if WORKERS.startswith(("/tmp/", "/var/tmp/")):
        pytest.skip("the workers' programs lie in what would be hidden")
    mark = f"/tmp/rr-{os.path.basename(tmp_path)}"
    script = f": >{mark}; ls -A /tmp | sed 's/^/saw /' >&2; echo tmpdir $TMPDIR >&2; exec \"$@\""
    settings = {"command": [SH, "-c", script, "sh", *command("probe.py")], "private_tmp": True}
    daemon = make_daemon({"actors": {"probe": settings}}, env={"TMPDIR": str(tmp_path)})
    assert daemon.create("probe", "k").get("/pid").status_code == 200
    said = [record["msg"] for record in daemon.log_records() if record.get("stream") == "stderr"]
    assert sorted(said) == sorted([f"saw {os.path.basename(daemon.short)}", f"saw {os.path.basename(mark)}", "tmpdir /tmp"])
    assert not os.path.exists(mark)


def test_private_tmp_hides_a_program(tmp_path, inspect_binary):
    refused(tmp_path, {"actors": {"a": {"command": [inspect_binary], "private_tmp": True}}}, "actors.a.private_tmp", "hides its program")
    refused(tmp_path, {"actors": {"a": {"command": ["true"], "directory": str(tmp_path), "private_tmp": True}}},
            "actors.a.private_tmp", "hides its directory")


# ---- a daemon without rights ----

@pytest.fixture
def plain_place():
    """A directory that an unprivileged daemon can work in."""
    place = tempfile.mkdtemp(prefix="rr-plain-")
    os.chown(place, nobody().pw_uid, nobody().pw_gid)
    os.chmod(place, 0o755)
    yield place
    shutil.rmtree(place)


def without_rights(place, config):
    """The daemon's exit code and words when it runs as nobody with --check-config."""
    path = os.path.join(place, "config.json")
    with open(path, "w", encoding="utf-8") as file:
        json.dump(config, file)
    done = subprocess.run([*as_nobody(), BINARY, "--check-config", "--config", path, "--data-dir", place],
                          env=clean_env(), capture_output=True, text=True, check=False)
    if done.returncode == 127 or "setpriv" in done.stderr:
        pytest.skip("nobody cannot reach the program")
    return done.returncode, done.stderr


@pytest.mark.parametrize("setting, value, words", [
    ("nice", -10, "CAP_SYS_NICE"),
    ("oom_score_adj", -999, "CAP_SYS_RESOURCE"),
    ("private_tmp", True, "mount namespace"),
])
def test_what_takes_rights_is_refused_without(plain_place, setting, value, words):
    config = {"actors": {"a": {"command": ["true"], setting: value}}}
    code, errors = without_rights(plain_place, config)
    assert code == 78, errors
    assert f"config.json:1: actors.a.{setting}: " in errors and words in errors


def test_read_only_paths_without_rights(plain_place, inspect_binary):
    """Landlock instead of mounts, and the same is kept."""
    locked = os.path.join(plain_place, "locked")
    os.mkdir(locked)
    os.chmod(locked, 0o777)
    script = "; ".join([attempt("locked", f": >{locked}/new"), attempt("beside", f": >{plain_place}/data/new")])
    settings = {"command": [SH, "-c", f"{script}; exec {inspect_binary}"], "read_only_paths": [locked]}
    config = {"actors": {"look": settings}}
    code, errors = without_rights(plain_place, config)
    if code != 0 and "Landlock" in errors:
        pytest.skip("this kernel has no Landlock that would do")
    assert code == 0, errors
    daemon = Daemon(plain_place, config, wrap=as_nobody(), start=False)
    os.chown(daemon.short, nobody().pw_uid, nobody().pw_gid)
    with daemon:
        daemon.start()
        assert daemon.create("look", "k").get("/").status_code == 200
        said = [record["msg"] for record in daemon.log_records() if record.get("stream") == "stderr"]
        assert said == ["locked no", "beside yes"]


# ---- control groups ----

@pytest.mark.parametrize("limit, value", [("memory", "256M"), ("cpu", 0.5)])
def test_a_controller_that_is_not_there_is_refused(tmp_path, make_daemon, limit, value):
    """Or, where the machine has it, a group that nobody delegated: never skipped."""
    config = {"actors": {"a": {"command": ["true"], "limits": {limit: value}}}}
    daemon = make_daemon(config, start=False)
    daemon.expected_codes = {78}
    daemon.spawn()
    assert daemon.wait_exit() == 78
    said = daemon.log_tail()
    assert f"actors.a.limits.{limit}: " in said
    assert "control group" in said or "cgroup" in said


@pytest.fixture
def group():
    """A control group of the kernel's with nobody in it; what is left in it is killed at the end."""
    with open("/proc/self/mountinfo", encoding="utf-8") as file:
        mounts = [line.split()[4] for line in file if " - cgroup2 " in line and line.split()[3] == "/"]
    if not mounts:
        pytest.skip("no cgroup v2 is mounted")
    try:
        made = tempfile.mkdtemp(prefix="rr-test-", dir=mounts[-1])
    except OSError as error:
        pytest.skip(f"control groups cannot be made here: {error}")
    yield made
    write(made, "cgroup.kill", "1")
    wait_for(lambda: "populated 0" in read(made, "cgroup.events"), what="the end of the group")
    for place, _, _ in os.walk(made, topdown=False):
        os.rmdir(place)


def read(path, name):
    with open(os.path.join(path, name), encoding="ascii") as file:
        return file.read()


def write(path, name, text):
    with open(os.path.join(path, name), "w", encoding="ascii") as file:
        file.write(text)


def inside(path):
    """Words that put the program behind them into a group."""
    return [SH, "-c", f'echo 0 >{path}/cgroup.procs && exec "$@"', "sh"]


def delegate(path):
    os.setxattr(path, "trusted.delegate", b"1")


STRAY = {"command": [SH, "-c", "setsid sh -c 'trap \"\" TERM HUP; echo stray $$ >&2; while :; do sleep 1; done' & exec \"$@\"", "sh",
                     *command("probe.py")]}


def start_stray(daemon, key="k"):
    """A worker whose grandchild has left its session: both pids."""
    pid = daemon.create("stray", key).get("/pid")
    assert pid.status_code == 200, pid.text
    stray = wait_for(lambda: [int(record["msg"].split()[1]) for record in daemon.log_records()
                              if record.get("stream") == "stderr" and record["msg"].startswith("stray ")], what="the grandchild")[-1]
    assert os.getsid(stray) == stray
    return int(pid.text), stray


def test_what_left_the_session_ends_with_its_worker(group, make_daemon):
    delegate(group)
    daemon = make_daemon({"actors": {"stray": STRAY}}, wrap=inside(group))
    worker, stray = start_stray(daemon)
    own, = [name for name in os.listdir(group) if name.startswith("rivet-runnerd.")]
    assert read(os.path.join(group, own), "cgroup.type") == "domain threaded\n"
    os.kill(worker, signal.SIGKILL)
    wait_for(lambda: not procs.alive(stray), what="the end of the grandchild")
    assert not [record for record in daemon.log_records() if "control groups of their own" in record["msg"]]
    start_stray(daemon, "next")
    wait_for(lambda: len([name for name in os.listdir(os.path.join(group, own)) if name.startswith("worker-")]) == 1)


def test_what_left_the_session_ends_with_the_daemon(group, make_daemon):
    delegate(group)
    daemon = make_daemon({"actors": {"stray": STRAY}}, wrap=inside(group))
    worker, stray = start_stray(daemon)
    daemon.kill()
    wait_for(lambda: not procs.alive(worker) and not procs.alive(stray), what="the end of all")
    left = [name for name in os.listdir(group) if name.startswith("rivet-runnerd.")]
    daemon.restart()
    now = [name for name in os.listdir(group) if name.startswith("rivet-runnerd.")]
    assert len(left) == len(now) == 1 and left != now


def test_no_group_where_none_is_delegated(group, make_daemon):
    """Said once; and the worker's processes are where the daemon is."""
    daemon = make_daemon({"actors": {"stray": STRAY}}, wrap=inside(group))
    said = [record for record in daemon.log_records() if "control groups of their own" in record["msg"]]
    assert [record["level"] for record in said] == ["info"]
    assert "is not delegated to the daemon" in said[0]["reason"]
    worker, stray = start_stray(daemon)
    assert str(worker) in read(group, "cgroup.procs").split()
    assert not [name for name in os.listdir(group) if name.startswith("rivet-")]
    daemon.stop()
    assert procs.alive(stray)
    os.kill(stray, signal.SIGKILL)


def test_a_container_is_as_good_as_delegated(group, make_daemon):
    """The root of a control group namespace, again after a first daemon there."""
    mount = 'mount -t cgroup2 none /sys/fs/cgroup && exec "$@"'
    wrap = [*inside(group), "unshare", "--cgroup", "--mount", SH, "-c", mount, "sh"]
    daemon = make_daemon({"actors": {"stray": STRAY}}, wrap=wrap)
    for key in ("first", "second"):
        worker, stray = start_stray(daemon, key)
        os.kill(worker, signal.SIGKILL)
        wait_for(lambda: not procs.alive(stray), what="the end of the grandchild")
        daemon.restart()


# ---- settings that make no sense ----

def test_values_that_make_no_sense(tmp_path):
    base = {"command": ["true"]}
    refused(tmp_path, {"actors": {"a": {**base, "umask": "9"}}}, "umask", "octal")
    refused(tmp_path, {"actors": {"a": {**base, "umask": 18}}}, "umask", "octal")
    refused(tmp_path, {"actors": {"a": {**base, "nice": 20}}}, "nice", "-20 to 19")
    refused(tmp_path, {"actors": {"a": {**base, "oom_score_adj": 1001}}}, "oom_score_adj", "-1000 to 1000")
    refused(tmp_path, {"actors": {"a": {**base, "no_new_privs": "yes"}}}, "no_new_privs", "true or false")
    refused(tmp_path, {"actors": {"a": {**base, "read_only_paths": "/etc"}}}, "read_only_paths", "list")
    refused(tmp_path, {"actors": {"a": {**base, "read_only_paths": ["etc"]}}}, "read_only_paths", "absolute")
    refused(tmp_path, {"actors": {"a": {**base, "read_only_paths": ["/no/such"]}}}, "/no/such", "No such file")
