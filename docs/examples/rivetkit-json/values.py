"""Values on the wire of the actor protocol: JSON with a few extensions, and CBOR for an actor's input."""

import base64
import json
import math
import struct

SAFE_INTEGER = 2**53 - 1  # beyond it a JavaScript number is not exact


class BigInt(int):
    """An integer that came as JavaScript's bigint and goes back as one."""


def dumps(value):
    return json.dumps(_to_wire(value), allow_nan=False)


def loads(text):
    return _from_wire(json.loads(text))


def _to_wire(value):
    if isinstance(value, bool):
        return value
    if isinstance(value, BigInt) or isinstance(value, int) and abs(value) > SAFE_INTEGER:
        return ["$BigInt", str(value)]
    if isinstance(value, (bytes, bytearray)):
        return ["$Uint8Array", base64.b64encode(value).decode()]
    if isinstance(value, dict):
        return {name: _to_wire(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        items = [_to_wire(item) for item in value]
        return ["$" + items[0], items[1]] if _looks_tagged(value) else items
    return value


def _from_wire(value):
    if isinstance(value, dict):
        return {name: _from_wire(item) for name, item in value.items()}
    if not isinstance(value, list):
        return value
    if not _looks_tagged(value):
        return [_from_wire(item) for item in value]
    tag, content = value
    if tag.startswith("$$"):
        return [tag[1:], _from_wire(content)]
    if tag == "$BigInt":
        return BigInt(content)
    if tag in ("$Uint8Array", "$ArrayBuffer"):
        return base64.b64decode(content, validate=True)
    if tag == "$Set":
        return _from_wire(content)
    if tag == "$Undefined":
        return None
    raise ValueError(f"unknown value tag {tag}")


def _looks_tagged(value):
    return len(value) == 2 and isinstance(value[0], str) and value[0].startswith("$")


def loads_cbor(data):
    """The value of one CBOR item."""
    value, end = _Cbor(data).item(0)
    if end != len(data):
        raise ValueError("bytes after the CBOR item")
    return _from_wire(value)


class _Cbor:
    """Decodes what JavaScript encoders send; each method takes an offset and returns value and next offset."""

    FLOATS = {25: ">e", 26: ">f", 27: ">d"}
    SIMPLE = {20: False, 21: True, 22: None, 23: None}

    def __init__(self, data):
        self.data = data

    def take(self, at, size):
        if at + size > len(self.data):
            raise ValueError("CBOR ends too early")
        return self.data[at:at + size]

    def item(self, at):
        first = self.take(at, 1)[0]
        major, info = first >> 5, first & 31
        at += 1
        if major == 7:
            return self.simple(info, at)
        if info < 24:
            number = info
        elif info < 28:
            size = 1 << (info - 24)
            number = int.from_bytes(self.take(at, size), "big")
            at += size
        else:
            raise ValueError("CBOR of unknown length is not supported")
        if major < 2:
            return (-1 - number if major else number), at
        if major == 2:
            return self.take(at, number), at + number
        if major == 3:
            return self.take(at, number).decode(), at + number
        if major == 4:
            return self.array(number, at)
        if major == 5:
            return self.map(number, at)
        return self.item(at)  # a tag says no more than the item itself

    def simple(self, info, at):
        if info in self.SIMPLE:
            return self.SIMPLE[info], at
        if info not in self.FLOATS:
            raise ValueError(f"unknown CBOR value {info}")
        size = 1 << (info - 24)
        number = struct.unpack(self.FLOATS[info], self.take(at, size))[0]
        whole = math.isfinite(number) and number.is_integer() and abs(number) <= SAFE_INTEGER
        return (int(number) if whole else number), at + size

    def array(self, count, at):
        items = []
        for _ in range(count):
            item, at = self.item(at)
            items.append(item)
        return items, at

    def map(self, count, at):
        pairs = {}
        for _ in range(count):
            key, at = self.item(at)
            pairs[key], at = self.item(at)
        return pairs, at
