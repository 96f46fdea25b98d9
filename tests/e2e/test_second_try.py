"""The second try of a test, held against tests that fail once, twice, and in a way that is a fault whenever it comes."""

import os
import subprocess
import textwrap

from lib.daemon import ROOT
from lib.worker import PYTHON

E2E = os.path.join(ROOT, "tests", "e2e")
SUBJECTS = """
    import os
    import pytest
    from lib.daemon import Daemon

    def turns(name):
        with open(os.path.join(os.environ["PLACE"], name), "a+") as file:
            file.write("x")
            file.seek(0)
            return len(file.read())

    @pytest.fixture(scope="module")
    def ground():
        turns("made")
        yield turns("ground")
        turns("ended")

    def test_before(ground):
        assert ground == 1

    def test_fails_once(ground):
        assert turns("once") == ground == 2, "words of the failure"

    def test_fails_twice():
        turns("twice")
        assert False

    @pytest.fixture
    def ends_badly():
        yield
        assert turns("end") > 1

    def test_fails_once_at_its_end(ends_badly):
        pass

    def test_broken(request, tmp_path):
        daemon = Daemon(tmp_path, start=False)
        request.node.daemons = [daemon]
        daemon.spawn()
        daemon.proc.send_signal(11)
        daemon.proc.wait()
        assert turns("broken") > 1

    def test_passes():
        assert turns("passes") == 1

    @pytest.mark.parametrize("number", range(8))
    def test_many_fail(number):
        assert turns(f"many-{number}") > 1
"""


def run(tmp_path, **env):
    """Lines that the run ended with, and how often each subject was asked."""
    place = tmp_path / "turns"
    place.mkdir(exist_ok=True)
    (tmp_path / "test_subjects.py").write_text(textwrap.dedent(SUBJECTS))
    words = [PYTHON, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "conftest", "--tb=no", f"--rootdir={tmp_path}",
             f"--basetemp={tmp_path}/base", str(tmp_path / "test_subjects.py")]
    own = {"PYTHONPATH": E2E, "PLACE": str(place), "RIVET_E2E_LOGS": str(tmp_path / "logs"), "RIVET_E2E_TRIES": "2", **env}
    done = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path, env={**os.environ, **own}, check=False)
    return done.stdout.splitlines(), {file.name: len(file.read_text()) for file in place.iterdir()}


def test_once_more_on_fresh_ground_and_said_aloud(tmp_path):
    lines, turns = run(tmp_path)
    assert lines[-1] == "11 passed, 3 failed, 0 skipped"
    told = [line.partition("needed a second try: ")[2] for line in lines if line.startswith("needed a second try: ")]
    assert [line.partition("::")[2].partition(":")[0] for line in told] == \
        ["test_fails_once", "test_fails_twice", "test_fails_once_at_its_end"] + [f"test_many_fail[{number}]" for number in range(7)]
    assert "words of the failure" in told[0]
    assert (turns["once"], turns["twice"], turns["end"], turns["passes"], turns["broken"]) == (2, 2, 2, 1, 1)
    assert (turns["made"], turns["ended"]) == (2, 2)
    assert [turns[f"many-{number}"] for number in range(8)] == [2] * 7 + [1]


def test_not_when_told_so(tmp_path):
    lines, turns = run(tmp_path, RIVET_E2E_TRIES="1")
    assert not [line for line in lines if "second try" in line]
    assert turns["once"] == turns["twice"] == turns["passes"] == 1
