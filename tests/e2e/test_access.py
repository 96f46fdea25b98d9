"""Who may come in: loopback, tokens, Host and Origin."""

import os
import socket

import pytest
import requests

from lib.check import code_of, diary, headers_of
from lib.daemon import run_daemon
from lib.rawhttp import RawConnection, once
from lib.worker import type_of
from lib.ws import Refused, WsClient

SECRET = "s3cret-token-9f8e7d6c5b"
NS = "namespace=default"
CREATE = {"name": "probe", "key": "k", "runner_name_selector": "default", "crash_policy": "sleep"}


@pytest.fixture
def guarded(probe):
    """A daemon with a token; its own session carries it."""
    return probe(daemon_options={"token": SECRET})


@pytest.fixture
def stranger():
    """A session without the token."""
    with requests.Session() as session:
        session.trust_env = False
        yield session


def forbidden(answer):
    assert answer.status_code == 403, answer.text
    assert code_of(answer) == "api.forbidden"


def asked(daemon, host=None, origin=None, target="/health", method="GET"):
    fields = [("Host", host)] if host else []
    fields += [("Origin", origin)] if origin else []
    return once(daemon.address, method, target, fields, host=not host)


# ---- loopback ----

@pytest.mark.parametrize("address", ["0.0.0.0:0", "[::]:0"])
def test_wide_listening_needs_a_reason(tmp_path, address):
    code, _, errors = run_daemon(["--foreground", "--listen", address, "--data-dir", str(tmp_path / "d")])
    assert code == 78
    assert "auth" in errors and "token" in errors


def test_wide_listening_with_a_token(probe):
    daemon = probe(daemon_options={"token": SECRET, "listen": "0.0.0.0:0"})
    assert daemon.get("/actors?name=probe&" + NS).status_code == 200


@pytest.mark.parametrize("options", [{"args": ["--auth", "none"]}, {"env": {"RIVET_AUTH": "none"}}])
def test_wide_listening_without_auth(probe, options):
    daemon = probe(daemon_options={"listen": "0.0.0.0:0", **options})
    assert daemon.get("/actors?name=probe&" + NS).status_code == 200


def test_auth_none_in_the_file(probe):
    daemon = probe(config={"auth": "none"}, daemon_options={"listen": "0.0.0.0:0"})
    assert asked(daemon, "evil.example").status == 200


def test_loopback_of_the_other_family(probe):
    if not socket.has_ipv6 or not os.path.exists("/proc/net/if_inet6"):
        pytest.skip("no IPv6 here")
    daemon = probe(daemon_options={"listen": "[::1]:0"}, config=None)
    with RawConnection(("::1", daemon.port)) as connection:
        connection.send(f"GET /health HTTP/1.1\r\nHost: [::1]:{daemon.port}\r\n\r\n".encode())
        assert connection.read_answer().status == 200


# ---- token ----

@pytest.mark.parametrize("method, path", [("GET", "/actors?name=probe&" + NS), ("PUT", "/actors?" + NS),
                                          ("POST", "/actors?" + NS), ("GET", "/namespaces"), ("GET", "/nothing"),
                                          ("GET", "/runner-configs?" + NS), ("GET", "/actors/names?" + NS)])
def test_api_needs_the_token(guarded, stranger, method, path):
    url = guarded.url + path
    options = {"json": CREATE} if method in ("PUT", "POST") else {}
    forbidden(stranger.request(method, url, **options))
    for value in ("Bearer wrong", f"Bearer {SECRET}x", f"Bearer {SECRET[:-1]}", f"Basic {SECRET}", SECRET, "Bearer "):
        forbidden(stranger.request(method, url, headers={"Authorization": value}, **options))


def test_api_with_the_token(guarded):
    assert guarded.post("/actors?" + NS, json=CREATE).status_code == 200
    assert guarded.actors("name=probe")


@pytest.mark.parametrize("path", ["/health", "/metadata", "/metadata?namespace=x"])
def test_what_stays_open(guarded, stranger, path):
    assert stranger.get(guarded.url + path).status_code == 200


def test_preflight_stays_open(guarded, stranger):
    answer = stranger.options(guarded.url + "/actors?" + NS, headers={
        "Origin": "https://app.example", "Access-Control-Request-Method": "PUT"})
    assert answer.status_code in (200, 204)
    assert answer.headers["access-control-allow-origin"] == "https://app.example"


def test_gateway_needs_the_token(guarded, stranger, trace):
    made = guarded.create("probe", "k")
    forbidden(stranger.get(guarded.url + made.path("/echo")))
    forbidden(stranger.get(guarded.url + made.path("/echo"), headers={"x-rivet-token": "wrong"}))
    forbidden(stranger.get(guarded.url + f"/gateway/{made.id}@wrong/echo"))
    forbidden(stranger.get(guarded.url + guarded.gateway_query("probe", "k", "/echo", token="wrong")))
    forbidden(stranger.get(guarded.url + "/request/x", headers={"x-rivet-target": "actor", "x-rivet-actor": made.id}))
    assert not trace.events("request")


def test_unknown_actors_are_not_told_from_known_ones(guarded, stranger):
    forbidden(stranger.get(guarded.url + guarded.gateway("tlf0xcg1buacno4zofgpr7isbeal00", "/x")))


def token_places(daemon, made):
    return {"header": (made.path("/echo"), {"x-rivet-token": SECRET}),
            "path": (f"/gateway/{made.id}@{SECRET}/echo", {}),
            "query": (daemon.gateway_query("probe", "k", "/echo", token=SECRET), {}),
            "target": ("/request/echo", {"x-rivet-target": "actor", "x-rivet-actor": made.id, "x-rivet-token": SECRET})}


@pytest.mark.parametrize("place", ["header", "path", "query", "target"])
def test_token_places_of_the_gateway(guarded, stranger, place):
    path, headers = token_places(guarded, guarded.create("probe", "k"))[place]
    answer = stranger.get(guarded.url + path, headers=headers)
    assert answer.status_code == 200
    assert SECRET not in answer.text


def test_token_by_bearer_is_not_passed_to_a_worker(guarded):
    answer = guarded.create("probe", "k").get("/echo")
    assert SECRET not in answer.text


def test_token_as_a_subprotocol_of_a_plain_request_is_not_passed_to_a_worker(guarded):
    headers = {"sec-websocket-protocol": f"a, rivet_token.{SECRET}"}
    answer = guarded.create("probe", "plain").get("/echo", headers=headers)
    assert answer.status_code == 200
    assert SECRET not in answer.text


def test_token_of_websockets(guarded):
    made = guarded.create("probe", "k")
    for target, protocols in ((made.path("/ws"), ["rivet", f"rivet_token.{SECRET}"]),
                              (f"/gateway/{made.id}@{SECRET}/ws", ()),
                              ("/ws", ["rivet", "rivet_target.actor", f"rivet_actor.{made.id}", f"rivet_token.{SECRET}"])):
        with WsClient(guarded.address, target, protocols) as client:
            assert SECRET not in str(client.report())


@pytest.mark.parametrize("protocols", [(), ("rivet",), ("rivet", "rivet_token.wrong")])
def test_websocket_without_the_token(guarded, trace, protocols):
    made = guarded.create("probe", "k")
    try:
        with WsClient(guarded.address, made.path("/ws"), protocols) as client:
            code, reason = client.recv_close()
            assert (code, reason.partition("#")[0]) == (1011, "api.forbidden")
    except Refused as refused:
        assert refused.answer.status == 403
    assert not trace.events("request")


@pytest.mark.parametrize("where", ["env", "file", "config", "credentials"])
def test_sources_of_the_token(make_daemon, tmp_path, stranger, where):
    file = tmp_path / "rivet-token"
    file.write_text(SECRET + "\n")
    file.chmod(0o600)
    env = {"env": {"RIVET_TOKEN": SECRET}, "file": {"RIVET_TOKEN_FILE": str(file)}, "config": {},
           "credentials": {"CREDENTIALS_DIRECTORY": str(tmp_path)}}[where]
    config = {"actors": {"probe": type_of("probe.py")}}
    if where == "config":
        config["engine"] = {"token_file": str(file)}
    daemon = make_daemon(config, env=env)
    forbidden(stranger.get(daemon.url + "/namespaces"))
    assert stranger.get(daemon.url + "/namespaces", headers={"Authorization": f"Bearer {SECRET}"}).status_code == 200


# ---- Host ----

@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]", "LOCALHOST", "localhost:{port}", "127.0.0.1:{port}",
                                  "127.0.0.2", "app.localhost"])
def test_loopback_hosts_may_come_in(calm, host):
    assert asked(calm, host.format(port=calm.port)).status == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:6420", "localhost.evil.example", "127.0.0.1.evil.example",
                                  "10.0.0.1", "localhost@evil.example", "2130706433"])
@pytest.mark.parametrize("target", ["/health", "/actors?name=probe&" + NS, "/gateway/tlf0xcg1buacno4zofgpr7isbeal00/x"])
def test_other_hosts_may_not(calm, host, target):
    assert asked(calm, host, target=target).status in ((421,) if "@" not in host else (400, 421))


def test_other_hosts_get_no_websocket(calm, actor):
    with RawConnection(calm.address) as raw:
        raw.request("GET", actor.path("/ws"), [("Host", "evil.example"), ("Upgrade", "websocket"),
                                               ("Connection", "Upgrade"), ("Sec-WebSocket-Version", "13"),
                                               ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")], host=False)
        assert raw.read_answer().status == 421


@pytest.mark.parametrize("options", [{"args": ["--host", "my.example"]}, {"env": {"RIVET_HOSTS": "my.example"}}])
def test_hosts_by_option_and_environment(probe, options):
    daemon = probe(daemon_options=options)
    assert asked(daemon, "my.example").status == 200
    assert asked(daemon, "MY.example:80").status == 200
    assert asked(daemon, "other.example").status == 421


def test_hosts_in_the_file(probe):
    daemon = probe(config={"hosts": ["my.example", "other.example"]})
    assert [asked(daemon, host).status for host in ("my.example", "other.example", "third.example")] == [200, 200, 421]


def test_host_check_is_off_with_a_token(guarded):
    assert asked(guarded, "evil.example").status == 200


# ---- Origin ----

@pytest.mark.parametrize("origin", ["http://evil.example", "null", "https://localhost.evil.example",
                                    "http://localhost.evil.example:3000", "file://"])
def test_foreign_origins_are_refused(calm, actor, origin):
    written = diary(calm.trace, actor)
    for target in ("/actors?name=probe&" + NS, actor.path("/echo")):
        answer = asked(calm, origin=origin, target=target)
        assert answer.status == 403
        assert answer.header("access-control-allow-origin") is None
    assert written() == []


def test_foreign_origin_gets_no_websocket(calm, actor):
    written = diary(calm.trace, actor)
    try:
        with WsClient(calm.address, actor.path("/ws"), fields=[("Origin", "http://evil.example")]) as client:
            assert client.recv_close()[0] == 1011
    except Refused as refused:
        assert refused.answer.status == 403
    assert written() == []


@pytest.mark.parametrize("origin", ["http://localhost:3000", "http://127.0.0.1:8080", "https://localhost", "http://[::1]:1"])
def test_loopback_origins_may(calm, actor, origin):
    answer = asked(calm, origin=origin, target=actor.path("/echo"))
    assert answer.status == 200
    assert answer.header("access-control-allow-origin") == origin
    with WsClient(calm.address, actor.path("/ws"), fields=[("Origin", origin)]) as client:
        client.send("hello")
        assert client.recv() == "hello"


def test_own_host_is_an_allowed_origin(probe):
    daemon = probe(config={"hosts": ["my.example"], "cors_origins": ["https://app.example"]})
    target = daemon.create("probe", "k").path("/echo")
    assert asked(daemon, "my.example", "http://my.example", target).status == 200
    assert asked(daemon, "my.example", "https://app.example", target).status == 200
    assert asked(daemon, "my.example", "http://other.example", target).status == 403


def test_cors_origins_replace_the_default(probe):
    daemon = probe(config={"cors_origins": ["https://app.example"]})
    allowed = asked(daemon, origin="https://app.example", target="/namespaces")
    assert (allowed.status, allowed.header("access-control-allow-origin")) == (200, "https://app.example")
    assert asked(daemon, origin="http://localhost:3000", target="/namespaces").status == 403


def test_with_a_token_any_origin_may(guarded, stranger):
    answer = stranger.get(guarded.url + "/namespaces", headers={"Origin": "https://any.example",
                                                                "Authorization": f"Bearer {SECRET}"})
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] in ("https://any.example", "*")


def test_origin_of_the_request_passes_to_the_worker(calm, actor):
    seen = headers_of(actor.get("/echo", headers={"Origin": "http://localhost:1"}).json())
    assert seen["origin"] == ["http://localhost:1"]


# ---- the admin listener ----

def test_admin_health_and_metrics_are_open(guarded):
    for path in ("/healthz", "/readyz", "/metrics"):
        assert guarded.admin(path).status_code == 200


def test_admin_page_is_under_the_rules(guarded):
    assert guarded.admin("/").status_code in (401, 403, 404)


def test_admin_page_has_the_host_check(calm):
    assert calm.admin("/", headers={"Host": "evil.example"}).status_code in (404, 421)


def test_api_listener_has_no_admin_paths(calm):
    for path in ("/healthz", "/readyz", "/metrics"):
        assert calm.get(path).status_code == 404
