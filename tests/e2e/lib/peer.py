"""The official runner beside the daemon."""

import json
import os
import subprocess

from lib.daemon import ROOT
from lib.programs import node_22, npm_modules
from lib.wait import wait_for

SCRIPT = os.path.join(ROOT, "tests", "e2e", "peers", "official_runner.mjs")


class OfficialRunner:
    """A process of the official runner in one pool; key: the runner key it takes, else one of its own."""

    def __init__(self, pool, place, key=None, names=("probe",), **settings):
        modules = npm_modules()
        self.log_path = os.path.join(str(place), f"official-{os.urandom(3).hex()}.jsonl")
        said = {"endpoint": pool.url, "namespace": pool.namespace, "pool": pool.pool, "names": list(names), "key": key,
                "token": pool.token, **settings}
        with open(self.log_path, "wb") as log:
            self.proc = subprocess.Popen(
                [node_22(modules), SCRIPT, os.path.join(modules, "@rivetkit", "engine-runner"), json.dumps(said)],
                env={"PATH": os.environ["PATH"], "HOME": str(place)}, stdin=subprocess.PIPE, stdout=log, stderr=log)

    def __enter__(self):
        self.wait("connected")
        return self

    def __exit__(self, kind, value, trace):
        self.kill()

    def events(self, kind=None, **fields):
        found = []
        with open(self.log_path, encoding="utf-8") as file:
            for line in file:
                if line.startswith("{") and line.endswith("\n"):
                    found.append(json.loads(line))
        return [event for event in found if kind in (None, event["event"])
                and all(event.get(name) == value for name, value in fields.items())]

    def wait(self, kind, count=1, timeout=20, **fields):
        """The first `count` events of a kind, once there are that many."""
        def enough():
            found = self.events(kind, **fields)
            if len(found) < count and self.proc.poll() is not None:
                with open(self.log_path, encoding="utf-8") as file:
                    raise AssertionError(f"the official runner ended:\n{file.read()}")
            return len(found) >= count
        wait_for(enough, timeout, f"{count} x {kind} {fields or ''} of the official runner")
        return self.events(kind, **fields)

    def say(self, word):
        """shutdown: with a drain; leave: without one."""
        self.proc.stdin.write(word.encode() + b"\n")
        self.proc.stdin.flush()

    def kill(self):
        self.proc.kill()
        self.proc.wait()
        self.proc.stdin.close()
