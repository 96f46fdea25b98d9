"""The REST API and the gateway, as the engine's own clients know them."""

import base64
import json
import re
import secrets
import threading

import pytest

from lib.check import code_of, headers_of, together
from lib.rawhttp import once
from lib.worker import type_of

NS = "namespace=default"
RECORD = ["actor_id", "name", "key", "namespace_id", "datacenter", "runner_name_selector", "crash_policy", "create_ts",
          "start_ts", "pending_allocation_ts", "connectable_ts", "sleep_ts", "reschedule_ts", "destroy_ts"]
ID = re.compile(r"[0-9a-z]{27}[0-9a-z]00")


def body(**changes):
    made = {"name": "probe", "key": "k", "runner_name_selector": "default", "crash_policy": "sleep", **changes}
    return {name: value for name, value in made.items() if value is not ...}


def refused(answer, status, code):
    assert answer.status_code == status, answer.text
    assert code_of(answer) == code
    return answer.json()


def decoded(actor_id):
    """The 19 bytes of an id."""
    number = sum(int(digit, 36) * 36 ** place for place, digit in enumerate(actor_id))
    return number.to_bytes(19, "little")


@pytest.fixture
def made(calm, request):
    """An actor that no request has reached."""
    return calm.create("probe", "api-" + request.node.name)


# ---- health, metadata, the common rules ----

def test_health(calm):
    said = calm.get("/health?whatever=1").json()
    assert (said["runtime"], said["status"]) == ("engine", "ok")
    assert said["version"]


def test_metadata(calm):
    answer = calm.get("/metadata?namespace=anything")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("application/json")
    assert answer.json()["runtime"] == "engine"


def test_unknown_path(calm):
    refused(calm.get("/nothing/here"), 404, "api.not_found")


@pytest.mark.parametrize("method, path", [("GET", "/actors/someid"), ("POST", "/health"), ("PATCH", "/actors"),
                                          ("DELETE", "/namespaces")])
def test_wrong_method(calm, method, path):
    answer = calm.request(method, path)
    assert answer.status_code == 405
    assert answer.headers["allow"]


def test_every_answer_has_a_ray_id(calm, actor):
    answers = [calm.get(path) for path in ("/health", "/metadata", "/nothing", "/actors")] + [actor.get("/pid")]
    ids = [answer.headers["x-rivet-ray-id"] for answer in answers]
    assert len(set(ids)) == len(ids)
    assert all(ids)


def test_root_redirects_or_explains(calm):
    assert calm.get("/").status_code in (200, 302, 307, 308, 404)


@pytest.mark.parametrize("path", ["/datacenters", "/namespaces", "/runners?" + NS, "/runners/names?" + NS,
                                  "/envoys?" + NS, "/runner-configs?" + NS, "/actors/names?" + NS])
def test_lists_have_pagination(calm, path):
    answer = calm.get(path)
    assert answer.status_code == 200, answer.text
    assert "cursor" in answer.json()["pagination"]


# ---- create ----

def test_create(calm):
    record = calm.post("/actors?" + NS, json=body(key="api/create")).json()["actor"]
    assert [name for name in record if name != "error"] == RECORD
    assert (record["name"], record["key"], record["crash_policy"]) == ("probe", "api/create", "sleep")
    assert record["runner_name_selector"] == "default"
    assert record["create_ts"] > 1_600_000_000_000
    assert record["start_ts"] is None and record["destroy_ts"] is None


def test_ids(calm, made):
    assert ID.fullmatch(made.id) and len(made.id) == 30
    raw = decoded(made.id)
    assert raw[0] == 1
    assert raw[7] >> 4 == 4 and raw[9] >> 6 == 2
    assert raw[17:] == b"\x00\x01"
    assert ID.fullmatch(made.record["namespace_id"])


def test_create_without_key(calm):
    first, second = (calm.post("/actors?" + NS, json=body(key=...)).json()["actor"] for _ in range(2))
    assert first["actor_id"] != second["actor_id"]


def test_create_with_a_taken_key(calm, made):
    error = refused(calm.post("/actors?" + NS, json=body(key=made.key)), 400, "actor.duplicate_key")
    assert error["metadata"] == {"existing_actor_id": made.id, "key": made.key}
    assert made.key in error["message"] and made.id in error["message"]


def test_same_key_under_another_name(calm, made):
    other = calm.create("other", made.key)
    assert other.id != made.id


def test_get_or_create(calm):
    first = calm.request("PUT", "/actors?" + NS, json=body(key="api-goc"))
    second = calm.request("PUT", "/actors?" + NS, json=body(key="api-goc"))
    assert (first.json()["created"], second.json()["created"]) == (True, False)
    assert first.json()["actor"]["actor_id"] == second.json()["actor"]["actor_id"]


def test_get_or_create_at_the_same_time_makes_one(calm):
    made = together(16, calm.get_or_create, "probe", "api-race")
    assert len({actor.id for actor in made}) == 1
    assert [actor.created for actor in made].count(True) == 1


@pytest.mark.parametrize("changes, code", [
    ({"key": ""}, "actor.empty_key"),
    ({"key": "k" * 1025}, "actor.key_too_large"),
    ({"key": "ü" * 513}, "actor.key_too_large"),
    ({"name": ...}, "api.bad_request"),
    ({"crash_policy": ...}, "api.bad_request"),
    ({"runner_name_selector": ...}, "api.bad_request"),
    ({"crash_policy": "explode"}, "api.bad_request"),
    ({"colour": "red"}, "api.bad_request"),
    ({"key": 5}, "api.bad_request"),
    ({"name": None}, "api.bad_request"),
    ({"datacenter": "mars"}, "datacenter.not_found"),
    ({"name": "prode"}, "actor.not_registered"),
])
@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_create_refuses(calm, method, changes, code):
    refused(calm.request(method, "/actors?" + NS, json=body(**{"key": "refused", **changes})), 400, code)


def test_key_of_the_greatest_length(calm):
    assert calm.create("probe", "k" * 1024).get("/pid").status_code == 200


def test_key_too_large_says_how_large(calm):
    error = refused(calm.post("/actors?" + NS, json=body(key="k" * 2000)), 400, "actor.key_too_large")
    assert error["metadata"]["max_size"] == 1024
    assert error["metadata"]["key_preview"]


@pytest.mark.parametrize("raw, kind", [(b"{", "application/json"), (b"[]", "application/json"), (b"", "application/json"),
                                       (b"\xff\xfe", "application/json"), (b'{"name":"a","name":"b"}', "application/json"),
                                       (json.dumps(body(key="kind")).encode(), "text/plain"),
                                       (json.dumps(body(key="kind")).encode(), None)])
def test_bad_bodies(calm, raw, kind):
    answer = calm.post("/actors?" + NS, data=raw, headers={"content-type": kind} if kind else {})
    error = refused(answer, 400, "api.bad_request")
    assert error["metadata"]["reason"]
    assert error["message"] == f"Request is invalid: {error['metadata']['reason']}"


def test_content_type_with_charset(calm):
    answer = calm.post("/actors?" + NS, data=json.dumps(body(key="charset")),
                       headers={"content-type": "application/json; charset=utf-8"})
    assert answer.status_code == 200


def test_body_too_large(calm):
    answer = calm.post("/actors?" + NS, json=body(key="large", input="A" * (3 << 20)))
    refused(answer, 400, "api.bad_request")


def test_chunked_api_body(calm):
    raw = json.dumps(body(key="chunked")).encode()
    answer = calm.request("PUT", "/actors?" + NS, data=iter([raw[:5], raw[5:]]),
                          headers={"content-type": "application/json"})
    assert answer.status_code == 200


def test_input_that_is_no_base64_is_no_input(calm):
    answer = calm.post("/actors?" + NS, json=body(key="bad-input", input="*** no base64 ***"))
    actor = answer.json()["actor"]
    calm.get(calm.gateway(actor["actor_id"], "/pid"))
    start = calm.trace.wait("start")
    said = [event for event in calm.trace.events("start") if event["body"]["actor_id"] == actor["actor_id"]]
    assert start and said[0]["body"]["input"] is None


@pytest.mark.parametrize("query, code", [("", "api.bad_request"), ("namespace=nope", "namespace.not_found"),
                                         (NS + "&colour=red", "api.bad_request")])
def test_namespace_is_required_and_known(calm, query, code):
    refused(calm.post("/actors?" + query, json=body(key="ns")), 400, code)
    refused(calm.get("/actors?name=probe&" + query), 400, code)


# ---- list ----

def test_list_by_id(calm, made):
    assert [actor["actor_id"] for actor in calm.actors(f"actor_ids={made.id}")] == [made.id]
    assert [actor["actor_id"] for actor in calm.actors(f"actor_id={made.id}")] == [made.id]


def test_list_by_several_ids(calm):
    ids = {calm.create("probe", f"several-{number}").id for number in range(3)}
    assert {actor["actor_id"] for actor in calm.actors("actor_ids=" + ",".join(ids))} == ids
    assert {actor["actor_id"] for actor in calm.actors("&".join("actor_id=" + one for one in ids))} == ids


def test_list_by_name_and_key(calm, made):
    assert [actor["actor_id"] for actor in calm.actors(f"name=probe&key={made.key}")] == [made.id]
    assert calm.actors("name=probe&key=nobody-has-this") == []


def test_list_pages_newest_first(make_daemon):
    daemon = make_daemon({"actors": {"probe": type_of("probe.py")}})
    made = [daemon.create("probe", f"page-{number}").id for number in range(7)]
    seen, cursor = [], None
    for _ in range(10):
        page = daemon.get(f"/actors?{NS}&name=probe&limit=3" + (f"&cursor={cursor}" if cursor else "")).json()
        seen += [actor["actor_id"] for actor in page["actors"]]
        cursor = page["pagination"]["cursor"]
        if cursor is None:
            break
        assert cursor == str(page["actors"][-1]["create_ts"])
    assert sorted(seen) == sorted(made)
    stamps = [actor["create_ts"] for actor in daemon.actors("name=probe")]
    assert stamps == sorted(stamps, reverse=True)


def test_list_pages_lose_nobody_created_at_the_same_time(make_daemon):
    daemon = make_daemon({"actors": {"probe": type_of("probe.py", sleep_after="never")}})
    made = {actor.id for actor in together(16, lambda: daemon.create("probe", secrets.token_hex(4)))}
    seen, cursor = [], ""
    while cursor is not None:
        page = daemon.get(f"/actors?{NS}&name=probe&limit=1&cursor={cursor}").json()
        seen += [actor["actor_id"] for actor in page["actors"]]
        cursor = page["pagination"]["cursor"]
    assert len(seen) == 16 and set(seen) == made


def test_list_hides_destroyed_unless_asked(calm, made):
    made.destroy()
    assert calm.actors(f"name=probe&key={made.key}") == []
    assert [actor["actor_id"] for actor in calm.actors("name=probe&include_destroyed=true&limit=1000")
            if actor["actor_id"] == made.id] == [made.id]
    assert calm.actors(f"actor_ids={made.id}")[0]["destroy_ts"]


@pytest.mark.parametrize("query, code", [
    ("", "validation.invalid_input"), ("&key=k", "validation.invalid_input"),
    ("&actor_id=nonsense", "api.bad_request"), ("&name=probe&limit=x", "api.bad_request"),
])
def test_list_refuses(calm, query, code):
    refused(calm.get(f"/actors?{NS}{query}"), 400, code)


def test_list_refuses_ids_with_a_name(calm, made):
    refused(calm.get(f"/actors?{NS}&name=probe&actor_ids={made.id}"), 400, "validation.invalid_input")


def test_list_refuses_too_many_ids(calm, made):
    error = refused(calm.get(f"/actors?{NS}&actor_ids=" + ",".join([made.id] * 33)), 400,
                    "validation.too_many_actor_ids")
    assert error["metadata"] == {"max": 32, "count": 33}


def test_list_drops_unreadable_ids(calm, made):
    assert [actor["actor_id"] for actor in calm.actors(f"actor_ids=nonsense,{made.id}")] == [made.id]


def test_names(calm, made):
    assert "probe" in calm.get(f"/actors/names?{NS}").json()["names"]


# ---- destroy, sleep ----

def test_destroy(made):
    assert (made.destroy().status_code, made.destroy().json()) == (200, {})
    assert made.info()["destroy_ts"]


def test_destroy_refuses(calm, made):
    unknown = "tlf0xcg1buacno4zofgpr7isbeal00"
    refused(calm.request("DELETE", f"/actors/{unknown}?{NS}"), 400, "actor.not_found")
    refused(calm.request("DELETE", f"/actors/nonsense?{NS}"), 400, "api.bad_request")
    refused(calm.request("DELETE", f"/actors/{made.id}"), 400, "api.bad_request")


def test_sleep_needs_a_json_body(calm, made):
    refused(calm.post(f"/actors/{made.id}/sleep?{NS}"), 400, "api.bad_request")
    assert made.sleep().json() == {}


def test_sleep_of_an_unknown_actor(calm):
    refused(calm.post(f"/actors/tlf0xcg1buacno4zofgpr7isbeal00/sleep?{NS}", json={}), 400, "actor.not_found")


# ---- namespaces, runners, configs ----

def test_namespaces(calm):
    listed = calm.get("/namespaces").json()["namespaces"]
    assert "default" in [namespace["name"] for namespace in listed]
    made = calm.post("/namespaces", json={"name": "research", "display_name": "Research"})
    assert made.status_code == 200
    assert set(made.json()["namespace"]) == {"namespace_id", "name", "display_name", "create_ts"}
    refused(calm.post("/namespaces", json={"name": "research", "display_name": "x"}), 400, "namespace.name_not_unique")
    assert calm.get("/namespaces?name=nope").json()["namespaces"] == []
    assert len(calm.get("/namespaces?name=research").json()["namespaces"]) == 1


@pytest.mark.parametrize("name", ["", "Upper", "-lead", "trail-", "two--dashes", "under_score", "x" * 65, "spa ce"])
def test_namespace_names(calm, name):
    refused(calm.post("/namespaces", json={"name": name, "display_name": "x"}), 400, "namespace.failed_to_create")


def test_namespaces_are_apart(calm):
    calm.post("/namespaces", json={"name": "elsewhere", "display_name": "x"})
    here = calm.create("probe", "in-both")
    there = calm.post("/actors?namespace=elsewhere", json=body(key="in-both")).json()["actor"]
    assert there["actor_id"] != here.id
    refused(calm.request("DELETE", f"/actors/{here.id}?namespace=elsewhere"), 400, "actor.not_found")
    assert calm.get(calm.gateway(there["actor_id"], "/env")).json()["RIVET_NAMESPACE"] == "elsewhere"


def test_runner_configs(calm):
    assert "default" in calm.get("/runner-configs?" + NS).json()["runner_configs"]
    answer = calm.request("PUT", "/runner-configs/pool?" + NS, json={"datacenters": {"default": {"normal": {}}}})
    assert answer.status_code == 200
    assert isinstance(answer.json()["endpoint_config_changed"], bool)
    assert calm.request("DELETE", "/runner-configs/pool?" + NS).json() == {}


def test_any_pool_name_is_accepted(calm):
    answer = calm.post("/actors?" + NS, json=body(key="any-pool", runner_name_selector="whatever"))
    assert answer.status_code == 200
    assert answer.json()["actor"]["runner_name_selector"] == "whatever"


# ---- ways to an actor ----

def test_gateway_by_path(made):
    assert made.get("/a/b?c=d").json()["target"] == "/a/b?c=d"


def test_gateway_id_in_upper_case(calm, made):
    assert calm.get(calm.gateway(made.id.upper(), "/pid")).status_code == 200


def test_gateway_with_token_in_the_path(calm, made):
    said = calm.get(f"/gateway/{made.id}@a%2Fsecret/rest").json()
    assert said["target"] == "/rest"
    assert "secret" not in json.dumps(said)


@pytest.mark.parametrize("path", ["/gateway/", "/gateway/@token/x", "/gateway//x", "/gateway"])
def test_not_a_gateway_path(calm, path):
    assert once(calm.address, "GET", path).status == 404


@pytest.mark.parametrize("path", ["//gateway/{id}/x", "/gateway//{id}/x", "/gateway/{id}//x", "/gateway/{id}/a//b?c"])
def test_base_path_with_an_empty_segment_is_no_gateway_path(calm, made, path):
    answer = once(calm.address, "GET", path.format(id=made.id))
    assert (answer.status, json.loads(answer.body)["code"]) == (404, "not_found")
    assert json.loads(answer.body)["group"] == "api"


def test_gateway_by_header(calm, made):
    fields = {"x-rivet-target": "actor", "x-rivet-actor": made.id}
    assert calm.get("/request/a?b=c", headers=fields).json()["target"] == "/request/a?b=c"
    assert calm.get("/request?b=c", headers=fields).json()["target"] == "/request?b=c"
    refused(calm.get("/elsewhere", headers=fields), 404, "guard.no_route")


def test_gateway_by_header_without_actor(calm):
    assert calm.get("/request/a", headers={"x-rivet-target": "actor"}).status_code == 400


def test_gateway_by_query(calm):
    path = calm.gateway_query("probe", "by,query", "/request/x?a=1&b=%2f+")
    first, second = (json.loads(once(calm.address, "GET", path).body) for _ in range(2))
    assert first["target"] == "/request/x?a=1&b=%2f+"
    assert headers_of(first)["x-rivet-actor-key"][0] in ("by%2Fquery", "by/query")
    assert headers_of(second)["x-rivet-actor-id"] == headers_of(first)["x-rivet-actor-id"]


def test_gateway_query_pairs_are_removed_wherever_they_are(calm, made):
    path = f"/gateway/probe/x?a=1&rvt-namespace=default&b=%2f&rvt-method=get&rvt-key={made.key}&c"
    assert json.loads(once(calm.address, "GET", path).body)["target"] == "/x?a=1&b=%2f&c"


def test_gateway_query_get(calm, made):
    path = calm.gateway_query("probe", made.key, "/x", method="get")
    assert headers_of(calm.get(path).json())["x-rivet-actor-id"] == [made.id]
    refused(calm.get(calm.gateway_query("probe", "nobody", "/x", method="get")), 404, "actor.not_found")


def test_gateway_query_empty_key(calm):
    said = calm.get("/gateway/probe/x?rvt-namespace=default&rvt-method=getOrCreate&rvt-runner=default").json()
    assert headers_of(said)["x-rivet-actor-key"][0] in ("%2F", "/")


def test_gateway_query_input(calm):
    cbor = b"\xa1\x61x\x01"
    text = base64.urlsafe_b64encode(cbor).decode().rstrip("=")
    said = calm.get(calm.gateway_query("probe", "with-input", "/echo", input=text)).json()
    actor = headers_of(said)["x-rivet-actor-id"][0]
    start = [event for event in calm.trace.events("start") if event["body"]["actor_id"] == actor][0]
    assert base64.b64decode(start["body"]["input"]) == cbor


@pytest.mark.parametrize("query, code", [
    ("rvt-namespace=default", "guard.query_invalid_params"),
    ("rvt-method=get", "guard.query_invalid_params"),
    ("rvt-namespace=default&rvt-method=steal&rvt-runner=default", "guard.query_invalid_params"),
    ("rvt-namespace=default&rvt-method=get&rvt-colour=red", "guard.query_invalid_params"),
    ("rvt-namespace=default&rvt-method=get&rvt-key=a&rvt-key=b", "guard.query_duplicate_param"),
    ("rvt-namespace=default&rvt-method=getOrCreate&rvt-key=a", "guard.query_missing_pool"),
    ("rvt-namespace=default&rvt-method=get&rvt-runner=default", "guard.query_get_disallowed_params"),
    ("rvt-namespace=default&rvt-method=getOrCreate&rvt-runner=default&rvt-input=***", "guard.query_invalid_base64_input"),
    ("rvt-namespace=default&rvt-method=getOrCreate&rvt-runner=default&rvt-input=_w", "guard.query_invalid_cbor_input"),
    ("rvt-namespace=nope&rvt-method=get&rvt-key=a", "namespace.not_found"),
])
def test_gateway_query_refuses(calm, query, code):
    refused(calm.get(f"/gateway/probe/x?{query}"), 400, code)


def test_gateway_query_with_token_in_the_name(calm):
    path = "/gateway/probe@token/x?rvt-namespace=default&rvt-method=get&rvt-key=a"
    refused(calm.get(path), 400, "guard.query_path_token_syntax")


def test_gateway_of_nobody(calm):
    answer = calm.get(calm.gateway("tlf0xcg1buacno4zofgpr7isbeal00", "/x"))
    refused(answer, 404, "actor.not_found")
    assert answer.headers["x-rivet-error"] == "actor.not_found"


@pytest.mark.parametrize("actor_id", ["nonsense", "tlf0xcg1buacno4zofgpr7isbeal0", "%00", "tlf0xcg1buacno4zofgpr7isbeal0!"])
def test_gateway_malformed_id(calm, actor_id):
    assert calm.get(f"/gateway/{actor_id}/x").status_code == 404


@pytest.mark.parametrize("value, status", [("1", 200), ("true", 200), ("0", 200), ("false", 200), ("maybe", 400)])
def test_skip_ready_wait_header(calm, actor, value, status):
    answer = actor.get("/pid", headers={"x-rivet-skip-ready-wait": value})
    assert answer.status_code == status
    if status == 400:
        assert code_of(answer) == "guard.invalid_header"


def test_ray_id_of_the_caller_is_echoed(actor):
    ray = actor.get("/pid").headers["x-rivet-ray-id"]
    assert actor.get("/pid", headers={"x-rivet-ray-id": ray}).headers["x-rivet-ray-id"] == ray


def test_answers_say_which_actor_gave_them(calm):
    made = calm.create("probe", "a/b c")
    fields = made.get("/pid").headers
    assert fields["x-rivet-actor"] == made.id
    assert int(fields["x-rivet-actor-generation"]) >= 0
    assert fields["x-rivet-actor-key"] == "a%2Fb%20c"
    keyless = calm.post("/actors?" + NS, json=body(key=...)).json()["actor"]
    assert "x-rivet-actor-key" not in calm.get(calm.gateway(keyless["actor_id"], "/pid")).headers


def test_odd_ray_id_of_the_caller_is_not_echoed(actor):
    for ray in ("a b", "r\xe4y", "x" * 64, "<b>"):
        assert actor.get("/pid", headers={"x-rivet-ray-id": ray.encode("latin-1")}).headers["x-rivet-ray-id"] != ray


# ---- CORS ----

ORIGIN = {"Origin": "http://localhost:3000"}


def test_cors_of_the_api(calm):
    answer = calm.get("/metadata", headers=ORIGIN)
    assert answer.headers["access-control-allow-origin"] == ORIGIN["Origin"]
    assert answer.headers["access-control-allow-credentials"] == "true"


def test_cors_preflight_of_the_api(calm):
    answer = calm.request("OPTIONS", "/actors?" + NS, headers={**ORIGIN, "Access-Control-Request-Method": "PUT",
                                                               "Access-Control-Request-Headers": "content-type,x-own"})
    assert answer.status_code in (200, 204)
    assert answer.headers["access-control-allow-origin"] == ORIGIN["Origin"]
    assert "PUT" in answer.headers["access-control-allow-methods"]
    assert "x-own" in answer.headers["access-control-allow-headers"]


@pytest.mark.parametrize("path", ["/actors?" + NS, "/nothing", "/metadata"])
@pytest.mark.parametrize("fields", [{}, ORIGIN], ids=["plain", "origin"])
def test_options_of_the_api_is_a_preflight(calm, path, fields):
    answer = calm.request("OPTIONS", path, headers=fields)
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["access-control-allow-origin"] == fields.get("Origin", "*")


def test_cors_preflight_of_the_gateway_wakes_nobody(calm, made):
    made.get("/pid")
    made.sleep()
    made.wait_asleep()
    answer = calm.request("OPTIONS", made.path("/x"), headers={**ORIGIN, "Access-Control-Request-Method": "POST",
                                                               "Access-Control-Request-Headers": "x-rivet-encoding"})
    assert answer.status_code == 204
    assert answer.headers["access-control-allow-origin"] == ORIGIN["Origin"]
    assert answer.headers["access-control-allow-headers"] == "x-rivet-encoding"
    assert "PATCH" in answer.headers["access-control-allow-methods"]
    assert answer.headers["access-control-max-age"] == "86400"
    assert "origin" in answer.headers["vary"].lower()
    assert made.sleeping()
    assert len([event for event in calm.trace.events("start") if event["body"]["actor_id"] == made.id]) == 1


def test_cors_preflight_needs_no_actor(calm):
    answer = calm.request("OPTIONS", calm.gateway("tlf0xcg1buacno4zofgpr7isbeal00", "/x"), headers=ORIGIN)
    assert answer.status_code == 204


def test_cors_of_answers_and_errors(calm, actor):
    for path in (actor.path("/pid"), calm.gateway("tlf0xcg1buacno4zofgpr7isbeal00", "/x")):
        answer = calm.get(path, headers=ORIGIN)
        assert answer.headers["access-control-allow-origin"] == ORIGIN["Origin"]
        assert answer.headers["access-control-expose-headers"] == "*"
        assert "origin" in answer.headers["vary"].lower()


def test_cors_of_the_worker_is_overwritten(calm, actor):
    pairs = json.dumps([["Access-Control-Allow-Origin", "http://evil.example"]])
    answer = actor.get("/headers", params={"json": pairs}, headers=ORIGIN)
    assert answer.headers["access-control-allow-origin"] == ORIGIN["Origin"]


# ---- under load ----

def test_api_under_concurrent_use(calm):
    failures = []

    def use(number):
        for turn in range(10):
            made = calm.get_or_create("probe", f"load-{number}-{turn}")
            if made.info()["actor_id"] != made.id or made.destroy().status_code != 200:
                failures.append(made.id)

    threads = [threading.Thread(target=use, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
