"""Small readers and helpers that several test files share."""

import os
import pwd
import threading


def code_of(answer):
    """group.code of an error answer, whose shape is checked on the way."""
    body = answer.json()
    assert isinstance(body.get("message"), str) and body["message"], body
    assert answer.headers["content-type"].startswith("application/json")
    return f"{body['group']}.{body['code']}"


def retry_after(answer):
    """Seconds of the Retry-After header; it must be there and make sense."""
    seconds = int(answer.headers["retry-after"])
    assert 0 <= seconds <= 120
    return seconds


def headers_of(report):
    """Header fields of a probe's report as a map of lower-case name to list of values."""
    found = {}
    for name, value in report["headers"]:
        found.setdefault(name.lower(), []).append(value)
    return found


class Background:
    """A call that runs in a thread; result() returns what it returned or raises what it raised."""

    def __init__(self, function, *args, **options):
        self.value = None
        self.error = None
        self.thread = threading.Thread(target=self._run, args=(function, args, options), daemon=True)
        self.thread.start()

    def _run(self, function, args, options):
        try:
            self.value = function(*args, **options)
        except BaseException as error:  # pylint: disable=broad-except
            self.error = error

    def done(self):
        return not self.thread.is_alive()

    def result(self, timeout=60):
        self.thread.join(timeout)
        assert self.done(), "the call in the background does not come back"
        if self.error:
            raise self.error
        return self.value


def together(count, function, *args, **options):
    """Results of `count` calls made at the same time."""
    calls = [Background(function, *args, **options) for _ in range(count)]
    return [call.result() for call in calls]


def diary(trace, actor):
    """What the worker of an actor writes down from now on, as a function; its start is over, and other workers that
    share the file are left out."""
    pid = int(actor.get("/pid").text)
    trace.wait("start-answered", pid=pid)
    before = len(trace.events(pid=pid))
    return lambda: trace.events(pid=pid)[before:]


def nobody():
    return pwd.getpwnam("nobody")


def touch(path):
    with open(path, "w", encoding="utf-8"):
        pass
    os.chmod(path, 0o644)
    return str(path)
