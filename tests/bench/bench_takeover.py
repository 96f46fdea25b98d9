"""Engine mode: one runner takes over from another with the same key while requests come."""

import collections
import contextlib
import http.client
import json
import os
import threading
import time

from engines import runner
from figures import Absolute
from lib.engine import Engine
from lib.wait import wait_for
from lib.worker import PYTHON, WORKERS, Trace

TITLE = "a takeover with 200 requests a second through the gateway of a real engine"
PER_S = 200
CALLERS = 50       # so that one that waits out a retry of the gateway holds up no other
BEFORE_S, AFTER_S = 2, 4
FAILED_S = 20      # without an answer
EVICTED = 79


class Load:
    """PER_S requests a second, each with a target of its own, sent when it is due whatever became of the others."""

    def __init__(self, address, path):
        self.address, self.path = address, path
        self.began = time.monotonic()
        self.number = 0
        self.over = False
        self.failed = {}  # target: what came instead of 200
        self.answered = {}  # target: process id of the worker
        self.slowest_s = 0
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self._call) for _ in range(CALLERS)]
        for thread in self.threads:
            thread.start()

    def _next(self):
        with self.lock:
            self.number += 1
            return self.number

    def _call(self):
        connection = http.client.HTTPConnection(*self.address, timeout=FAILED_S)
        while not self.over:
            number = self._next()
            due = self.began + number / PER_S
            time.sleep(max(0, due - time.monotonic()))
            target = f"/echo?{number}"
            try:
                connection.request("GET", self.path(target))
                answer = connection.getresponse()
                body = answer.read()
                if answer.status == 200:
                    self.answered[target] = json.loads(body)["pid"]
                else:
                    self.failed[target] = answer.status
            except OSError as error:
                self.failed[target] = error
                connection.close()
            self.slowest_s = max(self.slowest_s, time.monotonic() - due)
        connection.close()

    def stop(self):
        self.over = True
        for thread in self.threads:
            thread.join()


def seen_twice(trace, load):
    """How many requests workers of both daemons have seen: (answered by the first of them, by the second)."""
    pids = collections.defaultdict(list)
    for event in trace.events("request"):
        pids[event["target"]].append(event["pid"])
    twice = [target for target, seen in pids.items() if len(set(seen)) > 1]
    by_first = sum(load.answered.get(target) == pids[target][0] for target in twice)
    return by_first, len(twice) - by_first


def run(bench):
    trace = Trace(os.path.join(bench.scratch, "trace.jsonl"))
    with contextlib.ExitStack() as stack:
        pool = stack.enter_context(Engine()).in_pool()

        def daemon(name):
            return stack.enter_context(runner(
                os.path.join(bench.scratch, name), pool, [PYTHON, "-S", "-u", os.path.join(WORKERS, "probe.py")],
                env={"RIVET_RUNNER_KEY": "the-key"}, environment={"PROBE_TRACE": trace.path}))

        first = daemon("first")
        actor = pool.create("c")
        actor.get()
        load = Load(pool.address, actor.path)
        time.sleep(BEFORE_S)
        daemon("second")
        first.expected_codes.add(EVICTED)
        wait_for(lambda: not first.running, 20, "the end of the first")
        time.sleep(AFTER_S)
        load.stop()
    for target, what in load.failed.items():
        bench.say(f"{target}: {what!r}")
    by_both, again = seen_twice(trace, load)
    return [Absolute("takeover: requests", [load.number], ""),
            Absolute("takeover: failed", [len(load.failed)], ""),
            Absolute("takeover: slowest", [load.slowest_s], "s"),
            Absolute("takeover: run again by the second", [again], ""),
            Absolute("takeover: answered by both", [by_both], "", at_most=0)]
