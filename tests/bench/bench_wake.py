"""A cold wake: the request of a client that wakes a sleeping actor, beside starting its program by hand."""

import contextlib
import os
import subprocess

from figures import Extra
from lib.daemon import Daemon
from lib.wait import wait_for

TITLE = "first answer of a sleeping actor, beside spawning the same program"
ROUNDS = 40


@contextlib.contextmanager
def undisturbed():
    """Before whatever else the machine runs, both sides alike, where that is allowed."""
    before = os.sched_getscheduler(0), os.sched_getparam(0)
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(os.sched_get_priority_min(os.SCHED_RR)))
    try:
        yield
    finally:
        os.sched_setscheduler(0, *before)


def run(bench):
    worker = bench.program("worker")

    def first_answer(*words):
        return float(subprocess.run([bench.program("first_answer"), *words], check=True, capture_output=True,
                                    text=True).stdout) / 1000

    with undisturbed(), Daemon(bench.scratch, actor=("c", [worker])) as daemon:
        actor = daemon.create("c")
        actor.get()

        def wake():
            assert actor.sleep().status_code == 200
            actor.wait_asleep()
            wait_for(lambda: not daemon.workers(), what="the end of the worker")
            return first_answer("get", str(daemon.port), actor.path())

        pairs = bench.turns(ROUNDS, lambda: first_answer("spawn", worker), wake)
    return [Extra("cold wake", "a bare spawn", pairs, "ms", at_most=2)]
