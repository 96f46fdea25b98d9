"""The engine's HTTP interface as clients use it: the daemon's own in local mode, a real engine's otherwise."""

import base64
from urllib.parse import quote

import requests

from lib.wait import SCALE, wait_for


class Actor:
    """One actor, as its REST record says, with requests through the gateway of what it was made with."""

    def __init__(self, api, record, created=True):
        self.api = api
        self.record = record
        self.created = created
        self.id = record["actor_id"]
        self.name = record["name"]
        self.key = record["key"]

    def path(self, rest="/"):
        return self.api.gateway(self.id, rest)

    def request(self, method, rest="/", **options):
        return self.api.request(method, self.path(rest), **options)

    def get(self, rest="/", **options):
        return self.request("GET", rest, **options)

    def post(self, rest="/", **options):
        return self.request("POST", rest, **options)

    def info(self):
        """The record as it is now."""
        answer = self.api.get(f"/actors?namespace={self.api.namespace}&actor_ids={self.id}")
        assert answer.status_code == 200, answer.text
        return answer.json()["actors"][0]

    def sleeping(self):
        return self.info()["sleep_ts"] is not None

    def wait_asleep(self, timeout=20):
        wait_for(self.sleeping, timeout, f"sleep of {self.id}")

    def wait_running(self, timeout=20):
        wait_for(lambda: self.info()["connectable_ts"] is not None, timeout, f"running of {self.id}")

    def wait_destroyed(self, timeout=20):
        wait_for(lambda: self.info()["destroy_ts"] is not None, timeout, f"end of {self.id}")

    def sleep(self):
        return self.api.request("POST", f"/actors/{self.id}/sleep?namespace={self.api.namespace}", json={})

    def destroy(self):
        return self.api.request("DELETE", f"/actors/{self.id}?namespace={self.api.namespace}")


class Api:
    """Calls of one server; whoever inherits has `url`. Everything happens in one namespace and one pool."""

    namespace = "default"
    pool = "default"

    def __init__(self, token=None):
        self.token = token
        self.http = requests.Session()
        self.http.trust_env = False
        if token:
            self.http.headers["Authorization"] = f"Bearer {token}"
            self.http.headers["x-rivet-token"] = token

    # ---- addresses and requests ----

    @property
    def ws_url(self):
        return self.url.replace("http", "ws", 1)

    def request(self, method, path, **options):
        options.setdefault("timeout", 40 * SCALE)
        options.setdefault("allow_redirects", False)
        return self.http.request(method, self.url + path, **options)

    def get(self, path, **options):
        return self.request("GET", path, **options)

    def post(self, path, **options):
        return self.request("POST", path, **options)

    def gateway(self, actor_id, rest="/"):
        """Path of an actor by id."""
        return f"/gateway/{actor_id}{rest if rest.startswith('/') else '/' + rest}"

    def gateway_query(self, name, key, rest="/", method="getOrCreate", **more):
        """Path of an actor by name and key; more: pool, input, token... without their rvt- prefix."""
        pairs = {"namespace": self.namespace, "method": method, "key": key}
        if method == "getOrCreate":
            pairs["runner"] = self.pool
        pairs.update((name.replace("_", "-"), value) for name, value in more.items())
        query = "&".join(f"rvt-{name}={quote(str(value), safe='')}" for name, value in pairs.items())
        base, _, own = rest.partition("?")
        return f"/gateway/{quote(name, safe='')}{base}?{own + '&' if own else ''}{query}"

    # ---- actors ----

    def _actor_body(self, name, key, input, crash_policy, extra):
        body = {"name": name, "runner_name_selector": self.pool, "crash_policy": crash_policy}
        if key is not None:
            body["key"] = key
        if input is not None:
            body["input"] = base64.b64encode(input).decode()
        body.update(extra)
        return body

    def create(self, name, key=None, input=None, crash_policy="sleep", **extra):
        """A new actor; input: bytes."""
        answer = self.post(f"/actors?namespace={self.namespace}",
                           json=self._actor_body(name, key, input, crash_policy, extra))
        assert answer.status_code == 200, f"{answer.status_code} {answer.text}"
        return Actor(self, answer.json()["actor"])

    def get_or_create(self, name, key, input=None, crash_policy="sleep", **extra):
        answer = self.request("PUT", f"/actors?namespace={self.namespace}",
                              json=self._actor_body(name, key, input, crash_policy, extra))
        assert answer.status_code == 200, f"{answer.status_code} {answer.text}"
        body = answer.json()
        return Actor(self, body["actor"], body["created"])

    def actors(self, query=""):
        answer = self.get(f"/actors?namespace={self.namespace}{'&' + query if query else ''}")
        assert answer.status_code == 200, answer.text
        return answer.json()["actors"]
