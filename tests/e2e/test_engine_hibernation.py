"""Engine mode: WebSockets whose clients outlive the worker, through a real engine and by the letter of the tunnel."""

import secrets
import time

import pytest

from lib.fake_engine import new_pair
from lib.wait import holds_for, wait_for
from lib.ws import PING, PONG

pytestmark = pytest.mark.deadline(180)

WS = "/ws?hibernate=1"
PREFIX = b"\0rivet-runnerd/socket/"


def messages(trace):
    return [event["text"] for event in trace.events("ws-message")]


def wait_messages(trace, *wanted):
    """These and no others; the worker notes what it reads a moment after it was acknowledged."""
    wait_for(lambda: len(messages(trace)) >= len(wanted), 15, f"{wanted}")
    assert messages(trace) == list(wanted)


def created(pool):
    """An actor of a pool the engine has just heard of; it remembers for a while whom it did not know."""
    pool.wait_runners(1)
    time.sleep(1)
    return pool.create("probe", secrets.token_hex(8))


# ---- through the real engine ----

def test_client_stays_through_sleep_and_wake(pool, runner, trace):
    runner(pool, sleep_after="1s")
    actor = created(pool)
    with pool.websocket(actor, WS) as client:
        client.send("one")
        assert client.recv() == "one"
        trace.wait("stop")
        actor.wait_asleep()
        client.send_frame(PING, b"hello?")
        assert client.recv_control(PONG) == b"hello?"
        for text in ("two", "three", b"four"):
            client.send(text)
        assert [client.recv() for _ in range(3)] == ["two", "three", b"four"]
    first, second = trace.events("ws-open")[:2]
    assert second["again"] and second["connection"] == first["connection"] and second["target"] == first["target"]
    wait_messages(trace, "one", "two", "three", "four")


def test_client_that_leaves_meanwhile_is_reported(pool, runner, trace):
    runner(pool, sleep_after="1s")
    actor = created(pool)
    with pool.websocket(actor, WS) as client:
        client.send("one")
        assert client.recv() == "one"
        actor.wait_asleep()
        time.sleep(2)  # the gateway misses a close while it lets go of the actor
        client.close(4003, "left at night")
    closed = trace.wait("ws-closed", code=4003, timeout=30)[0]
    assert closed["reason"] == "left at night"
    assert trace.events("ws-open")[1]["connection"] == trace.events("ws-open")[0]["connection"]


def test_client_survives_a_crash(pool, runner, trace):
    runner(pool, sleep_after="never")
    actor = created(pool)
    with pool.websocket(actor, WS) as client:
        client.send("one")
        assert client.recv() == "one"
        client.send("!die 3")
        actor.wait_asleep()
        client.send("two")
        assert client.recv() == "two"
    wait_messages(trace, "one", "two")


@pytest.mark.parametrize("sleeps", [False, True])
def test_client_survives_a_restart_of_the_daemon(pool, runner, trace, sleeps):
    daemon = runner(pool, key="same", sleep_after="2s" if sleeps else "never")
    actor = created(pool)
    with pool.websocket(actor, WS) as client:
        client.send("one")
        assert client.recv() == "one"
        if sleeps:
            actor.wait_asleep()
        daemon.stop()
        daemon.start()
        time.sleep(2)  # a command in the first moments of a registration may be lost inside the engine
        client.send("two")
        assert client.recv() == "two"
        client.send("three")
        assert client.recv() == "three"
    opens = trace.events("ws-open")
    assert [event["again"] for event in opens] == [False, True]
    assert opens[0]["connection"] == opens[1]["connection"]
    wait_messages(trace, "one", "two", "three")


def test_client_survives_a_kill_of_the_daemon(pool, runner, trace):
    daemon = runner(pool, key="same", sleep_after="never")
    actor = created(pool)
    with pool.websocket(actor, WS) as client:
        client.send("one")
        assert client.recv() == "one"
        daemon.kill()
        daemon.start()
        time.sleep(2)  # a command in the first moments of a registration may be lost inside the engine
        client.send("two")
        assert client.recv() == "two"
    assert trace.events("ws-open")[-1]["connection"] == trace.events("ws-open")[0]["connection"]
    assert messages(trace).count("two") == 1


LONG = "!killdaemon " + "x" * (240 << 10)  # some more than the socket to a worker takes at once


def test_a_message_whose_worker_kills_the_daemon_comes_once(pool, runner, trace):
    daemon = runner(pool, key="same", sleep_after="never")
    actor = created(pool)
    with pool.websocket(actor, WS) as client:
        client.send("one")
        assert client.recv() == "one"
        client.send(LONG)
        trace.wait("ws-killdaemon")
        daemon.kill()
        daemon.start()
        time.sleep(2)  # a command in the first moments of a registration may be lost inside the engine
        client.send("two")
        assert client.recv() == "two"
    wait_messages(trace, "one", "two")
    assert len(trace.events("ws-killdaemon")) == 1


# ---- by the letter ----

@pytest.fixture
def letter(runner, fake_engine):
    """A runner of the fake engine with one running actor."""
    def make(**settings):
        daemon = runner(fake_engine, **{"sleep_after": "never", **settings})
        connection = fake_engine.wait_runner()
        return daemon, connection, fake_engine.start_actor(connection)
    return make


def accepted(connection, actor, pair=None):
    pair = connection.open_socket(actor.id, WS, pair=pair)
    assert connection.wait_tunnel(pair, "ToServerWebSocketOpen")[2]["canHibernate"] is True
    return pair


def remembered(engine, actor):
    return [key for key in engine.kv.stores[actor.id] if key.startswith(PREFIX)]


def acked(connection, pair, index):
    wait_for(lambda: any(value["index"] == index for _, tag, value in connection.tunnel(pair)
                         if tag == "ToServerWebSocketMessageAck"), 15, f"acknowledgement of {index}")


def test_messages_are_acknowledged_and_doubles_dropped(letter, trace):
    _, connection, actor = letter()
    pair = accepted(connection, actor)
    connection.socket_message(pair, 1, "one")
    acked(connection, pair, 1)
    connection.socket_message(pair, 1, "one")
    connection.socket_message(pair, 2, "two")
    acked(connection, pair, 2)
    wait_messages(trace, "one", "two")


def test_it_is_remembered_until_it_closes(letter, fake_engine):
    _, connection, actor = letter()
    pair = accepted(connection, actor)
    assert remembered(fake_engine, actor) == [PREFIX + pair[0] + pair[1]]
    connection.tunnel_send(pair, 1, "ToClientWebSocketClose", {"code": 4001, "reason": "bye"})
    wait_for(lambda: not remembered(fake_engine, actor), 10, "being forgotten")


def test_a_gap_is_asked_for(letter, trace):
    _, connection, actor = letter()
    pair = accepted(connection, actor)
    connection.socket_message(pair, 1, "one")
    connection.socket_message(pair, 4, "four")
    close = connection.wait_tunnel(pair, "ToServerWebSocketClose")[2]
    assert close["hibernate"] is True and close["code"] is None
    for index, text in ((2, "two"), (3, "three"), (4, "four")):
        connection.socket_message(pair, index, text)
    acked(connection, pair, 4)
    wait_messages(trace, "one", "two", "three", "four")


def test_a_new_connection_is_followed_by_asking(letter, fake_engine, trace):
    _, connection, actor = letter()
    pair = accepted(connection, actor)
    connection.reset()
    again = fake_engine.wait_runner(2)
    assert again.wait_tunnel(pair, "ToServerWebSocketClose")[2]["hibernate"] is True
    again.socket_message(pair, 1, "one")
    acked(again, pair, 1)
    wait_for(lambda: again.socket_messages(pair) == ["one"], 10, "the answer")


def test_asleep_it_is_not_closed_and_a_message_opens_it_again(letter, fake_engine, trace):
    _, connection, actor = letter()
    pair = accepted(connection, actor)
    connection.socket_message(pair, 1, "one")
    acked(connection, pair, 1)
    fake_engine.stop_actor(connection, actor)
    assert not connection.tunnel(pair, "ToServerWebSocketClose")
    fake_engine.start_actor(connection, actor, sockets=[pair])
    holds_for(lambda: len(trace.events("ws-open")) == 1, 0.7, "one upgrade")
    connection.socket_message(pair, 2, "two")
    acked(connection, pair, 2)
    wait_messages(trace, "one", "two")
    assert [event["again"] for event in trace.events("ws-open")] == [False, True]


def test_a_dead_entry_is_closed(letter, fake_engine):
    _, connection, actor = letter()
    fake_engine.stop_actor(connection, actor)
    dead = new_pair()
    fake_engine.start_actor(connection, actor, sockets=[dead])
    close = connection.wait_tunnel(dead, "ToServerWebSocketClose", 2)[2]
    assert (close["code"], close["reason"], close["hibernate"]) == (1000, "ws.meta_not_found_during_restore", False)


def test_one_that_is_not_named_any_more_is_reported_as_lost(letter, fake_engine, trace):
    _, connection, actor = letter()
    pair = accepted(connection, actor)
    fake_engine.stop_actor(connection, actor)
    time.sleep(2.1)  # a start so soon after the connection might be a replay
    fake_engine.start_actor(connection, actor)
    assert trace.wait("ws-closed", code=1011)[0]["reason"] == "ws.downstream_closed"
    wait_for(lambda: not remembered(fake_engine, actor), 10, "being forgotten")
    assert pair


def test_another_process_finds_it_again(letter, fake_engine, trace):
    daemon, connection, actor = letter()
    pair = accepted(connection, actor)
    connection.socket_message(pair, 1, "one")
    acked(connection, pair, 1)
    daemon.kill()
    fake_engine.commands.clear()
    daemon.start()
    again = fake_engine.wait_runner(2)
    fake_engine.start_actor(again, actor, sockets=[pair])
    again.socket_message(pair, 2, "two")
    acked(again, pair, 2)
    wait_for(lambda: again.socket_messages(pair) == ["two"], 10, "the answer")
    first, second = trace.events("ws-open")
    assert second["again"] and second["connection"] == first["connection"]


def test_a_message_whose_worker_kills_the_daemon_is_acknowledged(letter, fake_engine, trace):
    daemon, connection, actor = letter()
    pair = accepted(connection, actor)
    connection.socket_message(pair, 1, LONG)
    trace.wait("ws-killdaemon")
    daemon.kill()
    acked(connection, pair, 1)


def test_a_message_that_comes_early_is_not_lost(letter, fake_engine, trace):
    daemon, connection, actor = letter()
    pair = accepted(connection, actor)
    daemon.kill()
    fake_engine.commands.clear()
    daemon.start()
    again = fake_engine.wait_runner(2)
    again.send("ToClientCommands", [fake_engine.start_command(actor, [pair])])
    again.socket_message(pair, 1, "early")

    def asked():
        return [value for _, tag, value in again.tunnel(pair) if tag == "ToServerWebSocketClose" and value["hibernate"]]

    wait_for(lambda: messages(trace) or asked(), 15, "the message, or being asked for it")
    if not messages(trace):  # it came before the socket was found
        again.socket_message(pair, 1, "early")
    acked(again, pair, 1)
    wait_messages(trace, "early")


def test_state_that_cannot_be_written_means_no_hibernation(letter, fake_engine):
    _, connection, actor = letter()
    fake_engine.auto_kv = False
    pair = connection.open_socket(actor.id, WS)
    put = connection.wait("ToServerKvRequest", where=lambda value: value["data"][0] == "KvPutRequest")[0].value
    connection.send("ToClientKvResponse", {"requestId": put["requestId"], "data": ("KvErrorResponse", {"message": "no"})})
    assert connection.wait_tunnel(pair, "ToServerWebSocketOpen")[2]["canHibernate"] is False
    fake_engine.auto_kv = True
    fake_engine.stop_actor(connection, actor)
    close = connection.wait_tunnel(pair, "ToServerWebSocketClose")[2]
    assert (close["code"], close["reason"]) == (1001, "actor.stopped")


def test_many_are_found_again(letter, fake_engine, trace):
    daemon, connection, actor = letter()
    pairs = []
    for _ in range(2):  # more than one page of the list, more than a worker has connections
        pairs += [accepted(connection, actor) for _ in range(150)]
        fake_engine.stop_actor(connection, actor)
        fake_engine.start_actor(connection, actor, sockets=pairs)
    daemon.kill()
    fake_engine.commands.clear()
    daemon.start()
    again = fake_engine.wait_runner(2)
    fake_engine.start_actor(again, actor, sockets=pairs)
    time.sleep(1)
    for part in (pairs[:150], pairs[150:]):
        for pair in part:
            again.socket_message(pair, 1, "hello")
        for pair in part:
            acked(again, pair, 1)
        fake_engine.stop_actor(again, actor)
        fake_engine.start_actor(again, actor, sockets=pairs)
    wait_messages(trace, *["hello"] * 300)
