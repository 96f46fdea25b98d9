#!/usr/bin/python3
"""Runs benchmarks and prints one table of what they measured.

A benchmark is a file bench_NAME.py beside this one with TITLE and run(bench),
which returns a list of figures (figures.py). It compares with something else
measured in the same minutes on the same machine, in turns, because no figure
of one machine and one minute says anything alone.
"""

import argparse
import contextlib
import dataclasses
import importlib
import os
import shutil
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "e2e"))  # the daemon under test: lib.daemon

from figures import table  # noqa: E402


def favour(*pids):
    """Where we run before others, so do these: sessions of their own are weighed by themselves (sched(7), autogroup)."""
    nice = os.getpriority(os.PRIO_PROCESS, 0)
    for pid in pids if nice < 0 else ():
        with contextlib.suppress(OSError):
            with open(f"/proc/{pid}/autogroup", "w", encoding="ascii") as file:
                file.write(str(nice))


@dataclasses.dataclass
class Bench:
    """What a benchmark gets."""

    programs: str  # where the programs of tests/bench and the C worker are
    scratch: str   # its own directory on the disk that is measured; removed after it
    seconds: int   # of one run of a load

    def program(self, name):
        return os.path.join(self.programs, name)

    def say(self, text):
        print(f"  {text}", file=sys.stderr, flush=True)

    def favour(self, *pids):
        favour(*pids)

    def turns(self, rounds, reference, ours):
        """[(reference, ours)] of so many rounds; who goes first changes with each."""
        pairs = []
        for i in range(rounds):
            first, second = (reference, ours) if i % 2 == 0 else (ours, reference)
            one, two = first(), second()
            pairs.append((one, two) if i % 2 == 0 else (two, one))
        return pairs


def names():
    return sorted(file[len("bench_"):-len(".py")] for file in os.listdir(HERE)
                  if file.startswith("bench_") and file.endswith(".py"))


def run_one(name, options):
    module = importlib.import_module("bench_" + name)
    print(f"{name}: {module.TITLE}", file=sys.stderr, flush=True)
    scratch = tempfile.mkdtemp(prefix=name + "-", dir=options.dir)
    try:
        return module.run(Bench(options.dir, scratch, options.seconds))
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dir", required=True, help="where the programs are and scratch files go")
    parser.add_argument("--seconds", type=int, default=1, help="length of one run of a load")
    parser.add_argument("names", nargs="*", choices=[*names(), []], help="default: all")
    options = parser.parse_args()
    favour(os.getpid())
    # Sockets are in memory on a real system, below /run; which is a disk in many a container.
    tempfile.tempdir = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    began = time.monotonic()
    figures = []
    for name in options.names or names():
        figures += run_one(name, options)
    load = os.getloadavg()[0]
    print(f"\n{table(figures)}\n\n{len(figures)} figures in {time.monotonic() - began:.0f} s "
          f"on {os.cpu_count()} processors, load average at the end {load:.1f}")


if __name__ == "__main__":
    main()
