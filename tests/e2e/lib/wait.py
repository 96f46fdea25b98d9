"""Waiting for a condition, with one generous scale for slow machines and sanitizer builds."""

import os
import time

SCALE = float(os.environ.get("RIVET_E2E_SCALE", "1"))


class Timeout(AssertionError):
    """A condition did not come true in time."""


def wait_for(probe, timeout=15.0, what="the condition", interval=0.02):
    """Calls probe() until it answers something true, and returns that."""
    end = time.monotonic() + timeout * SCALE
    while True:
        value = probe()
        if value:
            return value
        if time.monotonic() > end:
            raise Timeout(f"{what}: not within {timeout * SCALE:g} s (last: {value!r})")
        time.sleep(interval)


def holds_for(probe, seconds, what="the condition", interval=0.05):
    """Fails as soon as probe() answers something false within the given time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert probe(), f"{what} stopped holding"
        time.sleep(interval)
