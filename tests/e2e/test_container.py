"""The documented Containerfile: the steps of its last stage in a fresh root, then its entrypoint as the first process."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess

import pytest
import requests

from lib import procs
from lib.daemon import ROOT
from lib.ports import free_port
from lib.wait import SCALE, wait_for

# The first test may have to make the root.
pytestmark = [pytest.mark.root, pytest.mark.deadline(900)]
FILE = os.path.join(ROOT, "docs/examples/container/Containerfile")


def instructions():
    """(word, rest) of the last stage."""
    with open(FILE, encoding="utf-8") as file:
        text = re.sub(r"\\\n", " ", re.sub(r"^#.*\n", "", file.read(), flags=re.M))
    lines = [line.split(None, 1) for line in text.splitlines() if line.strip()]
    last = max(at for at, (word, _) in enumerate(lines) if word == "FROM")
    return lines[last + 1:]


class Container:
    """What a builder makes of the instructions, and one run of it."""

    def __init__(self, place, installed):
        from lib.boot import make_root
        self.root = str(place / "root")
        subprocess.run(["cp", "-a", "--reflink=auto", make_root(os.path.join(os.path.dirname(os.environ["RIVET_RUNNERD"]), "boot")),
                        self.root], check=True)
        shutil.copy("/etc/resolv.conf", self.root + "/etc/resolv.conf")
        self.env, self.user, self.entrypoint, self.command, self.health = {}, "root", [], [], None
        for word, rest in instructions():
            getattr(self, "do_" + word.lower())(rest, installed)
        self.process = None

    def do_run(self, rest, _installed):
        subprocess.run(["chroot", self.root, "/bin/sh", "-ec", rest], check=True, capture_output=True,
                       env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND": "noninteractive"})

    def do_copy(self, rest, installed):
        words = rest.split()
        source = os.path.join(ROOT, words[0])
        if words[0].startswith("--from=build"):
            words = words[1:]
            source = str(installed) + words[0].removeprefix("/out")
        to = self.root + words[1]
        os.makedirs(os.path.dirname(to), exist_ok=True)
        if os.path.isdir(source):
            shutil.copytree(source, to, dirs_exist_ok=True)
        else:
            shutil.copy(source, to)

    def do_user(self, rest, _installed):
        self.user = rest.strip()

    def do_env(self, rest, _installed):
        self.env.update(word.split("=", 1) for word in shlex.split(rest))

    def do_entrypoint(self, rest, _installed):
        self.entrypoint = json.loads(rest)

    def do_cmd(self, rest, _installed):
        self.command = json.loads(rest)

    def do_healthcheck(self, rest, _installed):
        self.health = rest.removeprefix("CMD ")

    def do_volume(self, rest, _installed):
        assert os.path.isdir(self.root + rest.strip())

    def do_expose(self, rest, _installed):
        self.ports = rest.split()

    def start(self, log, **env):
        words = ["unshare", "--mount", "--pid", "--fork", "/bin/sh", "-c",
                 'mount -t proc proc "$1/proc"; root=$1 user=$2; shift 2; exec chroot --userspec="$user:$user" "$root" "$@"', "sh",
                 self.root, self.user, *self.entrypoint, *self.command]
        self.process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                        env={"PATH": "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", **self.env, **env})
        self.first = wait_for(lambda: next(iter(procs.children(self.process.pid)), None), what="the first process")

    def healthy(self):
        done = subprocess.run(["chroot", self.root, "/bin/sh", "-c", self.health_here], capture_output=True, check=False)
        return done.returncode == 0


@pytest.fixture(scope="module")
def container(tmp_path_factory):
    if shutil.which("debootstrap") is None:
        pytest.skip("needs debootstrap")
    place = tmp_path_factory.mktemp("container")
    build = os.path.dirname(os.environ["RIVET_RUNNERD"])
    subprocess.run(["make", "-s", "-C", ROOT, "install", f"DESTDIR={place}/out", "PREFIX=/usr", f"BUILD={build}"], check=True,
                   stdout=subprocess.DEVNULL)
    made = Container(place, place / "out")
    api, admin = free_port(), free_port()
    made.url = f"http://127.0.0.1:{api}"
    made.health_here = made.health.replace("6421", str(admin))
    assert made.health_here != made.health
    made.log = place / "log"
    with open(made.log, "wb") as log:
        made.start(log, RIVET_LISTEN=f"0.0.0.0:{api}", RIVET_ADMIN_LISTEN=f"0.0.0.0:{admin}", RIVET_TOKEN="s3cret-token")
    try:
        yield made
    finally:
        if made.process.poll() is None:
            os.kill(made.first, signal.SIGKILL)
        made.process.wait(30 * SCALE)
        shutil.rmtree(made.root, ignore_errors=True)


def count(container):
    answer = requests.post(f"{container.url}/gateway/counter/increment", timeout=60 * SCALE,
                           headers={"x-rivet-token": "s3cret-token"},
                           params={"rvt-namespace": "default", "rvt-method": "getOrCreate", "rvt-runner": "default", "rvt-key": "a"})
    assert answer.status_code == 200, answer.text
    return answer.json()["count"]


def test_healthy_and_serving_without_root(container):
    wait_for(container.healthy, timeout=60, what="the health check")
    assert count(container) == 1
    assert count(container) == 2
    assert os.stat(f"/proc/{container.first}").st_uid == 64200


def test_the_log_is_json_and_has_no_token(container):
    lines = container.log.read_text().splitlines()
    assert any(json.loads(line)["msg"] == "ready" for line in lines)
    assert "s3cret-token" not in container.log.read_text()


def test_orphans_are_reaped(container):
    worker = next(pid for pid in procs.children(container.first) if "counter.py" in " ".join(procs.cmdline(pid)))
    subprocess.run(["nsenter", "-t", str(worker), "-p", "--", "/bin/sh", "-c", "(sleep 0.2 &)"], check=True)
    wait_for(lambda: all(map(procs.alive, procs.children(container.first))), what="no zombie")


def test_term_drains_and_ends_with_0(container):
    os.kill(container.first, signal.SIGTERM)
    assert container.process.wait(60 * SCALE) == 0
    assert '"stopped"' in container.log.read_text()
