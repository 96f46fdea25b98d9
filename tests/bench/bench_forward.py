"""Forwarding: the daemon and nginx in turns before the very same worker process."""

import contextlib
import glob
import os
import re
import socket
import subprocess

from figures import Ratio
from lib import procs
from lib.daemon import Daemon
from lib.wait import wait_for

TITLE = "64 keep-alive connections, answers of 128 bytes, beside nginx on the same worker"
CONNECTIONS = 64
ROUNDS = 16
WARM_UP_S = 1
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
UNITS_US = {"us": 1, "ms": 1e3, "s": 1e6}

# Plain, in nginx's favour: it adds nothing to a request, writes no log and never ends a connection by count.
NGINX_CONF = """
worker_processes 1;
user root;
daemon off;
pid {dir}/nginx.pid;
error_log {dir}/nginx.log;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    upstream worker {{
        server unix:{worker};
        keepalive {connections};
        keepalive_requests 1000000000;
    }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://worker;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
        }}
    }}
}}
"""


def free_port():
    """nginx cannot be asked which port it got."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@contextlib.contextmanager
def nginx(directory, worker_path):
    """(pid of nginx's worker process, port)."""
    port = free_port()
    conf = os.path.join(directory, "nginx.conf")
    with open(conf, "w", encoding="utf-8") as file:
        file.write(NGINX_CONF.format(dir=directory, worker=worker_path, connections=CONNECTIONS, port=port))
    master = subprocess.Popen(["nginx", "-p", directory, "-e", os.path.join(directory, "nginx.log"), "-c", conf])
    try:
        wait_for(lambda: master.poll() is not None or procs.children(master.pid), what="nginx")
        if master.poll() is not None:
            raise RuntimeError(f"nginx ended with {master.returncode}; it said why above or in its log")
        yield procs.children(master.pid)[0], port
    finally:
        master.terminate()
        master.wait()


def cpu_us(pid):
    """User and system time of a process so far."""
    fields = procs.stat(pid)
    return (int(fields[11]) + int(fields[12])) * 1e6 / TICKS_PER_S


def load(pid, url, seconds):
    """One run of wrk: requests per second, CPU time of the process for each, 99th percentile of the latency."""
    before = cpu_us(pid)
    text = subprocess.run(["wrk", "--latency", "-t", "1", "-c", str(CONNECTIONS), "-d", f"{seconds}s", url],
                          check=True, capture_output=True, text=True).stdout
    used_us = cpu_us(pid) - before
    if "Non-2xx" in text or "Socket errors" in text:
        raise RuntimeError(f"not every request was answered:\n{text}")
    requests = int(re.search(r"(\d+) requests in", text).group(1))
    p99 = re.search(r"99%\s+([\d.]+)(us|ms|s)\s", text)
    return {"per_s": float(re.search(r"Requests/sec:\s+([\d.]+)", text).group(1)),
            "cpu_us": used_us / requests,
            "p99_us": float(p99.group(1)) * UNITS_US[p99.group(2)]}


def run(bench):
    with Daemon(bench.scratch, actor=("c", [bench.program("worker")])) as daemon:
        actor = daemon.create("c")
        actor.get()
        bench.favour(*daemon.workers())
        # A worker has its sockets in a directory of its own; this is the one the daemon connects to.
        sockets = glob.glob(os.path.join(daemon.runtime_dir, "w-*", "http"))
        assert len(sockets) == 1, sockets
        with nginx(bench.scratch, sockets[0]) as (nginx_pid, port):
            def there(seconds=bench.seconds):
                return load(nginx_pid, f"http://127.0.0.1:{port}/", seconds)

            def here(seconds=bench.seconds):
                return load(daemon.pid, f"http://127.0.0.1:{daemon.port}{actor.path()}", seconds)

            there(WARM_UP_S)
            here(WARM_UP_S)
            pairs = bench.turns(ROUNDS, there, here)

    def of(key):
        return [(reference[key], ours[key]) for reference, ours in pairs]

    return [Ratio("forwarded requests", "nginx", of("per_s"), "/s", at_least=0.9),
            Ratio("CPU for each", "nginx", of("cpu_us"), "us", at_most=1.1),
            Ratio("99th percentile", "nginx", of("p99_us"), "us", at_most=1.2)]
