"""HTTP between clients and workers: what passes, what does not, and what happens when one side goes."""

import hashlib
import json
import os
import re
import socket
import time

import pytest

from lib import procs
from lib.check import Background, code_of, diary, headers_of, touch
from lib.daemon import ROOT
from lib.rawhttp import Closed, RawConnection, once
from lib.wait import holds_for, wait_for

BIG = int(os.environ.get("RIVET_E2E_BIG", 1 << 30))
GROWTH_KB = 24 * 1024
# AddressSanitizer keeps up to 256 MiB of freed memory from being used again, which is no growth of ours.
NO_QUARANTINE = {"env": {"ASAN_OPTIONS": ":".join(filter(None, [os.environ.get("ASAN_OPTIONS"), "quarantine_size_mb=4"]))}}
ADDED = {"x-rivet-actor-id", "x-rivet-actor-name", "x-rivet-actor-key", "x-rivet-actor-generation",
         "x-rivet-request-id", "x-rivet-ray-id", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"}
DISGUISES = ["/.rivet/stop", "/.rivet/", "/.rivet", "//.rivet/stop", "/./.rivet/stop", "/a/../.rivet/stop",
             "/%2erivet/stop", "/%2Erivet/stop", "/.%72ivet/stop", "/.RIVET/stop", "/.Rivet/stop", "/%2e%72IVET/stop",
             "/x/%2e%2e/.rivet/stop", "/.rivet%2fstop", "/%2f.rivet/stop", "///.rivet//stop", "/.rivet/../.rivet/stop",
             "/.rivet/./alarm", "/a/b/../../.rivet/start", "/.rivet/stop?x=1", "/.rivet/unknown"]


def echo(connection, actor, rest="/echo", fields=(), method="GET", body=b""):
    connection.request(method, actor.path(rest), fields, body)
    answer = connection.read_answer(method)
    assert answer.status == 200, (answer.status, answer.body)
    return json.loads(answer.body)


def report_of(daemon, actor, rest="/echo", fields=(), method="GET", body=b"", **options):
    answer = once(daemon.address, method, actor.path(rest), fields, body, **options)
    assert answer.status == 200, (answer.status, answer.body)
    return json.loads(answer.body)


@pytest.fixture
def wire(calm):
    """One raw connection to the API."""
    with RawConnection(calm.address) as connection:
        yield connection


# ---- what arrives ----

@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "PROPFIND"])
def test_method_arrives(calm, actor, method):
    assert report_of(calm, actor, method=method)["method"] == method


@pytest.mark.parametrize("rest", ["/", "/a/b", "/a%2Fb", "/a%20b?q=%20+&r", "/a?b=//c", "/a/./b/../c", "/%E4%BD%A0", "/a;p=1,2",
                                  "/?", "/a?b?c", "/a?rvtx=1&x=%2f", "/~!$&'()*+,:@", "/.rivets/x", "/x.rivet/y",
                                  "/x/.rivet/y"])
def test_target_arrives_as_sent(calm, actor, rest):
    assert report_of(calm, actor, rest)["target"] == rest


def test_gateway_path_without_a_rest_is_the_root(calm, actor):
    answer = once(calm.address, "GET", f"/gateway/{actor.id}")
    assert json.loads(answer.body)["target"] == "/"


def test_headers_arrive_in_order_with_repeats(calm, actor):
    fields = [("X-One", "1"), ("Accept", "a"), ("X-One", "2"), ("x-two", ""), ("Accept", "b"), ("Cookie", "a=1; b=2")]
    seen = report_of(calm, actor, fields=fields)["headers"]
    own = {name.lower() for name, _ in fields}
    assert [(name.lower(), value) for name, value in seen if name.lower() in own] == \
        [(name.lower(), value) for name, value in fields]


def test_host_arrives(calm, actor, wire):
    assert headers_of(echo(wire, actor))["host"] == [wire.host]


def test_header_values_keep_their_bytes(calm, actor):
    fields = [("X-Latin", "gr\xfcn"), ("X-Inner", "a  b\tc"), ("X-Long", "v" * 8000)]
    seen = headers_of(report_of(calm, actor, fields=fields))
    assert (seen["x-latin"], seen["x-inner"], seen["x-long"]) == (["gr\xfcn"], ["a  b\tc"], ["v" * 8000])


def test_actor_headers_are_added(calm, wire):
    made = calm.create("probe", "key with/ü")
    seen = headers_of(echo(wire, made))
    assert seen["x-rivet-actor-id"] == [made.id]
    assert seen["x-rivet-actor-name"] == ["probe"]
    assert seen["x-rivet-actor-key"] in (["key%20with%2F%C3%BC"], ["key%20with/%C3%BC"])
    assert seen["x-rivet-actor-generation"][0].isdigit()
    assert seen["x-forwarded-for"] == ["127.0.0.1"]
    assert seen["x-forwarded-proto"] == ["http"]
    assert seen["x-forwarded-host"] == [wire.host]
    made.destroy()


def test_nothing_else_is_added(calm, actor):
    seen = report_of(calm, actor)["headers"]
    assert {name.lower() for name, _ in seen} <= ADDED | {"host", "connection"}


def test_request_ids_differ(calm, actor, wire):
    ids = [headers_of(echo(wire, actor))["x-rivet-request-id"][0] for _ in range(3)]
    assert len(set(ids)) == 3


@pytest.mark.parametrize("name", ["x-rivet-actor-id", "X-Rivet-Actor-Generation", "x-rivet-lifecycle", "x-rivet-token",
                                  "x-rivet-target", "x-rivet-actor", "x-rivet-request-id", "x-rivet-anything",
                                  "x_rivet_actor_id", "X_RIVET_LIFECYCLE", "x-rivet_lifecycle", "x_rivet-anything",
                                  "x-forwarded_for", "X-Forwarded-Proto", "x_forwarded_host"])
def test_forged_headers_do_not_pass(calm, actor, name):
    seen = headers_of(report_of(calm, actor, fields=[(name, "forged")]))
    assert "forged" not in [value for values in seen.values() for value in values]


@pytest.mark.parametrize("name", ["x-rivet-encoding", "x-rivet-conn-params", "x-rivet-ray-id"])
def test_headers_for_the_worker_pass(calm, actor, name):
    assert headers_of(report_of(calm, actor, fields=[(name, "passes")]))[name] == ["passes"]


@pytest.mark.parametrize("name", ["forwarded", "x-forwarded-port", "x-forwarded-prefix", "via", "x-rivetless"])
def test_what_looks_like_the_daemons_passes(calm, actor, name):
    assert headers_of(report_of(calm, actor, fields=[(name, "passes")]))[name] == ["passes"]


def test_hop_by_hop_headers_stop(calm, actor):
    fields = [("Connection", "keep-alive, X-Named"), ("X-Named", "1"), ("Keep-Alive", "timeout=5"), ("TE", "trailers"),
              ("Proxy-Connection", "keep-alive"), ("Proxy-Authorization", "x"), ("Trailer", "X-T"), ("X-Stays", "1")]
    seen = headers_of(report_of(calm, actor, fields=fields))
    assert not {"x-named", "keep-alive", "te", "proxy-connection", "proxy-authorization", "trailer"} & set(seen)
    assert seen["x-stays"] == ["1"]


def test_connection_cannot_name_the_daemons_own_headers(calm, actor):
    seen = headers_of(report_of(calm, actor, fields=[("Connection", "x-rivet-actor-id, host, content-length")]))
    assert seen["x-rivet-actor-id"] == [actor.id]
    assert seen["host"]


# ---- what comes back ----

def answered_headers(calm, actor, pairs):
    answer = once(calm.address, "GET", actor.path("/headers?json=" + json.dumps(pairs).replace(" ", "%20")
                                                  .replace('"', "%22")))
    assert answer.status == 200
    return answer


def test_answer_headers_keep_order_and_repeats(calm, actor):
    answer = answered_headers(calm, actor, [["Set-Cookie", "a=1"], ["X-A", "1"], ["Set-Cookie", "b=2"], ["X-A", "2"]])
    wanted = [(name.lower(), value) for name, value in answer.fields if name.lower() in ("set-cookie", "x-a")]
    assert wanted == [("set-cookie", "a=1"), ("x-a", "1"), ("set-cookie", "b=2"), ("x-a", "2")]


def test_answer_hop_by_hop_headers_stop(calm, actor):
    answer = answered_headers(calm, actor, [["Connection", "X-Named"], ["X-Named", "1"], ["Keep-Alive", "timeout=1"],
                                            ["Proxy-Authenticate", "x"], ["X-Stays", "1"], ["Upgrade", "h2c"]])
    names = {name.lower() for name, _ in answer.fields}
    assert not {"x-named", "keep-alive", "proxy-authenticate", "upgrade"} & names
    assert answer.header("x-stays") == "1"


def test_worker_cannot_pose_as_the_daemon(calm, actor):
    answer = answered_headers(calm, actor, [["x-rivet-error", "actor.not_found"], ["X-Rivet-Error", "again.no"]])
    assert answer.all("x-rivet-error") == []


@pytest.mark.parametrize("status", [200, 201, 302, 400, 404, 418, 500, 503, 599])
def test_status_passes(calm, actor, status):
    answer = once(calm.address, "GET", actor.path(f"/status?code={status}&body=text"))
    assert (answer.status, answer.body) == (status, b"text")


@pytest.mark.parametrize("status", [204, 304])
def test_answers_without_a_body(actor, wire, status):
    wire.request("GET", actor.path(f"/status?code={status}"))
    answer = wire.read_answer()
    assert answer.status == status
    assert answer.header("transfer-encoding") is None
    assert echo(wire, actor)["method"] == "GET"


def test_head(actor, wire):
    wire.request("HEAD", actor.path("/status?code=200&body=hello"))
    answer = wire.read_answer("HEAD")
    assert (answer.status, answer.header("content-length")) == (200, "5")
    assert echo(wire, actor)["method"] == "GET"


def test_empty_body(actor, wire):
    wire.request("GET", actor.path("/status?code=200"))
    answer = wire.read_answer()
    assert (answer.header("content-length"), answer.body) == ("0", b"")


def test_body_until_close_is_complete(actor, wire):
    wire.request("GET", actor.path("/until-close?body=whole"))
    assert wire.read_answer().body == b"whole"
    assert echo(wire, actor)["method"] == "GET"


def test_trailers_are_dropped(actor, wire):
    wire.request("GET", actor.path("/trailers"), [("TE", "trailers")])
    answer = wire.read_answer()
    assert (answer.body, answer.trailers) == (b"body", [])
    assert not answer.all("set-cookie")


def test_request_trailers_are_dropped(actor, wire):
    wire.request("POST", actor.path("/echo"), [("Transfer-Encoding", "chunked"), ("Trailer", "X-T")])
    wire.chunk(b"abc")
    wire.send(b"0\r\nX-T: late\r\nHost: evil\r\n\r\n")
    seen = json.loads(wire.read_answer().body)
    assert (seen["length"], seen["trailers"]) == (3, [])
    assert "x-t" not in headers_of(seen)
    assert headers_of(seen)["host"] == [wire.host]


def test_interim_answers_of_the_worker_are_dropped(actor, wire):
    wire.request("GET", actor.path("/interim"))
    head = wire.read_head()
    assert head.status == 200
    assert wire.read_body(head).body == b"final"


# ---- bodies ----

@pytest.mark.parametrize("size", [0, 1, 65535, 65536, 65537, 1 << 20, 5 << 20])
def test_body_with_length(actor, size):
    data = os.urandom(size)
    said = actor.post("/echo", data=data).json()
    assert (said["length"], said["sha256"]) == (size, hashlib.sha256(data).hexdigest())


def test_chunked_body(actor):
    parts = [os.urandom(size) for size in (1, 100, 70000, 3)]
    said = actor.post("/echo", data=iter(parts)).json()
    assert said["sha256"] == hashlib.sha256(b"".join(parts)).hexdigest()


def test_one_framing_reaches_the_worker(actor, wire):
    wire.request("POST", actor.path("/echo"), [("Transfer-Encoding", "chunked")], b"3\r\nabc\r\n0\r\n\r\n")
    seen = headers_of(json.loads(wire.read_answer().body))
    assert len(seen.get("content-length", [])) + len(seen.get("transfer-encoding", [])) == 1


def test_chunk_extensions_are_harmless(actor, wire):
    wire.request("POST", actor.path("/echo"), [("Transfer-Encoding", "chunked")],
                 b'3;a=b;c="d"\r\nabc\r\n00002\r\nde\r\n0;x\r\n\r\n')
    assert json.loads(wire.read_answer().body)["length"] == 5


@pytest.mark.parametrize("body", [b"3;" + b"x" * 5000, b"fffffffffffffffff\r\n", b"-1\r\n", b"3\r\nabcd\r\n0\r\n\r\n",
                                  b"0x3\r\nabc\r\n0\r\n\r\n"])
def test_bad_chunks_end_the_connection(calm, actor, wire, body):
    wire.request("POST", actor.path("/count"), [("Transfer-Encoding", "chunked")], body)
    rest = wire.read_rest()
    assert rest == b"" or rest.split()[1][:1] in (b"4", b"5")
    assert actor.get("/pid").status_code == 200


def test_streaming_both_ways(actor, wire):
    wire.request("POST", actor.path("/duplex"), [("Transfer-Encoding", "chunked")])
    for number in range(5):
        wire.chunk(b"piece %d" % number)
        if number == 0:
            assert wire.read_head().status == 200
        assert wire.read_chunk() == b"piece %d" % number
    wire.send(b"0\r\n\r\n")
    assert wire.read_chunk() == b""


def test_answer_streams_as_it_is_written(actor, wire, tmp_path):
    """The worker writes the rest only when the first piece has arrived."""
    wire.request("GET", actor.path(f"/stream?count=3&until={tmp_path}/go"))
    assert wire.read_head().status == 200
    assert wire.read_chunk() == b"part 0\n"
    touch(tmp_path / "go")
    assert wire.read_chunk() == b"part 1\n"


def test_server_sent_events(actor, wire):
    wire.request("GET", actor.path("/sse?count=3&every=0.3"), [("Accept", "text/event-stream")])
    head = wire.read_head()
    assert head.header("content-type") == "text/event-stream"
    assert [wire.read_chunk() for _ in range(3)] == [b"id: %d\ndata: tick\n\n" % number for number in range(3)]
    assert wire.read_chunk() == b""


def test_early_answer_to_an_upload(actor, wire):
    wire.request("POST", actor.path("/early"), [("Content-Length", str(64 << 20))])
    wire.send(b"x" * 1000)
    answer = wire.read_answer()
    assert (answer.status, answer.body) == (413, b"too much")


def flat(daemon, work):
    """Runs work() and fails when the daemon's memory grows meanwhile."""
    before = procs.status_kb(daemon.pid, "VmRSS")
    work()
    grown = procs.status_kb(daemon.pid, "VmHWM") - before
    assert grown < GROWTH_KB, f"grew by {grown} KiB"


def read_slowly(daemon, target, count):
    with RawConnection(daemon.address, timeout=300) as connection:
        connection.request("GET", target)
        head = connection.read_head()
        assert head.header("content-length") == str(count)
        left = count - len(connection.buffer)
        while left:
            part = connection.sock.recv(1 << 20)
            assert part, f"{left} bytes short"
            left -= len(part)


@pytest.mark.alone
@pytest.mark.big
@pytest.mark.deadline(400)
def test_big_download_with_flat_memory(probe):
    daemon = probe(daemon_options=NO_QUARANTINE)
    made = daemon.create("probe", "k")
    made.get("/pid")
    flat(daemon, lambda: read_slowly(daemon, made.path(f"/download?bytes={BIG}"), BIG))


@pytest.mark.alone
@pytest.mark.big
@pytest.mark.deadline(400)
def test_big_upload_with_flat_memory(probe):
    daemon = probe(daemon_options=NO_QUARANTINE)
    made = daemon.create("probe", "k")
    made.get("/pid")

    def upload():
        with RawConnection(daemon.address, timeout=300) as connection:
            connection.request("POST", made.path("/count"), [("Content-Length", str(BIG))])
            block, left = b"u" * (1 << 20), BIG
            while left:
                connection.send(block[:left])
                left -= min(left, len(block))
            assert json.loads(connection.read_answer().body) == {"length": BIG}

    flat(daemon, upload)


def test_slow_reader_holds_the_worker_back(probe, trace):
    daemon = probe()
    made = daemon.create("probe", "k")
    made.get("/pid")
    before = daemon.rss_kb()
    with RawConnection(daemon.address) as connection:
        connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.request("GET", made.path(f"/download?bytes={200 << 20}"))
        assert connection.read_head().status == 200
        holds_for(lambda: not trace.events("downloaded"), 1.5, "back-pressure")
        assert daemon.rss_kb() - before < GROWTH_KB


def test_slow_worker_holds_the_client_back(probe, trace, tmp_path):
    daemon = probe()
    made = daemon.create("probe", "k")
    made.get("/pid")
    before = daemon.rss_kb()
    with RawConnection(daemon.address) as connection:
        connection.request("POST", made.path(f"/stall?until={tmp_path}/go"), [("Content-Length", str(100 << 20))])
        sending = Background(connection.send, b"s" * (100 << 20))
        trace.wait("stalled")
        holds_for(lambda: not sending.done(), 1.5, "back-pressure")
        assert daemon.rss_kb() - before < GROWTH_KB
        touch(tmp_path / "go")
        sending.result()
        assert json.loads(connection.read_answer().body) == {"length": 100 << 20}


# ---- what a real engine would refuse ----

ENGINE_MAX = 20 << 20


@pytest.mark.parametrize("rest, code", [("/sse?count=2", "runner.streaming_unsupported"),
                                        (f"/download?bytes={ENGINE_MAX + 1}", "runner.response_too_large")])
def test_engine_limits_refuse(probe, rest, code):
    daemon = probe(config={"engine_limits": True})
    answer = daemon.create("probe", "k").get(rest)
    assert answer.status_code == 502
    assert answer.headers["x-rivet-error"] == code_of(answer) == code


def test_engine_limits_let_the_rest_pass(probe):
    made = probe(config={"engine_limits": True}).create("probe", "k")
    assert len(made.get(f"/download?bytes={ENGINE_MAX}").content) == ENGINE_MAX
    assert made.get("/stream?count=3").text.count("part") == 3


@pytest.mark.parametrize("rest", ["/sse?count=1", f"/download?bytes={ENGINE_MAX + 1}",
                                  f"/pour?bytes={ENGINE_MAX + 1}"])
def test_what_an_engine_would_refuse_is_said_once(probe, rest):
    """An event stream, a large answer with a length and one without."""
    daemon = probe()
    made = daemon.create("probe", "k")
    for _ in range(3):
        assert made.get(rest).status_code == 200
    said = [record for record in daemon.log_records() if "engine" in record["msg"].lower() and "probe" in str(record)]
    assert len(said) == 1


# ---- connections ----

def test_keep_alive(actor, wire):
    for _ in range(20):
        assert echo(wire, actor)["method"] == "GET"


def test_pipelining_answers_in_order(actor, wire):
    for number in range(10):
        wire.request("POST", actor.path(f"/echo?n={number}"), body=b"b" * number)
    answers = [json.loads(wire.read_answer().body) for _ in range(10)]
    assert [answer["length"] for answer in answers] == list(range(10))
    assert [answer["target"] for answer in answers] == [f"/echo?n={number}" for number in range(10)]


def test_connection_close_is_honoured(actor, wire):
    wire.request("GET", actor.path("/pid"), [("Connection", "close")])
    answer = wire.read_answer()
    assert answer.status == 200
    assert "close" in answer.header("connection").lower()
    assert wire.closed()


def test_http_1_0(actor, calm):
    with RawConnection(calm.address) as connection:
        connection.request("GET", actor.path("/stream?count=3"), version="HTTP/1.0", host=False)
        head = connection.read_head()
        assert head.status == 200
        assert head.header("transfer-encoding") is None
        assert connection.read_body(head).body == b"part 0\npart 1\npart 2\n"


def test_http_1_0_keep_alive(actor, wire):
    for _ in range(2):
        wire.request("GET", actor.path("/pid"), [("Connection", "keep-alive")], version="HTTP/1.0")
        answer = wire.read_answer()
        assert answer.status == 200
    assert "keep-alive" in (answer.header("connection") or "").lower()


def test_expect_100_continue(actor, wire):
    wire.request("POST", actor.path("/echo"), [("Expect", "100-continue"), ("Content-Length", "5")])
    assert wire.read_head().status == 100
    wire.send(b"hello")
    seen = json.loads(wire.read_answer().body)
    assert seen["length"] == 5
    assert "expect" not in headers_of(seen)


def test_unknown_expectation(actor, wire):
    wire.request("POST", actor.path("/echo"), [("Expect", "the-unexpected"), ("Content-Length", "0")])
    assert wire.read_answer().status in (200, 417)


def test_many_clients_at_once(calm, actor):
    connections = [RawConnection(calm.address) for _ in range(200)]
    for connection in connections:
        connection.request("GET", actor.path("/sleep?s=0.2"))
    assert [connection.read_answer().status for connection in connections] == [200] * 200
    for connection in connections:
        connection.close()


def test_request_split_into_single_bytes(actor, wire):
    raw = f"POST {actor.path('/echo')} HTTP/1.1\r\nHost: {wire.host}\r\nContent-Length: 3\r\n\r\nabc".encode()
    for place in range(len(raw)):
        wire.send(raw[place:place + 1])
    assert json.loads(wire.read_answer().body)["length"] == 3


@pytest.mark.deadline(120)
def test_head_that_never_ends_is_cut(calm, wire):
    wire.send(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n")
    began = time.monotonic()
    wire.sock.settimeout(60)
    rest = wire.read_rest()
    assert rest == b"" or b" 408 " in rest
    assert 5 < time.monotonic() - began < 50


@pytest.mark.parametrize("fields, target, statuses", [
    ([(f"X-{number}", "1") for number in range(120)], "/echo", (400, 431)),
    ([("X-Long", "v" * 40000)], "/echo", (400, 431)),
    ([], "/" + "a" * 9000, (400, 414, 431)),
])
def test_head_limits(actor, wire, fields, target, statuses):
    wire.request("GET", actor.path(target), fields)
    assert wire.read_answer().status in statuses


def test_head_within_limits(calm, actor):
    fields = [(f"X-{number}", "v" * 200) for number in range(80)]
    seen = headers_of(report_of(calm, actor, "/echo?" + "q" * 7000, fields))
    assert seen["x-79"] == ["v" * 200]


# ---- somebody leaves ----

def test_client_that_leaves_closes_its_worker_connection(probe, trace):
    daemon = probe()
    made = daemon.create("probe", "k")
    with RawConnection(daemon.address) as connection:
        connection.request("GET", made.path("/wait-leave"))
        trace.wait("waiting")
    trace.wait("left")


def test_half_closed_client_gets_its_answers(probe):
    daemon = probe(environment={"PROBE_START_DELAY": "0.3"})
    made = daemon.create("probe", "k")
    with RawConnection(daemon.address) as connection:
        connection.request("GET", made.path("/sleep?s=0.5"))
        connection.request("POST", made.path("/count"), body=b"body")
        connection.request("GET", made.path("/stream?count=4&every=0.9"))
        connection.sock.shutdown(socket.SHUT_WR)
        assert connection.read_answer().status == 200
        assert json.loads(connection.read_answer().body) == {"length": 4}
        assert connection.read_answer().body.count(b"part") == 4
        assert connection.closed()


def test_client_that_leaves_a_stream(probe, trace):
    daemon = probe()
    made = daemon.create("probe", "k")
    with RawConnection(daemon.address) as connection:
        connection.request("GET", made.path("/endless"))
        connection.read_head()
        connection.read_chunk()
    trace.wait("left")
    assert made.get("/pid").status_code == 200


def test_client_that_leaves_an_upload(probe, trace):
    daemon = probe()
    made = daemon.create("probe", "k")
    made.get("/pid")
    with RawConnection(daemon.address) as connection:
        connection.request("POST", made.path("/count"), [("Content-Length", "1000000")])
        connection.send(b"x" * 1000)
        trace.wait("request", 2)
    trace.wait("worker-error")
    assert not trace.events("counted")
    assert made.get("/pid").status_code == 200


@pytest.mark.parametrize("how", ["/exit?code=1", "/exit?code=0", "/drop", "/kill?signal=9"])
def test_worker_gone_before_the_answer(probe, how):
    made = probe().create("probe", "k")
    answer = made.get(how)
    assert answer.status_code == 502
    assert answer.headers["x-rivet-error"] == code_of(answer)


def test_request_is_not_repeated_after_the_worker_died(probe, trace):
    made = probe().create("probe", "k")
    made.get("/exit?code=1")
    made.wait_asleep()  # until its end is known, a request may still be given to the dead
    assert made.get("/pid").status_code == 200  # by the next worker, which would have got the other again before this
    assert len(trace.events("request")) == 2


@pytest.mark.parametrize("how", ["/exit-mid", "/exit-mid-chunks", "/drop-mid"])
def test_worker_gone_in_the_middle_cannot_look_complete(probe, how):
    daemon = probe()
    made = daemon.create("probe", "k")
    with RawConnection(daemon.address) as connection:
        connection.request("GET", made.path(how))
        assert connection.read_head().status == 200
        rest = connection.read_rest()
    assert b"some of it" in rest
    assert not rest.endswith(b"0\r\n\r\n")


@pytest.mark.parametrize("kind", ["text", "binary", "both-lengths", "two-lengths", "bad-length", "bad-status", "folded",
                                  "bare-cr", "huge-head", "empty"])
def test_garbage_of_the_worker_is_502(calm, actor, kind):
    answer = once(calm.address, "GET", actor.path(f"/garbage?kind={kind}"))
    assert answer.status == 502, answer.body
    assert not answer.all("set-cookie")
    assert actor.get("/pid").status_code == 200


def test_bad_chunk_of_the_worker_cannot_look_complete(calm, actor, wire):
    wire.request("GET", actor.path("/garbage?kind=bad-chunk"))
    try:
        answer = wire.read_answer()
        assert answer.status == 502
    except (Closed, ConnectionError, ValueError):
        pass


def test_stale_idle_connection_is_not_an_error(probe):
    made = probe().create("probe", "k")
    for _ in range(3):
        assert made.get("/until-close?body=x").status_code == 200
        assert made.get("/pid").status_code == 200


# ---- the daemon's own paths ----

@pytest.mark.parametrize("path", DISGUISES)
def test_rivet_paths_reach_no_worker(calm, actor, path):
    written = diary(calm.trace, actor)
    answer = once(calm.address, "POST", actor.path()[:-1] + path, body=b"{}")
    assert answer.status == 404, answer.body
    assert actor.get("/pid").status_code == 200  # what was on its way to the worker is there before this
    assert [event["target"] for event in written()] == ["/pid"]


# ---- request smuggling ----

def vectors():
    with open(os.path.join(ROOT, "tests", "data", "http-vectors.json"), encoding="utf-8") as file:
        return json.load(file)["vectors"]


def aimed(vector, actor, host):
    """The vector's bytes with the actor's path and the listener's address put in."""
    raw = bytes.fromhex(vector["request_hex"])
    path = actor.path("/count").encode()
    raw = re.sub(rb"^(\s*(?:GET|POST) )/", lambda found: found[1] + path, raw, count=1)
    return raw.replace(b"Host: a\r\n", b"Host: " + host.encode() + b"\r\n")


def served(actor, calm, before):
    return [event for event in calm.trace.events("request")[before:] if event["actor"] == actor.id]


@pytest.mark.parametrize("vector", vectors(), ids=lambda vector: f"{vector['id']}-{vector['name']}")
def test_http_vectors(calm, actor, wire, vector):
    actor.get("/pid")
    before = len(calm.trace.events("request"))
    wire.send(aimed(vector, actor, wire.host))
    wire.sock.shutdown(socket.SHUT_WR)
    rest = wire.read_rest()
    statuses = [line.split()[1] for line in rest.split(b"\r\n") if line.startswith(b"HTTP/1.")]
    asked = served(actor, calm, before)
    want = vector["want"]
    if want == "accept":
        assert statuses == [b"200"] and len(asked) == 1
    elif want == "accept-first-only":
        assert statuses[0] == b"200" and len(asked) == 1
    elif want.startswith("accept"):
        assert statuses in ([b"200"], [b"400"], []) and len(asked) <= 1
    else:
        assert b"200" not in statuses
        assert len(asked) <= 1


@pytest.mark.parametrize("head", [
    b"POST {path} HTTP/1.1\r\nHost: {host}\r\n: x\r\nContent-Length: 0\r\n\r\n",
    b"POST {path} HTTP/1.0\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"GET {path} HTTP/1.1\r\nHost: {host}\r\nHost: {host}\r\n\r\n",
    b"GET {path} HTTP/1.1\r\nHost: {host}, evil\r\n\r\n",
    b"GET {path} HTTP/1.1\r\nHost: {host}\r\nX: a\rb\r\n\r\n",
    b"GET {path}#fragment x HTTP/1.1\r\nHost: {host}\r\n\r\n",
    b"GET {path} HTTP/1.1\nHost: {host}\nContent-Length: 1\n\nGET",
    b"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: +3\r\n\r\nabc",
    b"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 99999999999999999999\r\n\r\nabc",
    b"POST {path} HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
], ids=["empty-name", "te-in-1.0", "two-hosts", "host-list", "bare-cr", "two-targets", "bare-lf", "plus-length",
        "huge-length", "two-te"])
def test_more_streams_to_refuse(calm, actor, wire, head):
    actor.get("/pid")
    before = len(calm.trace.events("request"))
    wire.send(head.replace(b"{path}", actor.path("/count").encode()).replace(b"{host}", wire.host.encode()))
    wire.sock.shutdown(socket.SHUT_WR)
    rest = wire.read_rest()
    assert rest == b"" or rest.split()[1][:1] in (b"4", b"5"), rest
    assert not served(actor, calm, before)


def test_absolute_form_target(calm, actor, wire):
    wire.request("GET", f"http://{wire.host}{actor.path('/echo?a=1')}")
    answer = wire.read_answer()
    assert answer.status == 200
    assert json.loads(answer.body)["target"] == "/echo?a=1"


def test_bytes_after_a_refused_request_are_not_read(calm, actor, wire):
    before = len(calm.trace.events("request"))
    good = f"GET {actor.path('/pid')} HTTP/1.1\r\nHost: {wire.host}\r\n\r\n".encode()
    wire.send(b"GET / HTTP/1.1\r\nHost: a b\r\nContent-Length: x\r\n\r\n" + good)
    rest = wire.read_rest()
    assert b" 200 " not in rest
    assert not served(actor, calm, before)
    wait_for(lambda: actor.get("/pid").status_code == 200, what="the daemon's health")
