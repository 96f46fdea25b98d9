"""Fixtures, the time limit of a test, logs kept on failure, the second try, and the closing count."""

import os
import re
import secrets
import shutil
import signal
import subprocess
import tempfile

import pytest

from lib import second_try
from lib.daemon import ROOT, Daemon
from lib.engine import Engine, Hosted
from lib.fake_engine import FakeEngine
from lib.second_try import pytest_report_teststatus, pytest_runtest_protocol  # noqa: F401  pylint: disable=unused-import
from lib.wait import SCALE
from lib.worker import WORKERS, Trace, type_of

DEADLINE = 60
KEPT_LOGS = os.environ.get("RIVET_E2E_LOGS", os.path.join(ROOT, "build", "e2e-logs"))


class TestTimeout(Exception):
    """A test took longer than it may."""

    __test__ = False


# ---- time limit ----

def _limit(item):
    mark = item.get_closest_marker("deadline")
    return (mark.args[0] if mark else DEADLINE) * SCALE


def _limited(item):
    seconds = _limit(item)

    def on_alarm(_number, _frame):
        raise TestTimeout(f"took longer than {seconds:g} s")

    before = signal.signal(signal.SIGALRM, on_alarm)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_setup(item):
    yield from _limited(item)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_call(item):
    yield from _limited(item)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_teardown(item):
    yield from _limited(item)


# ---- markers, logs, closing count ----

def pytest_configure():
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # whoever ends a run ends its daemons too


def pytest_collection_modifyitems(config, items):
    alone = os.environ.get("RIVET_E2E_ALONE", "yes")
    if alone != "yes":
        left_out = [item for item in items if bool(item.get_closest_marker("alone")) != (alone == "only")]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]
    for item in items:
        if os.geteuid() != 0 and item.get_closest_marker("root"):
            item.add_marker(pytest.mark.skip(reason="needs root"))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    outcome = yield
    report = outcome.get_result()
    if not report.failed:
        return
    for daemon in _daemons(item):
        item.daemon_broke = item.daemon_broke or daemon.broke()
        report.sections.append(("daemon log", daemon.log_tail(60)))
        _keep_logs(item, daemon)


def _daemons(item):
    """Those that the test has named, and the one of its module."""
    shared = [getattr(value, "daemon", value) for name, value in (item.funcargs or {}).items() if name in ("calm", "hosted")]
    return {id(one): one for one in [*getattr(item, "daemons", []), *shared]}.values()


def _keep_logs(item, daemon):
    place = os.path.join(KEPT_LOGS, re.sub(r"[^A-Za-z0-9_.-]+", "_", item.nodeid)[:150])
    os.makedirs(place, exist_ok=True)
    for name in os.listdir(daemon.tmp):
        if name.endswith((".log", ".json", ".jsonl")):
            shutil.copy(os.path.join(daemon.tmp, name), place)


def pytest_terminal_summary(terminalreporter, config):
    count = {name: len(terminalreporter.stats.get(name, [])) for name in ("passed", "failed", "error", "skipped")}
    for name, why in config.stash.get(second_try.GIVEN, []):
        terminalreporter.write_line(f"needed a second try: {name}: {why}")
    config.closing_line = (f"{count['passed']} passed, {count['failed'] + count['error']} failed, "
                           f"{count['skipped']} skipped")


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config):
    if hasattr(config, "closing_line"):
        print(config.closing_line, flush=True)


# ---- fixtures ----

@pytest.fixture
def make_daemon(request, tmp_path):
    """Starts daemons for this test; each is stopped and judged when the test is over."""
    request.node.daemons = made = []

    def make(config=None, *args, **options):
        place = tmp_path / f"d{len(made)}" if made else tmp_path
        place.mkdir(exist_ok=True)
        wanted = options.pop("start", True)
        daemon = Daemon(place, config, *args, start=False, **options)
        made.append(daemon)
        if wanted:
            daemon.start()
        return daemon

    yield make
    failures = []
    for daemon in reversed(made):
        try:
            daemon.close()
        except AssertionError as failure:
            failures.append(str(failure))
    assert not failures, "\n".join(failures)


@pytest.fixture
def trace(tmp_path):
    """What the workers of this test have written down about their own lives."""
    return Trace(tmp_path / "trace.jsonl")


@pytest.fixture
def probe(make_daemon, trace):
    """Starts a daemon with one actor type, `probe`; settings of the type as arguments."""
    def make(daemon_options=None, config=None, argv=(), **settings):
        whole = dict(config or {})
        whole["actors"] = {"probe": type_of("probe.py", *argv, trace=trace, **settings)}
        return make_daemon(whole, **(daemon_options or {}))
    return make


@pytest.fixture(scope="module")
def calm(tmp_path_factory):
    """One daemon for a whole file, whose actors stay awake; for tests that need no start of their own."""
    place = tmp_path_factory.mktemp("calm")
    kept = Trace(place / "trace.jsonl")
    types = {"probe": type_of("probe.py", trace=kept, sleep_after="never"),
             "other": type_of("probe.py", trace=kept, sleep_after="never")}
    with Daemon(place, {"actors": types}) as daemon:
        daemon.trace = kept
        yield daemon


@pytest.fixture
def actor(calm, request):
    """A running actor of its own for this test."""
    request.node.daemons = [calm]
    made = calm.create("probe", request.node.name[:100] + secrets.token_hex(4))
    yield made
    made.destroy()


# ---- engine mode ----

@pytest.fixture(scope="session")
def shared_engine():
    """A real engine, whose pools keep the tests apart; whoever stops it takes `own_engine`."""
    with Engine() as engine:
        yield engine


@pytest.fixture
def own_engine():
    """Starts real engines for this test alone."""
    made = []

    def make(**options):
        made.append(Engine(**options))
        return made[-1]

    yield make
    for engine in made:
        engine.close()


@pytest.fixture
def pool(shared_engine):
    """A pool of the real engine that nobody else uses."""
    return shared_engine.in_pool()


@pytest.fixture
def fake_engine():
    with FakeEngine() as engine:
        yield engine


@pytest.fixture
def runner(make_daemon, trace):
    """Starts a daemon in engine mode with one actor type, `probe`, as a runner of `place`: a pool of the real engine, a
    fake one, or anything else with a URL. Settings of the type as arguments."""
    def make(place, key=None, env=None, config=None, argv=(), options=None, **settings):
        whole = {**(config or {}), "actors": {"probe": type_of("probe.py", *argv, trace=trace, **settings)}}
        said = {"RIVET_NAMESPACE": place.namespace, "RIVET_RUNNER": place.pool, "RIVET_RUNNER_KEY": key, **(env or {})}
        daemon = make_daemon(whole, engine=place.url, env=said, **(options or {}))
        if hasattr(place, "wait_ready") and daemon.running:
            place.wait_ready()
        return daemon
    return make


@pytest.fixture(scope="module")
def hosted(shared_engine, tmp_path_factory):
    """The counterpart of `calm`: a pool of the real engine whose actors run in one daemon for a whole file."""
    place = tmp_path_factory.mktemp("hosted")
    kept = Trace(place / "trace.jsonl")
    pool = shared_engine.in_pool()
    types = {"probe": type_of("probe.py", trace=kept, sleep_after="never"),
             "other": type_of("probe.py", trace=kept, sleep_after="never")}
    env = {"RIVET_NAMESPACE": pool.namespace, "RIVET_RUNNER": pool.pool}
    with Daemon(place, {"actors": types}, engine=pool.url, env=env) as daemon:
        pool.wait_ready()
        yield Hosted(pool, daemon, kept)


@pytest.fixture(scope="session")
def inspect_binary():
    """The C worker that answers with the raw state of its process; any user may run it."""
    place = tempfile.mkdtemp(prefix="rr-inspect-")
    os.chmod(place, 0o755)
    binary = os.path.join(place, "inspect")
    subprocess.run(["cc", "-O1", "-Wall", "-o", binary, os.path.join(WORKERS, "inspect.c")], check=True)
    yield binary
    shutil.rmtree(place)
