"""Puts that are on the disk when they are answered: beside Redis, and beside the disk alone."""

import contextlib
import csv
import json
import os
import subprocess

from figures import Ratio
from lib.daemon import Daemon
from lib.wait import wait_for

TITLE = "durable puts of 128 bytes, beside Redis with an always synced log and a bare append and fdatasync"
CLIENTS = 64
KEYS = 10000  # as put_load.c
ROUNDS = 12
CALIBRATION_PUTS = 10000


@contextlib.contextmanager
def redis(directory, socket):
    server = subprocess.Popen(["redis-server", "--port", "0", "--unixsocket", socket, "--dir", directory,
                               "--appendonly", "yes", "--appendfsync", "always", "--save", "",
                               "--auto-aof-rewrite-percentage", "0", "--logfile", os.path.join(directory, "redis.log")])
    try:
        wait_for(lambda: server.poll() is not None or os.path.exists(socket), what="Redis")
        if server.poll() is not None:
            raise RuntimeError(f"redis-server ended with {server.returncode}; its log is {directory}/redis.log")
        yield
    finally:
        server.terminate()
        server.wait()


def redis_load(socket, puts):
    """Puts per second of so many puts."""
    text = subprocess.run(["redis-benchmark", "-s", socket, "-c", str(CLIENTS), "-n", str(puts), "-d", "128",
                           "-r", str(KEYS), "-t", "set", "--csv"], check=True, capture_output=True, text=True).stdout
    return float(next(csv.DictReader(text.splitlines()))["rps"])


def run(bench):
    socket = os.path.join(bench.scratch, "redis.sock")

    def here(connections):
        """A worker that puts through its runtime socket and tells what it saw."""
        answer = actor.get(f"/?connections={connections}&seconds={bench.seconds}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    def disk():
        file = os.path.join(bench.scratch, "append")
        return json.loads(subprocess.run([bench.program("append_sync"), file, str(bench.seconds)],
                                         check=True, capture_output=True, text=True).stdout)["p50_us"]

    with Daemon(bench.scratch, actor=("put", [bench.program("put_load")])) as daemon:
        actor = daemon.create("put")
        with redis(bench.scratch, socket):
            puts = int(redis_load(socket, CALIBRATION_PUTS) * bench.seconds)
            many = bench.turns(ROUNDS, lambda: redis_load(socket, puts),
                               lambda: (lambda r: r["puts"] / r["seconds"])(here(CLIENTS)))
        single = bench.turns(ROUNDS, disk, lambda: here(1)["p50_us"])
    return [Ratio(f"durable puts, {CLIENTS} connections", "Redis", many, "/s", at_least=1.0),
            Ratio("durable put, one connection, median", "append + fdatasync", single, "us", at_most=1.5)]
