"""What is shipped for systemd, judged by systemd's own tools without booting it."""

import os
import re
import shutil
import subprocess

import pytest

from lib.daemon import ROOT

pytestmark = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The tree that make install makes."""
    place = tmp_path_factory.mktemp("root")
    build = os.path.dirname(os.environ["RIVET_RUNNERD"])
    subprocess.run(["make", "-s", "-C", ROOT, "install", f"DESTDIR={place}", "PREFIX=/usr", f"BUILD={build}"], check=True,
                   stdout=subprocess.DEVNULL)
    return place


def exposure(path):
    done = subprocess.run(["systemd-analyze", "security", "--offline=true", str(path)], capture_output=True, text=True,
                          check=False)
    return float(re.search(r"Overall exposure level for \S+: ([0-9.]+)", done.stdout).group(1))


def test_the_unit_is_well_formed_and_tight(installed):
    unit = installed / "usr/lib/systemd/system/rivet-runnerd.service"
    assert "@BINDIR@" not in unit.read_text()
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", str(unit)], capture_output=True,
                          text=True, check=False)
    complaints = [line for line in done.stderr.splitlines() if "is not executable" not in line and "rivet-runnerd" in line]
    assert not complaints
    assert exposure(unit) <= 2.5


def test_the_privileged_example_stays_within_bounds(installed, tmp_path):
    unit = (installed / "usr/lib/systemd/system/rivet-runnerd.service").read_text()
    extra = (installed / "usr/share/doc/rivet-runnerd/examples/privileged.conf").read_text()
    whole = tmp_path / "privileged.service"
    whole.write_text(unit.replace("[Install]", extra.partition("[Service]")[2] + "\n[Install]"))
    assert exposure(whole) <= 3.6


def test_the_installed_configuration_is_valid(installed):
    done = subprocess.run([installed / "usr/bin/rivet-runnerd", "--check-config", "--config",
                           installed / "etc/rivet-runnerd/rivet-runnerd.json"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_install_leaves_a_configuration_alone(installed):
    config = installed / "etc/rivet-runnerd/rivet-runnerd.json"
    build = os.path.dirname(os.environ["RIVET_RUNNERD"])
    before = config.read_text()
    config.write_text("{}\n")
    subprocess.run(["make", "-s", "-C", ROOT, "install", f"DESTDIR={installed}", "PREFIX=/usr", f"BUILD={build}"], check=True,
                   stdout=subprocess.DEVNULL)
    assert config.read_text() == "{}\n"
    config.write_text(before)
    subprocess.run(["make", "-s", "-C", ROOT, "uninstall", f"DESTDIR={installed}", "PREFIX=/usr", f"BUILD={build}"],
                   check=True)
    assert not (installed / "usr/bin/rivet-runnerd").exists()
    assert config.exists()
