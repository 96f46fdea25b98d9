"""What the README shows works as it stands there."""

import os
import re

import requests

from lib.daemon import ROOT
from lib.worker import PYTHON


def readme():
    with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as page:
        return page.read()


def test_the_first_actor(make_daemon, tmp_path):
    program = re.search(r"```python\n(.*?)```", readme(), re.S).group(1)
    assert len(program.splitlines()) == 5
    call, answer = re.search(r"\$ curl 'http://127\.0\.0\.1:6420(\S+)'\n(.*?\n)```", readme(), re.S).groups()
    (tmp_path / "hello.py").write_text(program)
    daemon = make_daemon({"actors": {"hello": {"command": [PYTHON, str(tmp_path / "hello.py")]}}})
    for _ in range(2):
        assert requests.get(daemon.url + call, timeout=30).text == answer
    other = requests.get(daemon.url + call.replace("world", "moon"), timeout=30)
    assert other.text == answer.replace("world", "moon")


def test_the_pages_it_names_are_there():
    pages = re.findall(r"\]\(([^):]+)\)", readme())
    assert "docs/WORKERS.md" in pages
    assert [page for page in pages if not os.path.exists(os.path.join(ROOT, page))] == []
