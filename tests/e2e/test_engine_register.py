"""Engine mode: how a daemon becomes a runner, and what it says when it cannot."""

import http.client
import socket

import pytest

from lib.daemon import run_daemon
from lib.engine import Engine
from lib.forwarder import Forwarder
from lib.tls import Authority
from lib.wait import holds_for, wait_for
from lib.worker import type_of

# The first test may have to install the npm packages.
pytestmark = pytest.mark.deadline(300)

CONFIG = {"actors": {"probe": type_of("probe.py")}}


def troubles(daemon, *words):
    """Warnings and errors of the log that hold all of the words."""
    return [record for record in daemon.log_records()
            if record.get("level") in ("warn", "warning", "error") and all(word in str(record) for word in words)]


def says_once(daemon, *words):
    """It says so in one line, does not repeat it, stays, and is not ready."""
    wait_for(lambda: troubles(daemon, *words), 15, f"a line with {words}")
    holds_for(lambda: daemon.running and len(troubles(daemon)) == 1, 3, "one line")
    assert daemon.readyz() == 503


@pytest.fixture
def outcast(make_daemon):
    """A daemon whose engine will not have it."""
    def make(url, **options):
        daemon = make_daemon(CONFIG, engine=url, start=False, **options)
        daemon.spawn()
        wait_for(lambda: daemon.listening("admin"), 15, "the admin listener")
        return daemon
    return make


# ---- who it says it is ----

def test_runner_record(runner, pool):
    runner(pool, key="a key/with ü", env={"RIVET_RUNNER_VERSION": "7", "RIVET_TOTAL_SLOTS": "55"})
    record = pool.runner()
    assert (record["name"], record["key"]) == (pool.pool, "a key/with ü")
    assert (record["version"], record["total_slots"], record["remaining_slots"]) == (7, 55, 55)
    assert record["metadata"]["program"] == "rivet-runnerd"
    assert record["metadata"]["host"] == socket.gethostname()
    assert record["metadata"]["version"] == run_daemon(["--version"])[1].split()[-1]


def test_actor_names(make_daemon, pool):
    types = {name: type_of("probe.py") for name in ("probe", "an-other", "third")}
    make_daemon({"actors": types}, engine=pool.url, env={"RIVET_NAMESPACE": pool.namespace})
    wait_for(lambda: set(pool.actor_names()) == set(types), 10, "the names")


def test_key_is_kept_in_the_data_directory(runner, pool):
    daemon = runner(pool)
    key = pool.runner()["key"]
    assert len(key) >= 16
    daemon.restart()
    wait_for(lambda: [one["key"] for one in pool.runners()] == [key], 40, "the same key")


def test_worker_knows_the_namespace(pool, runner):
    runner(pool)
    actor = pool.create("probe", "k")
    assert actor.get("/env").json()["RIVET_NAMESPACE"] == pool.namespace != "default"


def test_rivetkit_names_of_the_variables(make_daemon, pool):
    make_daemon(CONFIG, engine=pool.url, env={"RIVET_POOL": pool.pool, "RIVET_NAMESPACE": pool.namespace})
    assert pool.runner()["name"] == pool.pool


# ---- token ----

@pytest.fixture(scope="module")
def guarded():
    with Engine(token="a-token.of~the-tests") as engine:
        yield engine


def test_token_from_environment(guarded, runner):
    pool = guarded.in_pool()
    daemon = runner(pool, env={"RIVET_TOKEN": guarded.token})
    pool.runner()
    actor = pool.create("probe", "k")
    assert guarded.token not in actor.get("/env").text
    assert guarded.token not in daemon.logs()


def test_token_from_a_file(guarded, runner, tmp_path):
    pool = guarded.in_pool()
    (tmp_path / "token").write_text(guarded.token + "\n")
    runner(pool, env={"RIVET_TOKEN_FILE": str(tmp_path / "token")})
    pool.runner()


def test_namespace_and_token_in_the_address(guarded, make_daemon):
    pool = guarded.in_pool()
    url = pool.url.replace("://", f"://{pool.namespace}:{guarded.token}@")
    daemon = make_daemon(CONFIG, engine=url, env={"RIVET_RUNNER": pool.pool})
    pool.runner()
    assert guarded.token not in daemon.logs()


@pytest.mark.parametrize("token", [None, "a-wrong-one"])
def test_missing_or_wrong_token(guarded, outcast, token):
    says_once(outcast(guarded.url, env={"RIVET_TOKEN": token}), "token")


# ---- addresses that will not do ----

def test_unknown_namespace(shared_engine, outcast):
    says_once(outcast(shared_engine.url, env={"RIVET_NAMESPACE": "nowhere"}), "nowhere")


def test_refusals_are_not_hammered(fake_engine, outcast):
    fake_engine.close_at_once = (1011, "namespace.not_found")
    outcast(fake_engine.url)
    fake_engine.wait_connection()
    holds_for(lambda: len(fake_engine.connections) == 1, 6, "one attempt")


def test_nobody_listens(outcast, fake_engine):
    url = fake_engine.url
    fake_engine.unlisten()
    daemon = outcast(url)
    says_once(daemon, str(fake_engine.port))
    fake_engine.listen()
    fake_engine.wait_runner()
    wait_for(lambda: daemon.readyz() == 200, 15, "readiness")


def test_unknown_host(outcast):
    says_once(outcast("http://no-such-host.invalid:6420"), "no-such-host.invalid")


def test_no_engine_there(calm, outcast):
    """Some other HTTP server answers; here it is a daemon's own interface."""
    says_once(outcast(calm.url), str(calm.port))


def test_engine_that_refuses_the_upgrade(fake_engine, outcast):
    fake_engine.refuse_upgrade = http.client.BAD_GATEWAY
    says_once(outcast(fake_engine.url), "502")


def test_unsupported_protocol_ends_the_daemon(fake_engine, make_daemon):
    fake_engine.close_at_once = (1011, "ws.invalid_packet")
    daemon = make_daemon(CONFIG, engine=fake_engine.url, start=False)
    daemon.expected_codes.add(1)
    daemon.spawn()
    assert daemon.wait_exit() == 1
    assert troubles(daemon, "protocol")


# ---- TLS ----

@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("tls"))


@pytest.mark.parametrize("how", ["RIVET_ENGINE_CA", "--engine-ca"])
def test_tls(authority, pool, runner, how):
    with Forwarder(pool, authority.context("DNS:localhost")) as front:
        if how.startswith("-"):
            runner(front, options={"args": [how, authority.ca_file]})
        else:
            runner(front, env={how: authority.ca_file})
        pool.runner()
        actor = pool.create("probe", "k")
        assert actor.post("/count", data=bytes(300000)).json()["length"] == 300000


def test_namespace_and_token_in_a_tls_address(authority, guarded, make_daemon):
    pool = guarded.in_pool()
    with Forwarder(pool, authority.context("DNS:localhost")) as front:
        url = front.url.replace("://", f"://{pool.namespace}:{guarded.token}@")
        daemon = make_daemon(CONFIG, engine=url,
                             env={"RIVET_RUNNER": pool.pool, "RIVET_ENGINE_CA": authority.ca_file})
        pool.runner()
        assert pool.create("probe", "k").get("/pid").status_code == 200
        assert guarded.token not in daemon.logs()


def test_unknown_authority(authority, fake_engine, outcast):
    with Forwarder(fake_engine, authority.context("DNS:localhost")) as front:
        says_once(outcast(front.url), "certificate")
    assert not fake_engine.connections


def test_certificate_of_another_host(authority, fake_engine, outcast):
    with Forwarder(fake_engine, authority.context("DNS:another.example")) as front:
        says_once(outcast(front.url, env={"RIVET_ENGINE_CA": authority.ca_file}), "certificate", "localhost")
    assert not fake_engine.connections


def test_address_in_the_certificate(authority, fake_engine, make_daemon):
    with Forwarder(fake_engine, authority.context("IP:127.0.0.1")) as front:
        make_daemon(CONFIG, engine=front.url.replace("localhost", "127.0.0.1"),
                    env={"RIVET_ENGINE_CA": authority.ca_file})
        fake_engine.wait_runner()


def test_plain_server_behind_an_https_address(fake_engine, outcast):
    says_once(outcast(fake_engine.url.replace("http:", "https:")), str(fake_engine.port))


def test_missing_authority_file_is_a_configuration_error(fake_engine, tmp_path):
    code, _, errors = run_daemon(["--engine", "https://localhost:1", "--engine-ca", str(tmp_path / "none.pem"),
                                  "--data-dir", str(tmp_path / "data"), "--actor", "probe", "--", "/bin/true"])
    assert code == 78
    assert "none.pem" in errors
