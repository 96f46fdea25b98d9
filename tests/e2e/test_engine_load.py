"""Engine mode at its bounds: very many WebSockets, order under load, readers that do not read, the pong before all else."""

import os

import pytest

from lib.check import Background
from lib.fake_engine import new_pair
from lib.runner_protocol import TO_CLIENT
from lib.wait import wait_for
from lib.worker import type_of

pytestmark = pytest.mark.deadline(180)

SOCKETS = int(os.environ.get("RIVET_E2E_SOCKETS", 10000))
MIB = 1 << 20


def frames_of(actor, pair, *said):
    """The engine's side of one WebSocket: its open and some messages, ready to be sent."""
    head = {"host": "an.engine", "upgrade": "websocket", "connection": "Upgrade", "sec-websocket-version": "13",
            "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==", "sec-websocket-protocol": "rivet"}
    kinds = [("ToClientWebSocketOpen", {"actorId": actor.id, "path": "/", "headers": head})]
    kinds += [("ToClientWebSocketMessage", {"data": word.encode(), "binary": False}) for word in said]
    return [TO_CLIENT.put(("ToClientTunnelMessage", {
        "messageId": {"gatewayId": pair[0], "requestId": pair[1], "messageIndex": index}, "messageKind": kind}))
        for index, kind in enumerate(kinds)]


def sent_together(engine, link, frames):
    async def send():
        for frame in frames:
            await link.socket.send(frame)
    engine.call(send(), 120)


def by_socket(link, tag):
    """Tunnel messages of a kind by (gateway id, request id); one walk over all there are."""
    found = {}
    for key, _, value in link.tunnel(tag=tag):
        found.setdefault((key["gatewayId"], key["requestId"]), []).append((key["messageIndex"], value))
    return found


def wait_tunnel(link, tag, count, timeout=90):
    """Until there are that many of a kind; looks seldom, for there are many."""
    def all_there():
        return sum(got.value["messageKind"][0] == tag for got in link.messages("ToServerTunnelMessage")) >= count
    wait_for(all_there, timeout, f"{count} x {tag}", interval=0.3)


@pytest.mark.alone
def test_ten_thousand_sockets_at_once(make_daemon, fake_engine, trace):
    """Each is open at the same time as all others, and each gets its own messages back, in order and once."""
    kind = type_of("sockets.py", trace=trace, isolation="shared", sleep_after="never")
    daemon = make_daemon({"actors": {"probe": kind}}, engine=fake_engine.url)
    link = fake_engine.wait_runner()
    actors = [fake_engine.start_actor(link, key=str(number)) for number in range(4)]
    pairs = [new_pair() for _ in range(SOCKETS)]
    words = [f"first {{}} {'x' * 100}", "second {}"]
    whole = [frames_of(actors[number % 4], pair, *(word.format(number) for word in words))
             for number, pair in enumerate(pairs)]
    for first in range(0, SOCKETS, 2000):  # more than 4096 that wait for their worker are refused
        sent_together(fake_engine, link, [frames[0] for frames in whole[first:first + 2000]])
        wait_tunnel(link, "ToServerWebSocketOpen", min(first + 2000, SOCKETS))
    for place in 1, 2:
        sent_together(fake_engine, link, [frames[place] for frames in whole])
    wait_tunnel(link, "ToServerWebSocketMessage", 2 * SOCKETS)
    came = by_socket(link, "ToServerWebSocketMessage")
    for number, pair in enumerate(pairs):
        assert [value["data"].decode() for _, value in came[pair]] == [word.format(number) for word in words]
        assert came[pair][1][0] == came[pair][0][0] + 1
    assert not link.tunnel(tag="ToServerWebSocketClose")
    assert (len(daemon.workers()), len(fake_engine.connections)) == (1, 1)
    for actor in actors:
        fake_engine.stop_actor(link, actor)
    wait_tunnel(link, "ToServerWebSocketClose", SOCKETS)
    assert set(by_socket(link, "ToServerWebSocketClose")) == set(pairs)


def test_a_burst_of_sockets_is_served_or_refused_by_name(make_daemon, fake_engine, trace):
    """All in one moment, more than may wait for their worker: who is not taken is told why, and the others work."""
    kind = type_of("sockets.py", trace=trace, isolation="shared", sleep_after="never")
    make_daemon({"actors": {"probe": kind}}, engine=fake_engine.url)
    link = fake_engine.wait_runner()
    actors = [fake_engine.start_actor(link, key=str(number)) for number in range(4)]
    pairs = [new_pair() for _ in range(SOCKETS)]
    whole = [frames_of(actors[number % 4], pair, f"m {number}") for number, pair in enumerate(pairs)]
    sent_together(fake_engine, link, [frames[0] for frames in whole])
    wait_tunnel(link, "ToServerWebSocketOpen", SOCKETS)
    sent_together(fake_engine, link, [frames[1] for frames in whole])  # those of the refused go nowhere

    def answered():
        return [by_socket(link, "ToServerWebSocket" + kind) for kind in ("Message", "Close")]
    wait_for(lambda: set().union(*answered()) == set(pairs), 60, "an answer to each", interval=0.5)
    served, refused = answered()
    assert not served.keys() & refused.keys()
    assert {(value["code"], value["reason"].partition("#")[0]) for (_, value), in refused.values()} <= \
        {(1011, "actor.overloaded")}


def test_order_under_load_through_the_real_engine(hosted):
    """Several sockets and requests at once; whatever goes in comes out in order, once."""
    made = [hosted.create("probe", f"order-{number}") for number in range(2)]

    def talk(actor, name, count=100):
        with hosted.websocket(actor) as client:
            for number in range(count):
                client.send(f"{name}-{number}")
            return [client.recv() for _ in range(count)] == [f"{name}-{number}" for number in range(count)]

    def ask(actor, count=30):
        return all(actor.post("/echo", data=bytes(number)).json()["length"] == number for number in range(count))
    calls = [Background(talk, made[number % 2], f"s{number}") for number in range(6)]
    calls += [Background(ask, actor) for actor in made]
    assert all(call.result(100) for call in calls)
    for actor in made:
        actor.destroy()


@pytest.fixture
def link(runner, fake_engine):
    fake_engine.daemon = runner(fake_engine, sleep_after="never")
    return fake_engine.wait_runner()


@pytest.mark.parametrize("count, told", [(24, None), (60, (1011, "runner.websocket_backlog"))], ids=["within-bounds", "beyond"])
def test_reader_that_does_not_read_holds_up_nobody(link, fake_engine, trace, tmp_path, count, told):
    """What its worker does not take waits, up to a bound, and then its socket is closed; all others go on."""
    actor = fake_engine.start_actor(link)
    deaf, other = link.open_socket(actor.id), link.open_socket(actor.id)
    link.wait_tunnel(deaf, "ToServerWebSocketOpen")
    link.wait_tunnel(other, "ToServerWebSocketOpen")
    link.socket_message(deaf, 1, f"!deaf {tmp_path}/go")
    trace.wait("ws-deaf")
    for number in range(count):
        link.socket_message(deaf, 2 + number, bytes([number]) * MIB)
        link.socket_message(other, 1 + number, str(number))
    wait_for(lambda: link.socket_messages(other) == [str(number) for number in range(count)], 30, "the other's echoes")
    assert link.answer(link.request(actor.id, path="/pid"))[0] == 200
    if told:
        close = link.wait_tunnel(deaf, "ToServerWebSocketClose")[2]
        assert (close["code"], close["reason"].partition("#")[0]) == told
    (tmp_path / "go").touch()
    if not told:
        wait_for(lambda: len(link.socket_messages(deaf)) == count, 60, "all of its echoes", interval=0.2)
        assert [message[0] for message in link.socket_messages(deaf)] == list(range(count))
    assert link.answer(link.request(actor.id, path="/pid"))[0] == 200
    assert len(fake_engine.connections) == 1


def test_pong_overtakes_what_is_queued(link, fake_engine, trace):
    """The engine has stopped reading, answers have filled every buffer on the way, and then it asks for a pong."""
    count = 40
    actor = fake_engine.start_actor(link)
    fake_engine.auto_ping = 0
    fake_engine.hold_pongs = True
    pairs = [link.request(actor.id, path=f"/download?bytes={MIB}") for _ in range(count)]
    trace.wait("request", count)
    link.send("ToClientPing", {"ts": 12345})
    # Answered by the same loop, behind whatever the engine has sent before.
    for _ in range(5):
        assert fake_engine.daemon.admin("/healthz").status_code == 200
    fake_engine.hold_pongs = False
    for pair in pairs:
        assert len(link.answer(pair, 60)[2]) == MIB
    order = [got.tag for got in link.messages() if got.tag in ("ToServerPong", "ToServerTunnelMessage")]
    pong = next(place for place, got in enumerate(link.messages())
                if got.tag == "ToServerPong" and got.value["ts"] == 12345)
    behind = sum(got.tag == "ToServerTunnelMessage" for got in link.messages()[pong:])
    assert behind >= count / 4, order
