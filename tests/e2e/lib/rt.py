"""The runtime API as an actor's own worker sees it, called through the probe."""

import base64
import json

import requests


class Result:
    """What the runtime API answered."""

    def __init__(self, answer):
        self.status = answer["status"]
        self.headers = answer["headers"]
        self.body = base64.b64decode(answer["body"])

    def json(self):
        return json.loads(self.body)

    @property
    def code(self):
        """group.code of an error."""
        error = self.json()
        return f"{error['group']}.{error['code']}"


class Runtime:
    """Calls for one actor; the call is made by the worker of `via` (the actor itself unless told)."""

    def __init__(self, actor, who="self", via=None):
        self.via = via or actor
        self.base = f"/v1/actors/{who}"

    def call(self, method, rest="", body=None, headers=None):
        """rest: what follows the actor id in the target, as str or bytes."""
        if isinstance(body, (dict, list)):
            body = json.dumps(body).encode()
        target = self.base.encode() + (rest if isinstance(rest, bytes) else rest.encode())
        said = {"method": method, "target": base64.b64encode(target).decode(), "headers": headers,
                "body": None if body is None else base64.b64encode(body).decode()}
        answer = self.via.post("/rt", json=said)
        assert answer.status_code == 200, f"{answer.status_code} {answer.text}"
        return Result(answer.json())

    def leave(self, word):
        """Asks for the actor's own sleep or destroy; the answer to this very request may be lost in what follows."""
        try:
            self.call("POST", "/" + word)
        except (AssertionError, requests.RequestException):
            pass

    def get(self, key):
        return self.call("GET", "/kv/" + encoded(key))

    def put(self, key, value):
        return self.call("PUT", "/kv/" + encoded(key), value)

    def delete(self, key):
        return self.call("DELETE", "/kv/" + encoded(key))

    def list(self, **query):
        """Keys are percent-encoded, the other values sent as they are."""
        pairs = [f"{name}={encoded(value) if name in ('prefix', 'start', 'end') else value}"
                 for name, value in query.items()]
        return self.call("GET", "/kv" + ("?" + "&".join(pairs) if pairs else ""))

    def keys(self, **query):
        answer = self.list(**query)
        assert answer.status == 200, answer.body
        return [entry["key"] for entry in answer.json()["entries"]]

    def batch(self, **body):
        return self.call("POST", "/kv/batch", body)

    def alarm_at(self):
        return self.call("GET", "/alarm").json()["at"]


def encoded(value):
    """Every byte percent-encoded, so that no test depends on which ones have to be."""
    raw = value if isinstance(value, bytes) else str(value).encode()
    return "".join(f"%{byte:02X}" for byte in raw)


def b64(raw):
    return base64.b64encode(raw if isinstance(raw, bytes) else raw.encode()).decode()
