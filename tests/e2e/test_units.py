"""What is shipped for systemd, judged by systemd's own tools without booting it."""

import os
import re
import shutil
import subprocess

import pytest

from lib.daemon import ROOT

pytestmark = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")


def make(target, place):
    build = os.path.dirname(os.environ["RIVET_RUNNERD"])
    subprocess.run(["make", "-s", "-C", ROOT, target, f"DESTDIR={place}", "PREFIX=/usr", f"BUILD={build}"], check=True,
                   stdout=subprocess.DEVNULL)


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The tree that make install makes."""
    place = tmp_path_factory.mktemp("root")
    make("install", place)
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


def test_install_and_uninstall_leave_a_configuration_alone(tmp_path):
    make("install", tmp_path)
    config = tmp_path / "etc/rivet-runnerd/rivet-runnerd.json"
    config.write_text("{}\n")
    make("install", tmp_path)
    assert config.read_text() == "{}\n"
    make("uninstall", tmp_path)
    assert [path for path in tmp_path.rglob("*") if not path.is_dir()] == [config]


# ---- manual pages and completions ----

@pytest.mark.parametrize("page", ["man8/rivet-runnerd.8", "man1/rivet-runnerctl.1", "man5/rivet-runnerd.json.5",
                                  "man7/rivet-worker.7"])
def test_manual_pages(installed, page):
    path = installed / "usr/share/man" / page
    name = re.search(r'"(.+?) - ', subprocess.run(["lexgrog", path], capture_output=True, text=True, check=True).stdout)
    assert name.group(1) == path.name.rpartition(".")[0]
    done = subprocess.run(["man", "--warnings", "-l", path], capture_output=True, text=True, check=True,
                          env={**os.environ, "MANWIDTH": "100", "LC_ALL": "C.UTF-8"})
    assert "SEE ALSO" in done.stdout or page.startswith("man7")
    assert "\N{EN DASH}" not in done.stdout


def test_manual_pages_know_every_option(installed):
    said = subprocess.run([installed / "usr/bin/rivet-runnerd", "--help"], capture_output=True, text=True, check=True).stdout
    shown = subprocess.run(["man", "-l", installed / "usr/share/man/man8/rivet-runnerd.8"], capture_output=True, text=True,
                           check=True, env={**os.environ, "MANWIDTH": "200"}).stdout
    options = re.findall(r"--[a-z-]+", said)
    assert len(options) > 20 and all(option in shown for option in options)


def test_bash_completion(installed):
    script = installed / "usr/share/bash-completion/completions/rivet-runnerd"
    ask = f"""source {script}; COMP_WORDS=(rivet-runnerd --run); COMP_CWORD=1; _rivet_runnerd; echo "${{COMPREPLY[@]}}"
              COMP_WORDS=(rivet-runnerctl dr); _rivet_runnerctl; echo "${{COMPREPLY[@]}}" """
    done = subprocess.run(["bash", "-c", ask], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["--runtime-dir", "--runner", "--runner-key", "--runner-version", "drain"]
    assert (script.parent / "rivet-runnerctl").resolve() == script.resolve()


@pytest.mark.parametrize("shell, path", [("zsh", "zsh/vendor-completions/_rivet-runnerd"),
                                         ("fish", "fish/vendor_completions.d/rivet-runnerd.fish")])
def test_other_completions_parse(installed, shell, path):
    subprocess.run([shell, "-n", installed / "usr/share" / path], check=True)


def test_fish_completes(installed):
    path = installed / "usr/share/fish/vendor_completions.d/rivet-runnerd.fish"
    done = subprocess.run(["fish", "-c", f"source {path}; complete -C 'rivet-runnerd --take'"], capture_output=True, text=True,
                          check=True)
    assert done.stdout.startswith("--takeover")
