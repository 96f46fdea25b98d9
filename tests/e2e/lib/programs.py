"""Programs of others that the tests need: found, built or installed, or named with what to install."""

import glob
import os
import shutil
import subprocess

import pytest

from lib.daemon import ROOT
from lib.worker import PYTHON

BUILD = os.path.abspath(os.environ.get("BUILD", os.path.join(ROOT, "build")))


def program(name, package):
    """Path of a program, or a failure that names the Debian package it comes in."""
    found = shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin:/usr/bin")
    if not found:
        pytest.fail(f"{name} is missing: install the Debian package {package}")
    return found


def python_module(name, package):
    """Fails unless Debian's Python has the module."""
    if subprocess.run([PYTHON, "-c", f"import {name}"], capture_output=True, check=False).returncode != 0:
        pytest.fail(f"Python's {name} is missing: install the Debian package {package}")


def npm_modules():
    """The directory node_modules with the packages of npm/, installed if need be."""
    program("npm", "npm")
    install = os.path.join(ROOT, "tests", "e2e", "npm", "install.sh")
    target = os.path.join(BUILD, "npm")
    done = subprocess.run([install, target], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.fail(f"the npm packages could not be installed:\n{done.stderr}")
    return os.path.join(target, "node_modules")


def node_22(modules):
    """Node 22, which comes with the npm packages."""
    found = glob.glob(os.path.join(modules, "node-linux-*", "bin", "node"))
    assert len(found) == 1, f"no Node 22 for this machine in {modules}"
    return found[0]


def go_build(source, binary):
    """Builds one file with what Debian's Go brings, and no network."""
    settings = {"GO111MODULE": "off", "GOFLAGS": "", "GOPROXY": "off",
                "GOCACHE": os.path.join(BUILD, "go-cache")}
    done = subprocess.run([program("go", "golang-go"), "build", "-o", binary, source],
                          env={**os.environ, **settings}, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.fail(f"go build failed:\n{done.stderr}")
    return binary
