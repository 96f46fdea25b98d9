"""Engine mode: the runtime API over the engine's key-value store is the one of local mode."""

import base64

import pytest

from lib.rt import Runtime, b64, encoded
from lib.wait import wait_for
# The same tests on another ground; pytest runs what it finds here.
from test_state import (  # noqa: F401  pylint: disable=unused-import
    letters, refused, rt, test_actors_do_not_see_each_other, test_alarm_calls, test_alarm_refuses_nonsense,
    test_any_byte_in_key_and_value, test_awkward_keys, test_batch_base64_is_the_default,
    test_batch_byte_limit_counts_two_more_for_each_key, test_batch_deletes, test_batch_does_not_mix,
    test_batch_gets_are_as_they_were_before, test_batch_is_all_or_nothing, test_batch_key_count_limit,
    test_batch_refuses_nonsense, test_delete_all, test_delete_must_say_what, test_delete_range_excludes_its_end,
    test_empty_value, test_entries_have_value_and_time, test_input, test_key_limits, test_last_page_has_no_next,
    test_list_refuses_nonsense, test_list_stops_at_four_mebibytes_and_goes_on, test_no_input,
    test_order_is_by_bytes, test_pages_follow_next, test_plus_in_a_key_is_a_plus, test_prefix_of_high_bytes,
    test_put_get_delete, test_ranges, test_reserved_keys_are_out_of_reach, test_reserved_keys_survive_every_delete,
    test_slash_and_percent_in_a_key_are_bytes, test_unknown_calls, test_utf8_encoding_refuses_what_is_not,
    test_value_limits)

pytestmark = pytest.mark.deadline(120)


@pytest.fixture(scope="module")
def calm(hosted):
    return hosted


def test_actor_record(calm):
    made = calm.create("probe", "who/am-i")
    said = Runtime(made).call("GET").json()
    assert set(said) == {"actor_id", "name", "key", "generation", "created_at", "namespace", "alarm_at"}
    assert (said["actor_id"], said["name"], said["key"], said["generation"]) == (made.id, "probe", "who/am-i", 0)
    made.destroy()


def test_engine_reads_the_same_values(calm, actor, rt):  # noqa: F811
    rt.put("a", b"\x00value")
    answer = calm.get(f"/actors/{actor.id}/kv/keys/{encoded(b64('a'))}?namespace={calm.namespace}")
    assert answer.status_code == 200, answer.text
    assert b64(b"\x00value") in answer.text


def test_values_over_the_engines_chunk_come_back_whole_in_reverse(rt):  # noqa: F811
    big = bytes(range(256)) * 100
    rt.put("a", big)
    rt.put("b", b"small")
    entries = rt.list(reverse="true").json()["entries"]
    assert [base64.b64decode(entry["value"]) for entry in entries] == [b"small", big]


def test_reverse_with_limit_and_bounds(letters):  # noqa: F811
    assert letters.keys(reverse="true", limit=2) == letters.keys()[::-1][:2]
    assert b64("b") in letters.keys(start="b", reverse="true")


def test_large_lists_do_not_starve_the_connection(calm, actor, rt):  # noqa: F811
    """The engine needs a millisecond for each listed key and answers nothing else meanwhile."""
    for part in range(24):
        rt.batch(put=[{"key": b64(f"{part:02}-{number:03}"), "value": ""} for number in range(125)])
    found = []
    start = {}
    while True:
        page = rt.list(**start).json()
        found += [entry["key"] for entry in page["entries"]]
        if page.get("next") is None:
            break
            start = {"start": base64.b64decode(page["next"])}
    assert len(found) == 3000 and found == sorted(found, key=lambda one: base64.b64decode(one))
    assert actor.get("/pid").status_code == 200


def test_state_goes_with_a_destroyed_actor(calm):
    made = calm.get_or_create("probe", "goes")
    Runtime(made).put("a", b"1")
    made.destroy()
    wait_for(lambda: made.info()["destroy_ts"] is not None, 20, "the end")
    again = calm.get_or_create("probe", "goes")
    assert again.id != made.id
    assert Runtime(again).get("a").status == 404
    again.destroy()
