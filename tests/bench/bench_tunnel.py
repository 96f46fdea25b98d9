"""Engine mode: tunnelled requests, beside the official runner; what WebSockets and actors cost in memory."""

import contextlib
import os
import re
import subprocess
import time

from engines import FastEngine, cpu_us, keep_on, least_relay, official, runner
from figures import Absolute, Ratio
from lib import procs
from lib.engine import Engine
from lib.wait import wait_for

TITLE = "requests through an engine's tunnel beside the official runner; 10 000 WebSockets; 1 000 actors"
ROUNDS = 8
WARM_UP_S = 1
IN_FLIGHT = 256      # at the fake engine: the connections one worker gets
CONNECTIONS = 16     # at the real one
SOCKETS = 10000
ACTORS = 1000
SETTLE_S = 1
UNITS_US = {"us": 1, "ms": 1e3, "s": 1e6}
OFFICIAL = "the official runner"
RELAY = "the least relay"


def of(pairs, key):
    return [(reference[key], ours[key]) for reference, ours in pairs]


def both_runners(bench, stack, pool_of, name):
    """[(pool, daemon or None, pid)] of the official runner and of ours, each in a pool of its own."""
    theirs, ours = pool_of(), pool_of()
    peer = stack.enter_context(official(os.path.join(bench.scratch, name + "-official"), theirs))
    daemon = stack.enter_context(runner(os.path.join(bench.scratch, name), ours, [bench.program("worker")]))
    return [(theirs, None, peer.proc.pid), (ours, daemon, daemon.pid)]


def fake(bench):
    """Both runners, each before a fake engine of its own, in turns."""
    with contextlib.ExitStack() as stack:
        loads, chain = [], []
        for engine, daemon, pid in both_runners(bench, stack, lambda: stack.enter_context(FastEngine(bench)), "fake"):
            engine.ask("start c 1")
            if daemon:
                bench.favour(*daemon.workers())
            engine.load(pid, IN_FLIGHT, WARM_UP_S)
            loads.append((engine, pid))
            chain += [engine.proc.pid, pid, *(daemon.workers() if daemon else ())]

        def run_of(at, in_flight):
            return lambda: loads[at][0].load(loads[at][1], in_flight, bench.seconds)

        many = bench.turns(ROUNDS, run_of(0, IN_FLIGHT), run_of(1, IN_FLIGHT))
        # Where they wake each other on one processor: in a virtual machine waking another costs more than all the work.
        keep_on({max(os.sched_getaffinity(0))}, *chain)
        one = bench.turns(ROUNDS, run_of(0, 1), run_of(1, 1))
    cpu = of(many, "cpu_us")
    return [Absolute("tunnelled requests, fake engine", [ours["per_s"] for _, ours in many], "/s", at_least=50000),
            Absolute("CPU for each", [ours for _, ours in cpu], "us", at_most=25),
            Ratio("CPU for each", OFFICIAL, cpu, "us", at_most=0.2),
            Absolute("CPU for each, one at a time", [ours["cpu_us"] for _, ours in one], "us"),
            Ratio("median time to the answer, one at a time", OFFICIAL, of(one, "p50_us"), "us", at_most=1.0)]


def wrk(pid, url, connections, seconds):
    before = cpu_us(pid)
    text = subprocess.run(["wrk", "--latency", "-t", "1", "-c", str(connections), "-d", f"{seconds}s", url],
                          check=True, capture_output=True, text=True).stdout
    used_us = cpu_us(pid) - before
    if "Non-2xx" in text or "Socket errors" in text:
        raise RuntimeError(f"not every request was answered:\n{text}")
    p50 = re.search(r"50%\s+([\d.]+)(us|ms|s)\s", text)
    return {"per_s": float(re.search(r"Requests/sec:\s+([\d.]+)", text).group(1)),
            "cpu_us": used_us / int(re.search(r"(\d+) requests in", text).group(1)),
            "p50_us": float(p50.group(1)) * UNITS_US[p50.group(2)]}


def created(pool):
    """An actor; None while the engine has not made the pool yet, which it does after a runner has registered."""
    try:
        return pool.create("c")
    except AssertionError:
        return None


def real(bench):
    """Both runners, and the least that one can do, in pools of one real engine, through its gateway."""
    with contextlib.ExitStack() as stack:
        engine = stack.enter_context(Engine())
        pools = both_runners(bench, stack, engine.in_pool, "real")
        relay = engine.in_pool()
        pools.append((relay, None, stack.enter_context(least_relay(bench, engine, relay)).pid))
        targets = []
        for pool, daemon, pid in pools:
            actor = wait_for(lambda pool=pool: created(pool), what="the pool")
            actor.get()
            if daemon:
                bench.favour(*daemon.workers())
            targets.append((pid, pool.url + actor.path()))
            wrk(*targets[-1], CONNECTIONS, WARM_UP_S)

        def run_of(at, connections):
            return lambda: wrk(*targets[at], connections, bench.seconds)

        many = bench.turns(ROUNDS, run_of(0, CONNECTIONS), run_of(1, CONNECTIONS))
        floor = bench.turns(ROUNDS, run_of(2, CONNECTIONS), run_of(1, CONNECTIONS))
        one = bench.turns(ROUNDS, run_of(0, 1), run_of(1, 1))
    cpu = of(many, "cpu_us")
    return [Ratio("requests, real engine", OFFICIAL, of(many, "per_s"), "/s", at_least=1.0),
            Absolute("CPU for each, real engine", [ours for _, ours in cpu], "us", at_most=25),
            Ratio("CPU for each, real engine", OFFICIAL, cpu, "us", at_most=0.2),
            Ratio("CPU for each, real engine", RELAY, of(floor, "cpu_us"), "us"),
            Ratio("median time to the answer, real engine", OFFICIAL, of(one, "p50_us"), "us", at_most=1.0)]


def resident_kb(pid):
    time.sleep(SETTLE_S)
    return procs.status_kb(pid, "VmRSS")


def sockets(bench):
    with FastEngine(bench) as engine:
        with runner(os.path.join(bench.scratch, "sockets"), engine, [bench.program("socket_worker")]) as daemon:
            engine.ask("start c 1")
            before = resident_kb(daemon.pid)
            engine.ask(f"sockets {SOCKETS}")
            grown = resident_kb(daemon.pid) - before
    return [Absolute(f"each of {SOCKETS} idle tunnelled WebSockets", [grown / SOCKETS], "KiB", at_most=8)]


def actors(bench):
    with FastEngine(bench) as engine:
        with runner(os.path.join(bench.scratch, "actors"), engine, [bench.program("worker")], isolation="shared",
                    workers_max=1, actors_per_worker=ACTORS) as daemon:
            engine.ask(f"start c {ACTORS}")
            return [Absolute(f"resident with {ACTORS} actors in a worker", [resident_kb(daemon.pid) / 1024], "MiB",
                             at_most=16)]


def run(bench):
    return fake(bench) + real(bench) + sockets(bench) + actors(bench)
