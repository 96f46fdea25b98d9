"""Engine mode: WebSockets through the real engine's gateway, and the tunnel's rules for them."""

import os
import struct

import pytest

from lib.check import diary, headers_of
from lib.rt import Runtime
from lib.wait import holds_for, wait_for

pytestmark = pytest.mark.deadline(120)


@pytest.fixture(scope="module")
def calm(hosted):
    return hosted


@pytest.fixture
def ws(calm, actor):
    with calm.websocket(actor) as client:
        yield client


# ---- through the real engine ----

def test_upgrade_reaches_the_worker(calm, actor):
    fields = [("Cookie", "a=1"), ("X-Own", "1")]
    with calm.websocket(actor, "/ws/deep%2Fpath?q=1", ["rivet", "chat"], fields) as client:
        said = client.report()
    seen = headers_of(said)
    assert said["target"] == "/ws/deep%2Fpath?q=1"
    assert (seen["cookie"], seen["x-own"], seen["x-rivet-actor-id"]) == (["a=1"], ["1"], [actor.id])
    assert "chat" in "".join(seen["sec-websocket-protocol"])
    assert "sec-websocket-extensions" not in seen


def test_text_and_binary_keep_their_kind(ws):
    for message in ("text \u00fc", b"\x00\xff binary", "", b""):
        ws.send(message)
        assert ws.recv() == message


@pytest.mark.parametrize("size", [125, 65536, 1 << 20, 8 << 20])
def test_sizes(ws, size):
    message = os.urandom(size)
    ws.send(message)
    assert ws.recv() == message


def test_many_messages_keep_their_order(ws):
    for number in range(500):
        ws.send(str(number))
    assert [ws.recv() for _ in range(500)] == [str(number) for number in range(500)]


def test_worker_speaks_first(calm, actor):
    with calm.websocket(actor, "/ws?hello=first") as client:
        assert client.recv() == "first"


@pytest.mark.parametrize("code, reason", [(1000, "done"), (1003, ""), (3000, "own"), (4999, "\u00fc" * 61)])
def test_close_of_the_worker_reaches_the_client(ws, code, reason):
    ws.send(f"!close {code} {reason}")
    assert ws.recv_close() == (code, reason)


@pytest.mark.parametrize("code, reason", [(1000, "bye"), (4001, "own")])
def test_close_of_the_client_reaches_the_worker(calm, actor, ws, code, reason):
    ws.send("x")
    ws.recv()
    ws.close(code, reason)
    calm.trace.wait("ws-closed", code=code, reason=reason)


def test_client_that_vanishes_is_told_to_the_worker(calm, actor, ws):
    written = diary(calm.trace, actor)
    ws.send("x")
    ws.recv()
    ws.raw.close()
    wait_for(lambda: {"ws-closed", "ws-lost"} & {event["event"] for event in written()}, 20, "the end")


def test_refusal_of_the_worker_is_a_close(calm, actor):
    with calm.websocket(actor, "/ws?refuse=403") as client:
        code, reason = client.recv_close()
    assert code == 1008
    assert "403" in reason


def test_worker_that_crashes_closes_1012(calm):
    made = calm.create("other", "crashes")
    with calm.websocket(made) as client:
        client.send("!die 3")
        assert client.recv_close()[0] == 1012
    made.destroy()


def test_sleep_closes_1001(calm):
    made = calm.create("other", "sleeps")
    with calm.websocket(made) as client:
        client.send("x")
        client.recv()
        Runtime(made).leave("sleep")
        code, reason = client.recv_close()
    assert (code, reason.partition("#")[0]) == (1001, "actor.stopped")
    made.destroy()


def test_open_socket_keeps_awake(runner, pool):
    runner(pool, sleep_after="2s")
    made = pool.create("probe", "k")
    with pool.websocket(made) as client:
        client.send("x")
        client.recv()
        holds_for(lambda: not made.sleeping(), 3, "being awake")
        client.close()
    made.wait_asleep()


def test_slow_reader_holds_up_only_itself(calm, actor, ws):
    with calm.websocket(actor) as slow:
        for _ in range(20):
            slow.send("!bytes 1000000")
        for number in range(20):
            ws.send(str(number))
            assert ws.recv() == str(number)
        assert all(len(slow.recv()) == 1000000 for _ in range(20))


# ---- what only a fake engine does ----

@pytest.fixture
def link(runner, fake_engine):
    runner(fake_engine, sleep_after="never")
    return fake_engine.wait_runner()


@pytest.fixture
def opened(link, fake_engine):
    """(connection, actor, pair) of a socket that was accepted."""
    actor = fake_engine.start_actor(link)
    pair = link.open_socket(actor.id)
    _, _, value = link.wait_tunnel(pair, "ToServerWebSocketOpen")
    assert value == {"canHibernate": False}
    return link, actor, pair


def closed(link, pair):
    """(code, reason without the ray id) of a socket's close."""
    _, _, value = link.wait_tunnel(pair, "ToServerWebSocketClose")
    assert not value["hibernate"]
    return value["code"], (value["reason"] or "").partition("#")[0]


def wait_messages(link, pair, wanted):
    wait_for(lambda: link.socket_messages(pair) == wanted, 15, f"{wanted}")


def test_own_indices_count_up(opened):
    link, _, pair = opened
    for index in range(1, 4):
        link.socket_message(pair, index, str(index))
    wait_messages(link, pair, ["1", "2", "3"])
    indices = [key["messageIndex"] for key, _, _ in link.tunnel(pair)]
    assert indices == list(range(indices[0], indices[0] + 4))


def test_duplicates_are_not_delivered_again(opened):
    link, _, pair = opened
    for index, word in ((1, "a"), (1, "a"), (2, "b"), (1, "a"), (3, "c")):
        link.socket_message(pair, index, word)
    wait_messages(link, pair, ["a", "b", "c"])


def test_gap_closes_the_socket(opened, trace):
    """A loss inside the engine is never passed over in silence."""
    link, _, pair = opened
    link.socket_message(pair, 1, "a")
    link.socket_message(pair, 3, "c")
    code, _ = closed(link, pair)
    assert code in (1008, 1011)
    assert link.socket_messages(pair) in ([], ["a"])
    wait_for(lambda: trace.events("ws-closed") or trace.events("ws-lost"), 15, "the worker's side closed")


def test_indices_wrap(link, fake_engine):
    actor = fake_engine.start_actor(link)
    pair = link.open_socket(actor.id, index=65534)
    link.wait_tunnel(pair, "ToServerWebSocketOpen")
    for index, word in ((65535, "a"), (0, "b"), (1, "c")):
        link.socket_message(pair, index, word)
    wait_messages(link, pair, ["a", "b", "c"])


def test_open_sent_again_is_answered_again(opened, trace):
    link, actor, pair = opened
    link.open_socket(actor.id, pair=pair, index=1)
    link.wait_tunnel(pair, "ToServerWebSocketOpen", 2)
    link.socket_message(pair, 2, "a")
    wait_messages(link, pair, ["a"])


def test_refusal_is_accepted_first(link, fake_engine):
    """The engine would try a rejected one again and hide the reason."""
    actor = fake_engine.start_actor(link)
    pair = link.open_socket(actor.id, "/ws?refuse=418")
    code, reason = closed(link, pair)
    assert code == 1008 and "418" in reason
    assert [tag for _, tag, _ in link.tunnel(pair)] == ["ToServerWebSocketOpen", "ToServerWebSocketClose"]


@pytest.mark.parametrize("said", ["!closeempty", "!badframe"])
def test_only_legal_close_codes_are_sent(opened, said):
    link, _, pair = opened
    link.socket_message(pair, 1, said)
    _, _, value = link.wait_tunnel(pair, "ToServerWebSocketClose")
    assert value["code"] is None or value["code"] in (*range(1000, 1004), *range(1007, 1015), *range(3000, 5000))
    assert len((value["reason"] or "").encode()) <= 123


def test_text_that_is_no_utf8_closes(opened):
    link, _, pair = opened
    link.tunnel_send(pair, 1, "ToClientWebSocketMessage", {"data": b"\xff\xfe", "binary": False})
    _, _, value = link.wait_tunnel(pair, "ToServerWebSocketClose")
    assert value["code"] == 1007
    assert link.answer(link.request(opened[1].id, path="/pid"))[0] == 200


def test_closes_of_plain_sockets_come_before_stopped(opened, fake_engine):
    link, actor, pair = opened
    fake_engine.stop_actor(link, actor)
    assert closed(link, pair)[0] == 1001
    tags = [got.tag if got.tag != "ToServerTunnelMessage" else got.value["messageKind"][0] for got in link.messages()]
    last = max(place for place, tag in enumerate(tags) if tag == "ToServerEvents")
    assert tags.index("ToServerWebSocketClose") < last


def test_messages_for_unknown_sockets_are_ignored(link, fake_engine):
    pair = (b"\x01\x02\x03\x04", struct.pack("I", 7))
    link.socket_message(pair, 5, "who")
    link.tunnel_send(pair, 6, "ToClientWebSocketClose", {"code": 1000, "reason": None})
    actor = fake_engine.start_actor(link)
    assert link.answer(link.request(actor.id, path="/pid"))[0] == 200
    assert not link.ended


def test_largest_message_in_does_not_end_the_daemon(opened):
    """Up to 32 MiB come in; 20 MiB may go out again, so the echo of more closes this socket alone."""
    link, actor, pair = opened
    link.socket_message(pair, 1, bytes(32 * 1024 * 1024))
    link.wait_tunnel(pair, "ToServerWebSocketClose", timeout=60)
    assert closed(link, pair)[0] == 1009
    assert link.answer(link.request(actor.id, path="/pid"))[0] == 200
    assert not link.ended
