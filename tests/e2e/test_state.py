"""Durable state: keys and values, alarms, restarts, power cuts, and a data directory in trouble."""

import json
import os
import re
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from lib.check import Background, code_of
from lib.daemon import run_daemon
from lib.rt import Runtime, b64, encoded
from lib.wait import SCALE, holds_for, wait_for
from lib.worker import type_of

VALUE_MAX = 131072
KEY_MAX = 2046
TARGET_MAX = 24 * 1024


@pytest.fixture
def rt(actor):
    return Runtime(actor)


def refused(answer, *statuses):
    """An error of the documented shape and one of the statuses; returns its message."""
    assert answer.status in statuses, (answer.status, answer.body)
    error = answer.json()
    assert set(error) == {"group", "code", "message", "metadata"}
    return error["message"]


# ---- who am I ----

def test_actor_record(calm):
    made = calm.create("probe", "who/am-i", input=b"\x01\x02")
    said = Runtime(made).call("GET").json()
    assert set(said) == {"actor_id", "name", "key", "generation", "created_at", "namespace", "alarm_at"}
    assert (said["actor_id"], said["name"], said["key"]) == (made.id, "probe", "who/am-i")
    assert (said["namespace"], said["alarm_at"], said["created_at"]) == ("default", None, made.record["create_ts"])
    assert Runtime(made, made.id).call("GET").json() == said
    made.destroy()


def test_input(calm):
    made = calm.create("probe", "with-input", input=b"\x00\xffraw")
    answer = Runtime(made).call("GET", "/input")
    assert (answer.status, answer.body) == (200, b"\x00\xffraw")
    made.destroy()


def test_no_input(rt):
    assert rt.call("GET", "/input").status == 204


# ---- one key ----

def test_put_get_delete(rt):
    assert rt.get("a").status == 404
    assert rt.put("a", b"one").status == 204
    before = time.time() * 1000
    answer = rt.get("a")
    assert (answer.status, answer.body) == (200, b"one")
    assert abs(int(answer.headers["x-rivet-updated-at"]) - before) < 60000
    assert rt.put("a", b"two").status == 204
    assert rt.get("a").body == b"two"
    assert rt.delete("a").status == 204
    assert rt.get("a").status == 404
    assert rt.delete("a").status == 204


def test_empty_value(rt):
    assert rt.put("empty", b"").status == 204
    answer = rt.get("empty")
    assert (answer.status, answer.body) == (200, b"")


def test_any_byte_in_key_and_value(rt):
    key = bytes(range(1, 256)) + b"\x00"
    value = bytes(range(256)) * 3
    assert rt.put(key, value).status == 204
    assert rt.get(key).body == value
    assert rt.list().json()["entries"][0]["key"] == b64(key)


def test_slash_and_percent_in_a_key_are_bytes(rt):
    rt.put("a/b", b"slash")
    rt.put("a%2Fb", b"percent")
    assert rt.get("a/b").body == b"slash"
    assert rt.get("a%2Fb").body == b"percent"


@pytest.mark.parametrize("key", ["..", ".", "a/../b", "//", "batch", "?", "#", "+", " "])
def test_awkward_keys(rt, key):
    assert rt.put(key, key.encode()).status == 204
    assert rt.get(key).body == key.encode()


def test_plus_in_a_key_is_a_plus(rt):
    assert rt.call("PUT", "/kv/a+b", b"1").status == 204
    assert rt.get("a+b").body == b"1"


def test_actors_do_not_see_each_other(calm, rt):
    rt.put("mine", b"1")
    other = calm.create("probe", "stranger")
    assert Runtime(other).get("mine").status == 404
    assert Runtime(other).keys() == []
    other.destroy()


# ---- limits ----

def test_key_limits(rt):
    longest = b"k" * KEY_MAX
    assert rt.put(longest, b"1").status == 204
    assert rt.get(longest).body == b"1"
    assert str(KEY_MAX) in refused(rt.put(longest + b"k", b"1"), 413)
    refused(rt.call("PUT", "/kv/", b"1"), 400, 404, 405, 413)


def test_value_limits(rt):
    assert rt.put("big", b"v" * VALUE_MAX).status == 204
    assert len(rt.get("big").body) == VALUE_MAX
    assert str(VALUE_MAX) in refused(rt.put("big", b"w" * (VALUE_MAX + 1)), 413)
    assert rt.get("big").body == b"v" * VALUE_MAX


def test_batch_key_count_limit(rt):
    entries = [{"key": f"k{number}", "value": "v"} for number in range(128)]
    assert rt.batch(put=entries, encoding="utf8").status == 200
    assert "128" in refused(rt.batch(put=[*entries, {"key": "one-more", "value": "v"}], encoding="utf8"), 413)
    refused(rt.batch(delete=[b64(f"k{number}") for number in range(129)]), 413)
    refused(rt.batch(get=[b64(f"k{number}") for number in range(129)]), 413)
    assert len(rt.keys()) == 128


def test_batch_byte_limit_counts_two_more_for_each_key(rt):
    whole = 999424
    fixed = [{"key": f"k{number}", "value": "v" * 120000} for number in range(8)]
    left = whole - sum(len(entry["key"]) + 2 + len(entry["value"]) for entry in fixed)
    last = {"key": "last", "value": "v" * (left - len("last") - 2)}
    assert rt.batch(put=[*fixed, last], encoding="utf8").status == 200
    last["value"] += "v"
    assert str(whole) in refused(rt.batch(put=[*fixed, last], encoding="utf8"), 413)


def test_target_limit(rt):
    assert rt.call("GET", "/kv/" + "%41" * KEY_MAX).status == 404
    said = len(rt.base + "/kv?start=")
    assert rt.call("GET", "/kv?start=" + "%61" * ((TARGET_MAX - said) // 3)).status == 413  # a bound too long for a key
    assert "2046" in refused(rt.call("GET", "/kv/" + "a" * (TARGET_MAX - len(rt.base + "/kv/"))), 413)
    for length in (TARGET_MAX + 1, 30000, 40000):
        assert "24576" in refused(rt.call("GET", "/kv/" + "a" * (length - len(rt.base + "/kv/"))), 413)


def test_body_limit(actor, rt):
    answer = Runtime(actor).call("PUT", "/kv/a", b"x" * (9 << 20))
    assert answer.status == 413
    assert rt.get("a").status == 404


# ---- reserved keys ----

@pytest.mark.parametrize("key", [b"\x00", b"\x00rivet", b"\x00\x00"])
def test_reserved_keys_are_out_of_reach(rt, key):
    refused(rt.put(key, b"1"), 403)
    refused(rt.get(key), 403)
    refused(rt.delete(key), 403)
    refused(rt.batch(get=[b64(key)]), 403)
    refused(rt.batch(put=[{"key": b64("ok"), "value": b64("1")}, {"key": b64(key), "value": b64("1")}]), 403)
    assert rt.get("ok").status == 404


def test_reserved_keys_survive_every_delete(rt):
    rt.call("PUT", "/alarm", {"after": "1h"})
    rt.put("a", b"1")
    assert rt.call("DELETE", "/kv?all=true").status == 204
    assert rt.keys() == []
    assert rt.alarm_at() is not None


# ---- lists ----

@pytest.fixture
def letters(rt):
    for key in ("a", "b", "ba", "bb", "c", "d"):
        rt.put(key, key.upper().encode())
    return rt


@pytest.mark.parametrize("query, wanted", [
    ({}, "a b ba bb c d"),
    ({"prefix": "b"}, "b ba bb"),
    ({"start": "b"}, "b ba bb c d"),
    ({"end": "bb"}, "a b ba bb"),
    ({"end": "bb", "exclusive": "true"}, "a b ba"),
    ({"start": "b", "end": "c"}, "b ba bb c"),
    ({"start": "b", "end": "c", "exclusive": "true"}, "b ba bb"),
    ({"reverse": "true"}, "d c bb ba b a"),
    ({"start": "b", "end": "c", "reverse": "true"}, "c bb ba b"),
    ({"prefix": "b", "reverse": "true", "limit": "2"}, "bb ba"),
    ({"limit": "2"}, "a b"),
    ({"prefix": "zz"}, ""),
    ({"start": "c", "end": "b"}, ""),
])
def test_ranges(letters, query, wanted):
    assert letters.keys(encoding="utf8", **query) == wanted.split()


def test_order_is_by_bytes(rt):
    keys = [b"\x01", b"Z", b"a", b"a\x00", b"a\x00\x00", b"aa", b"\x7f", b"\x80", b"\xc3\xa4", b"\xff", b"\xff\xff"]
    for key in reversed(keys):
        rt.put(key, b"")
    assert rt.keys() == [b64(key) for key in sorted(keys)]


def test_prefix_of_high_bytes(rt):
    for key in (b"\xfe", b"\xff", b"\xff\xff", b"\xff\xff\x01"):
        rt.put(key, b"")
    assert rt.keys(prefix=b"\xff\xff") == [b64(b"\xff\xff"), b64(b"\xff\xff\x01")]


def test_entries_have_value_and_time(letters):
    entry = letters.list(prefix="bb").json()["entries"][0]
    assert entry["key"] == b64("bb")
    assert entry["value"] == b64("BB")
    assert isinstance(entry["updated_at"], int)


def test_utf8_encoding_refuses_what_is_not(rt):
    rt.put("text", "grün".encode())
    assert rt.list(encoding="utf8").json()["entries"][0]["value"] == "grün"
    rt.put("binary", b"\xff\xfe")
    refused(rt.list(encoding="utf8"), 422)
    assert rt.list(encoding="utf8", prefix="text").status == 200
    assert rt.list(encoding="base64").status == 200


def test_pages_follow_next(rt):
    names = [f"key{number:03}" for number in range(100)]
    for start in range(0, 100, 50):
        rt.batch(put=[{"key": name, "value": "v"} for name in names[start:start + 50]], encoding="utf8")
    seen, place = [], None
    while True:
        query = {"limit": "30", "encoding": "utf8", **({"start": place} if place else {})}
        page = rt.list(**query).json()
        seen += [entry["key"] for entry in page["entries"]]
        place = page.get("next")
        if not place:
            break
    assert seen == names


def test_last_page_has_no_next(letters):
    assert letters.list().json().get("next") is None


def test_list_stops_at_four_mebibytes_and_goes_on(rt):
    for number in range(40):
        rt.put(f"k{number:02}", b"v" * VALUE_MAX)
    seen, place, pages = [], None, 0
    while pages == 0 or place:
        answer = rt.list(encoding="utf8", **({"start": place} if place else {}))
        assert len(answer.body) < 9 << 20
        page = answer.json()
        seen += [entry["key"] for entry in page["entries"]]
        place, pages = page.get("next"), pages + 1
    assert seen == [f"k{number:02}" for number in range(40)]
    assert pages > 1


@pytest.mark.parametrize("query", ["limit=0", "limit=-1", "limit=x", "reverse=maybe", "encoding=hex", "colour=red",
                                   "limit=99999", "prefix=%zz"])
def test_list_refuses_nonsense(rt, query):
    refused(rt.call("GET", "/kv?" + query), 400, 413, 422)


# ---- ranges of deletes ----

def test_delete_range_excludes_its_end(letters):
    assert letters.call("DELETE", "/kv?start=b&end=c").status == 204
    assert letters.keys(encoding="utf8") == ["a", "c", "d"]


def test_delete_all(letters):
    assert letters.call("DELETE", "/kv?all=true").status == 204
    assert letters.keys() == []


@pytest.mark.parametrize("query", ["", "?start=b", "?all=false", "?all=true&start=a&end=b"])
def test_delete_must_say_what(letters, query):
    refused(letters.call("DELETE", "/kv" + query), 400, 422)
    assert len(letters.keys()) == 6


# ---- batches ----

def test_batch_gets_are_as_they_were_before(rt):
    rt.put("a", b"old")
    answer = rt.batch(get=["a", "missing"], put=[{"key": "a", "value": "new"}, {"key": "b", "value": "2"}],
                      encoding="utf8")
    assert answer.status == 200
    entries = answer.json()["entries"]
    assert [(entry["key"], entry["value"]) for entry in entries if entry["value"] is not None] == [("a", "old")]
    assert rt.get("a").body == b"new"
    assert rt.get("b").body == b"2"


def test_batches_that_get_and_put_come_one_after_the_other(rt):
    """Each takes what another left and leaves its own: nothing may be taken twice."""
    rt.batch(put=[{"key": "a", "value": "start"}], encoding="utf8")
    names = [f"n{number}" for number in range(120)]
    with ThreadPoolExecutor(12) as clients:
        answers = list(clients.map(lambda name: rt.batch(get=["a"], put=[{"key": "a", "value": name}],
                                                         encoding="utf8"), names))
    taken = [answer.json()["entries"][0]["value"] for answer in answers]
    assert sorted([*taken, rt.get("a").body.decode()]) == sorted(["start", *names])


def test_batch_whose_gets_cannot_be_said_writes_nothing(rt):
    rt.put("raw", b"\xff")
    for change in ({"put": [{"key": "b", "value": "2"}]}, {"delete": ["raw"]}):
        refused(rt.batch(get=["raw"], encoding="utf8", **change), 422)
    assert (rt.get("raw").body, rt.get("b").status) == (b"\xff", 404)
    for number in range(60):
        rt.put(f"low{number}", b"\x01" * VALUE_MAX)  # six times as long in JSON
    refused(rt.batch(get=[f"low{number}" for number in range(60)], put=[{"key": "b", "value": "2"}],
                     encoding="utf8"), 413)
    assert rt.get("b").status == 404


def test_batch_deletes(letters):
    assert letters.batch(delete=["a", "missing"], encoding="utf8").status == 200
    assert letters.keys(encoding="utf8") == ["b", "ba", "bb", "c", "d"]


def test_batch_does_not_mix(rt):
    answer = rt.batch(put=[{"key": "a", "value": "1"}], delete=["b"], encoding="utf8")
    assert answer.status == 422
    assert answer.json()["code"] == "batch_mixed"
    assert rt.keys() == []


def test_batch_is_all_or_nothing(rt):
    refused(rt.batch(put=[{"key": "a", "value": "1"}, {"key": "b", "value": "v" * (VALUE_MAX + 1)}], encoding="utf8"),
            413)
    assert rt.keys() == []


def test_batch_base64_is_the_default(rt):
    assert rt.batch(put=[{"key": b64(b"\x01"), "value": b64(b"\xff")}]).status == 200
    assert rt.get(b"\x01").body == b"\xff"
    assert rt.batch(get=[b64(b"\x01")]).json()["entries"][0]["value"] == b64(b"\xff")


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"put":[{"key":"***","value":""}]}', b'{"put":[{"key":"YQ=="}]}',
                                  b'{"colour":1}', b'{"put":{}}', b'{"get":[1]}', b'{"encoding":"hex","get":[]}'])
def test_batch_refuses_nonsense(rt, body):
    refused(rt.call("POST", "/kv/batch", body), 400, 422)


def test_batches_are_atomic_for_readers(actor, rt):
    names = [f"k{number}" for number in range(20)]

    def write():
        for value in range(15):
            rt.batch(put=[{"key": name, "value": str(value)} for name in names], encoding="utf8")

    rt.batch(put=[{"key": name, "value": "start"} for name in names], encoding="utf8")
    writing = Background(write)
    while not writing.done():
        values = {entry["value"] for entry in Runtime(actor).list(encoding="utf8").json()["entries"]}
        assert len(values) == 1
    writing.result()


# ---- the API's own shape ----

@pytest.mark.parametrize("method, rest, statuses", [
    ("GET", "/nothing", (404,)), ("PATCH", "/kv/a", (404, 405)), ("POST", "/kv/a", (404, 405)),
    ("GET", "/sleep", (404, 405)), ("DELETE", "", (404, 405)), ("GET", "/kv/%zz", (400,)),
])
def test_unknown_calls(rt, method, rest, statuses):
    refused(rt.call(method, rest), *statuses)


def test_runtime_connection_pipelines(actor):
    raw = b"".join(b"PUT /v1/actors/self/kv/p%d HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n%d" % (number, number)
                   for number in range(5))
    raw += b"GET /v1/actors/self/kv/p4 HTTP/1.1\r\nHost: x\r\n\r\n"
    got = actor.post("/rtraw", data=raw).content
    assert got.count(b"HTTP/1.1 204") == 5
    assert got.endswith(b"4")


def test_too_many_calls_at_once(actor):
    raw = b"".join(b"PUT /v1/actors/self/kv/p HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n1" for _ in range(1000))
    got = actor.post("/rtraw", data=raw).content
    answers = re.findall(rb"HTTP/1\.1 (\d\d\d)", got)
    assert len(answers) == 1000
    assert set(answers) <= {b"204", b"429"}


def runtime_socket(actor):
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(20 * SCALE)
    connection.connect(actor.get("/env").json()["RIVET_RUNTIME_SOCKET"])
    return connection


def status_of(connection):
    return int(connection.recv(65536).split()[1])


@pytest.mark.root
def test_256_calls_may_be_open(actor):
    """A call is open from its head to its answer; the one behind the 256th is refused, and the others live on."""
    head = b"PUT /v1/actors/self/kv/p HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n1"
    opened = [runtime_socket(actor) for _ in range(256)]
    for connection in opened:
        connection.sendall(head)
    extra = wait_for(lambda: refused_for_now(actor, head), what="the refusal")
    opened[0].sendall(b"2")
    assert status_of(opened[0]) == 204
    extra.sendall(head + b"2")
    assert status_of(extra) == 204
    for connection in [*opened, extra]:
        connection.close()


def refused_for_now(actor, head):
    """A connection whose call was answered 429, or None: the heads of the others are not all read yet."""
    connection = runtime_socket(actor)
    connection.sendall(head)
    connection.settimeout(0.2)
    try:
        if status_of(connection) == 429:
            connection.settimeout(20 * SCALE)
            connection.sendall(b"2")
            return connection
    except TimeoutError:
        pass
    connection.close()
    return None


@pytest.mark.root
@pytest.mark.parametrize("raw, status", [
    (b"nonsense\r\n\r\n", b"400"), (b"GET /v1/actors/self HTTP/1.1\r\n\r\n", b"400"),
    (b"GET /v1/actors/self/kv?prefix=" + b"a" * 24577 + b" HTTP/1.1\r\nHost: x\r\n\r\n", b"413"),
], ids=["nonsense", "no-host", "long-target"])
def test_requests_that_are_no_http_get_the_same_errors(actor, raw, status):
    with runtime_socket(actor) as connection:
        connection.sendall(raw)
        head, _, body = b"".join(iter(lambda: connection.recv(65536), b"")).partition(b"\r\n\r\n")
    assert head.split()[1] == status
    assert set(json.loads(body)) == {"group", "code", "message", "metadata"}


def test_engine_kv_endpoint_reads_the_same_values(calm, actor, rt):
    rt.put("a", b"value")
    answer = calm.get(f"/actors/{actor.id}/kv/keys/{encoded(b64('a'))}?namespace=default")
    assert answer.json()["value"] == b64("value")
    assert isinstance(answer.json()["update_ts"], int)
    missing = calm.get(f"/actors/{actor.id}/kv/keys/{encoded(b64('none'))}?namespace=default")
    assert (missing.status_code, code_of(missing)) == (400, "actor.kv_key_not_found")


# ---- alarms ----

def test_alarm_calls(rt):
    assert rt.alarm_at() is None
    soon = int(time.time() * 1000) + 3600000
    assert rt.call("PUT", "/alarm", {"at": soon}).status == 204
    assert rt.alarm_at() == soon
    assert rt.call("GET").json()["alarm_at"] == soon
    assert rt.call("PUT", "/alarm", {"at": soon + 1}).status == 204
    assert rt.alarm_at() == soon + 1
    assert rt.call("DELETE", "/alarm").status == 204
    assert rt.alarm_at() is None
    assert rt.call("DELETE", "/alarm").status == 204


@pytest.mark.parametrize("body", [{}, {"at": "soon"}, {"after": 5}, {"after": "5 parsecs"}, {"at": 1, "after": "1s"},
                                  {"at": 1, "colour": "red"}, [], {"at": -5}, {"at": 1.5}])
def test_alarm_refuses_nonsense(rt, body):
    refused(rt.call("PUT", "/alarm", body), 400, 422)
    assert rt.alarm_at() is None


def test_alarm_of_the_past_rings_at_once(probe, trace):
    made = probe().create("probe", "k")
    assert Runtime(made).call("PUT", "/alarm", {"at": 1000}).status == 204
    trace.wait("alarm")


def test_alarm_set_anew_in_its_own_call_is_kept(probe, trace):
    daemon = probe(environment={"PROBE_ON_ALARM": "PUT /v1/actors/self/alarm {\"after\":\"1h\"}"})
    made = daemon.create("probe", "k")
    Runtime(made).call("PUT", "/alarm", {"after": "200ms"})
    trace.wait("alarm-answered")
    holds_for(lambda: Runtime(made).alarm_at() is not None, 0.5, "the new alarm")


def test_alarm_is_tried_again_after_a_refusal(probe, trace):
    made = probe(environment={"PROBE_ALARM": "500,200"}).create("probe", "k")
    runtime = Runtime(made)
    runtime.call("PUT", "/alarm", {"after": "100ms"})
    first, second = trace.wait("alarm", 2)
    assert [first["body"]["attempt"], second["body"]["attempt"]] == [1, 2]
    assert first["body"]["due_at"] == second["body"]["due_at"]
    assert second["time"] - first["time"] > 1.5
    wait_for(lambda: runtime.alarm_at() is None, what="a cleared alarm")


def test_alarm_is_tried_again_after_a_crash(probe, trace):
    made = probe(environment={"PROBE_ALARM": "crash,200"}).create("probe", "k")
    Runtime(made).call("PUT", "/alarm", {"after": "100ms"})
    first, second = trace.wait("alarm", 2)
    assert first["pid"] != second["pid"]
    assert second["body"]["attempt"] == 2


def test_alarm_attempts_are_counted_durably(probe, trace):
    daemon = probe(environment={"PROBE_ALARM": "500,500,200"})
    runtime = Runtime(daemon.create("probe", "k"))
    runtime.call("PUT", "/alarm", {"after": "100ms"})
    daemon.wait_log(lambda record: "rings again" in record["msg"])
    assert runtime.put("later", b"1").status == 204  # the store writes in order: the attempt is counted
    daemon.kill()
    daemon.restart()
    assert [event["body"]["attempt"] for event in trace.wait("alarm", 3)] == [1, 2, 3]


def test_alarm_survives_a_power_cut_and_rings_while_asleep(probe, trace):
    daemon = probe()
    runtime = Runtime(daemon.create("probe", "k"))
    assert runtime.call("PUT", "/alarm", {"after": "2s"}).status == 204
    daemon.kill()
    daemon.restart()
    assert trace.wait("alarm")[0]["body"]["attempt"] == 1


def test_overdue_alarms_ring_once_each(probe, trace):
    daemon = probe()
    made = [daemon.create("probe", f"k{number}") for number in range(5)]
    for actor in made:
        assert Runtime(actor).call("PUT", "/alarm", {"after": "1500ms"}).status == 204
    daemon.stop()
    time.sleep(2)
    daemon.restart()
    trace.wait("alarm", 5)
    time.sleep(1)
    rung = [event["body"]["actor_id"] for event in trace.events("alarm")]
    assert sorted(rung) == sorted(actor.id for actor in made)
    daemon.restart()
    holds_for(lambda: len(trace.events("alarm")) == 5, 1, "silence")


def test_alarm_in_a_shared_worker(probe, trace):
    daemon = probe(isolation="shared")
    first, second = daemon.create("probe", "a"), daemon.create("probe", "b")
    second.get("/pid")
    Runtime(first, first.id).call("PUT", "/alarm", {"after": "200ms"})
    assert trace.wait("alarm")[0]["body"]["actor_id"] == first.id


# ---- restarts and power cuts ----

def test_everything_is_there_after_a_restart(probe):
    daemon = probe()
    made = daemon.create("probe", "kept/key", input=b"input", crash_policy="destroy")
    runtime = Runtime(made)
    runtime.put("a", b"1")
    alarm = int(time.time() * 1000) + 3600000
    runtime.call("PUT", "/alarm", {"at": alarm})
    before = made.info()
    number = runtime.call("GET").json()["generation"]
    daemon.restart()
    after = made.info()
    for field in ("actor_id", "name", "key", "create_ts", "start_ts", "crash_policy", "namespace_id"):
        assert before[field] == after[field]
    assert after["sleep_ts"]
    assert runtime.get("a").body == b"1"
    assert runtime.alarm_at() == alarm
    assert runtime.call("GET", "/input").body == b"input"
    assert runtime.call("GET").json()["generation"] > number
    assert daemon.get_or_create("probe", "kept/key").id == made.id


def test_destroyed_stays_destroyed(probe):
    daemon = probe()
    made = daemon.create("probe", "k")
    made.destroy()
    daemon.restart()
    assert made.info()["destroy_ts"]
    assert made.get("/echo").status_code == 404


@pytest.mark.parametrize("seconds", [0.2, 0.6, 1.1])
def test_power_cut_under_write_load_loses_nothing_acknowledged(probe, tmp_path, seconds):
    daemon = probe()
    made = daemon.create("probe", "k")
    journal = tmp_path / "acknowledged"
    made.get(f"/load?writers=8&file={journal}")
    wait_for(lambda: journal.exists() and journal.stat().st_size, what="the first acknowledged write")
    time.sleep(seconds)
    daemon.kill()
    wait_for(lambda: not daemon.worker_processes(), what="end of the workers")
    acknowledged = journal.read_text().split()
    daemon.restart()
    found, place = {}, None
    while not found or place:
        page = Runtime(made).list(prefix="load-", encoding="utf8", **({"start": place} if place else {})).json()
        found.update((entry["key"], entry["value"]) for entry in page["entries"])
        place = page.get("next")
    missing = [name for name in acknowledged if found.get("load-" + name) != name]
    assert acknowledged and not missing


def test_created_actors_survive_a_power_cut(probe):
    daemon = probe()
    made = [daemon.create("probe", f"k{number}").id for number in range(30)]
    daemon.kill()
    daemon.restart()
    assert {actor["actor_id"] for actor in daemon.actors("name=probe")} == set(made)


# ---- a data directory in trouble ----

def plain_args(data, tmp_path):
    return ["--foreground", "--log-format", "json", "--listen", "127.0.0.1:0", "--data-dir", str(data),
            "--runtime-dir", f"/tmp/rr-{os.getpid()}-{abs(hash(tmp_path)) % 10000}"]


def test_locked_data_directory_names_the_holder(probe, tmp_path):
    daemon = probe()
    code, _, errors = run_daemon(plain_args(daemon.data_dir, tmp_path))
    assert code == 73
    assert str(daemon.pid) in errors
    assert daemon.get("/health").status_code == 200


def test_lock_goes_with_its_holder(probe):
    daemon = probe()
    daemon.kill()
    daemon.restart()
    assert daemon.get("/health").status_code == 200


def test_data_directory_is_created_private(probe):
    daemon = probe()
    assert os.stat(daemon.data_dir).st_mode & 0o077 == 0


def test_data_directory_that_cannot_be_created(tmp_path):
    (tmp_path / "file").write_text("")
    code, _, errors = run_daemon(plain_args(tmp_path / "file" / "data", tmp_path))
    assert code == 73
    assert str(tmp_path / "file" / "data") in errors


def test_newer_format_is_left_alone(probe, tmp_path):
    daemon = probe()
    daemon.create("probe", "k")
    daemon.stop()
    databases = [name for name in os.listdir(daemon.data_dir) if is_sqlite(os.path.join(daemon.data_dir, name))]
    assert databases
    for name in databases:
        subprocess.run(["sqlite3", os.path.join(daemon.data_dir, name), "PRAGMA user_version = 9999"], check=True)
    code, _, errors = run_daemon(plain_args(daemon.data_dir, tmp_path))
    assert code == 73
    assert "newer" in errors


def is_sqlite(path):
    with open(path, "rb") as file:
        return file.read(15) == b"SQLite format 3"


def test_database_that_is_no_database(probe, tmp_path):
    daemon = probe()
    daemon.stop()
    for name in os.listdir(daemon.data_dir):
        path = os.path.join(daemon.data_dir, name)
        if is_sqlite(path):
            with open(path, "r+b") as file:
                file.write(b"garbage!" * 1024)
    code, _, errors = run_daemon(plain_args(daemon.data_dir, tmp_path))
    assert code in (1, 73)
    assert errors


@pytest.fixture
def small_disk(tmp_path):
    """A tmpfs of its own; resize(size) changes how much fits."""
    place = tmp_path / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m,mode=755", "none", str(place)], check=True)
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def remount(place, options):
    subprocess.run(["mount", "-o", "remount," + options, str(place)], check=True)


@pytest.mark.root
def test_read_only_data_directory(small_disk, tmp_path):
    (small_disk / "data").mkdir()
    remount(small_disk, "ro")
    code, _, errors = run_daemon(plain_args(small_disk / "data", tmp_path))
    remount(small_disk, "rw")
    assert code == 73
    assert str(small_disk) in errors


@pytest.mark.root
def test_full_disk_at_start(small_disk, tmp_path):
    with open(small_disk / "filler", "wb", buffering=0) as filler:
        fill(filler)
    code, _, errors = run_daemon(plain_args(small_disk / "data", tmp_path))
    assert code == 73
    assert "space" in errors or "full" in errors


def fill(file):
    """Takes whatever room is left."""
    try:
        while True:
            os.write(file.fileno(), bytes(4096))
    except OSError:
        pass


@pytest.mark.root
def test_full_disk_answers_507_and_recovers(probe, small_disk):
    daemon = probe(daemon_options={"data_dir": small_disk / "data"}, sleep_after="never")
    made = daemon.create("probe", "k")
    runtime = Runtime(made)
    assert runtime.put("before", b"1").status == 204
    number = write_until_full(runtime)
    refused(runtime.put("more", b"v" * VALUE_MAX), 507)
    assert runtime.get("before").body == b"1"
    assert runtime.get(f"fill{number - 1}").status == 200
    assert made.get("/echo").status_code == 200
    assert daemon.get("/health").status_code == 200
    remount(small_disk, "size=64m")
    wait_for(lambda: runtime.put("after", b"2").status == 204, what="recovery")
    assert runtime.get("after").body == b"2"
    assert runtime.get("more").status == 404


def write_until_full(runtime):
    for number in range(400):
        status = runtime.put(f"fill{number}", b"v" * VALUE_MAX).status
        if status != 204:
            assert status == 507
            return number
    raise AssertionError("the disk never got full")


@pytest.mark.root
def test_full_disk_refuses_new_actors_with_507(probe, small_disk):
    daemon = probe(daemon_options={"data_dir": small_disk / "data"})
    runtime = Runtime(daemon.create("probe", "k"))
    with open(small_disk / "filler", "wb", buffering=0) as filler:
        fill(filler)
    write_until_full(runtime)
    body = {"name": "probe", "key": "x" * 1000, "runner_name_selector": "default", "crash_policy": "sleep",
            "input": b64("i" * 500000)}
    answer = daemon.post("/actors?namespace=default", json=body)
    assert answer.status_code == 507
    code_of(answer)
    os.unlink(small_disk / "filler")
    wait_for(lambda: daemon.post("/actors?namespace=default", json=body).status_code == 200, what="recovery")


def test_two_daemons_do_not_share_a_runtime_directory(probe, tmp_path):
    daemon = probe()
    code, _, errors = run_daemon(["--foreground", "--listen", "127.0.0.1:0", "--data-dir", str(tmp_path / "other"),
                                  "--runtime-dir", daemon.runtime_dir])
    assert code == 73
    assert daemon.runtime_dir in errors
    assert daemon.create("probe", "k").get("/echo").status_code == 200


def test_type_settings_survive_nothing_but_the_config(make_daemon, trace):
    daemon = make_daemon({"actors": {"probe": type_of("probe.py", trace=trace, environment={"V": "1"})}})
    made = daemon.create("probe", "k")
    assert made.get("/env").json()["V"] == "1"
    daemon.restart({"actors": {"probe": type_of("probe.py", trace=trace, environment={"V": "2"})}})
    assert made.get("/env").json()["V"] == "2"
