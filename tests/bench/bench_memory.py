"""What is resident, and what many sleeping actors cost."""

import http.client
import os
import socket
import subprocess
import tempfile
import time

from figures import Absolute, Extra
from lib.daemon import Daemon

TITLE = "memory at rest; 100 000 sleeping actors with an alarm each"
ACTORS = 100000
ROUNDS = 7
SETTLE_S = 0.3


def serving_after(daemon, notify):
    """Seconds from before the process is there until it has told that it is ready and has found an actor."""
    began = time.monotonic()
    daemon.spawn()
    while b"READY=1" not in notify.recv(4096):
        pass
    api = http.client.HTTPConnection(*daemon.address)
    api.request("GET", "/actors?namespace=default&name=c&key=key-1")
    found = api.getresponse()
    assert found.status == 200, found.read()
    found.read()
    api.close()
    return time.monotonic() - began


def measure(bench, directory, notify_path):
    """One start and one end of a daemon over this data: (MiB resident, seconds to the start)."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind(notify_path)
        notify.settimeout(60)
        try:
            with Daemon(directory, actor=("c", [bench.program("worker")]), env={"NOTIFY_SOCKET": notify_path},
                        start=False) as daemon:
                start_s = serving_after(daemon, notify)
                daemon.wait_ready()
                time.sleep(SETTLE_S)
                return daemon.rss_kb() / 1024, start_s
        finally:
            os.unlink(notify_path)


def run(bench):
    empty, full = os.path.join(bench.scratch, "empty"), os.path.join(bench.scratch, "full")
    for directory in (empty, full):
        os.makedirs(directory)
    with tempfile.TemporaryDirectory(prefix="rr-") as short:
        notify_path = os.path.join(short, "notify")
        measure(bench, empty, notify_path)  # the first start makes the store
        os.makedirs(os.path.join(full, "data"), mode=0o700)
        subprocess.run([bench.program("fill_store"), os.path.join(full, "data"), str(ACTORS), "c"], check=True)
        pairs = bench.turns(ROUNDS, lambda: measure(bench, empty, notify_path),
                            lambda: measure(bench, full, notify_path))
    return [Absolute("resident, idle", [reference[0] for reference, _ in pairs], "MiB", at_most=8),
            Extra("resident with 100 000 sleepers", "none", [(r[0], o[0]) for r, o in pairs], "MiB", at_most=16),
            Extra("start with 100 000 sleepers", "none", [(r[1], o[1]) for r, o in pairs], "s", at_most=0.5)]
