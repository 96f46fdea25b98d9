"""The state of actors as the engine keeps it, with its limits, its words and its bugs."""

import time

KEY_MAX, VALUE_MAX, KEYS_MAX, PUT_MAX, LIST_MAX = 2046, 131072, 128, 999424, 16384
CHUNK = 10000  # values are cut into these; a reverse list finds the last one only


class FakeKv:
    """One map of bytes for each actor."""

    def __init__(self):
        self.stores = {}
        self.calls = []  # (actor id, operation, value)
        self.fail = None  # words every call fails with

    def add(self, actor_id):
        self.stores[actor_id] = {}

    def answer(self, actor_id, request):
        """The response union."""
        tag, value = request
        self.calls.append((actor_id, tag, value))
        if self.fail:
            return error(self.fail)
        store = self.stores.get(actor_id)
        if store is None:
            return error("actor does not exist")
        return getattr(self, tag)(store, value)

    def KvGetRequest(self, store, value):
        wrong = check_keys(value["keys"])
        if wrong:
            return error(wrong)
        found = []
        for key in value["keys"]:
            if key in store and not (found and found[-1] == key):
                found.append(key)
        return entries("KvGetResponse", found, store)

    def KvListRequest(self, store, value):
        kind, query = value["query"]
        keys = sorted(key for key in store if matches(kind, query, key))
        if value["reverse"]:
            keys.reverse()
        limit = LIST_MAX if value["limit"] is None else min(value["limit"], LIST_MAX)
        return entries("KvListResponse", keys[:limit], store, last_chunk=bool(value["reverse"]))

    def KvPutRequest(self, store, value):
        keys, values = value["keys"], value["values"]
        size = sum(len(key) + 2 for key in keys) + sum(len(one) for one in values)
        if check_keys(keys) or len(keys) != len(values) or size > PUT_MAX or any(len(one) > VALUE_MAX for one in values):
            return error("transaction failed")
        for key, one in zip(keys, values):
            store[key] = (one, int(time.time() * 1000))
        return "KvPutResponse", None

    def KvDeleteRequest(self, store, value):
        wrong = check_keys(value["keys"])
        if wrong:
            return error(wrong)
        for key in value["keys"]:
            store.pop(key, None)
        return "KvDeleteResponse", None

    def KvDeleteRangeRequest(self, store, value):
        for key in [key for key in store if value["start"] <= key < value["end"]]:
            del store[key]
        return "KvDeleteResponse", None

    def KvDropRequest(self, store, _value):
        store.clear()
        return "KvDropResponse", None


def check_keys(keys):
    if len(keys) > KEYS_MAX:
        return "a maximum of 128 keys is allowed"
    if any(len(key) > KEY_MAX for key in keys):
        return "key is too long (max 2048 bytes)"
    return None


def matches(kind, query, key):
    if kind == "KvListAllQuery":
        return True
    if kind == "KvListPrefixQuery":
        # The byte behind the prefix must not be 0xff, or the key is missed.
        return key.startswith(query["key"]) and key[len(query["key"]):len(query["key"]) + 1] != b"\xff"
    return query["start"] <= key and (key < query["end"] if query["exclusive"] else key <= query["end"])


def entries(tag, keys, store, last_chunk=False):
    values = [store[key][0] for key in keys]
    if last_chunk:
        values = [one[(len(one) - 1) // CHUNK * CHUNK:] if len(one) > CHUNK else one for one in values]
    return tag, {"keys": keys, "values": values,
                 "metadata": [{"version": b"2.3.19", "updateTs": store[key][1]} for key in keys]}


def error(words):
    return "KvErrorResponse", {"message": words}
