"""exit_when: a daemon that ends by itself, for orchestrators."""

from lib.config import check, refused, settings_of
from lib.wait import holds_for
from lib.worker import type_of


def reason(daemon):
    return next(record for record in daemon.log_records() if "exit_when" in record.get("msg", ""))


def test_never_is_the_default(tmp_path):
    _code, output, _errors = check(tmp_path, {})
    assert settings_of(output)["exit_when"] == ("never", "default")
    refused(tmp_path, {"exit_when": "sometimes"}, "exit_when", "never, idle, failed")


def test_idle(make_daemon):
    """While an actor is awake the daemon stays; ten seconds after the last has gone to sleep it ends."""
    types = {"probe": type_of("probe.py", sleep_after="1s"), "awake": type_of("probe.py", sleep_after="never")}
    daemon = make_daemon({"exit_when": "idle", "actors": types})
    awake = daemon.create("awake", "k")
    awake.get("/pid")
    daemon.create("probe", "k").get("/pid")
    holds_for(lambda: daemon.running, 13)
    awake.destroy()
    assert daemon.wait_exit() == 0
    assert reason(daemon)["idle_ms"] >= 10000
    assert reason(daemon)["level"] == "info"


def test_failed(make_daemon):
    """Five starts in a row that fail: code 1, and which actor it was and why."""
    daemon = make_daemon({"exit_when": "failed", "actors": {"bad": {"command": ["sh", "-c", "echo no such luck >&2; exit 3"]}}})
    daemon.expected_codes = {1}
    made = daemon.create("bad", "k", crash_policy="restart")
    assert daemon.wait_exit() == 1
    said = reason(daemon)
    assert said["level"] == "error"
    for word in (made.id, "bad", "5 starts in a row", "exit code 3", "no such luck"):
        assert word in said["why"]


def test_a_failing_actor_ends_nothing_otherwise(make_daemon):
    daemon = make_daemon({"actors": {"bad": {"command": ["false"]}}})
    made = daemon.create("bad", "k", crash_policy="restart")
    daemon.wait_log(lambda record: record.get("failures") == 5 and record.get("actor_id") == made.id, timeout=30)
    holds_for(lambda: daemon.running, 3)
