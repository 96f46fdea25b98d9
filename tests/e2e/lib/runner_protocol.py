"""Runner protocol v7 in Python, written from its tables and sharing nothing with the daemon's codec.

Values: struct -> dict, union -> (tag, value), enum -> name, data -> bytes, str -> str, map -> dict, void -> None,
absent optional -> None.
"""

import struct


class Malformed(Exception):
    """Bytes that are no message."""


class Reader:
    """What is left of a message."""

    def __init__(self, raw):
        self.raw = raw
        self.at = 0

    def take(self, count):
        if count > len(self.raw) - self.at:
            raise Malformed(f"{count} bytes wanted at {self.at} of {len(self.raw)}")
        self.at += count
        return self.raw[self.at - count:self.at]

    def uint(self):
        value = 0
        for place in range(10):
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << (7 * place)
            if byte < 0x80:
                return value
        raise Malformed("a number that does not end")


def uint(value):
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


# ---- types: each has get(reader), put(value), and json(value) for the form of recorded messages ----

class Number:
    def __init__(self, form):
        self.form = struct.Struct("<" + form)
        self.as_text = form in "qQ"

    def get(self, reader):
        return self.form.unpack(reader.take(self.form.size))[0]

    def put(self, value):
        return self.form.pack(value)

    def json(self, value):
        return str(value) if self.as_text else value


class Bool:
    def get(self, reader):
        byte = reader.take(1)[0]
        if byte > 1:
            raise Malformed(f"bool {byte}")
        return byte == 1

    def put(self, value):
        return b"\1" if value else b"\0"

    def json(self, value):
        return value


class Data:
    def __init__(self, size=None):
        self.size = size

    def get(self, reader):
        return bytes(reader.take(reader.uint() if self.size is None else self.size))

    def put(self, value):
        if self.size is None:
            return uint(len(value)) + value
        assert len(value) == self.size
        return value

    def json(self, value):
        return value.hex()


class Str:
    def get(self, reader):
        try:
            return bytes(reader.take(reader.uint())).decode()
        except UnicodeDecodeError as error:
            raise Malformed(str(error)) from error

    def put(self, value):
        raw = value.encode()
        return uint(len(raw)) + raw

    def json(self, value):
        return value


class Void:
    def get(self, _reader):
        return None

    def put(self, _value):
        return b""

    def json(self, _value):
        return None


class Optional:
    def __init__(self, inner):
        self.inner = inner

    def get(self, reader):
        return self.inner.get(reader) if BOOL.get(reader) else None

    def put(self, value):
        return b"\0" if value is None else b"\1" + self.inner.put(value)

    def json(self, value):
        return None if value is None else self.inner.json(value)


class List:
    def __init__(self, inner):
        self.inner = inner

    def get(self, reader):
        count = reader.uint()
        if count > len(reader.raw):
            raise Malformed(f"a list of {count}")
        return [self.inner.get(reader) for _ in range(count)]

    def put(self, value):
        return uint(len(value)) + b"".join(self.inner.put(one) for one in value)

    def json(self, value):
        return [self.inner.json(one) for one in value]


class Map:
    def __init__(self, inner):
        self.pairs = List(Struct(key=STR, value=inner))
        self.inner = inner

    def get(self, reader):
        return {pair["key"]: pair["value"] for pair in self.pairs.get(reader)}

    def put(self, value):
        return self.pairs.put([{"key": key, "value": one} for key, one in value.items()])

    def json(self, value):
        return {key: self.inner.json(one) for key, one in value.items()}


class Struct:
    def __init__(self, **fields):
        self.fields = fields

    def get(self, reader):
        return {name: kind.get(reader) for name, kind in self.fields.items()}

    def put(self, value):
        assert set(value) <= set(self.fields), f"unknown fields: {set(value) - set(self.fields)}"
        return b"".join(kind.put(value.get(name)) for name, kind in self.fields.items())

    def json(self, value):
        return {name: kind.json(value[name]) for name, kind in self.fields.items()}


class Union:
    def __init__(self, **members):
        self.members = list(members.items())

    def get(self, reader):
        tag = reader.uint()
        if tag >= len(self.members):
            raise Malformed(f"tag {tag}")
        name, kind = self.members[tag]
        return name, kind.get(reader)

    def put(self, value):
        for tag, (name, kind) in enumerate(self.members):
            if name == value[0]:
                return uint(tag) + kind.put(value[1])
        raise AssertionError(f"no member {value[0]}")

    def json(self, value):
        return {"tag": value[0], "val": dict(self.members)[value[0]].json(value[1])}


class Enum(Union):
    def __init__(self, *names):
        super().__init__(**{name: VOID for name in names})

    def get(self, reader):
        return super().get(reader)[0]

    def put(self, value):
        return super().put((value, None))

    def json(self, value):
        return value


BOOL, DATA, STR, VOID, ID = Bool(), Data(), Str(), Void(), Data(4)
U16, U32, U64, I64 = Number("H"), Number("I"), Number("Q"), Number("q")

# ---- the tables ----

CHECKPOINT = Struct(actorId=STR, generation=U32, index=I64)
MESSAGE_ID = Struct(gatewayId=ID, requestId=ID, messageIndex=U16)
HEADERS = Map(STR)

EVENT = Union(
    EventActorIntent=Struct(intent=Union(ActorIntentSleep=VOID, ActorIntentStop=VOID)),
    EventActorStateUpdate=Struct(state=Union(
        ActorStateRunning=VOID, ActorStateStopped=Struct(code=Enum("Ok", "Error"), message=Optional(STR)))),
    EventActorSetAlarm=Struct(alarmTs=Optional(I64)))

KEYS = Struct(keys=List(DATA))
KV_REQUEST = Union(
    KvGetRequest=KEYS,
    KvListRequest=Struct(
        query=Union(KvListAllQuery=VOID, KvListRangeQuery=Struct(start=DATA, end=DATA, exclusive=BOOL),
                    KvListPrefixQuery=Struct(key=DATA)),
        reverse=Optional(BOOL), limit=Optional(U64)),
    KvPutRequest=Struct(keys=List(DATA), values=List(DATA)),
    KvDeleteRequest=KEYS,
    KvDeleteRangeRequest=Struct(start=DATA, end=DATA),
    KvDropRequest=VOID)
ENTRIES = Struct(keys=List(DATA), values=List(DATA), metadata=List(Struct(version=DATA, updateTs=I64)))
KV_RESPONSE = Union(KvErrorResponse=Struct(message=STR), KvGetResponse=ENTRIES, KvListResponse=ENTRIES,
                    KvPutResponse=VOID, KvDeleteResponse=VOID, KvDropResponse=VOID)

TO_SERVER_TUNNEL = Union(
    ToServerResponseStart=Struct(status=U16, headers=HEADERS, body=Optional(DATA), stream=BOOL),
    ToServerResponseChunk=Struct(body=DATA, finish=BOOL),
    ToServerResponseAbort=VOID,
    ToServerWebSocketOpen=Struct(canHibernate=BOOL),
    ToServerWebSocketMessage=Struct(data=DATA, binary=BOOL),
    ToServerWebSocketMessageAck=Struct(index=U16),
    ToServerWebSocketClose=Struct(code=Optional(U16), reason=Optional(STR), hibernate=BOOL))

TO_CLIENT_TUNNEL = Union(
    ToClientRequestStart=Struct(actorId=STR, method=STR, path=STR, headers=HEADERS, body=Optional(DATA), stream=BOOL),
    ToClientRequestChunk=Struct(body=DATA, finish=BOOL),
    ToClientRequestAbort=VOID,
    ToClientWebSocketOpen=Struct(actorId=STR, path=STR, headers=HEADERS),
    ToClientWebSocketMessage=Struct(data=DATA, binary=BOOL),
    ToClientWebSocketClose=Struct(code=Optional(U16), reason=Optional(STR)))

COMMAND = Union(
    CommandStartActor=Struct(
        config=Struct(name=STR, key=Optional(STR), createTs=I64, input=Optional(DATA)),
        hibernatingRequests=List(Struct(gatewayId=ID, requestId=ID))),
    CommandStopActor=VOID)

TO_SERVER = Union(
    ToServerInit=Struct(name=STR, version=U32, totalSlots=U32,
                        prepopulateActorNames=Optional(Map(Struct(metadata=STR))), metadata=Optional(STR)),
    ToServerEvents=List(Struct(checkpoint=CHECKPOINT, inner=EVENT)),
    ToServerAckCommands=Struct(lastCommandCheckpoints=List(CHECKPOINT)),
    ToServerStopping=VOID,
    ToServerPong=Struct(ts=I64),
    ToServerKvRequest=Struct(actorId=STR, requestId=U32, data=KV_REQUEST),
    ToServerTunnelMessage=Struct(messageId=MESSAGE_ID, messageKind=TO_SERVER_TUNNEL))

TO_CLIENT = Union(
    ToClientInit=Struct(runnerId=STR, metadata=Struct(
        runnerLostThreshold=I64, actorStopThreshold=I64, serverlessDrainGracePeriod=Optional(I64))),
    ToClientCommands=List(Struct(checkpoint=CHECKPOINT, inner=COMMAND)),
    ToClientAckEvents=Struct(lastEventCheckpoints=List(CHECKPOINT)),
    ToClientKvResponse=Struct(requestId=U32, data=KV_RESPONSE),
    ToClientTunnelMessage=Struct(messageId=MESSAGE_ID, messageKind=TO_CLIENT_TUNNEL),
    ToClientPing=Struct(ts=I64))


def decode(union, raw):
    """The message; every byte of it must be used."""
    reader = Reader(raw)
    value = union.get(reader)
    if reader.at != len(raw):
        raise Malformed(f"{len(raw) - reader.at} bytes behind the message")
    return value
