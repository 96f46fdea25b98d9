"""A real systemd, booted in namespaces of its own over a small Debian; nothing of the machine around it is touched."""

import os
import shutil
import signal
import subprocess
import textwrap

from lib import procs
from lib.wait import SCALE, wait_for

PACKAGES = ("systemd", "systemd-sysv", "dbus", "python3-minimal", "libpython3-stdlib", "curl", "ca-certificates", "init-system-helpers",
            "libuv1", "libjansson4", "libsqlite3-0", "libssl3", "nodejs", "openjdk-17-jdk-headless")
BOOT = """
    mount --make-rprivate /
    mount --bind "$1" "$1"
    mount -t proc proc "$1/proc"
    mount --rbind /sys "$1/sys"
    mount -t tmpfs tmpfs "$1/run"
    mount -t tmpfs tmpfs "$1/tmp"
    mount -t tmpfs tmpfs "$1/sys/fs/cgroup"
    mount -t cgroup2 cgroup2 "$1/sys/fs/cgroup"
    mount --rbind /dev "$1/dev"
    exec env -i container=test PATH=/usr/sbin:/usr/bin:/sbin:/bin /usr/sbin/chroot "$1" \\
        /lib/systemd/systemd --system --unit=multi-user.target
"""


def make_root(place):
    """The Debian to boot, made once and kept; a copy of it is what a test may change."""
    whole = os.path.join(place, "whole")
    if os.path.exists(whole + ".done"):
        return whole
    shutil.rmtree(whole, ignore_errors=True)
    os.makedirs(place, exist_ok=True)
    with open(os.path.join(place, "debootstrap.log"), "wb") as log:
        subprocess.run(["debootstrap", "--variant=minbase", "--include=" + ",".join(PACKAGES), "bookworm", whole], check=True,
                       stdout=log, stderr=log, env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"})
    with open(whole + ".done", "w", encoding="ascii"):
        pass
    return whole


class Machine:
    """One boot. Files below `root` are its files, but for /run and /tmp."""

    def __init__(self, place):
        self.root = os.path.join(place, "machine")
        shutil.rmtree(self.root, ignore_errors=True)
        subprocess.run(["cp", "-a", "--reflink=auto", make_root(place), self.root], check=True)
        with open(os.path.join(place, "boot.log"), "wb") as log:
            self.outside = subprocess.Popen(["unshare", "--mount", "--cgroup", "--pid", "--fork", "--mount-proc", "bash", "-ec", BOOT,
                                             "boot", self.root], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            start_new_session=True)
        self.init = wait_for(lambda: next(iter(procs.children(self.outside.pid)), None), what="the first process")
        wait_for(lambda: self.run("systemctl", "is-system-running", check=False).stdout.strip() in ("running", "degraded"),
                 timeout=90, what="the boot")

    def close(self):
        os.kill(self.init, signal.SIGKILL)  # and with it everything in its process namespace
        self.outside.wait(30 * SCALE)
        shutil.rmtree(self.root, ignore_errors=True)

    def run(self, *words, check=True, input=None):
        """A command inside; its output as text."""
        done = subprocess.run(["nsenter", "-t", str(self.init), "-m", "-p", "-C", "/usr/sbin/chroot", self.root, *words],
                              capture_output=True, text=True, input=input, timeout=180 * SCALE, check=False,
                              env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "SYSTEMD_COLORS": "0"})
        if check and done.returncode != 0:
            tail = self.journal("-n", "40", "-o", "short-precise") if words[0] == "systemctl" else ""
            raise AssertionError(f"{words}: {done.stdout}{done.stderr}{tail}")
        return done

    def write(self, path, text, mode=0o644):
        whole = self.root + path
        os.makedirs(os.path.dirname(whole), exist_ok=True)
        with open(whole, "w", encoding="utf-8") as file:
            file.write(textwrap.dedent(text))
        os.chmod(whole, mode)

    def show(self, unit, name):
        return self.run("systemctl", "show", "--value", "-p", name, unit).stdout.strip()

    def journal(self, *words):
        return self.run("journalctl", "--no-pager", *words).stdout
