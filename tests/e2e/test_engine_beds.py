"""What the tests of engine mode stand on, held against the official runner and recorded messages."""

import json
import os

import pytest

from lib import runner_protocol
from lib.daemon import ROOT
from lib.engine import Engine
from lib.forwarder import STALL, SWALLOW, PASS, Forwarder
from lib.peer import OfficialRunner
from lib.runner_protocol import Malformed, decode
from lib.wait import holds_for, wait_for

# The first test may have to install the npm packages.
pytestmark = pytest.mark.deadline(300)


def test_codec_agrees_with_recorded_messages():
    with open(os.path.join(ROOT, "tests", "data", "runner-v7-vectors.json"), encoding="utf-8") as file:
        vectors = json.load(file)
    for vector in vectors:
        union = {"ToServer": runner_protocol.TO_SERVER, "ToClient": runner_protocol.TO_CLIENT}[vector["direction"]]
        raw = bytes.fromhex(vector["hex"])
        message = decode(union, raw)
        assert union.json(message) == vector["json"], vector["name"]
        assert union.put(message) == raw, vector["name"]
        for cut in range(0, len(raw), 1 + len(raw) // 16):
            with pytest.raises(Malformed):
                decode(union, raw[:cut])
    assert len(vectors) > 100


def test_real_engine_with_the_official_runner(pool, tmp_path):
    with OfficialRunner(pool, tmp_path, key="a-key") as official:
        assert pool.runner()["key"] == "a-key"
        actor = pool.create("probe", "k")
        assert actor.get("/x").json()["who"] == "official"
        with pool.websocket(actor) as client:
            client.send("hello")
            assert client.recv() == "hello"
        assert [event["generation"] for event in official.events("start")] == [0]


def test_real_engine_keeps_its_state_over_a_restart(tmp_path):
    with Engine() as engine:
        pool = engine.in_pool()
        with OfficialRunner(pool, tmp_path) as official:
            pool.wait_ready()
            actor = pool.create("probe", "k")
            actor.wait_running()
            engine.stop()
            assert "ws.going_away" in official.wait("disconnected")[0]["reason"]
            engine.start()
            official.wait("connected", 2)
            wait_for(lambda: actor.get("/x").json()["who"] == "official", 20, "an answer")
            assert len(pool.runners()) == 1


def test_fake_engine_with_the_official_runner(fake_engine, tmp_path):
    with Forwarder(fake_engine) as link:
        with OfficialRunner(link, tmp_path, key="a-key") as official:
            one = fake_engine.wait_runner()
            assert one.query == {"protocol_version": "7", "namespace": "default", "runner_key": "a-key"}
            actor = fake_engine.start_actor(one)
            assert json.loads(one.answer(one.request(actor.id, "POST", body=b"abc"))[2])["length"] == 3
            socket = one.open_socket(actor.id)
            one.wait_tunnel(socket, "ToServerWebSocketOpen")
            one.socket_message(socket, 1, "hi")
            wait_for(lambda: one.socket_messages(socket) == ["hi"], 15, "the echo")
            link.reset()
            two = fake_engine.wait_runner(2)
            # Its start is not acknowledged and comes again; the official runner runs it a second time.
            official.wait("start", 2, actor=actor.id)
            assert fake_engine.stop_actor(two, actor)["code"] == "Error"
            two.close(1000, "ws.eviction")
            assert official.wait("disconnected", 2)[-1]["reason"].startswith("ws.eviction#")


def test_forwarder_spoils_a_link(fake_engine, tmp_path):
    fake_engine.auto_ping = 0.1
    with Forwarder(fake_engine) as link, OfficialRunner(link, tmp_path):
        one = fake_engine.wait_runner()
        one.wait("ToServerPong")
        for mode in STALL, SWALLOW:
            link.mode = mode
            passed = link.passed
            wait_for(lambda: quiet(one), 15, "silence")
            holds_for(lambda: link.passed == passed, 0.5, "silence")
            assert not one.ended
            link.mode = PASS
            if mode == STALL:
                one.wait("ToServerPong", len(one.messages("ToServerPong")) + 1)
        link.unlisten()
        link.reset()
        one.wait_ended()


def quiet(connection, seconds=0.4):
    count = len(connection.got)
    try:
        wait_for(lambda: len(connection.got) > count, seconds, "a message")
    except AssertionError:
        return True
    return False
