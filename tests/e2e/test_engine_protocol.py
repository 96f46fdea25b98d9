"""Engine mode against a fake engine: commands, events, state calls, and an engine that misbehaves."""

import base64
import json
import os
import random
import struct
import time

import pytest

from lib import procs
from lib.daemon import ROOT
from lib.fake_engine import flat_event, new_id
from lib.rt import b64
from lib.wait import holds_for, wait_for
from lib.worker import type_of

pytestmark = pytest.mark.deadline(120)

STEP = 256


@pytest.fixture
def link(runner, fake_engine):
    """The connection of a daemon with a fake engine."""
    fake_engine.daemon = runner(fake_engine, sleep_after="never")
    return fake_engine.wait_runner()


def boots(trace):
    return len(trace.events("boot"))


def rt(link, actor, method, target, body=None):
    """A call of the runtime API made by the actor's worker: (status, body)."""
    said = {"method": method, "target": b64(f"/v1/actors/self{target}"), "headers": None,
            "body": None if body is None else b64(body)}
    status, _, answer = link.answer(link.request(actor.id, "POST", "/rt", body=json.dumps(said).encode()), timeout=50)
    assert status == 200, answer
    got = json.loads(answer)
    return got["status"], base64.b64decode(got["body"])


# ---- the introduction ----

def test_address_and_subprotocols(runner, fake_engine):
    runner(fake_engine, key="a key&=ü", env={"RIVET_TOKEN": "tok-en"})
    link = fake_engine.wait_runner()
    assert link.path == "/runners/connect"
    assert link.query == {"protocol_version": "7", "namespace": "default", "runner_key": "a key&=ü"}
    assert set(link.protocols) == {"rivet", "rivet_token.tok-en"}
    assert link.messages()[0].tag == "ToServerInit"
    init = link.init()
    assert (init["name"], init["version"], init["totalSlots"]) == ("default", 1, 1000)
    assert set(init["prepopulateActorNames"]) == {"probe"}


@pytest.mark.parametrize("stamp", [0, 1, -1, 2 ** 63 - 1, -2 ** 63])
def test_pong_echoes_any_number(link, stamp):
    link.send("ToClientPing", {"ts": stamp})
    link.wait("ToServerPong", where=lambda value: value["ts"] == stamp)


# ---- commands ----

def test_start_then_running(link, fake_engine, trace):
    actor = fake_engine.start_actor(link, key="k", input=b"in")
    assert len(trace.wait("start-answered")) == 1
    assert [event[1] for event in link.events(actor.id)][0] in ("ActorStateRunning", "EventActorSetAlarm")
    # Cleared or set at every start: an alarm that rang early would ring again.
    assert link.wait_event("EventActorSetAlarm", actor.id)[2] == {"alarmTs": None}


def test_repeated_start_is_ignored(link, fake_engine, trace):
    actor = fake_engine.start_actor(link)
    start = [{"checkpoint": checkpoint, "inner": inner} for checkpoint, inner in fake_engine.commands]
    link.send("ToClientCommands", start)
    holds_for(lambda: boots(trace) == 1, 1, "one start")
    assert fake_engine.stop_actor(link, actor)["code"] == "Ok"
    link.send("ToClientCommands", start)
    holds_for(lambda: boots(trace) == 1, 1, "one start")


def test_start_and_stop_in_one_list_never_starts(link, fake_engine, trace):
    actor = fake_engine.actor()
    link.send("ToClientCommands", [fake_engine.start_command(actor), fake_engine.stop_command(actor)])
    assert link.wait_event("ActorStateStopped", actor.id, 0)[2]["code"] == "Ok"
    wait_for(lambda: not fake_engine.commands, 5, "acknowledgement")
    assert boots(trace) == 0


def test_stop_for_an_unknown_actor_is_answered_once(link, fake_engine):
    actor = fake_engine.actor()
    actor.generation = 4
    link.send("ToClientCommands", [fake_engine.stop_command(actor)])
    link.wait_event("ActorStateStopped", actor.id, 4)
    wait_for(lambda: not fake_engine.commands, 5, "acknowledgement")


def test_stop_with_index_0_is_a_stop(link, fake_engine):
    """Behind a lost generation the engine counts from 0 again."""
    actor = fake_engine.start_actor(link)
    link.send("ToClientCommands", [{"checkpoint": {"actorId": actor.id, "generation": 0, "index": 0},
                                    "inner": ("CommandStopActor", None)}])
    link.wait_event("ActorStateStopped", actor.id, 0)


def test_newer_generation_replaces_the_older_in_silence(link, fake_engine, trace):
    actor = fake_engine.start_actor(link)
    old = trace.wait("boot")[0]["pid"]
    link.send("ToClientCommands", [fake_engine.start_command(actor)])
    link.wait_event("ActorStateRunning", actor.id, 1)
    wait_for(lambda: not procs.alive(old), 10, "the old worker's end")
    assert not [event for event in link.events(actor.id, 0) if event[1] == "ActorStateStopped"]
    # And an older one is not started any more.
    link.send("ToClientCommands", [{"checkpoint": {"actorId": actor.id, "generation": 0, "index": 0},
                                    "inner": fake_engine.commands[0][1]}])
    holds_for(lambda: boots(trace) == 2, 1, "two starts")


def test_living_start_is_not_acknowledged_and_a_stopped_one_is(link, fake_engine):
    actor = fake_engine.start_actor(link)
    holds_for(lambda: not link.messages("ToServerAckCommands"), 2, "silence")
    fake_engine.stop_actor(link, actor)
    ack = link.wait("ToServerAckCommands", timeout=5)[0].value["lastCommandCheckpoints"]
    assert {"actorId": actor.id, "generation": 0, "index": 1} in ack
    wait_for(lambda: fake_engine.commands == [], what="acknowledgement")


def test_unknown_name_is_a_failed_start(link, fake_engine):
    actor = fake_engine.start_actor(link, wait=False, name="nobody")
    stopped = link.wait_event("ActorStateStopped", actor.id)[2]
    assert stopped["code"] == "Error"
    assert "probe" in stopped["message"] and "nobody" in stopped["message"]


def test_more_than_the_slots_is_a_failed_start(runner, fake_engine):
    runner(fake_engine, env={"RIVET_TOTAL_SLOTS": "2"}, sleep_after="never")
    link = fake_engine.wait_runner()
    for _ in range(2):
        fake_engine.start_actor(link)
    third = fake_engine.start_actor(link, wait=False)
    assert link.wait_event("ActorStateStopped", third.id)[2]["code"] == "Error"


def test_failed_start_tells_why_in_bounds(runner, fake_engine):
    runner(fake_engine, environment={"PROBE_START_STATUS": "500", "PROBE_START_BODY": "no luck \u00fc" * 500})
    link = fake_engine.wait_runner()
    actor = fake_engine.start_actor(link, wait=False)
    stopped = link.wait_event("ActorStateStopped", actor.id)[2]
    assert stopped["code"] == "Error" and "500" in stopped["message"]
    assert len(stopped["message"].encode()) <= 1024


def test_crash_is_an_error_with_its_reason(link, fake_engine):
    actor = fake_engine.start_actor(link)
    link.request(actor.id, path="/exit?code=0")
    stopped = link.wait_event("ActorStateStopped", actor.id)[2]
    assert stopped["code"] == "Error" and stopped["message"]


def test_sleep_intent_is_followed_by_a_stop(runner, fake_engine, trace):
    runner(fake_engine, sleep_after="300ms")
    link = fake_engine.wait_runner()
    actor = fake_engine.start_actor(link)
    link.wait_event("ActorIntentSleep", actor.id)
    assert link.wait_event("ActorStateStopped", actor.id)[2]["code"] == "Ok"
    assert trace.events("stop")[0]["body"]["reason"] == "sleep"


# ---- events ----

def test_event_numbers_rise_by_steps_from_the_clock(link, fake_engine):
    actor = fake_engine.start_actor(link)
    fake_engine.stop_actor(link, actor)
    numbers = [checkpoint["index"] for checkpoint, _, _ in link.events(actor.id, 0)]
    assert abs(numbers[0] / STEP - time.time() * 1000) < 120000
    assert all(second - first >= STEP for first, second in zip(numbers, numbers[1:]))


def test_unacknowledged_events_come_again(link, fake_engine):
    fake_engine.auto_ack = False
    actor = fake_engine.start_actor(link)
    first = link.wait_event("ActorStateRunning", actor.id)[0]
    link.wait_event("ActorStateRunning", actor.id, count=2, timeout=20)
    assert link.wait_event("ActorStateRunning", actor.id, count=2)[0] == first
    link.send("ToClientAckEvents", {"lastEventCheckpoints": [link.events(actor.id)[-1][0]]})


def test_unacknowledged_events_are_replayed_in_order_on_reconnect(link, fake_engine):
    fake_engine.auto_ack = False
    actor = fake_engine.start_actor(link)
    fake_engine.stop_actor(link, actor)
    before = [event[0]["index"] for event in link.events(actor.id, 0)]
    link.reset()
    again = fake_engine.wait_runner(2)
    wait_for(lambda: len(again.events(actor.id, 0)) >= len(set(before)), 10, "the replay")
    assert [event[0]["index"] for event in again.events(actor.id, 0)] == sorted(set(before))


def test_acknowledged_events_are_not_replayed(link, fake_engine):
    actor = fake_engine.start_actor(link)
    wait_for(lambda: actor.acked_event.get(0) == link.events(actor.id, 0)[-1][0]["index"], 10, "acknowledgement")
    link.send("ToClientPing", {"ts": 42})  # what is answered behind the acknowledgement has been read behind it
    link.wait("ToServerPong", where=lambda value: value["ts"] == 42)
    link.reset()
    again = fake_engine.wait_runner(2)
    holds_for(lambda: not again.events(actor.id), 1, "silence")


def test_changed_runner_id_drops_everything(link, fake_engine, trace):
    actor = fake_engine.start_actor(link)
    pid = trace.wait("boot")[0]["pid"]
    fake_engine.runner_id = new_id()
    fake_engine.commands.clear()
    link.reset()
    again = fake_engine.wait_runner(2)
    wait_for(lambda: not procs.alive(pid), 10, "the worker's end")
    holds_for(lambda: not again.events(actor.id), 1, "silence about the lost")
    fake_engine.start_actor(again, actor)
    assert again.answer(again.request(actor.id, path="/pid"))[0] == 200


# ---- state calls ----

def test_lists_ask_for_ranges_in_pages(link, fake_engine):
    actor = fake_engine.start_actor(link)
    store = fake_engine.kv.stores[actor.id]
    store.update({b"k%05d" % number: (b"v", 1) for number in range(700)})
    store[b"k\xff"] = (b"high", 1)
    status, body = rt(link, actor, "GET", "/kv?prefix=k")
    assert status == 200 and body.count(b'"key"') == 701
    lists = [value for _, tag, value in fake_engine.kv.calls if tag == "KvListRequest"]
    assert all(value["query"][0] == "KvListRangeQuery" for value in lists)
    assert all(value["limit"] is not None and value["limit"] <= 257 for value in lists)


def test_limits_are_told_here_and_not_there(link, fake_engine):
    actor = fake_engine.start_actor(link)
    before = len(fake_engine.kv.calls)
    assert rt(link, actor, "PUT", "/kv/k", b"x" * 131073)[0] == 413
    assert len(fake_engine.kv.calls) == before


def test_drop_and_prefix_are_never_used(link, fake_engine):
    """Drop would take the reserved keys along."""
    actor = fake_engine.start_actor(link)
    rt(link, actor, "PUT", "/kv/a", b"1")
    fake_engine.kv.stores[actor.id][b"\x00reserved"] = (b"kept", 1)
    assert rt(link, actor, "DELETE", "/kv?all=true")[0] == 204
    assert list(fake_engine.kv.stores[actor.id]) == [b"\x00reserved"]
    assert "KvDropRequest" not in {tag for _, tag, _ in fake_engine.kv.calls}


def test_error_of_the_engine_is_named(link, fake_engine):
    actor = fake_engine.start_actor(link)
    fake_engine.kv.fail = "transaction failed"
    status, body = rt(link, actor, "PUT", "/kv/a", b"1")
    assert status >= 500 and b"transaction failed" in body


def test_calls_are_sent_again_on_the_same_runner(link, fake_engine):
    actor = fake_engine.start_actor(link)
    fake_engine.auto_kv = False
    pair = link.request(actor.id, "POST", "/rt", body=b'{"method":"PUT","target":"%s","headers":null,"body":"MQ=="}'
                        % b64("/v1/actors/self/kv/a").encode())
    link.wait("ToServerKvRequest", where=lambda value: value["data"][0] == "KvPutRequest")
    fake_engine.auto_kv = True
    link.reset()
    again = fake_engine.wait_runner(2)
    again.wait("ToServerKvRequest", where=lambda value: value["data"][0] == "KvPutRequest")
    status, _, body = again.answer(pair)
    assert status == 200 and b'"status": 204' in body
    assert fake_engine.kv.stores[actor.id][b"a"][0] == b"1"


def test_alarm_is_stored_before_it_is_set(link, fake_engine):
    actor = fake_engine.start_actor(link)
    due = int(time.time() * 1000) + 3600000
    assert rt(link, actor, "PUT", "/alarm", b'{"at": %d}' % due)[0] == 204
    wait_for(lambda: [event for event in link.events(actor.id) if event[2] == {"alarmTs": due}], 10, "the alarm")
    order = [got for got in link.messages()
             if got.tag == "ToServerKvRequest" and got.value["data"][0] == "KvPutRequest"
             or got.tag == "ToServerEvents" and any(flat_event(one["inner"])[1] == {"alarmTs": due} for one in got.value)]
    assert [got.tag for got in order] == ["ToServerKvRequest", "ToServerEvents"]
    assert order[0].value["data"][1]["keys"][0][0] == 0
    # The next generation sets it again.
    fake_engine.stop_actor(link, actor)
    fake_engine.start_actor(link, actor)
    wait_for(lambda: [event for event in link.events(actor.id, 1) if event[2] == {"alarmTs": due}], 10, "it again")


# ---- an engine that misbehaves ----

GARBAGE = [
    b"", b"\x06", b"\x07\x01", b"\xff" * 40, b"\x04\x00", b"\x05\x00", b"\x00\xff\xff\xff\xff\x0f",
    b"\x02" + b"\xff" * 9 + b"\x01", b"\x02" + b"\x80" * 10 + b"\x01", b"\x03\x00\x00\x00\x00\x06",
    b"\x04" + bytes(10) + b"\x06", b"\x01\x01\x02\xff\xfe" + bytes(13), b"\x01\x01" + b"\x7f" * 13,
]


@pytest.mark.parametrize("raw", GARBAGE, ids=lambda raw: raw.hex()[:16] or "empty")
def test_garbage_is_survived(link, fake_engine, raw):
    """Ignored or answered with a new connection; either way actors live on."""
    actor = fake_engine.start_actor(link)
    pid = link.answer(link.request(actor.id, path="/pid"))[2]
    link.send_raw(raw)

    def served():
        current = fake_engine.open_connections()
        if not current:
            return False
        try:
            return current[-1].answer(current[-1].request(actor.id, path="/pid"), timeout=2)[2] == pid
        except Exception:  # pylint: disable=broad-except
            return False
    wait_for(served, 20, "an answer of the same worker")


def test_text_frame_is_survived(link, fake_engine):
    link.send_raw("hello")
    wait_for(lambda: fake_engine.open_connections(), 10, "a connection")
    assert fake_engine.daemon.running


def test_unasked_answers_are_ignored(link, fake_engine):
    actor = fake_engine.start_actor(link)
    link.send("ToClientKvResponse", {"requestId": 4294967295, "data": ("KvPutResponse", None)})
    link.send("ToClientKvResponse", {"requestId": 0, "data": ("KvErrorResponse", {"message": "who"})})
    link.send("ToClientAckEvents", {"lastEventCheckpoints": [
        {"actorId": actor.id, "generation": 7, "index": 2 ** 63 - 1},
        {"actorId": "nobody", "generation": 0, "index": -2 ** 63}]})
    link.send("ToClientInit", {"runnerId": "another", "metadata": {
        "runnerLostThreshold": 1, "actorStopThreshold": 1, "serverlessDrainGracePeriod": None}})
    link.send_raw(b"\x05" + struct.pack("<q", 99) + b"newer fields behind it")
    link.wait("ToServerPong", where=lambda value: value["ts"] == 99)
    assert link.answer(link.request(actor.id, path="/pid"))[0] == 200


@pytest.mark.parametrize("threshold", [0, -5, 2 ** 62])
def test_odd_thresholds(runner, fake_engine, threshold):
    fake_engine.lost_threshold_ms = threshold
    fake_engine.stop_threshold_ms = -threshold
    runner(fake_engine, sleep_after="never")
    link = fake_engine.wait_runner()
    actor = fake_engine.start_actor(link)
    link.reset()
    again = fake_engine.wait_runner(2)
    assert again.answer(again.request(actor.id, path="/pid"))[0] == 200


def test_many_starts_at_once(runner, fake_engine):
    runner(fake_engine, sleep_after="never", isolation="shared", actors_per_worker=1000)
    link = fake_engine.wait_runner()
    actors = [fake_engine.actor(key=str(number)) for number in range(300)]
    link.send("ToClientCommands", [fake_engine.start_command(actor) for actor in actors])
    wait_for(lambda: len({event[0]["actorId"] for event in link.events() if event[1] == "ActorStateRunning"}) == 300,
             60, "300 running")
    link.send("ToClientCommands", [fake_engine.stop_command(actor) for actor in actors])
    wait_for(lambda: len({event[0]["actorId"] for event in link.events() if event[1] == "ActorStateStopped"}) == 300,
             60, "300 stopped")
    wait_for(lambda: not fake_engine.commands, 10, "acknowledgements")


def test_each_actor_goes_to_its_type(make_daemon, fake_engine):
    types = {name: type_of("probe.py", environment={"WHO": name}, sleep_after="never") for name in ("one", "two")}
    make_daemon({"actors": types}, engine=fake_engine.url)
    link = fake_engine.wait_runner()
    for name in types:
        actor = fake_engine.start_actor(link, name=name)
        assert f'"WHO": "{name}"'.encode() in link.answer(link.request(actor.id, path="/env"))[2]


def test_spoilt_messages_of_every_kind_are_survived(link, fake_engine):
    """Each recorded message of the engine, as it is and with some bytes wrong, missing or too many."""
    chance = random.Random(7)
    with open(os.path.join(ROOT, "tests", "data", "runner-v7-vectors.json"), encoding="utf-8") as file:
        whole = [bytes.fromhex(one["hex"]) for one in json.load(file) if one["direction"] == "ToClient"]
    for raw in whole:
        spoilt = bytearray(raw)
        for _ in range(chance.randint(1, 3)):
            spoilt[chance.randrange(len(spoilt))] = chance.randrange(256)
        for frame in raw, bytes(spoilt), raw[:chance.randrange(len(raw))], raw + b"\x00\x01":
            fake_engine.open_connections()[-1].send_raw(frame)
    actor = fake_engine.start_actor(fake_engine.open_connections()[-1])
    link = fake_engine.open_connections()[-1]
    assert link.answer(link.request(actor.id, path="/pid"))[0] == 200
    assert not [frame for each in fake_engine.connections for frame in each.bad_frames]


def test_flood_of_commands_for_strangers_is_bounded(link, fake_engine):
    """Starts of types that are not there, stops of nobody, acknowledgements of nothing: answered or ignored, all of them."""
    known = fake_engine.start_actor(link)
    strangers = [fake_engine.actor(name="stranger") for _ in range(500)]
    link.send("ToClientCommands", [fake_engine.start_command(actor) for actor in strangers])
    wait_for(lambda: sum(event[1] == "ActorStateStopped" for event in link.events()) >= 500, 40, "500 refusals")
    link.send("ToClientCommands", [fake_engine.stop_command(actor) for actor in strangers])
    wait_for(lambda: len(fake_engine.commands) == 1, 20, "acknowledgements of all but the living")
    assert link.answer(link.request(known.id, path="/pid"))[0] == 200
    assert len(fake_engine.connections) == 1
