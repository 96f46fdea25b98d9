"""The service manager's protocol, with the test as the manager: passed sockets, the descriptor store, the watchdog."""

import os
import signal
import socket
import subprocess
import threading
import time

import pytest
import requests

from lib.daemon import BINARY, clean_env
from lib.wait import SCALE, wait_for


class Manager:
    """Receives what the daemon says, and keeps the descriptors it gives away."""

    def __init__(self, place):
        self.path = str(place / "notify")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        self.said = []
        self.kept = {}
        threading.Thread(target=self._receive, daemon=True).start()

    def _receive(self):
        while True:
            text, fds, _, _ = socket.recv_fds(self.socket, 4096, 4)
            fields = dict(line.split("=", 1) for line in text.decode().splitlines())
            if "FDSTORE" in fields:
                self.kept[fields["FDNAME"]] = fds[0]
            if "FDSTOREREMOVE" in fields:
                self.kept.pop(fields["FDNAME"], None)
            self.said.append(fields)

    def heard(self, key):
        return [fields[key] for fields in self.said if key in fields]

    def run(self, tmp_path, fds=(), args=(), **env):
        """Starts the daemon with these (name, fd) passed to it."""
        script = "".join(f"exec {3 + at}<&{fd} {fd}<&-; " for at, (_, fd) in enumerate(fds))
        whole = clean_env({"NOTIFY_SOCKET": self.path, **env})
        if fds:
            whole["LISTEN_FDS"] = str(len(fds))
            whole["LISTEN_FDNAMES"] = ":".join(name for name, _ in fds)
            script += "export LISTEN_PID=$$; "
        words = [BINARY, "-f", "-d", str(tmp_path / "data"), "--log-format", "logfmt", *args]
        return subprocess.Popen(["/bin/bash", "-c", script + 'exec "$@"', "bash", *words], env=whole,
                                pass_fds=[fd for _, fd in fds], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


@pytest.fixture
def manager(tmp_path):
    return Manager(tmp_path)


@pytest.fixture
def listening():
    """A listening socket as a socket unit would pass it, with a number above those of the protocol."""
    made = socket.create_server(("127.0.0.1", 0))
    high = os.dup(made.fileno())
    while high < 20:
        high = os.dup(high)
    yield high, "http://%s:%d" % made.getsockname()
    os.close(high)


def end(process):
    process.terminate()
    _, log = process.communicate(timeout=30 * SCALE)
    return process.returncode, log


def test_a_passed_socket_serves_the_api(manager, listening, tmp_path):
    fd, url = listening
    process = manager.run(tmp_path, [("api", fd)])
    assert requests.get(url + "/health", timeout=10 * SCALE).status_code == 200  # waits in the backlog meanwhile
    wait_for(lambda: manager.heard("READY") == ["1"])
    wait_for(lambda: any("Serving, local mode" in text for text in manager.heard("STATUS")))
    wait_for(lambda: "api-kept" in manager.kept)
    code, _ = end(process)
    assert code == 0
    wait_for(lambda: manager.heard("STOPPING") == ["1"])


def test_a_kept_socket_is_served_again(manager, tmp_path):
    process = manager.run(tmp_path, args=["-l", "127.0.0.1:0"])
    wait_for(lambda: "api-kept" in manager.kept and manager.heard("READY"))
    kept = socket.socket(fileno=os.dup(manager.kept["api-kept"]))
    address = "%s:%d" % kept.getsockname()
    process.kill()
    process.communicate()
    client = socket.create_connection(kept.getsockname())  # while no daemon is there
    client.sendall(b"GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
    high = os.dup(kept.fileno())
    again = manager.run(tmp_path, [("api-kept", high)], args=["-l", address])
    client.settimeout(20 * SCALE)
    assert client.recv(12) == b"HTTP/1.1 200"
    code, log = end(again)
    assert code == 0 and address in log


def test_a_kept_socket_elsewhere_is_given_up(manager, listening, tmp_path):
    fd, url = listening
    process = manager.run(tmp_path, [("api-kept", fd)], args=["-l", "127.0.0.1:0"])
    wait_for(lambda: manager.heard("READY"))
    wait_for(lambda: "api-kept" in manager.heard("FDNAME"))
    code, log = end(process)
    assert code == 0
    assert url.rpartition(":")[2] not in log


def test_an_unknown_descriptor_is_closed_and_said(manager, listening, tmp_path):
    process = manager.run(tmp_path, [("strange", listening[0])], args=["-l", "127.0.0.1:0"])
    wait_for(lambda: manager.heard("READY"))
    code, log = end(process)
    assert code == 0
    assert "names=strange" in log


def test_a_socket_that_does_not_listen_is_refused(manager, tmp_path):
    plain = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    process = manager.run(tmp_path, [("api", plain.fileno())])
    _, log = process.communicate(timeout=30 * SCALE)
    assert process.returncode == 1
    assert "ListenStream" in log


def test_a_wide_socket_needs_a_token(manager, tmp_path):
    wide = socket.create_server(("0.0.0.0", 0))
    process = manager.run(tmp_path, [("api", wide.fileno())])
    _, log = process.communicate(timeout=30 * SCALE)
    assert process.returncode == 78
    assert "RIVET_TOKEN" in log


def test_the_watchdog_is_fed_by_the_loop(manager, tmp_path):
    process = manager.run(tmp_path, args=["-l", "127.0.0.1:0"], WATCHDOG_USEC="300000")
    wait_for(lambda: len(manager.heard("WATCHDOG")) >= 4)
    assert end(process)[0] == 0


def test_workers_see_nothing_of_the_protocol(manager, tmp_path):
    out = tmp_path / "out"
    worker = f"env > {out}.part; mv {out}.part {out}; exec sleep 60"
    process = manager.run(tmp_path, args=["-l", "127.0.0.1:0", "-a", "w", "--", "/bin/sh", "-c", worker],
                          WATCHDOG_USEC="60000000")
    for line in process.stderr:
        if "listener=api" in line:
            address = line.rpartition("address=")[2].strip()
            break
    requests.put(f"http://{address}/actors?namespace=default", timeout=10 * SCALE,
                 json={"name": "w", "key": "k", "runner_name_selector": "default", "crash_policy": "sleep"})
    wait_for(out.exists)
    names = {line.partition("=")[0] for line in out.read_text().splitlines()}
    assert not names & {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"}
    process.terminate()
    process.communicate(timeout=60 * SCALE)


def test_a_reload_is_told_even_when_it_is_refused(manager, tmp_path):
    config = tmp_path / "config.json"
    config.write_text("{}")
    process = manager.run(tmp_path, args=["-l", "127.0.0.1:0", "-c", str(config)])
    wait_for(lambda: manager.heard("READY"))
    for count, text in enumerate(["{}", "{"], 1):
        config.write_text(text)
        before = time.clock_gettime(time.CLOCK_MONOTONIC)
        process.send_signal(signal.SIGHUP)
        wait_for(lambda: len(manager.heard("READY")) == 1 + count)
        told = [fields for fields in manager.said if "RELOADING" in fields]
        assert len(told) == count and manager.said.index(told[-1]) < len(manager.said) - 1
        assert int(told[-1]["MONOTONIC_USEC"]) >= before * 1e6 - 1
    code, log = end(process)
    assert code == 0 and "refused" in log
