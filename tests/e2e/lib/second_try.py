"""One second try for a test that failed, on fresh ground, and said aloud: a machine that others use too stalls now and
then, and what fails for that reason does not fail twice.

None for a daemon that a sanitizer complained of or that ended by a signal nobody sent: that is a fault whenever it comes.
And none any more once MOST tests of a run have had theirs: that is no hiccup.
"""

import os

import pytest
from _pytest.runner import runtestprotocol

MOST = 10
GIVEN = pytest.StashKey()  # (name, why) of each test that had its second try
TRIES = int(os.environ.get("RIVET_E2E_TRIES", "2"))


class _Above:
    """Stands for the next test: only what is wider than a module outlives the one before."""

    def __init__(self, item):
        self.item = item

    def listchain(self):
        return [node for node in self.item.listchain() if not isinstance(node, (pytest.Module, pytest.Item))]


def _renew(item):
    """Ends the fixtures of the test's module, so that a second try finds nothing of the first; what they complained of."""
    try:
        item.session._setupstate.teardown_exact(_Above(item))
    except Exception as error:  # pylint: disable=broad-except
        return f"{type(error).__name__}: {error}"
    for definitions in item._fixtureinfo.name2fixturedefs.values():
        for definition in definitions:
            if definition.cached_result is not None and definition.cached_result[2] is not None:
                definition.cached_result = None  # a failure is kept like any other value
    return None


def _why(report):
    crash = getattr(report.longrepr, "reprcrash", None)
    return str(crash.message if crash else report.longrepr).strip().split("\n")[0][:200]


def _log(item, reports):
    for report in reports:
        item.ihook.pytest_runtest_logreport(report=report)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item, nextitem):
    given = item.config.stash.setdefault(GIVEN, [])
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    item.daemon_broke = False
    reports = runtestprotocol(item, log=False, nextitem=nextitem)
    failed = [report for report in reports if report.failed]
    if failed and TRIES > 1 and not item.daemon_broke and len(given) < MOST:
        complaint = _renew(item)
        if complaint:
            failed[0].sections.append(("at the end of the module's fixtures", complaint))
        else:
            given.append((item.nodeid, _why(failed[0])))
            failed[0].outcome = "rerun"
            _log(item, failed[:1])
            reports = runtestprotocol(item, log=False, nextitem=nextitem)
    _log(item, reports)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


def pytest_report_teststatus(report):
    return ("rerun", "R", ("RERUN", {"yellow": True})) if report.outcome == "rerun" else None
