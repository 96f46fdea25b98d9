"""What the benchmarks of engine mode run against: an engine that is never the bottleneck, and runners in turns."""

import contextlib
import json
import os
import subprocess

from lib.daemon import Daemon
from lib.peer import OfficialRunner


def cpu_us(pid):
    """User and system time of the threads of a process so far; finer than the clock ticks of its stat."""
    total_ns = 0
    for thread in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{thread}/schedstat", encoding="ascii") as file:
            total_ns += int(file.read().split()[0])
    return total_ns / 1000


def keep_on(processors, *pids):
    """All threads of these processes run on these processors and no other."""
    for pid in pids:
        for thread in os.listdir(f"/proc/{pid}/task"):
            os.sched_setaffinity(int(thread), processors)


class FastEngine:
    """fake_engine.c: the engine's side of one runner."""

    namespace = pool = "default"
    token = None

    def __init__(self, bench):
        self.proc = subprocess.Popen([bench.program("fake_engine")], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                     text=True, bufsize=1)
        self.url = f"http://127.0.0.1:{self._line()['port']}"

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        self.proc.stdin.close()
        self.proc.wait()

    def _line(self):
        line = self.proc.stdout.readline()
        if not line:
            raise RuntimeError("the fake engine has ended; it said why above")
        return json.loads(line)

    def ask(self, command):
        self.proc.stdin.write(command + "\n")
        return self._line()

    def load(self, pid, in_flight, seconds):
        """One run: requests per second, CPU time of the runner's process for each, median of the time to the answer."""
        before = cpu_us(pid)
        told = self.ask(f"load {in_flight} {seconds}")
        return {"per_s": told["requests"] / told["seconds"], "cpu_us": (cpu_us(pid) - before) / told["requests"],
                "p50_us": told["p50_us"]}


def runner(directory, pool, command, **settings):
    """The daemon as a runner of `pool`, with one actor type, c, whose workers are this command."""
    os.makedirs(directory)
    env = {"RIVET_NAMESPACE": pool.namespace, "RIVET_RUNNER": pool.pool, "RIVET_TOTAL_SLOTS": "20000",
           **settings.pop("env", {})}
    config = {"actors": {"c": {"command": command, "sleep_after": "never", **settings}}}
    return Daemon(directory, config, engine=pool.url, env=env)


def official(directory, pool):
    """The official runner, which answers by itself."""
    os.makedirs(directory)
    return OfficialRunner(pool, directory, names=("c",), quiet=True)


@contextlib.contextmanager
def least_relay(bench, engine, pool):
    """Its process, in a pool of a real engine."""
    with subprocess.Popen([bench.program("least_relay"), str(engine.port), pool.namespace, pool.pool, "c",
                           bench.program("worker")], stdout=subprocess.PIPE, text=True) as relay:
        try:
            if relay.stdout.readline() != "connected\n":
                raise RuntimeError("the least relay has ended; it said why above")
            yield relay
        finally:
            relay.kill()
