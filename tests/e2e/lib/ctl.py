"""rivet-runnerctl, beside a daemon under test."""

import json
import os
import subprocess

from lib.daemon import BINARY

CTL = os.path.join(os.path.dirname(BINARY), "rivet-runnerctl")


class Ctl:
    """Runs commands against one daemon."""

    def __init__(self, daemon):
        self.daemon = daemon

    def run(self, *words, code=0, stdin=b""):
        done = subprocess.run([CTL, "--runtime-dir", self.daemon.runtime_dir, *words], input=stdin,
                              capture_output=True, timeout=60, check=False)
        assert done.returncode == code, done.stderr
        return done

    def text(self, *words):
        return self.run(*words).stdout.decode()

    def json(self, *words):
        return json.loads(self.run(*words, "--json").stdout)

    def refused(self, *words, code=1, **options):
        said = self.run(*words, code=code, **options).stderr.decode()
        assert said.startswith("rivet-runnerctl: ") and said.count("\n") == 1, said
        return said

    def state(self, actor):
        return self.json("actor", actor.id)["state"]
