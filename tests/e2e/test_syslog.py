"""The logs of the system: journald and syslog, each as the daemon sees it in a mount namespace of its own."""

import os
import signal
import socket
import subprocess

import pytest

from lib.daemon import BINARY, clean_env
from lib.wait import SCALE, wait_for

JOURNAL = 'mount -t tmpfs none /run && mkdir -p /run/systemd/journal && mount --bind "$0" /run/systemd/journal && exec "$@"'
SYSLOG = ('mkdir "$0/dev" && touch "$0/dev/null" && mount --bind /dev/null "$0/dev/null" && ln -s "$0/socket" "$0/dev/log" '
          '&& mount --rbind "$0/dev" /dev && mount -t tmpfs none /run && exec "$@"')

pytestmark = pytest.mark.root


class SystemLog:
    """A datagram socket that keeps what the daemon says."""

    def __init__(self, place, script):
        self.place = str(place)
        self.script = script
        self.said = []
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(os.path.join(self.place, "socket"))
        self.socket.setblocking(False)

    def argv(self, *options):
        return ["unshare", "--mount", "sh", "-c", self.script, self.place, BINARY, "-l", "127.0.0.1:0", "--data-dir",
                os.path.join(self.place, "data"), "--runtime-dir", os.path.join(self.place, "run"), *options]

    def has(self, *words):
        """The first record with all the words."""
        try:
            while True:
                self.said.append(self.socket.recv(65536))
        except BlockingIOError:
            pass
        return next((text for text in self.said if all(word in text for word in words)), None)


@pytest.fixture
def system_log(tmp_path):
    """Makes one, if this machine lets tests mount."""
    made = []

    def make(script):
        if subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode:
            pytest.skip("no mount namespaces here")
        made.append(SystemLog(tmp_path, script))
        return made[0]
    yield make
    for log in made:
        log.socket.close()


@pytest.fixture
def stderr_file(tmp_path):
    with open(tmp_path / "stderr", "w+b") as file:
        yield file


def stop(process):
    process.send_signal(signal.SIGTERM)
    assert process.wait(30 * SCALE) == 0


def test_journal_under_systemd(system_log, stderr_file):
    """Native records: message, priority, and a field for each of the record's."""
    log = system_log(JOURNAL)
    at = os.fstat(stderr_file.fileno())
    process = subprocess.Popen(log.argv(), env=clean_env({"JOURNAL_STREAM": f"{at.st_dev}:{at.st_ino}"}),
                               stdin=subprocess.DEVNULL, stderr=stderr_file)
    record = wait_for(lambda: log.has(b"MESSAGE=listening"), what="a record in the journal")
    assert b"\nPRIORITY=6\n" in record and b"\nRIVET_LISTENER=api\n" in record
    stop(process)
    assert log.has(b"MESSAGE=stopped")
    assert not os.fstat(stderr_file.fileno()).st_size


def test_no_journal_when_stderr_was_redirected(system_log, stderr_file):
    log = system_log(JOURNAL)
    process = subprocess.Popen(log.argv(), env=clean_env({"JOURNAL_STREAM": "1:2"}), stdin=subprocess.DEVNULL,
                               stderr=stderr_file)
    wait_for(lambda: b'"listening"' in os.pread(stderr_file.fileno(), 65536, 0), what="the log on stderr")
    stop(process)
    assert not log.has(b"")


@pytest.mark.parametrize("script, words", [(JOURNAL, [b"MESSAGE=ready", b"pid="]), (SYSLOG, [b"<14>", b"ready", b"pid="])],
                         ids=["journal", "syslog"])
def test_detached(system_log, script, words):
    log = system_log(script)
    done = subprocess.run(log.argv("--detach"), env=clean_env(), stdin=subprocess.DEVNULL, capture_output=True,
                          timeout=60 * SCALE, check=False)
    assert done.returncode == 0, done.stderr
    text = wait_for(lambda: log.has(*words), what="a record in the system's log")
    pid = int(text.partition(b"pid=")[2].split()[0])
    os.kill(pid, signal.SIGTERM)
    wait_for(lambda: log.has(b"stopped"), what="the last record")
    wait_for(lambda: not os.path.exists(f"/proc/{pid}"), what="the daemon's end")
