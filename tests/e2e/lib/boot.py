"""Small Debians of the suite's own, and a real systemd booted over one; nothing of the machine around them is touched.

One base is made by debootstrap, once; what needs more than it is a copy with packages added, which come from one cache.
"""

import fcntl
import os
import shutil
import signal
import subprocess
import textwrap

from lib import procs
from lib.wait import SCALE, wait_for

SUITE = "bookworm"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PACKAGES = ("systemd", "systemd-sysv", "dbus", "python3-minimal", "libpython3-stdlib", "curl", "ca-certificates", "init-system-helpers",
            "libuv1", "libjansson4", "libsqlite3-0", "libssl3", "nodejs", "openjdk-17-jre-headless", "libecj-java")
# As the images of Debian for containers have it: no sync after each file, which a throw-away system has no use for.
SETTINGS = {"etc/dpkg/dpkg.cfg.d/unsafe-io": "force-unsafe-io\n",
            "etc/apt/apt.conf.d/no-languages": 'Acquire::Languages "none";\n'}
INSIDE = """
    mkdir -p "$1/archives"
    mount --bind "$1/archives" "$2/var/cache/apt/archives"
    mount -t proc proc "$2/proc"
    exec chroot "$2" /bin/sh -ec "cd $3; $4"
"""
# The root is changed by pivot_root: below a chroot there are neither user namespaces nor credentials. The manager expects
# to find / shared and, in a container, /proc/sys not to be written to.
BOOT = """
    mount --make-rprivate /
    mkdir -p "$2/upper" "$2/work" "$2/root"
    mount -t overlay -o "lowerdir=$1,upperdir=$2/upper,workdir=$2/work" overlay "$2/root" || {
        cp -a --reflink=auto "$1/." "$2/root"
        mount --bind "$2/root" "$2/root"
    }
    cd "$2/root"
    mount -t proc proc proc
    mount --bind proc/sys proc/sys
    mount -o remount,bind,ro proc/sys
    mount --rbind /sys sys
    mount -t tmpfs tmpfs run
    mount -t tmpfs tmpfs tmp
    mount -t tmpfs tmpfs sys/fs/cgroup
    mount -t cgroup2 cgroup2 sys/fs/cgroup
    mount --rbind /dev dev
    pivot_root . .
    umount -l .
    mount --make-rshared /
    exec env -i container=test PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --system --unit=multi-user.target
"""


def place_of_roots():
    """Beside what is built: made once, kept until `make clean`."""
    return os.path.join(os.path.dirname(os.environ["RIVET_RUNNERD"]), "boot")


def logged(words, log, **options):
    """Runs a command; its output is in the file, and in the failure."""
    with open(log, "ab") as file:
        done = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=file, stderr=file, check=False, **options)
    if done.returncode != 0:
        with open(log, encoding="utf-8", errors="replace") as file:
            raise AssertionError(f"{words} ended with {done.returncode}:\n{file.read()[-6000:]}")


def inside(root, script, log, cwd="/", env=None):
    """Runs a shell script in the root, as a container's builder would, with a cache of packages."""
    logged(["unshare", "--mount", "/bin/sh", "-ec", INSIDE, "inside", place_of_roots(), root, cwd, script], log,
           env={"PATH": PATH, "DEBIAN_FRONTEND": "noninteractive", **(env or {})})


def made_once(name, make):
    """The root of that name, made by make(path, log) if it is not there; whoever comes meanwhile waits."""
    place = place_of_roots()
    root = os.path.join(place, name)
    os.makedirs(place, exist_ok=True)
    with open(root + ".lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not os.path.exists(root + ".done"):
            shutil.rmtree(root, ignore_errors=True)
            log = root + ".log"
            open(log, "wb").close()
            make(root, log)
            open(root + ".done", "wb").close()
    return root


def copy_base(root):
    subprocess.run(["cp", "-a", "--reflink=auto", make_base(), root], check=True)


def make_base():
    """What debian:SUITE-slim has, more or less, and lists of packages that are up to date."""
    def make(root, log):
        logged(["debootstrap", "--variant=minbase", SUITE, root], log, env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"})
        for path, text in SETTINGS.items():
            with open(os.path.join(root, path), "w", encoding="ascii") as file:
                file.write(text)
        shutil.copy("/etc/resolv.conf", root + "/etc/resolv.conf")
        inside(root, "apt-get update", log)
    return made_once("base", make)


def make_machine():
    """The Debian to boot."""
    def make(root, log):
        copy_base(root)
        inside(root, "apt-get install -y --no-install-recommends " + " ".join(PACKAGES), log)
    return made_once("machine", make)


class Machine:
    """One boot over the Debian for it, which it does not change. Files below `root` are its files."""

    def __init__(self, place):
        self.place = str(place)
        lower = make_machine()
        with open(os.path.join(self.place, "boot.log"), "wb") as log:
            self.outside = subprocess.Popen(["unshare", "--mount", "--cgroup", "--pid", "--fork", "--mount-proc", "bash", "-ec", BOOT,
                                             "boot", lower, self.place], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            start_new_session=True)
        self.init = wait_for(lambda: next(iter(procs.children(self.outside.pid)), None), what="the first process")
        self.root = f"/proc/{self.init}/root"
        wait_for(lambda: self.run("systemctl", "is-system-running", check=False).stdout.strip() in ("running", "degraded"),
                 timeout=90, what="the boot")

    def close(self):
        os.kill(self.init, signal.SIGKILL)  # and with it everything in its process namespace
        self.outside.wait(30 * SCALE)
        shutil.rmtree(self.place, ignore_errors=True)

    def run(self, *words, check=True, input=None):
        """A command inside; its output as text."""
        done = subprocess.run(["nsenter", "-t", str(self.init), "-m", "-p", "-C", *words],
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
