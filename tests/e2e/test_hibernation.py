"""WebSockets whose clients outlive the worker: sleep, wake, crash, and what is said meanwhile."""

import os
import struct

import pytest

from lib.check import Background, touch
from lib.wait import holds_for, wait_for
from lib.ws import CLOSE, PING, PONG, TEXT, WsClient

WS = "/ws?hibernate=1"


def opened(daemon, actor, rest=WS, protocols=(), fields=()):
    return WsClient(daemon.address, actor.path(rest), protocols, fields)


def made(daemon, key="k", **options):
    return daemon.create("probe", key, **options)


def asleep(actor):
    actor.sleep()
    actor.wait_asleep()


def messages(trace):
    return [event["text"] for event in trace.events("ws-message")]


# ---- staying, waking ----

def test_first_upgrade_has_a_connection_id(probe, trace):
    daemon = probe(sleep_after="never")
    actor = made(daemon)
    with opened(daemon, actor, "/ws") as plain, opened(daemon, actor) as sleeper:
        for client in (plain, sleeper):
            client.send("x")
            assert client.recv() == "x"
        assert sleeper.answer.header("x-rivet-hibernate") is None
    first, second = trace.events("ws-open")
    assert first["connection"] and second["connection"] and first["connection"] != second["connection"]
    assert not first["again"] and not second["again"]


def test_client_cannot_claim_to_be_known(probe, trace):
    daemon = probe(sleep_after="never")
    with opened(daemon, made(daemon), fields=[("X-Rivet-Hibernated", "true"), ("X-Rivet-Connection-Id", "mine")]):
        event = trace.wait("ws-open")[0]
        assert event["claimed"] is None and event["connection"] != "mine"


def test_hibernating_socket_keeps_nobody_awake(probe, trace):
    daemon = probe(sleep_after="400ms")
    actor = made(daemon)
    with opened(daemon, actor) as client:
        actor.wait_asleep()
        assert daemon.workers() == []
        client.send("are you there?")
        assert client.recv() == "are you there?"
    assert [event["body"]["reason"] for event in trace.events("stop")][0] == "sleep"


def test_plain_socket_beside_it_keeps_awake(probe, trace):
    daemon = probe(sleep_after="400ms")
    actor = made(daemon)
    with opened(daemon, actor), opened(daemon, actor, "/ws"):
        trace.wait("ws-open", 2)
        before = len(trace.events("stop"))  # it may have slept before the plain one was there
        holds_for(lambda: len(trace.events("stop")) == before, 1.2, "being awake")


def test_message_wakes_and_opens_the_same_again(probe, trace):
    daemon = probe(sleep_after="never")
    actor = made(daemon)
    with opened(daemon, actor, WS + "&a=%2Fb", ["one", "two"], [("X-Own", "1"), ("X-Own", "2"), ("Cookie", "c=1")]) as client:
        client.send("first")
        assert client.recv() == "first"
        asleep(actor)
        for text in ("second", "third", b"\x00fourth"):
            client.send(text)
        assert [client.recv() for _ in range(3)] == ["second", "third", b"\x00fourth"]
        client.send("!report")
    before, after = trace.events("ws-open")
    assert after["again"] and after["connection"] == before["connection"]
    assert after["target"] == before["target"]
    assert after["own"] == ["1", "2"]
    assert messages(trace)[:3] == ["first", "second", "third"]
    assert actor.info() is not None


def test_answers_to_the_last_messages_arrive(probe, trace):
    """What the worker has been sent it reads, and answers, before it is told to stop."""
    daemon = probe(sleep_after="never")
    actor = made(daemon)
    with opened(daemon, actor) as client:
        for number in range(200):
            client.send(f"m{number}")
        trace.wait("ws-message")
        asleep(actor)
        assert [client.recv() for _ in range(200)] == [f"m{number}" for number in range(200)]
    stop, closed = trace.events("stop")[0], trace.events("ws-closed")[0]
    assert closed["code"] == 1001 and closed["time"] <= stop["time"]


def test_a_worker_that_does_not_read_is_stopped_all_the_same(probe, trace):
    daemon = probe(sleep_after="never")
    actor = made(daemon)
    with opened(daemon, actor) as client:
        client.send("!deaf 30")
        trace.wait("ws-deaf")
        client.send("late")
        asleep(actor)
        assert not messages(trace)


def test_many_sleeps(probe, trace):
    daemon = probe(sleep_after="never")
    actor = made(daemon)
    with opened(daemon, actor) as client:
        for number in range(5):
            client.send(f"m{number}")
            assert client.recv() == f"m{number}"
            asleep(actor)
        client.send("last")
        assert client.recv() == "last"
    assert len({event["connection"] for event in trace.events("ws-open")}) == 1
    assert messages(trace) == [f"m{number}" for number in range(5)] + ["last"]


def test_messages_in_a_storm_of_sleeps_come_once_and_in_order(probe, trace):
    daemon = probe(sleep_after="never")
    actor = made(daemon)
    with opened(daemon, actor) as client:
        def send():
            for number in range(3000):
                client.send(f"n{number}")
        sending = Background(send)
        while not sending.done():
            asleep(actor)
        sending.result()
        wait_for(lambda: "n2999" in messages(trace), 30, "the last message")
    assert messages(trace) == [f"n{number}" for number in range(3000)]


def test_what_a_stopping_worker_has_no_time_for_goes_to_the_next(probe, trace, tmp_path):
    """It accepts the connection while a request holds up its stop call, which comes before it has read anything."""
    daemon = probe(sleep_after="never")
    actor = made(daemon)
    texts = [f"m{number}" for number in range(200)]
    with opened(daemon, actor, WS + f"&answer-again={tmp_path}/accepts&deaf-again={tmp_path}/reads") as client:
        trace.wait("ws-open")
        asleep(actor)
        for text in texts:
            client.send(text)
        trace.wait("ws-asked")
        held = f"/hold?until={tmp_path}/answers"
        request = Background(lambda: actor.get(held))
        trace.wait("request", target=held)
        actor.sleep()
        touch(tmp_path / "accepts")
        trace.wait("ws-open", 2)
        touch(tmp_path / "answers")
        request.result()
        trace.wait("exit", 2)
        touch(tmp_path / "reads")
        assert [client.recv() for _ in texts] == texts
    assert messages(trace) == texts


def test_nothing_is_written_after_the_stop_call(probe, trace, tmp_path):
    daemon = probe(sleep_after="never", stop_grace="1min", environment={"PROBE_STOP": f"{tmp_path}/stops"})
    actor = made(daemon)
    with opened(daemon, actor, WS + f"&answer-again={tmp_path}/accepts&deaf-again={tmp_path}/reads") as client:
        trace.wait("ws-open")
        touch(tmp_path / "stops")
        asleep(actor)
        os.unlink(tmp_path / "stops")
        client.send("m")
        trace.wait("ws-asked")
        actor.sleep()
        trace.wait("stop", 2)
        touch(tmp_path / "accepts")
        trace.wait("ws-open", 2)
        touch(tmp_path / "stops")
        trace.wait("exit", 2)
        touch(tmp_path / "reads")
        assert client.recv() == "m"
    assert messages(trace) == ["m"]


def test_several_clients_are_told_apart(probe, trace):
    daemon = probe(sleep_after="never")
    actor = made(daemon)
    with opened(daemon, actor, WS + "&who=one") as one, opened(daemon, actor, WS + "&who=two") as two:
        trace.wait("ws-open", 2)
        asleep(actor)
        two.send("from two")
        assert two.recv() == "from two"
        one.send("from one")
        assert one.recv() == "from one"
    (one_first, one_then), (two_first, two_then) = (
        [event["connection"] for event in trace.events("ws-open", target=f"{WS}&who={who}")] for who in ("one", "two"))
    assert one_first == one_then != two_first == two_then


def test_fragments_sent_while_asleep(probe):
    daemon = probe(sleep_after="never")
    actor = made(daemon)
    with opened(daemon, actor) as client:
        asleep(actor)
        client.send_frame(TEXT, b"one ", fin=False)
        client.send_frame(PING, b"between")
        assert client.recv_control(PONG) == b"between"
        assert actor.sleeping()
        client.send_frame(0, b"two")
        assert client.recv() == "one two"


def test_pings_are_answered_while_asleep(probe, trace):
    daemon = probe(sleep_after="never")
    actor = made(daemon)
    with opened(daemon, actor) as client:
        trace.wait("ws-open")
        asleep(actor)
        for _ in range(3):
            client.send_frame(PING, b"hello?")
            assert client.recv_control(PONG) == b"hello?"
        assert actor.sleeping()
    assert not trace.events("ws-ping")


def test_pings_pass_while_awake(probe, trace):
    daemon = probe(sleep_after="never")
    with opened(daemon, made(daemon)) as client:
        client.send_frame(PING, b"hello?")
        assert client.recv_control(PONG) == b"hello?"
        assert trace.wait("ws-ping")[0]["payload"] == "hello?"
        client.send("!ping back")
        assert client.recv_control(PING) == b"back"
        client.send_frame(PONG, b"back")
        assert trace.wait("ws-pong")[0]["payload"] == "back"


def test_large_messages(probe):
    daemon = probe(sleep_after="never")
    actor = made(daemon)
    with opened(daemon, actor) as client:
        for size in (125, 126, 65536, 5 << 20):
            asleep(actor)
            message = os.urandom(size)
            client.send(message)
            assert client.recv() == message


def test_a_client_that_fills_the_queue_is_not_read(probe, trace):
    daemon = probe(sleep_after="never")
    actor = made(daemon)
    with opened(daemon, actor) as client:
        client.send("!deaf 3")
        trace.wait("ws-deaf")
        block = b"\xa5" * 65536
        sending = Background(lambda: [client.send(block) for _ in range(400)])
        holds_for(lambda: not sending.done(), 1.5, "being held up")
        for _ in range(400):
            assert client.recv() == block
        sending.result()


# ---- crashes ----

def test_client_survives_a_crash(probe, trace):
    daemon = probe(sleep_after="never")
    actor = made(daemon)
    with opened(daemon, actor) as client:
        client.send("one")
        assert client.recv() == "one"
        client.send("!die 3")
        actor.wait_asleep()
        client.send("two")
        assert client.recv() == "two"
    assert messages(trace) == ["one", "two"]
    assert [event["again"] for event in trace.events("ws-open")] == [False, True]


def test_crash_while_opening_again_loses_nothing(probe, trace, tmp_path):
    daemon = probe(sleep_after="never")
    actor = made(daemon)
    with opened(daemon, actor, WS + f"&crash-again={tmp_path}/crashed") as client:
        trace.wait("ws-open")
        asleep(actor)
        client.send("one")
        client.send("two")
        assert [client.recv(), client.recv()] == ["one", "two"]
    assert messages(trace) == ["one", "two"]


def test_crash_policy_destroy_closes(probe):
    daemon = probe(sleep_after="never")
    actor = made(daemon, crash_policy="destroy")
    with opened(daemon, actor) as client:
        client.send("!die 3")
        code, _ = client.recv_close()
        assert code in (1001, 1011, 1012)


# ---- ends ----

def test_destroy_closes_who_is_awake_and_who_sleeps(probe, trace):
    daemon = probe(sleep_after="never")
    for key, sleeps in (("a", False), ("b", True)):
        actor = made(daemon, key)
        with opened(daemon, actor) as client:
            client.send("x")
            client.recv()
            if sleeps:
                asleep(actor)
            actor.destroy()
            assert client.recv_close() == (1001, "actor.stopped")


def test_drain_closes(probe, trace):
    daemon = probe(sleep_after="never")
    awake, sleeping = made(daemon, "a"), made(daemon, "b")
    with opened(daemon, awake) as one, opened(daemon, sleeping) as two:
        trace.wait("ws-open", 2)
        asleep(sleeping)
        stopping = Background(daemon.stop)
        assert one.recv_close() == (1001, "actor.stopped")
        assert two.recv_close() == (1001, "actor.stopped")
        stopping.result()


def test_worker_closes(probe, trace):
    daemon = probe(sleep_after="never")
    actor = made(daemon)
    with opened(daemon, actor) as client:
        asleep(actor)
        client.send("!close 4001 enough")
        assert client.recv_close() == (4001, "enough")
    trace.wait("ws-closed")
    asleep(actor)
    actor.get("/pid")
    assert len(trace.events("ws-open")) == 2


def test_client_closes_while_awake(probe, trace):
    daemon = probe(sleep_after="never")
    actor = made(daemon)
    with opened(daemon, actor) as client:
        assert client.close(4002, "bye")[0] == 4002
    assert trace.wait("ws-closed")[0]["code"] == 4002
    asleep(actor)
    actor.get("/pid")
    assert len(trace.events("ws-open")) == 1


@pytest.mark.parametrize("code, reason", [(4003, "left at night"), (1000, "")])
def test_client_that_leaves_meanwhile_is_reported_at_the_next_run(probe, trace, code, reason):
    daemon = probe(sleep_after="never")
    actor = made(daemon)
    with opened(daemon, actor) as client:
        trace.wait("ws-open")
        asleep(actor)
        assert client.close(code, reason)[0] == code
    holds_for(actor.sleeping, 0.7, "being asleep")
    actor.get("/pid")
    before, after = trace.wait("ws-open", 2)
    assert after["again"] and after["connection"] == before["connection"]
    closed = wait_for(lambda: trace.events("ws-closed", code=code), 10, "the client's close")[0]
    assert closed["reason"] == reason
    asleep(actor)
    actor.get("/pid")
    assert len(trace.events("ws-open")) == 2


def test_client_that_is_lost_meanwhile_is_reported(probe, trace):
    daemon = probe(sleep_after="never")
    actor = made(daemon)
    with opened(daemon, actor):
        trace.wait("ws-open")
        asleep(actor)

    def told():
        actor.get("/pid")
        return trace.events("ws-closed", code=1011, reason="ws.downstream_closed")
    wait_for(told, 10, "the end of the client")


def test_messages_of_a_client_that_left_are_delivered(probe, trace):
    daemon = probe(sleep_after="never")
    actor = made(daemon)
    with opened(daemon, actor) as client:
        trace.wait("ws-open")
        asleep(actor)
        client.send("last words")
        client.send_frame(CLOSE, struct.pack("!H", 4004))
    assert trace.wait("ws-message")[0]["text"] == "last words"
    assert trace.wait("ws-closed", code=4004)


def test_a_refusal_at_the_next_worker_closes_1012(probe, trace):
    daemon = probe(sleep_after="never")
    actor = made(daemon)
    with opened(daemon, actor, WS + "&refuse-again=403") as client:
        trace.wait("ws-open")
        asleep(actor)
        client.send("x")
        assert client.recv_close()[0] == 1012


@pytest.mark.parametrize("change", ["&protocol=one&protocol-again=two", "&protocol-again=one"])
def test_another_subprotocol_closes_1012(probe, trace, change):
    daemon = probe(sleep_after="never")
    actor = made(daemon)
    with opened(daemon, actor, WS + change, ["one", "two"]) as client:
        trace.wait("ws-open")
        asleep(actor)
        client.send("x")
        assert client.recv_close()[0] == 1012


def test_an_actor_that_does_not_come_up_closes_1011(probe, trace):
    daemon = probe(sleep_after="never")
    actor = made(daemon)
    with opened(daemon, actor, WS + "&crash-again=always") as client:
        trace.wait("ws-open")
        asleep(actor)
        client.send("x")
        code, reason = client.recv_close()
    assert code == 1011
    assert reason.startswith("actor.start_failed#")


def test_nonsense_from_a_client_meanwhile(probe, trace):
    daemon = probe(sleep_after="never")
    actor = made(daemon)
    with opened(daemon, actor) as client:
        trace.wait("ws-open")
        asleep(actor)
        client.send_frame(3, b"an opcode nobody knows")
        assert client.recv_close()[0] == 1002


def test_shared_workers(probe, trace):
    daemon = probe(sleep_after="never", isolation="shared", workers_max=1)
    one, two = made(daemon, "a"), made(daemon, "b")
    with opened(daemon, one) as first, opened(daemon, two) as second:
        for client in (first, second):
            client.send("x")
            assert client.recv() == "x"
        asleep(one)
        second.send("still here")
        assert second.recv() == "still here"
        first.send("back")
        assert first.recv() == "back"
