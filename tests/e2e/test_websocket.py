"""WebSockets: the upgrade, messages both ways, closes, and the end of either side."""

import base64
import contextlib
import os
import socket
import struct
import time

import pytest

from lib.check import Background, diary, headers_of
from lib.rawhttp import Closed, RawConnection
from lib.wait import SCALE, holds_for, wait_for
from lib.ws import CLOSE, CONT, PING, PONG, TEXT, Refused, WsClient

NOBODY = "tlf0xcg1buacno4zofgpr7isbeal00"


def opened(daemon, actor, rest="/ws", protocols=(), fields=(), **options):
    return WsClient(daemon.address, actor.path(rest), protocols, fields, **options)


@pytest.fixture
def ws(calm, actor):
    with opened(calm, actor) as socket_:
        yield socket_


def first_close(daemon, target, protocols=(), fields=()):
    """(code, reason) of a socket that is closed before anything else comes."""
    with WsClient(daemon.address, target, protocols, fields) as client:
        return client.recv_close()


# ---- the upgrade ----

def test_upgrade_reaches_the_worker_whole(calm, actor):
    fields = [("Cookie", "a=1"), ("X-Own", "1"), ("X-Own", "2"), ("Sec-WebSocket-Extensions", "permessage-deflate")]
    with opened(calm, actor, "/ws/deep%2Fpath?q=1&q=2", ["one", "two"], fields) as client:
        said = client.report()
        assert "sec-websocket-extensions" not in {name.lower() for name, _ in client.answer.fields}
    seen = headers_of(said)
    assert said["target"] == "/ws/deep%2Fpath?q=1&q=2"
    assert seen["cookie"] == ["a=1"]
    assert seen["x-own"] == ["1", "2"]
    assert seen["x-rivet-actor-id"] == [actor.id]
    assert "".join(seen["sec-websocket-protocol"]).replace(" ", "") == "one,two"
    assert "sec-websocket-extensions" not in seen


def test_upgrade_answer_headers_pass(calm, actor):
    with opened(calm, actor, "/ws?cookie=1") as client:
        assert client.answer.all("set-cookie") == ["a=1", "b=2"]
        assert client.answer.header("x-rivet-error") is None
        assert client.answer.header("x-rivet-ray-id")


def test_subprotocol_chosen_by_the_worker(calm, actor):
    with opened(calm, actor, "/ws?protocol=two", ["one", "two"]) as client:
        assert client.protocol == "two"


def test_rivet_is_chosen_when_offered_and_the_worker_is_silent(calm, actor):
    with opened(calm, actor, "/ws", ["rivet", "rivet_encoding.json"]) as client:
        assert client.protocol == "rivet"


def test_worker_choice_wins_over_rivet(calm, actor):
    with opened(calm, actor, "/ws?protocol=other", ["rivet", "other"]) as client:
        assert client.protocol == "other"


@pytest.mark.parametrize("offered", [(), ("one",)])
def test_nothing_is_chosen_unasked(calm, actor, offered):
    with opened(calm, actor, "/ws", offered) as client:
        assert client.protocol is None


def test_routing_subprotocols_are_kept_from_the_worker(calm, actor):
    offered = ["rivet", "rivet_target.actor", f"rivet_actor.{actor.id}", "rivet_token.secret", "rivet_skip_ready_wait",
               "rivet_encoding.json", "own"]
    with WsClient(calm.address, "/websocket/x?y=1", offered) as client:
        said = client.report()
    words = [word.strip() for value in headers_of(said)["sec-websocket-protocol"] for word in value.split(",")]
    assert words == ["rivet", "rivet_encoding.json", "own"]
    assert said["target"] == "/websocket/x?y=1"


@pytest.mark.parametrize("status", [400, 401, 404, 426, 500])
def test_refusal_of_the_worker_is_passed_on(calm, actor, status):
    with pytest.raises(Refused) as refused:
        opened(calm, actor, f"/ws?refuse={status}")
    answer = refused.value.answer
    assert answer.status == status
    assert answer.header("x-refused") == "yes"
    assert answer.body == b"no socket here"


@pytest.mark.parametrize("chunked", ["", "&chunked=1"])
def test_long_refusal_is_passed_on_whole(probe, chunked):
    daemon = probe()
    made = daemon.create("probe", "k")
    made.get("/pid")
    before = daemon.rss_kb()
    fields = [("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Version", "13"),
              ("Sec-WebSocket-Key", base64.b64encode(bytes(16)).decode())]
    with RawConnection(daemon.address) as connection:
        connection.request("GET", made.path(f"/ws?refuse=at-length&bytes={50 << 20}{chunked}"), fields)
        connection.read_head()
        holds_for(lambda: daemon.rss_kb() - before < 16 * 1024, 1, "flat memory")
        rest = connection.read_rest()
        assert len(rest) >= 50 << 20
        assert rest.endswith(b"\r\n0\r\n\r\n" if chunked else b"x")


@pytest.mark.parametrize("change", [("Sec-WebSocket-Key", "short"), ("Sec-WebSocket-Key", None),
                                    ("Sec-WebSocket-Version", "8"), ("Sec-WebSocket-Version", None)])
def test_malformed_upgrade_is_refused(calm, actor, change):
    fields = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
              "Sec-WebSocket-Version": "13"}
    fields[change[0]] = change[1]
    with RawConnection(calm.address) as raw:
        raw.request("GET", actor.path("/ws"), [(name, value) for name, value in fields.items() if value])
        assert raw.read_answer().status in (400, 426)


def test_other_upgrades_are_plain_requests(calm, actor):
    with RawConnection(calm.address) as raw:
        raw.request("GET", actor.path("/echo"), [("Connection", "Upgrade, HTTP2-Settings"), ("Upgrade", "h2c"),
                                                 ("HTTP2-Settings", "AAMAAABkAAQAAP__")])
        assert raw.read_answer().status in (200, 400, 501)


# ---- messages ----

def test_text_and_binary_keep_their_kind(ws):
    for message in ("", "text", "grün 你好", b"", b"\x00\xff\xfe", b"text"):
        ws.send(message)
        assert ws.recv() == message


@pytest.mark.parametrize("size", [125, 126, 127, 65535, 65536, 1 << 20, 8 << 20, 32 << 20])
def test_sizes(ws, size):
    message = os.urandom(size)
    ws.send(message)
    assert ws.recv() == message


def test_many_messages_keep_their_order(ws):
    sending = Background(lambda: [ws.send(f"message {number}") for number in range(2000)])
    assert [ws.recv() for _ in range(2000)] == [f"message {number}" for number in range(2000)]
    sending.result()


def test_fragments_make_one_message(ws):
    ws.send_frame(TEXT, b"one ", fin=False)
    ws.send_frame(CONT, b"two ", fin=False)
    ws.send_frame(PING, b"between")
    ws.send_frame(CONT, b"three")
    assert ws.recv() == "one two three"


def test_fragments_of_the_worker(ws):
    ws.send("!parts fragmented")
    assert ws.recv() == "fragmented"


def test_frames_reach_the_worker_masked(ws):
    ws.send("hello")
    ws.recv()
    assert all(frame[3] for frame in ws.report()["frames"])


def test_frame_split_into_single_bytes(ws):
    for byte in b"\x81\x85abcd" + bytes(left ^ right for left, right in zip(b"hello", b"abcda")):
        ws.raw.send(bytes([byte]))
    assert ws.recv() == "hello"


def test_ping_and_pong_pass_both_ways(calm, actor, ws):
    ws.send_frame(PING, b"from the client")
    assert ws.recv_control(PONG) == b"from the client"
    ws.send("!ping from the worker")
    assert ws.recv_control(PING) == b"from the worker"
    ws.send_frame(PONG, b"from the worker")
    wait_for(lambda: [event for event in calm.trace.events("ws-pong") if event["payload"] == "from the worker"],
             what="the pong")


def test_worker_speaks_first(calm, actor):
    with opened(calm, actor, "/ws?hello=welcome") as client:
        assert client.recv() == "welcome"


def test_sockets_are_apart(calm, actor):
    clients = [opened(calm, actor) for _ in range(20)]
    for number, client in enumerate(clients):
        client.send(f"client {number}")
    assert [client.recv() for client in clients] == [f"client {number}" for number in range(20)]
    for client in clients:
        client.close()
        client.raw.close()


def test_open_sockets_are_in_no_requests_way(calm, actor):
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(opened(calm, actor)) for _ in range(300)]
        clients[-1].send("the last one")
        assert clients[-1].recv() == "the last one"
        assert actor.get("/pid").status_code == 200


def test_slow_reader_does_not_fill_the_daemon(probe):
    daemon = probe()
    made = daemon.create("probe", "k")
    made.get("/pid")
    before = daemon.rss_kb()
    with opened(daemon, made) as client:
        for _ in range(20):
            client.send("!bytes 4000000")
        holds_for(lambda: daemon.rss_kb() - before < 24 * 1024, 1.5, "flat memory")
        total = sum(len(client.recv()) for _ in range(20))
    assert total == 20 * 4000000


# ---- closes ----

@pytest.mark.parametrize("code, reason", [(1000, ""), (1000, "done"), (1001, "away"), (3000, "x"), (4321, "ü" * 50),
                                          (4999, "r" * 123)])
def test_close_of_the_worker_reaches_the_client(calm, actor, code, reason):
    with opened(calm, actor) as client:
        client.send(f"!close {code} {reason}")
        assert client.recv_close() == (code, reason)
        assert client.raw.closed()


@pytest.mark.parametrize("code, reason", [(1000, ""), (1000, "bye"), (4001, "own reason"), (4999, "r" * 123)])
def test_close_of_the_client_reaches_the_worker(probe, trace, code, reason):
    daemon = probe()
    made = daemon.create("probe", "k")
    with opened(daemon, made) as client:
        assert client.close(code, reason)[0] == code
        assert client.raw.closed()
    closed = trace.wait("ws-closed")[0]
    assert (closed["code"], closed["reason"]) == (code, reason)


def test_close_right_after_the_upgrade(calm, actor):
    with opened(calm, actor, "/ws?close=4005&reason=no") as client:
        assert client.recv_close() == (4005, "no")


def test_close_without_a_code(probe, trace):
    daemon = probe()
    made = daemon.create("probe", "k")
    with opened(daemon, made) as client:
        client.send("!closeempty")
        assert client.recv_close() == (None, "")
    with opened(daemon, made) as client:
        client.send_frame(CLOSE)
        assert client.read_frame()[1] == CLOSE
    assert trace.wait("ws-closed", 2)


def test_client_that_vanishes_is_told_to_the_worker(probe, trace):
    daemon = probe()
    made = daemon.create("probe", "k")
    with opened(daemon, made) as client:
        client.send("hello")
        client.recv()
        client.raw.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    ended = trace.wait("ws-closed")[0]
    assert (ended["code"], ended["reason"]) == (1011, "ws.downstream_closed")


def test_client_that_vanishes_inside_a_frame_is_told_to_the_worker(probe, trace):
    daemon = probe()
    made = daemon.create("probe", "k")
    with opened(daemon, made) as client:
        client.send("hello")
        client.recv()
        client.raw.send(b"\x81\x85abcd\x09")
        holds_for(lambda: not trace.events("ws-lost"), 0.3, "the socket")
    trace.wait("ws-lost")


def test_worker_that_crashes_closes_1012(calm, actor):
    with opened(calm, actor) as client:
        client.send("!die")
        assert client.recv_close()[0] == 1012


def test_sleep_closes_1001(probe):
    daemon = probe()
    made = daemon.create("probe", "k")
    with opened(daemon, made) as client:
        client.send("hello")
        client.recv()
        sleeping = Background(made.sleep)
        assert client.recv_close() == (1001, "actor.stopped")
        sleeping.result()


def test_destroy_closes_1001(probe):
    daemon = probe()
    made = daemon.create("probe", "k")
    with opened(daemon, made) as client:
        client.send("hello")
        client.recv()
        destroying = Background(made.destroy)
        assert client.recv_close()[0] == 1001
        destroying.result()


def test_drain_closes_1001_at_once(probe):
    daemon = probe()
    made = daemon.create("probe", "k")
    with opened(daemon, made) as client:
        client.send("hello")
        client.recv()
        began = time.monotonic()
        daemon.send_signal(15)
        assert client.recv_close()[0] == 1001
        assert time.monotonic() - began < 10 * SCALE
    assert daemon.wait_exit() == 0


# ---- broken clients and workers ----

@pytest.mark.parametrize("raw, codes", [
    (b"\x81\x05hello", (1002,)),
    (b"\xc1\x85abcd\x09\x07\x0f\x08\x0e", (1002,)),
    (b"\x83\x80abcd", (1002,)),
    (b"\x80\x80abcd", (1002,)),
    (b"\x09\x80abcd", (1002,)),
    (b"\x88\x81abcd\x00", (1002,)),
    (b"\x89\xfe\x00\x7eabcd" + b"\x00" * 126, (1002,)),
    (b"\x82\xff\xff\xff\xff\xff\xff\xff\xff\xffabcd", (1002, 1009)),
    (b"\x82\xff\x00\x00\x00\x00\x02\x00\x00\x01abcd", (1009,)),
    (b"\x02\xff\x00\x00\x00\x00\x02\x00\x00\x01abcd", (1009,)),
], ids=["unmasked", "reserved-bit", "reserved-opcode", "stray-continuation", "fragmented-ping", "one-byte-close",
        "long-ping", "huge", "over-32-mib", "first-of-fragments-over-32-mib"])
def test_protocol_errors_of_the_client_close(calm, actor, raw, codes):
    with opened(calm, actor) as client:
        client.raw.send(raw)
        try:
            code, reason = client.recv_close()
            assert code in codes and "client" in reason
        except (Closed, ConnectionError):
            pass
        assert client.raw.closed()
    assert actor.get("/pid").status_code == 200


def test_broken_frame_of_the_worker_closes_the_client(calm, actor):
    with opened(calm, actor) as client:
        client.send("!badframe")
        try:
            assert client.recv_close()[0] in (1002, 1011, 1012, 1014)
        except (Closed, ConnectionError):
            pass
        assert client.raw.closed()
    assert actor.get("/pid").status_code == 200


# ---- failures before the worker ----

def test_unknown_actor_is_a_close(calm):
    gone = calm.create("probe", "soon-gone")
    gone.destroy()
    code, reason = first_close(calm, gone.path("/ws"))
    assert code == 1011
    assert reason.startswith("actor.not_found#")
    assert len(reason) > len("actor.not_found#")


def test_failed_start_is_a_close(probe):
    daemon = probe(environment={"PROBE_START_STATUS": "500"})
    code, reason = first_close(daemon, daemon.create("probe", "k").path("/ws"))
    assert code == 1011
    assert reason.startswith("actor.start_failed#")


def test_failure_honours_the_offered_protocol(calm):
    gone = calm.create("probe", "soon-gone-too")
    gone.destroy()
    with WsClient(calm.address, gone.path("/ws"), ["rivet"]) as client:
        assert client.protocol == "rivet"
        assert client.recv_close()[0] == 1011


@pytest.mark.parametrize("origin", [None, "http://localhost:3000"])
def test_failure_has_cors_fields_and_the_callers_ray(calm, origin):
    fields = [("x-rivet-ray-id", "my-ray.1"), *([("Origin", origin)] if origin else [])]
    with WsClient(calm.address, calm.gateway(NOBODY, "/ws"), ["rivet"], fields) as client:
        assert client.answer.header("access-control-allow-origin") == (origin or "*")
        assert client.answer.header("access-control-allow-credentials") == "true"
        assert client.answer.header("access-control-expose-headers") == "*"
        assert client.answer.header("vary") == ("Origin" if origin else None)
        assert client.answer.header("x-rivet-ray-id") == "my-ray.1"
        assert client.recv_close() == (1011, "actor.not_found#my-ray.1")


def test_path_that_is_no_gateway_path(calm):
    code, reason = first_close(calm, "/not/a/gateway")
    assert code == 1011
    assert reason.startswith("guard.websocket_not_supported#")


def test_target_header_without_actor(calm):
    code, reason = first_close(calm, "/ws", ["rivet", "rivet_target.actor"])
    assert code == 1011
    assert reason.startswith("guard.missing_header#")


def test_query_form(calm):
    with WsClient(calm.address, calm.gateway_query("probe", "ws-by-query", "/connect?a=1"), ["rivet"]) as client:
        assert client.report()["target"] == "/connect?a=1"
        client.close()


def test_rivet_paths_reach_no_worker(calm, actor):
    written = diary(calm.trace, actor)
    try:
        assert first_close(calm, actor.path("/.rivet/stop"))[0] == 1011
    except Refused as refused:
        assert refused.answer.status == 404
    assert written() == []


def test_upgrade_waits_through_the_start(probe):
    daemon = probe(environment={"PROBE_START_DELAY": "0.7"})
    with opened(daemon, daemon.create("probe", "k")) as client:
        client.send("hello")
        assert client.recv() == "hello"


def test_messages_sent_before_the_101_are_not_lost(probe):
    daemon = probe(environment={"PROBE_START_DELAY": "0.5"})
    made = daemon.create("probe", "k")
    with RawConnection(daemon.address) as raw:
        raw.request("GET", made.path("/ws"), [("Upgrade", "websocket"), ("Connection", "Upgrade"),
                                              ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
                                              ("Sec-WebSocket-Version", "13")], b"\x81\x82\x00\x00\x00\x00hi",
                    framed=True)
        assert raw.read_head().status == 101
        assert raw.read_exactly(4) == b"\x81\x02hi"
