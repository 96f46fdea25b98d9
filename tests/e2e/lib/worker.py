"""Settings of the test workers, and the diary they keep."""

import json
import os

from lib.daemon import ROOT
from lib.wait import wait_for

WORKERS = os.path.join(ROOT, "tests", "e2e", "workers")
PYTHON = "/usr/bin/python3"


def command(program, *args):
    """The argv of a worker of workers/."""
    path = os.path.join(WORKERS, program)
    start = [PYTHON, "-S", "-u", path] if program.endswith(".py") else ["/bin/sh", path]
    return [*start, *args]


def type_of(program, *args, trace=None, **settings):
    """One entry of `actors` in the configuration; stops and sleeps are quick unless told otherwise."""
    settings.setdefault("stop_grace", "5s")
    environment = dict(settings.pop("environment", {}))
    if trace is not None:
        environment["PROBE_TRACE"] = trace.path
    return {"command": command(program, *args), "environment": environment, **settings}


class Trace:
    """A file of JSON lines that workers append to: boot, start, stop, alarm, request, sigterm."""

    def __init__(self, path):
        self.path = str(path)

    def events(self, kind=None, **fields):
        if not os.path.exists(self.path):
            return []
        with open(self.path, encoding="utf-8") as file:
            found = [json.loads(line) for line in file if line.endswith("\n")]
        return [event for event in found
                if kind in (None, event["event"]) and all(event.get(name) == value for name, value in fields.items())]

    def wait(self, kind, count=1, timeout=20, **fields):
        """The first `count` events of a kind, once there are that many."""
        wait_for(lambda: len(self.events(kind, **fields)) >= count, timeout, f"{count} x {kind} {fields or ''}")
        return self.events(kind, **fields)
