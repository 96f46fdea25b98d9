"""The documented Containerfile: the steps of both its stages in fresh roots, then its entrypoint as the first process."""

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

# The first test may have to make the roots.
pytestmark = [pytest.mark.root, pytest.mark.deadline(900)]
FILE = os.path.join(ROOT, "docs/examples/container/Containerfile")


def stages():
    """[(name, image, [(word, rest)])] in the order of the file."""
    with open(FILE, encoding="utf-8") as file:
        text = re.sub(r"\\\n", " ", re.sub(r"^#.*\n", "", file.read(), flags=re.M))
    found = []
    for word, rest in (line.split(None, 1) for line in text.splitlines() if line.strip()):
        if word == "FROM":
            image, _, name = rest.partition(" AS ")
            found.append((name.strip(), image.strip(), []))
        else:
            found[-1][2].append((word, rest))
    return found


def not_copied(_directory, names):
    """What .dockerignore keeps out of the context; it names entries of the top alone."""
    with open(os.path.join(ROOT, ".dockerignore"), encoding="utf-8") as file:
        ignored = file.read().split()
    return [name for name in names if name in ignored] if _directory == ROOT else []


class Stage:
    """What a builder makes of the instructions of one stage, on a base of our own."""

    def __init__(self, place, name, image, instructions, earlier):
        from lib import boot
        assert image == f"debian:{boot.SUITE}-slim"
        self.inside = boot.inside
        self.earlier = earlier
        self.root = str(place / (name or "last"))
        self.log = str(place / f"{name or 'last'}.log")
        self.env, self.user, self.entrypoint, self.command, self.health, self.cwd = {}, "root", [], [], None, "/"
        boot.copy_base(self.root)
        for word, rest in instructions:
            getattr(self, "do_" + word.lower())(rest)

    def do_run(self, rest):
        self.inside(self.root, rest, self.log, cwd=self.cwd, env=self.env)

    def do_copy(self, rest):
        words = rest.split()
        source, ignore = os.path.join(ROOT, words[0]), not_copied
        if words[0].startswith("--from="):
            source, ignore = self.earlier[words.pop(0).removeprefix("--from=")].root + words[0], None
        to = self.root + words[1]
        os.makedirs(os.path.dirname(to), exist_ok=True)
        if os.path.isdir(source):
            shutil.copytree(os.path.normpath(source), to, dirs_exist_ok=True, ignore=ignore)
        else:
            shutil.copy(source, to)

    def do_workdir(self, rest):
        self.cwd = rest.strip()
        os.makedirs(self.root + self.cwd, exist_ok=True)

    def do_user(self, rest):
        self.user = rest.strip()

    def do_env(self, rest):
        self.env.update(word.split("=", 1) for word in shlex.split(rest))

    def do_entrypoint(self, rest):
        self.entrypoint = json.loads(rest)

    def do_cmd(self, rest):
        self.command = json.loads(rest)

    def do_healthcheck(self, rest):
        self.health = rest.removeprefix("CMD ")

    def do_volume(self, rest):
        assert os.path.isdir(self.root + rest.strip())

    def do_expose(self, rest):
        self.ports = rest.split()


class Container(Stage):
    """The last stage, and one run of it."""

    process = None

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
def image(tmp_path_factory):
    """What the builder leaves: the last stage. The others go as soon as it is made."""
    if shutil.which("debootstrap") is None:
        pytest.skip("needs debootstrap")
    place = tmp_path_factory.mktemp("container")
    made = {}
    try:
        *before, last = stages()
        for name, base, instructions in before:
            made[name] = Stage(place, name, base, instructions, made)
        container = Container(place, *last, made)
        for stage in made.values():
            shutil.rmtree(stage.root)
        container.place = place
        yield container
    finally:
        shutil.rmtree(place, ignore_errors=True)


@pytest.fixture(scope="module")
def container(image):
    api, admin = free_port(), free_port()
    image.url = f"http://127.0.0.1:{api}"
    image.health_here = image.health.replace("6421", str(admin))
    assert image.health_here != image.health
    image.log = image.place / "log"
    with open(image.log, "wb") as log:
        image.start(log, RIVET_LISTEN=f"0.0.0.0:{api}", RIVET_ADMIN_LISTEN=f"0.0.0.0:{admin}", RIVET_TOKEN="s3cret-token")
    try:
        yield image
    finally:
        if image.process.poll() is None:
            os.kill(image.first, signal.SIGKILL)
        image.process.wait(30 * SCALE)


def count(container):
    answer = requests.post(f"{container.url}/gateway/counter/increment", timeout=60 * SCALE,
                           headers={"x-rivet-token": "s3cret-token"},
                           params={"rvt-namespace": "default", "rvt-method": "getOrCreate", "rvt-runner": "default", "rvt-key": "a"})
    assert answer.status_code == 200, answer.text
    return answer.json()["count"]


def test_both_stages_build(image):
    """The last one has the programs, and neither a compiler nor the sources."""
    for there in ("usr/bin/rivet-runnerd", "usr/bin/rivet-runnerctl", "app/counter.py"):
        assert os.path.isfile(os.path.join(image.root, there))
    for absent in ("usr/bin/gcc", "src/Makefile", "var/lib/apt/lists/lock"):
        assert not os.path.exists(os.path.join(image.root, absent))


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
    """Whoever loses its parent becomes the daemon's child, a worker's or not."""
    worker = next(pid for pid in procs.children(container.first) if procs.cmdline(pid)[:1] == ["python3"])
    orphan = int(subprocess.run(["nsenter", "-t", str(worker), "-p", "--", "/bin/sh", "-c", "sleep 600 >/dev/null & echo $!"],
                                check=True, stdout=subprocess.PIPE, text=True).stdout)
    inside = f"NSpid:\t{{}}\t{orphan}\n"
    adopted = wait_for(lambda: next((pid for pid in procs.children(container.first)
                                     if inside.format(pid) in open(f"/proc/{pid}/status").read()), None))
    os.kill(adopted, signal.SIGKILL)
    wait_for(lambda: not os.path.exists(f"/proc/{adopted}"), what="the end of an orphan")


def test_term_drains_and_ends_with_0(container):
    os.kill(container.first, signal.SIGTERM)
    assert container.process.wait(60 * SCALE) == 0
    assert '"stopped"' in container.log.read_text()
