"""Engine mode: requests through the real engine's gateway, and what the tunnel must never do."""

import hashlib
import http.client
import json

import pytest

from lib.check import Background, diary, headers_of, touch
from lib.wait import holds_for, wait_for
from test_traffic import (  # noqa: F401  pylint: disable=unused-import
    test_headers_for_the_worker_pass, test_many_clients_at_once)

pytestmark = pytest.mark.deadline(120)

MOST = 20 * 1024 * 1024


@pytest.fixture(scope="module")
def calm(hosted):
    return hosted


# ---- there ----

@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "PROPFIND"])
def test_method_arrives(actor, method):
    assert actor.request(method, "/echo").json()["method"] == method


@pytest.mark.parametrize("rest", ["/echo?", "/echo?q=1&q=2&empty=", "/echo/a%2Fb%20c/%C3%BC", "/echo/../x;y=1"])
def test_target_arrives_as_sent(calm, actor, rest):
    """Sent raw: a client library would tidy it up."""
    connection = http.client.HTTPConnection(*calm.address, timeout=30)
    connection.request("GET", actor.path(rest))
    assert json.loads(connection.getresponse().read())["target"] == rest
    connection.close()


def test_actor_headers_are_added(actor):
    seen = headers_of(actor.get("/echo").json())
    assert seen["x-rivet-actor-id"] == [actor.id]
    assert seen["x-rivet-actor-name"] == ["probe"]
    assert seen["x-rivet-actor-generation"] == ["0"]
    assert len(seen["x-rivet-request-id"]) == 1
    assert not set(seen) & {"connection", "transfer-encoding", "x-rivet-token", "x-rivet-target", "upgrade"}


@pytest.mark.parametrize("name", ["x-rivet-actor-id", "X_Rivet_Lifecycle", "x-rivet-request-id", "x-rivet-anything"])
def test_forged_headers_do_not_pass(actor, name):
    seen = headers_of(actor.get("/echo", headers={name: "forged"}).json())
    assert "forged" not in [value for values in seen.values() for value in values]


@pytest.mark.parametrize("size", [0, 1, 65536, 5 * 1024 * 1024, MOST])
def test_body_arrives(actor, size):
    body = hashlib.shake_128(b"seed").digest(size)
    said = actor.post("/echo", data=body).json()
    assert (said["length"], said["sha256"]) == (size, hashlib.sha256(body).hexdigest())


def test_chunked_body_arrives_with_a_length(actor):
    said = actor.post("/echo", data=iter([b"abc", b"defg"])).json()
    assert said["length"] == 7
    assert headers_of(said)["content-length"] == ["7"]


# ---- and back ----

@pytest.mark.parametrize("status", [200, 201, 302, 404, 418, 500, 503])
def test_status_passes(actor, status):
    answer = actor.get(f"/status?code={status}&body=words")
    assert (answer.status_code, answer.text) == (status, "words")


@pytest.mark.parametrize("status", [204, 304])
def test_answers_without_a_body(actor, status):
    assert actor.get(f"/status?code={status}").status_code == status
    assert actor.get("/pid").status_code == 200


def test_head(actor):
    answer = actor.request("HEAD", "/pid")
    assert (answer.status_code, answer.content) == (200, b"")
    assert int(answer.headers["content-length"]) > 0


def answered(actor, pairs):
    answer = actor.get("/headers", params={"json": json.dumps(pairs)})
    return answer, answer.raw.headers


def test_repeated_answer_headers_survive(actor):
    cookies = [f"c{number}={number}; Path=/" for number in range(9)]
    _, headers = answered(actor, [["Set-Cookie", one] for one in cookies] + [["X-One", "1"]])
    assert sorted(headers.getlist("set-cookie")) == cookies
    assert headers.getlist("x-one") == ["1"]


def test_hop_by_hop_headers_of_the_answer_stop(actor):
    _, headers = answered(actor, [["Connection", "X-Private"], ["X-Private", "1"], ["Keep-Alive", "timeout=9"],
                                  ["Proxy-Connection", "x"], ["X-Public", "1"]])
    assert "x-public" in headers
    assert not {"x-private", "proxy-connection"} & {name.lower() for name in headers}


def test_worker_cannot_pose_as_the_engine(actor):
    """503 with this header would be tried again seven times."""
    answer = actor.get("/headers", params={"json": json.dumps([["X-Rivet-Error", "guard.service_unavailable"]])})
    assert answer.status_code == 200
    assert "x-rivet-error" not in answer.headers


def test_header_bytes_that_are_no_utf8_do_not_lose_the_answer(actor):
    answer = actor.get("/headers", params={"json": json.dumps([["X-Latin", "gr\u00fcn"], ["X-Plain", "1"]])}, timeout=20)
    assert (answer.status_code, answer.headers["x-plain"]) == (200, "1")


def test_streamed_answer_is_collected(actor):
    answer = actor.get("/stream?count=50&every=0.005")
    assert answer.text == "".join(f"part {number}\n" for number in range(50))


@pytest.mark.parametrize("rest", ["/until-close?body=to+the+end", "/interim", "/trailers"])
def test_other_framings_are_collected(actor, rest):
    answer = actor.get(rest)
    assert (answer.status_code, answer.text) in [(200, "to the end"), (200, "final"), (200, "body")]
    assert not {"x-trailer", "link"} & {name.lower() for name in answer.headers}


def test_largest_answer_passes(actor):
    assert len(actor.get(f"/download?bytes={MOST}").content) == MOST


@pytest.mark.parametrize("rest, code", [
    (f"/download?bytes={MOST + 1}", "runner.response_too_large"),
    (f"/download?bytes={3 * MOST}", "runner.response_too_large"),
    ("/sse?count=3", "runner.streaming_unsupported"),
])
def test_what_the_tunnel_cannot_carry(actor, rest, code):
    answer = actor.get(rest)
    assert (answer.status_code, answer.headers["x-rivet-error"]) == (502, code)
    assert "websocket" in answer.text.lower()
    assert actor.get("/pid").status_code == 200


@pytest.mark.parametrize("how", ["/exit", "/kill?signal=9", "/drop", "/exit-mid", "/exit-mid-chunks", "/drop-mid",
                                 "/garbage?kind=text", "/garbage?kind=two-lengths", "/garbage?kind=bad-chunk"])
def test_worker_that_fails_is_502(calm, how):
    made = calm.create("other", how)
    answer = made.get(how)
    assert answer.status_code == 502, answer.text
    # Until its end is known, a request may still be given to the dead.
    wait_for(lambda: made.get("/pid").status_code == 200, what="an answer of the living")
    made.destroy()


@pytest.mark.parametrize("path", ["/.rivet/start", "/%2erivet/stop", "/x/../.rivet/alarm", "/.RIVET/stop"])
def test_rivet_paths_reach_no_worker(calm, actor, path):
    written = diary(calm.trace, actor)
    connection = http.client.HTTPConnection(*calm.address, timeout=30)
    connection.request("POST", actor.path(path), body=b"{}")
    assert connection.getresponse().status == 404
    connection.close()
    assert written() == []


def test_many_at_once_are_not_mixed_up(actor):
    def one(number):
        return actor.post(f"/echo?n={number}", data=b"x" * number).json()
    calls = [Background(one, number) for number in range(40)]
    for number, call in enumerate(calls):
        said = call.result()
        assert (said["target"], said["length"]) == (f"/echo?n={number}", number)


# ---- what only a fake engine does ----

@pytest.fixture
def link(runner, fake_engine):
    """The connection of a daemon with a fake engine."""
    runner(fake_engine, sleep_after="never")
    return fake_engine.wait_runner()


def test_answer_is_one_message_with_the_true_length(link, fake_engine):
    actor = fake_engine.start_actor(link)
    status, headers, body = link.answer(link.request(actor.id, path="/stream?count=3"))
    assert (status, body) == (200, b"part 0\npart 1\npart 2\n")
    lower = {name.lower(): value for name, value in headers.items()}
    assert lower["content-length"] == str(len(body))
    assert "transfer-encoding" not in lower
    tag = link.tunnel(tag="ToServerResponseStart")[0]
    assert (tag[2]["stream"], tag[0]["messageIndex"]) == (False, 0)
    assert not link.tunnel(tag="ToServerResponseChunk")


def test_request_sent_again_joins_the_one_that_runs(link, fake_engine, trace, tmp_path):
    actor = fake_engine.start_actor(link)
    pair = link.request(actor.id, path=f"/hold?until={tmp_path}/go")
    trace.wait("request")
    for index in (1, 2, 0):
        link.request(actor.id, path=f"/hold?until={tmp_path}/go", pair=pair, index=index)
    holds_for(lambda: len(trace.events("request")) == 1, 1, "one execution")
    touch(tmp_path / "go")
    assert link.answer(pair)[0] == 200
    assert len(trace.events("request")) == 1


def test_request_id_is_the_same_for_every_attempt(link, fake_engine, trace):
    actor = fake_engine.start_actor(link)
    pair = link.request(actor.id, path="/pid")
    link.answer(pair)
    link.request(actor.id, path="/pid", pair=pair, index=1)
    link.answer(link.request(actor.id, path="/pid"))
    ids = [event["id"] for event in trace.wait("request", 3)]
    assert ids[0] == ids[1] == (pair[0] + pair[1]).hex()
    assert ids[2] != ids[0]


def test_request_for_an_absent_actor_is_given_back(link, fake_engine):
    """The engine then looks for it again. A start may have been lost, so the daemon also asks for its commands anew."""
    pair = link.request(fake_engine.actor().id)
    wait_for(lambda: [one for each in fake_engine.connections for one in each.tunnel(pair, "ToServerResponseAbort")],
             40, "an abort")
    fake_engine.wait_runner(2)
    fake_engine.connections[-1].request(fake_engine.actor().id)
    holds_for(lambda: len(fake_engine.connections) == 2, 2, "one such reconnection")


def test_request_before_running_waits(runner, fake_engine):
    runner(fake_engine, environment={"PROBE_START_DELAY": "1"})
    link = fake_engine.wait_runner()
    actor = fake_engine.start_actor(link, wait=False)
    assert link.answer(link.request(actor.id, path="/pid"))[0] == 200


def test_requests_in_flight_are_answered_before_stopped(link, fake_engine, tmp_path):
    actor = fake_engine.start_actor(link)
    pairs = [link.request(actor.id, path=f"/hold?until={tmp_path}/never") for _ in range(3)]
    fake_engine.stop_actor(link, actor)
    order = [got.tag for got in link.messages() if got.tag in ("ToServerTunnelMessage", "ToServerEvents")]
    assert order.index("ToServerTunnelMessage") < len(order) - 1 and order[-1] == "ToServerEvents"
    for pair in pairs:
        link.answer(pair, timeout=1)


def test_cancelled_request_ends_at_the_worker(link, fake_engine, trace):
    actor = fake_engine.start_actor(link)
    pair = link.request(actor.id, path="/wait-leave")
    trace.wait("waiting")
    link.tunnel_send(pair, 1, "ToClientRequestAbort")
    trace.wait("left")
    holds_for(lambda: not link.tunnel(pair), 0.5, "silence")


def test_every_sent_frame_is_well_formed(link, fake_engine):
    """Not UTF-8, odd statuses, wrong lengths: what the worker does must not cost the frame."""
    actor = fake_engine.start_actor(link)
    for path in ("/headers?json=" + json.dumps([["X-A", "gr\u00fcn\u00ff"]]).replace("\\", "%5C").replace(" ", ""),
                 "/garbage?kind=both-lengths", "/garbage?kind=bad-status", "/status?code=999", "/status?code=204"):
        status, headers, body = link.answer(link.request(actor.id, path=path))
        assert 200 <= status <= 999
        length = {name.lower(): value for name, value in headers.items()}.get("content-length")
        assert length in (None, str(len(body or b"")))
    assert not link.bad_frames
