"""rivet-runnerctl against a real daemon: what it shows, changes, and how it ends."""

import json
import os
import stat
import subprocess

import pytest

from lib.ctl import CTL, Ctl
from lib.rt import Runtime
from lib.wait import wait_for

@pytest.fixture(scope="module")
def ctl(calm):
    return Ctl(calm)


def test_status(ctl, calm):
    said = ctl.json("status")
    assert (said["mode"], said["state"], said["pid"]) == ("local", "serving", calm.pid)
    assert said["listen"] == "%s:%d" % calm.address
    assert said["memory_bytes"] > 1 << 20
    assert "state: serving\n" in ctl.text("status")


def test_actors_awake_and_asleep(ctl, actor):
    actor.get("/pid")
    row, = [row for row in ctl.json("actors", "probe")["actors"] if row["id"] == actor.id]
    assert (row["name"], row["key"], row["state"], row["namespace"]) == ("probe", actor.info()["key"], "running", "default")
    assert row["pid"] == int(actor.get("/pid").text)
    assert all(other["id"] != actor.id for other in ctl.json("actors", "other")["actors"])
    actor.sleep()
    actor.wait_asleep()
    wait_for(lambda: ctl.state(actor) == "asleep")
    assert ctl.json("actor", actor.id)["pid"] is None
    table = ctl.text("actors").splitlines()
    assert table[0].split()[:4] == ["ID", "NAME", "KEY", "STATE"]
    assert any(line.startswith(actor.id) and " asleep " in line for line in table)


def test_control_characters_of_a_key_do_not_reach_the_terminal(ctl, calm):
    made = calm.create("probe", "a\x1b[31mb")
    line, = [line for line in ctl.text("actors").splitlines() if line.startswith(made.id)]
    assert "\x1b" not in line and "a?[31mb" in line
    made.destroy()


def test_a_failed_start_is_shown(probe):
    daemon = probe(environment={"PROBE_START_STATUS": "500"})
    made = daemon.create("probe", "k")
    assert made.get("/pid").status_code == 503
    shown = Ctl(daemon).json("actor", made.id)
    assert "refused the start call with status 500" in shown["failure"]
    assert "refused the start call" in Ctl(daemon).text("actors")


def test_workers(ctl, actor):
    pid = int(actor.get("/pid").text)
    row, = [row for row in ctl.json("workers")["workers"] if row["pid"] == pid]
    assert (row["name"], row["state"], row["actors"]) == ("probe", "ready", 1)
    assert row["memory_bytes"] > 1 << 20
    assert str(pid) in ctl.text("workers")


def test_sleep_wake_restart_destroy(ctl, calm):
    made = calm.create("probe", "ladder")
    first = made.get("/pid").text
    ctl.run("sleep", made.id)
    wait_for(lambda: ctl.state(made) == "asleep")
    ctl.run("wake", made.id)
    wait_for(lambda: ctl.state(made) == "running")
    second = made.get("/pid").text
    ctl.run("restart", made.id)
    wait_for(lambda: ctl.json("actor", made.id)["generation"] == 2 and ctl.state(made) == "running")
    assert len({first, second, made.get("/pid").text}) == 3
    assert [stop["body"]["reason"] for stop in calm.trace.events("stop") if stop["body"]["actor_id"] == made.id] == \
        ["sleep", "restart"]
    ctl.run("destroy", made.id)
    assert "no such actor" in ctl.refused("actor", made.id)


@pytest.mark.parametrize("verb", ["wake", "sleep", "restart", "destroy", "actor"])
def test_unknown_actor(ctl, verb):
    assert "no such actor" in ctl.refused(verb, "nobody")


def test_values(ctl, actor):
    value = bytes(range(256))
    ctl.run("kv", actor.id, "put", "a key/with?signs", stdin=value)
    assert ctl.run("kv", actor.id, "get", "a key/with?signs").stdout == value
    ctl.run("kv", actor.id, "put", "b", "word")
    assert ctl.run("kv", actor.id, "get", "b").stdout == b"word"
    entries = ctl.json("kv", actor.id, "ls")["entries"]
    assert [(entry["key"], entry["bytes"]) for entry in entries] == [("a key/with?signs", 256), ("b", 4)]
    assert [entry["key"] for entry in ctl.json("kv", actor.id, "ls", "b")["entries"]] == ["b"]
    actor.sleep()
    actor.wait_asleep()
    assert ctl.run("kv", actor.id, "get", "b").stdout == b"word"
    ctl.run("kv", actor.id, "rm", "b")
    assert "no such key" in ctl.refused("kv", actor.id, "get", "b")


def test_a_worker_sees_what_was_put(ctl, actor):
    ctl.run("kv", actor.id, "put", "seen", "from outside")
    assert Runtime(actor).call("GET", "/kv/seen").body == b"from outside"


def test_every_command_answers_json(ctl, actor, tmp_path):
    for words in (["wake", actor.id], ["sleep", actor.id], ["restart", actor.id], ["kv", actor.id, "put", "a", "1"],
                  ["kv", actor.id, "rm", "a"], ["backup", str(tmp_path / "backup")], ["reload"], ["version"], ["status"],
                  ["actors"], ["actor", actor.id], ["workers"], ["kv", actor.id, "ls"], ["destroy", actor.id]):
        assert isinstance(ctl.json(*words), dict), words


def test_a_cut_list_of_keys_says_so(ctl, actor):
    rt = Runtime(actor)
    for start in range(0, 1100, 100):
        rt.batch(put=[{"key": f"k{number}", "value": ""} for number in range(start, start + 100)], encoding="utf8")
    assert ctl.json("kv", actor.id, "ls")["more"]
    assert "there are more" in ctl.text("kv", actor.id, "ls")
    assert "there are more" not in ctl.text("kv", actor.id, "ls", "k10")


def test_value_limits(ctl, actor):
    ctl.run("kv", actor.id, "put", "full", stdin=b"x" * 131072)
    assert "131072" in ctl.refused("kv", actor.id, "put", "more", stdin=b"x" * 131073)
    assert "2046" in ctl.refused("kv", actor.id, "put", "k" * 2047, "v")
    assert "no such actor" in ctl.refused("kv", "nobody", "put", "k", "v")


def test_logs(ctl, actor):
    actor.get("/pid")
    lines = [json.loads(line) for line in ctl.run("logs", "--actor", actor.id, "--json").stdout.splitlines()]
    assert lines and all(line["actor_id"] == actor.id for line in lines)
    assert "actor is running" in ctl.text("logs", "--actor", actor.id)
    assert "listening" in ctl.text("logs")


def test_logs_follow(ctl, calm):
    follower = subprocess.Popen([CTL, "--runtime-dir", calm.runtime_dir, "logs", "-f"], stdout=subprocess.PIPE)
    try:
        while b"listening" not in follower.stdout.readline():
            pass
        made = calm.create("probe", "followed")
        while made.id.encode() not in follower.stdout.readline():
            pass
        made.destroy()
    finally:
        follower.kill()
        follower.communicate()


def test_only_the_owner_may_use_the_socket(calm):
    place = os.stat(os.path.join(calm.runtime_dir, "control.sock"))
    assert stat.S_IMODE(place.st_mode) == 0o600
    assert place.st_uid == os.geteuid()


def test_drain(probe):
    daemon = probe()
    made = daemon.create("probe", "k")
    made.get("/pid")
    assert "draining" in Ctl(daemon).text("drain")
    assert daemon.proc.wait(60) == 0
    assert "no daemon at" in Ctl(daemon).refused("status", code=69)
    assert not os.path.exists(os.path.join(daemon.runtime_dir, "control.sock"))


def test_a_stale_socket_is_replaced(probe):
    daemon = probe()
    daemon.kill()
    assert "no daemon at" in Ctl(daemon).refused("status", code=69)
    daemon.start()
    assert Ctl(daemon).json("status")["pid"] == daemon.pid


@pytest.mark.parametrize("words, said", [
    ((), "say a command"), (("statu",), "did you mean status?"), (("actor",), "use: rivet-runnerctl actor ID"),
    (("status", "more"), "use: rivet-runnerctl status"), (("--jsn", "status"), "unknown option --jsn"),
    (("kv", "x", "eat", "k"), "unknown word eat"), (("workers", "-f"), "-f goes with logs"),
    (("status", "--actor", "x"), "--actor goes with logs"), (("status", "--runtime-dir"), "a value is missing"),
])
def test_usage(ctl, words, said):
    assert said in ctl.refused(*words, code=64)


def test_version_needs_no_daemon():
    done = subprocess.run([CTL, "version"], capture_output=True, check=True)
    assert done.stdout.startswith(b"rivet-runnerctl ")
    assert subprocess.run([CTL, "--help"], capture_output=True, check=True).stdout.startswith(b"Usage:")


@pytest.mark.deadline(180)
def test_alarm_that_was_given_up_is_kept(probe, trace):
    """A start of the daemon rings an overdue alarm at once, so that the six attempts need not wait for each other."""
    daemon = probe(environment={"PROBE_ALARM": "500"})
    made = daemon.create("probe", "k")
    assert Ctl(daemon).json("actor", made.id)["alarm_failed"] is None
    assert Runtime(made).call("PUT", "/alarm", {"after": "1ms"}).status == 204
    due = Runtime(made).alarm_at()
    for attempt in range(1, 7):
        trace.wait("alarm-answered", attempt, timeout=60)
        if attempt < 6:
            # In any run: on a slow machine the next one came before the restart.
            wait_for(lambda attempt=attempt: any(f'"attempt":{attempt},' in line and "rings again" in line
                                                 for line in daemon.logs().splitlines()), what="the attempt's end")
            daemon.restart()
    kept = wait_for(lambda: Ctl(daemon).json("actor", made.id)["alarm_failed"], what="the note of the failure")
    assert kept["due_at"] == due and "500" in kept["reason"] and kept["failed_at"] >= due
    daemon.restart()
    said = Ctl(daemon).json("actor", made.id)
    assert (said["alarm_failed"], said["alarm_at"]) == (kept, None)
    assert "alarm_failed" in Ctl(daemon).text("actor", made.id)
    assert Runtime(made).keys() == []


# ---- backup ----

def test_a_backup_under_load_is_a_whole_state(probe, tmp_path):
    daemon = probe(sleep_after="never")
    made = daemon.create("probe", "k")
    acknowledged = tmp_path / "acknowledged"
    made.get(f"/load?writers=4&file={acknowledged}")
    wait_for(lambda: acknowledged.exists() and acknowledged.stat().st_size > 2000)
    before = acknowledged.read_text().split()
    copy = tmp_path / "copy.db"
    Ctl(daemon).run("backup", str(copy))
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert not [name for name in os.listdir(daemon.data_dir) if "backup" in name]
    assert "File exists" in Ctl(daemon).refused("backup", str(copy))
    daemon.kill()
    # A restore is copying it back.
    restored = tmp_path / "restored"
    restored.mkdir(0o700)
    (restored / "store.db").write_bytes(copy.read_bytes())
    daemon.data_dir = str(restored)
    daemon.start()
    runtime = Runtime(made)
    for name in before[:: max(1, len(before) // 20)]:
        assert runtime.get("load-" + name).body == name.encode()


def test_a_backup_needs_a_place_it_can_write(ctl, tmp_path):
    assert "cannot make the backup file" in ctl.refused("backup", str(tmp_path / "missing" / "file"))
