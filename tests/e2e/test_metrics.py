"""/metrics: well-formed, bounded, complete, and counting what happens; the dashboard names nothing else."""

import json
import os
import re

import pytest

from lib.daemon import ROOT
from lib.rt import Runtime
from lib.wait import wait_for

PREFIX = "rivet_runnerd_"
LABEL = r'([a-z_]+)="((?:[^"\\\n]|\\["\\n])*)"'
SAMPLE = re.compile(rf"({PREFIX}[a-z_]+)(?:\{{({LABEL}(?:,{LABEL})*)\}})? (\d+(?:\.\d+)?)")
ROW = re.compile(r'^METRIC\(\s*\w+,\s*"(\w+)",\s*(\w+),\s*(\w+),\s*(NULL|"\w+"),\s*(NULL|"\w+"),', re.M)


class Metrics:
    """A scrape, parsed as strictly as it goes: samples by name and set of labels."""

    def __init__(self, text):
        self.kinds, self.samples = {}, {}
        assert text.endswith("\n")
        family = None
        for line in text.splitlines():
            if line.startswith("# HELP "):
                family = line.split(" ", 3)[2]
                assert family not in self.kinds, f"{family} comes twice"
                assert line.split(" ", 3)[3]
            elif line.startswith("# TYPE "):
                _, _, name, kind = line.split(" ")
                assert name == family and kind in ("counter", "gauge", "histogram")
                self.kinds[name] = kind
            else:
                self.sample(line, family)
        for name, kind in self.kinds.items():
            assert kind != "counter" or name.endswith("_total")
            if kind == "histogram":
                self.histogram(name)

    def sample(self, line, family):
        found = SAMPLE.fullmatch(line)
        assert found, line
        name, labels, value = found[1], dict(re.findall(LABEL, found[2] or "")), float(found[found.lastindex])
        suffixes = ("_bucket", "_sum", "_count") if self.kinds[family] == "histogram" else ("",)
        assert name in [family + suffix for suffix in suffixes], line
        key = (name, frozenset(labels.items()))
        assert key not in self.samples, f"{line} comes twice"
        self.samples[key] = value

    def histogram(self, name):
        for (bucket, labels), _ in [item for item in self.samples.items() if item[0][0] == name + "_count"]:
            counts = [(float(dict(others)["le"]), value) for (other, others), value in self.samples.items()
                      if other == name + "_bucket" and others - {("le", dict(others)["le"])} == labels]
            counts.sort()
            assert [value for _, value in counts] == sorted(value for _, value in counts)
            assert counts[-1] == (float("inf"), self.samples[bucket, labels])
            assert (name + "_sum", labels) in self.samples

    def get(self, name, **labels):
        return self.samples[PREFIX + name, frozenset(labels.items())]


def metrics(daemon):
    answer = daemon.admin("/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    return Metrics(answer.text)


def table(*modes):
    with open(os.path.join(ROOT, "src/base/metric.def"), encoding="utf-8") as file:
        return {PREFIX + name: kind.lower() for name, kind, mode, _, _ in ROW.findall(file.read()) if mode in modes}


@pytest.fixture
def fresh(probe):
    """A daemon whose samples nobody else moves."""
    return probe(sleep_after="never")


@pytest.fixture
def counted(fresh):
    """Waits until a sample of it has a value: much is counted a moment after the answer."""
    def check(value, name, **labels):
        wait_for(lambda: metrics(fresh).get(name, **labels) == value, what=f"{value} of {name}{labels}")
    return check


def test_every_metric_of_local_mode(calm):
    assert metrics(calm).kinds == table("BOTH", "LOCAL")
    assert metrics(calm).get("ready") == 1


def test_every_metric_of_engine_mode(runner, fake_engine):
    daemon = runner(fake_engine)
    got = metrics(daemon)
    assert got.kinds == table("BOTH", "ENGINE")
    assert got.get("engine_link_state", state="online") == 1
    assert sum(value for (name, _), value in got.samples.items() if name == PREFIX + "engine_link_state") == 1
    assert got.get("engine_reconnects_total") == 0


def test_requests_by_outcome(fresh, counted):
    actor = fresh.create("probe", "k")
    actor.get("/pid")
    for status, times in ((204, 2), (302, 1), (404, 3), (500, 1)):
        for _ in range(times):
            actor.get(f"/status?code={status}", allow_redirects=False)
    counted(2 + 1, "requests_total", actor_type="probe", outcome="2xx")
    counted(1, "requests_total", actor_type="probe", outcome="3xx")
    counted(3, "requests_total", actor_type="probe", outcome="4xx")
    counted(1, "requests_total", actor_type="probe", outcome="5xx")
    counted(8, "request_duration_seconds_count", actor_type="probe")


def test_a_worker_that_ends_in_the_middle(fresh, counted):
    actor = fresh.create("probe", "k")
    assert actor.get("/exit?code=3").status_code == 502
    counted(1, "requests_total", actor_type="probe", outcome="failed")
    counted(1, "worker_crashes_total", actor_type="probe", reason="exit")
    counted(0, "worker_crashes_total", actor_type="probe", reason="signal")
    counted(0, "worker_crashes_total", actor_type="probe", reason="oom")
    counted(1, "actor_stops_total", actor_type="probe", reason="crashed")


def test_wakes_and_starts(fresh, counted):
    fresh.create("probe", "k").get("/pid")
    counted(1, "wakes_total", actor_type="probe")
    counted(1, "wake_duration_seconds_count", actor_type="probe")
    counted(1, "worker_starts_total", actor_type="probe")
    counted(1, "worker_start_duration_seconds_count", actor_type="probe")
    counted(1, "actors", actor_type="probe", state="running")
    counted(1, "workers", actor_type="probe")
    assert metrics(fresh).get("worker_memory_bytes", actor_type="probe") > 1024 * 1024


def test_state(fresh, counted):
    rt = Runtime(fresh.create("probe", "k"))
    assert rt.call("PUT", "/kv/a", b"1").status < 300
    assert rt.call("GET", "/kv/a").status == 200
    counted(1, "runtime_calls_total", kind="kv_put", outcome="ok")
    counted(1, "runtime_calls_total", kind="kv_get", outcome="ok")
    counted(1, "kv_duration_seconds_count", kind="kv_put")
    assert metrics(fresh).get("store_commit_duration_seconds_count") > 0


def test_a_start_that_fails(make_daemon):
    daemon = make_daemon({"actors": {"bad": {"command": ["/bin/sh", "-c", "exit 3"]},
                                     "none": {"command": ["/nothing/here"]}}})
    assert daemon.create("bad", "k").get("/").status_code == 503
    assert daemon.create("none", "k").get("/").status_code == 503
    for kind in ("bad", "none"):  # counted a moment after the answer
        wait_for(lambda kind=kind: metrics(daemon).get("requests_total", actor_type=kind, outcome="refused") == 1)
    got = metrics(daemon)
    failures = got.get("start_failures_total", actor_type="bad", reason="exit")
    assert 1 <= failures <= 2  # the start by create() may be over before the request begins one
    assert 1 <= got.get("start_failures_total", actor_type="none", reason="spawn") <= 2
    assert got.get("actor_stops_total", actor_type="bad", reason="start_failed") == failures
    assert got.get("request_duration_seconds_count", actor_type="bad") == 0


def test_output_that_comes_too_fast(make_daemon):
    """Dropped lines are counted, and said with the actor they are of."""
    script = "i=0; while [ $i -lt 5000 ]; do echo line; i=$((i+1)); done; exit 3"
    daemon = make_daemon({"actors": {"loud": {"command": ["/bin/sh", "-c", script]}}})
    made = daemon.create("loud", "k")
    made.get("/")

    def told():
        return [record for record in daemon.log_records() if record["msg"].startswith("worker writes too fast")]

    def total(kind):
        return metrics(daemon).get(f"worker_output_{kind}lines_total", actor_type="loud")

    wait_for(lambda: total("") + total("dropped_") == 5000, what="5000 lines")
    wait_for(lambda: total("dropped_") == sum(record["lines"] for record in told()) > 0, what="the record of all that was dropped")
    first = told()[0]
    assert (first["actor_id"], first["actor_key"], first["actor_name"]) == (made.id, "k", "loud")


def test_a_life_story_has_all_its_fields(calm, actor):
    pid = actor.get("/pid").text
    actor.get("/log?text=hello%0A")
    story = wait_for(lambda: [record for record in calm.log_records() if record.get("actor_id") == actor.id]
                     if "hello" in [record["msg"] for record in calm.log_records()] else None)
    assert pid and {"actor created", "actor is running", "hello"} <= {record["msg"] for record in story}
    worker = {record["worker_id"] for record in story if record["msg"] in ("actor is running", "hello")}
    assert len(worker) == 1
    for record in story:
        assert record["actor_name"] == "probe" and record["actor_key"]
        assert record["msg"] == "actor created" or record["generation"] == 0


def test_many_actor_types_share_one_series(make_daemon):
    types = {f"type-{number}": {"command": ["/bin/false"]} for number in range(80)}
    daemon = make_daemon({"actors": types})
    daemon.create("type-79", "k").get("/")
    got = metrics(daemon)
    names = {dict(labels).get("actor_type") for _, labels in got.samples} - {None}
    assert len(names) == 64 and "other" in names
    assert sum(value for (name, labels), value in got.samples.items() if name == PREFIX + "wakes_total") == 1


def test_no_identity_in_labels(calm, actor):
    actor.get("/pid")
    text = calm.admin("/metrics").text
    assert actor.id not in text
    assert {name for _, labels in Metrics(text).samples for name, _ in labels} <= {
        "actor_type", "outcome", "reason", "state", "kind", "le", "version", "mode"}


def test_the_dashboard_names_what_is_there():
    with open(os.path.join(ROOT, "docs/grafana-dashboard.json"), encoding="utf-8") as file:
        board = json.load(file)
    kinds = table("BOTH", "LOCAL", "ENGINE")
    known = set(kinds)
    known.update(name + suffix for name, kind in kinds.items() if kind == "histogram" for suffix in ("_bucket", "_sum", "_count"))
    expressions = [target["expr"] for panel in board["panels"] for target in panel.get("targets", [])]
    named = {name for text in expressions for name in re.findall(rf"{PREFIX}\w+", text)}
    assert named <= known
    assert board["schemaVersion"] >= 38
    assert {panel["datasource"]["uid"] for panel in board["panels"] if panel["type"] != "row"} == {"${datasource}"}
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
