"""A rivet-runnerd under test: its start, its log, its ports, its workers, its end."""

import json
import os
import shutil
import signal
import subprocess
import tempfile

import requests

from lib import procs
from lib.api import Api
from lib.wait import SCALE, wait_for

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
BINARY = os.path.abspath(os.environ.get("RIVET_RUNNERD", os.path.join(ROOT, "build", "rivet-runnerd")))
SANITIZER_MARKS = ("AddressSanitizer", "LeakSanitizer", "ThreadSanitizer", "MemorySanitizer",
                   "UndefinedBehaviorSanitizer", "runtime error:")


class DaemonFailed(AssertionError):
    """The daemon ended before it was ready."""


def clean_env(extra=None):
    """The environment of a daemon under test: nothing of the tester's that could configure it."""
    env = {name: value for name, value in os.environ.items()
           if name in ("PATH", "HOME", "LANG", "TZ") or name.endswith("SAN_OPTIONS")}
    for name, value in (extra or {}).items():
        if value is None:
            env.pop(name, None)
        else:
            env[name] = value
    return env


def run_daemon(args, env=None, input=None, timeout=30, cwd=None):
    """Runs the daemon to its end: (exit code, stdout, stderr)."""
    done = subprocess.run([BINARY, *args], env=clean_env(env), input=input, text=True, cwd=cwd,
                          capture_output=True, timeout=timeout * SCALE, check=False)
    return done.returncode, done.stdout, done.stderr


class Daemon(Api):
    """Starts the daemon and stays with it until close(), which tells whether it behaved."""

    def __init__(self, tmp_path, config=None, args=(), env=None, actor=None, *, wrap=(),
                 wrap_forks=False, listen="127.0.0.1:0", admin_listen="127.0.0.1:0", data_dir=None, token=None,
                 engine=None, start=True):
        """engine: the URL of one for engine mode, in which the daemon has no API of its own."""
        super().__init__(token)
        self.engine = engine
        self.tmp = str(tmp_path)
        self.short = tempfile.mkdtemp(prefix="rr-")
        os.chmod(self.short, 0o711)
        self.data_dir = str(data_dir) if data_dir else os.path.join(self.tmp, "data")
        self.runtime_dir = os.path.join(self.short, "run")
        self.config = config
        self.args = list(args)
        self.env = dict(env or {})
        self.actor = actor
        self.wrap = list(wrap)
        self.wrap_forks = wrap_forks
        self.listen = listen
        self.admin_listen = admin_listen
        self.runs = 0
        self.proc = None
        self.expected_codes = {0}
        self.log_path = None
        if token:
            self.env.setdefault("RIVET_TOKEN", token)
        if start:
            self.start()

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        self.close()

    # ---- start and end ----

    def config_path(self):
        return os.path.join(self.tmp, "rivet-runnerd.json")

    def argv(self):
        place = ["--engine", self.engine] if self.engine else ["--listen", self.listen]
        words = [BINARY, *place, "--data-dir", self.data_dir, "--runtime-dir", self.runtime_dir,
                 "--log-format", "json", "--foreground"]
        if self.admin_listen:
            words += ["--admin-listen", self.admin_listen]
        if self.config is not None:
            with open(self.config_path(), "w", encoding="utf-8") as file:
                json.dump(self.config, file, indent=2)
            words += ["--config", self.config_path()]
        words += self.args
        if self.actor:
            name, command = self.actor
            words += ["--actor", name, "--", *command]
        return words

    def spawn(self):
        """Starts the process without waiting for anything."""
        self.runs += 1
        self.log_path = os.path.join(self.tmp, f"daemon.{self.runs}.log")
        with open(self.log_path, "wb") as log:
            self.proc = subprocess.Popen([*self.wrap, *self.argv()], env=clean_env(self.env), cwd=self.tmp,
                                         stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def start(self, timeout=30):
        self.spawn()
        try:
            self.wait_ready(timeout)
        except BaseException:
            self.expected_codes.add(self.proc.poll())
            self.kill()
            self._remove_runtime_dir()
            raise

    def wait_ready(self, timeout=30):
        if not self.engine:
            self._found("api", timeout)
        if self.admin_listen:
            self._found("admin", timeout)
            wait_for(lambda: self._up() and self.readyz() == 200, timeout, "readiness")

    def _up(self):
        if self.proc.poll() is not None:
            raise DaemonFailed(f"the daemon ended with {self.proc.returncode}:\n{self.log_tail()}")
        return True

    def _found(self, listener, timeout):
        return wait_for(lambda: self._up() and self.listening(listener), timeout, f"the {listener} listener")

    def listening(self, listener):
        """The address of a listener as the log names it, or None."""
        for record in self.log_records():
            if record.get("msg") == "listening" and record.get("listener") == listener:
                return record["address"]
        return None

    def readyz(self):
        try:
            return self.admin("/readyz").status_code
        except requests.RequestException:
            return None

    @property
    def pid(self):
        """The daemon's own process id, also below a wrapper that forks, such as unshare."""
        if not self.wrap_forks:
            return self.proc.pid
        found = procs.children(self.proc.pid)
        return found[0] if found else None

    @property
    def running(self):
        return self.proc is not None and self.proc.poll() is None

    def send_signal(self, number):
        os.kill(self.pid, number)

    def wait_exit(self, timeout=40):
        return self.proc.wait(timeout * SCALE)

    def stop(self, sig=signal.SIGTERM, timeout=40):
        self.send_signal(sig)
        return self.wait_exit(timeout)

    def kill(self):
        """SIGKILL, as a power cut would have it; returns the exit code."""
        self.expected_codes.add(-signal.SIGKILL)
        if self.running:
            os.kill(self.pid or self.proc.pid, signal.SIGKILL)
        return self.wait_exit()

    def restart(self, config=None):
        """Stops the daemon cleanly if it still runs, and starts it again on the same data."""
        if self.running:
            code = self.stop()
            assert code == 0, f"exit code {code}:\n{self.log_tail()}"
        if config is not None:
            self.config = config
        self.http.close()
        self.start()
        return self

    def close(self):
        """Stops what runs, and fails if the daemon did not end well or left a worker behind."""
        try:
            if self.proc is None:
                return
            if self.running:
                self._stop_hard_if_stuck()
            left = self._survivors()
            sanitizer = self.sanitizer_output()
            assert not sanitizer, "sanitizer output:\n" + sanitizer
            assert self.proc.returncode in self.expected_codes, \
                f"the daemon ended with {self.proc.returncode}:\n{self.log_tail()}"
            assert not left, f"worker processes outlived the daemon: {left}"
        finally:
            self.http.close()
            self._remove_runtime_dir()

    def _stop_hard_if_stuck(self):
        try:
            self.stop()
        except subprocess.TimeoutExpired:
            os.kill(self.pid or self.proc.pid, signal.SIGKILL)
            self.wait_exit()
            raise AssertionError(f"the daemon did not stop on SIGTERM:\n{self.log_tail()}") from None

    def _survivors(self):
        """Ends whatever is left of the workers, and returns what was there."""
        try:
            wait_for(lambda: not self.worker_processes(), what="end of the workers")
            return []
        except AssertionError:
            left = [(pid, procs.cmdline(pid)) for pid in self.worker_processes()]
            for pid, _ in left:
                os.kill(pid, signal.SIGKILL)
            return left

    def _remove_runtime_dir(self):
        shutil.rmtree(self.short, ignore_errors=True)

    # ---- log ----

    def log_lines(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as file:
            return file.read().splitlines()

    def log_records(self):
        """The structured records of this run; other lines are left out."""
        found = []
        for line in self.log_lines():
            try:
                record = json.loads(line)
            except ValueError:
                continue
            if isinstance(record, dict):
                found.append(record)
        return found

    def wait_log(self, predicate, timeout=15):
        """The first record that the predicate accepts."""
        def first():
            return next((record for record in self.log_records() if predicate(record)), None)
        return wait_for(first, timeout, "a log record")

    def log_tail(self, lines=40):
        return "\n".join(self.log_lines()[-lines:])

    def logs(self):
        """The text of the logs of all runs."""
        texts = []
        for run in range(1, self.runs + 1):
            with open(os.path.join(self.tmp, f"daemon.{run}.log"), encoding="utf-8", errors="replace") as file:
                texts.append(file.read())
        return "".join(texts)

    def sanitizer_output(self):
        text = self.logs()
        return text if any(mark in line for line in text.splitlines() if not line.startswith("{")
                           for mark in SANITIZER_MARKS) else ""

    def broke(self):
        """True when it did what is a fault on any machine: a sanitizer's report, or an end by a signal nobody sent."""
        code = self.proc.poll() if self.proc is not None else None
        return bool(code is not None and code < 0 and code not in self.expected_codes) or bool(self.sanitizer_output())

    # ---- addresses and requests ----

    @property
    def address(self):
        """host, port of the API."""
        host, _, port = self.listening("api").rpartition(":")
        return host.strip("[]"), int(port)

    @property
    def port(self):
        return self.address[1]

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def admin(self, path, **options):
        options.setdefault("timeout", 20 * SCALE)
        with requests.Session() as session:
            session.trust_env = False
            return session.get(f"http://{self.listening('admin')}{path}", **options)

    # ---- processes ----

    def worker_processes(self):
        """Workers and whatever they have started, as far as it kept their environment."""
        return procs.with_environment(f"RIVET_RUNTIME_SOCKET={self.runtime_dir}/")

    def workers(self):
        """The worker processes themselves: the leaders of their process groups."""
        return [pid for pid in self.worker_processes() if procs.group(pid) == pid]

    def wait_workers(self, count, timeout=15):
        wait_for(lambda: len(self.workers()) == count, timeout, f"{count} workers")

    def rss_kb(self):
        return procs.status_kb(self.pid, "VmRSS")
