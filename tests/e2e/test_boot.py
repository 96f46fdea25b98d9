"""The package and its unit on a booted systemd: install, serve, sandbox, crash, watch, activate, upgrade, purge."""

import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import time

import pytest
import requests

from lib.daemon import ROOT
from lib.ports import free_port
from lib.wait import SCALE, wait_for

# The first test may have to make the machine.
pytestmark = [pytest.mark.root, pytest.mark.deadline(900)]
UNIT = "rivet-runnerd.service"
DROP_IN = f"/etc/systemd/system/{UNIT}.d/test.conf"

NODE = """
    const http = require('http');
    const os = require('os');
    http.createServer((q, a) => a.end('node ' + process.env.RIVET_ACTOR_KEY + ' ' + Object.keys(os.networkInterfaces()).length))
        .listen(process.env.PORT);
"""
JAVA = """
    import com.sun.net.httpserver.HttpServer;
    import java.net.InetSocketAddress;
    public class Hello {
        public static void main(String[] a) throws Exception {
            HttpServer s = HttpServer.create(new InetSocketAddress("127.0.0.1", Integer.parseInt(System.getenv("PORT"))), 0);
            s.createContext("/", x -> {
                byte[] b = ("java " + System.getenv("RIVET_ACTOR_KEY")).getBytes();
                x.sendResponseHeaders(200, b.length);
                x.getResponseBody().write(b);
                x.close();
            });
            s.start();
        }
    }
"""


class Node:
    """The service on its machine."""

    def __init__(self, machine, package):
        self.machine = machine
        self.package = package
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"

    def configure(self, extra=None, **more):
        python = ["/usr/bin/python3", "/srv/counter.py"]
        types = {"counter": {"command": python, "sleep_after": "never"},
                 "whoami": {"command": ["/bin/sh", "-c", "id -un; ls -A /tmp | wc -l; exec /usr/bin/python3 /srv/counter.py"]},
                 "stray": {"command": ["/bin/sh", "-c", "setsid sh -c 'trap \"\" TERM HUP; echo stray $$; while :; do sleep 1; done' &"
                                       " exec /usr/bin/python3 /srv/counter.py"], "sleep_after": "never"},
                 "node": {"command": ["/usr/bin/node", "/srv/hello.js"], "serve": "bind"},
                 "java": {"command": ["/usr/bin/java", "-cp", "/srv", "Hello"], "serve": "tcp", "start_timeout": "60s"}}
        types.update(extra or {})
        for settings in types.values():
            settings["stop_grace"] = "5s"
        self.machine.write("/etc/rivet-runnerd/rivet-runnerd.json",
                           json.dumps({"listen": f"127.0.0.1:{self.port}", "actors": types, **more}, indent=1))

    def drop_in(self, text):
        self.machine.write(DROP_IN, text)
        self.machine.run("systemctl", "daemon-reload")

    def restart(self):
        self.machine.run("systemctl", "reset-failed", UNIT, check=False)
        self.machine.run("systemctl", "restart", UNIT)

    def pid(self):
        return int(self.machine.show(UNIT, "MainPID"))

    def gateway(self, name, key, rest="/", method="GET", **options):
        return requests.request(method, f"{self.url}/gateway/{name}{rest}", timeout=90 * SCALE, **options, params={
            "rvt-namespace": "default", "rvt-method": "getOrCreate", "rvt-runner": "default", "rvt-key": key})

    def count(self, key):
        answer = self.gateway("counter", key, "/increment", "POST")
        assert answer.status_code == 200, answer.text
        return answer.json()["count"]


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    if shutil.which("debootstrap") is None:
        pytest.skip("needs debootstrap")
    from lib.boot import Machine
    build = os.path.dirname(os.environ["RIVET_RUNNERD"])
    made = subprocess.run(["make", "-s", "-C", ROOT, "deb", f"BUILD={build}"], capture_output=True, text=True, check=True)
    package = os.path.join(ROOT, made.stdout.split()[-1])
    needs = subprocess.run(["dpkg-deb", "-f", package, "Depends"], capture_output=True, text=True, check=True).stdout
    if re.search(r"\blib[a-z]*san\d", needs):
        pytest.skip("a sanitizer's package depends on libraries that the Debian to boot has not")
    machine = Machine(tmp_path_factory.mktemp("machine"))
    try:
        node = Node(machine, package)
        shutil.copy(os.path.join(ROOT, "docs/examples/counter/counter.py"), machine.root + "/srv/counter.py")
        machine.write("/srv/hello.js", NODE)
        machine.write("/srv/Hello.java", JAVA)
        machine.run("java", "-cp", "/usr/share/java/ecj.jar", "org.eclipse.jdt.internal.compiler.batch.Main", "-9",
                    "-d", "/srv", "/srv/Hello.java")
        install(machine, package)
        node.configure()
        node.restart()
        yield node
    finally:
        machine.close()


def install(machine, package):
    shutil.copy(package, machine.root + "/root/package.deb")
    machine.run("dpkg", "-i", "/root/package.deb")


def test_installed_enabled_ready(node):
    machine = node.machine
    assert machine.run("systemctl", "is-enabled", UNIT).stdout.strip() == "enabled"
    assert machine.show(UNIT, "ActiveState") == "active"
    assert machine.show(UNIT, "StatusText").startswith("Serving, local mode: ")
    assert machine.run("stat", "-c", "%U %a", "/var/lib/rivet-runnerd").stdout.split() == ["rivet-runnerd", "700"]
    assert machine.run("stat", "-c", "%a", "/run/rivet-runnerd").stdout.strip() == "711"
    assert machine.run("stat", "-c", "%U", f"/proc/{node.pid()}").stdout.strip() == "rivet-runnerd"


def test_actors_live_and_status_follows(node):
    assert node.count("a") == 1
    assert node.count("a") == 2
    wait_for(lambda: "1 actors awake" in node.machine.show(UNIT, "StatusText"), timeout=30)
    shown = json.loads(node.machine.run("rivet-runnerctl", "--json", "actors").stdout)["actors"]
    assert [(actor["key"], actor["state"]) for actor in shown] == [("a", "running")]


def test_the_journal_tells_a_life_story(node):
    """By the id alone: created, running, the worker's words, its crash, the next generation, its sleep."""
    node.configure({"story": {"command": ["/bin/sh", "-c", "echo once upon a time; exec /usr/bin/python3 /srv/counter.py"]}})
    node.machine.run("systemctl", "reload", UNIT)
    assert node.gateway("story", "a key").status_code == 200
    actor, = [actor for actor in json.loads(node.machine.run("rivet-runnerctl", "--json", "actors").stdout)["actors"]
              if actor["key"] == "a key"]

    def told(words, generation=None, count=1):
        def found():
            records = map(json.loads, node.machine.journal("-o", "json", f"RIVET_ACTOR_ID={actor['id']}").splitlines())
            return [record for record in records if record["MESSAGE"].startswith(words)
                    and generation in (None, record.get("RIVET_GENERATION"))]
        wait_for(lambda: len(found()) >= count, what=words)
        return found()[count - 1]

    worker, = [worker for worker in json.loads(node.machine.run("rivet-runnerctl", "--json", "workers").stdout)["workers"]
               if worker["name"] == "story"]
    node.machine.run("/bin/sh", "-c", f"kill -9 {worker['pid']}")
    crashed = told("actor has stopped", "0")
    assert (crashed["RIVET_HOW"], crashed["PRIORITY"]) == ("crashed", "4")
    assert told("actor ended unasked")["RIVET_FAILURES"] == "1"
    assert node.gateway("story", "a key").status_code == 200
    node.machine.run("rivet-runnerctl", "sleep", actor["id"])
    assert told("actor has stopped", "1")["RIVET_REASON"] == "sleep"
    assert told("actor created")["PRIORITY"] == "6"
    life = [told("actor is running", "0"), told("once upon a time"), crashed, told("actor is running", "1"),
            told("once upon a time", count=2), told("actor has stopped", "1")]
    assert [record["RIVET_GENERATION"] for record in life] == ["0", "0", "0", "1", "1", "1"]
    assert [record["PRIORITY"] for record in life] == ["6", "6", "4", "6", "6", "6"]
    assert len({record["RIVET_WORKER_ID"] for record in life[:3]}) == len({record["RIVET_WORKER_ID"] for record in life[3:]}) == 1
    for record in life:
        assert (record["RIVET_ACTOR_NAME"], record["RIVET_ACTOR_KEY"]) == ("story", "a key")
        assert record["RIVET_WORKER_ID"].startswith("w-")


def test_a_flood_of_worker_output_is_cut_and_counted(node):
    """No line is lost without being counted, and the journal has far fewer than were written."""
    node.configure({"flood": {"command": ["/bin/sh", "-c", "seq 1 20000; exec /usr/bin/python3 /srv/counter.py"]}})
    node.machine.run("systemctl", "reload", UNIT)
    assert node.gateway("flood", "a").status_code == 200

    def counted():
        records = [json.loads(line) for line in node.machine.journal("-o", "json", "RIVET_ACTOR_NAME=flood").splitlines()]
        lines = sum(record["MESSAGE"].split()[0].isdigit() for record in records)
        dropped = [record for record in records if record["MESSAGE"].startswith("worker writes too fast, lines were dropped")]
        return lines, sum(int(record["RIVET_LINES"]) for record in dropped), {record["PRIORITY"] for record in dropped}

    wait_for(lambda: sum(counted()[:2]) == 20000, what=f"20000 lines told or counted, not {counted()}")
    lines, dropped, priorities = counted()
    assert 2000 <= lines < 10000 < dropped and priorities == {"4"}


def test_worker_output_is_in_the_journal(node):
    assert node.gateway("whoami", "w").status_code == 200
    wait_for(lambda: "rivet-runnerd" in node.machine.journal("-o", "cat", "RIVET_ACTOR_NAME=whoami", "-p", "info"))


@pytest.mark.parametrize("name", ["node", "java"])
def test_just_in_time_compilers_work_in_the_sandbox(node, name):
    answer = node.gateway(name, "jit")
    assert answer.status_code == 200, answer.text
    assert answer.text.startswith(f"{name} jit")


def start_stray(node, key):
    """The pid, inside, of a worker's grandchild with a session of its own; the actor is awake."""
    assert node.gateway("stray", key).status_code == 200
    said = wait_for(lambda: [line for line in node.machine.journal("-o", "cat", "RIVET_ACTOR_NAME=stray", f"RIVET_ACTOR_KEY={key}")
                             .splitlines() if line.startswith("stray ")], what="the grandchild")
    return said[-1].split()[1]


def lives(node, pid):
    shown = node.machine.run("cat", f"/proc/{pid}/stat", check=False)
    return shown.returncode == 0 and shown.stdout.rpartition(")")[2].split()[0] != "Z"


def test_what_left_its_session_ends_with_its_worker(node):
    group = "/sys/fs/cgroup" + node.machine.show(UNIT, "ControlGroup")
    assert "control groups of their own" not in node.machine.journal("-u", UNIT, "-o", "cat")
    one = start_stray(node, "one")
    shown = node.machine.run("cat", f"/proc/{one}/cgroup").stdout
    assert "/rivet-runnerd." in shown and "/worker-" in shown
    actor, = [actor for actor in json.loads(node.machine.run("rivet-runnerctl", "--json", "actors").stdout)["actors"]
              if actor["key"] == "one"]
    node.machine.run("rivet-runnerctl", "sleep", actor["id"])
    wait_for(lambda: not lives(node, one), what="the end with the worker")
    two = start_stray(node, "two")
    before = node.pid()
    node.machine.run("systemctl", "kill", "--kill-whom=main", "-s", "KILL", UNIT)
    wait_for(lambda: not lives(node, two), what="the end with the daemon")
    wait_for(lambda: node.machine.show(UNIT, "ActiveState") == "active" and node.pid() not in (0, before))
    three = start_stray(node, "three")
    assert len(node.machine.run("sh", "-c", f"ls -d {group}/rivet-runnerd.*").stdout.split()) == 1
    node.restart()
    assert not lives(node, three)


def test_a_killed_daemon_comes_back_and_refuses_no_connection(node):
    node.count("kept")
    before = node.pid()
    node.machine.run("systemctl", "kill", "--kill-whom=main", "-s", "KILL", UNIT)
    with socket.create_connection(("127.0.0.1", node.port), timeout=30 * SCALE) as client:  # the manager holds the socket
        client.sendall(b"GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        assert client.recv(12) == b"HTTP/1.1 200"
    wait_for(lambda: node.machine.show(UNIT, "ActiveState") == "active" and node.pid() != before)
    assert node.count("kept") == 2


def test_a_stuck_loop_is_restarted(node):
    node.drop_in("[Service]\nWatchdogSec=2s\n")
    node.restart()
    before = node.pid()
    node.machine.run("systemctl", "kill", "--kill-whom=main", "-s", "STOP", UNIT)
    wait_for(lambda: node.pid() not in (0, before) and node.machine.show(UNIT, "ActiveState") == "active", timeout=60)
    wait_for(lambda: "Watchdog timeout" in node.machine.journal("-u", UNIT, "-o", "cat"))


def test_a_wrong_configuration_is_said_once_and_not_retried(node):
    node.drop_in("")
    node.configure(lissten="x")
    node.machine.run("systemctl", "restart", UNIT, check=False)
    wait_for(lambda: node.machine.show(UNIT, "ActiveState") == "failed")
    assert node.machine.show(UNIT, "ExecMainStatus") == "78"
    time.sleep(2)
    assert node.machine.show(UNIT, "ActiveState") == "failed"
    wait_for(lambda: "lissten" in node.machine.journal("-u", UNIT, "-o", "cat", "-n", "20"))
    node.configure()
    node.restart()


def test_reload_through_the_manager(node):
    node.count("reloaded")
    before = node.pid()
    node.configure({"late": {"command": ["/usr/bin/python3", "/srv/counter.py"]}})
    node.machine.run("systemctl", "reload", UNIT)
    assert node.gateway("late", "a").status_code == 200
    node.configure(lissten="x")
    assert node.machine.run("systemctl", "reload", UNIT, check=False).returncode != 0
    assert node.machine.show(UNIT, "ActiveState") == "active"
    assert node.gateway("late", "a").status_code == 200
    assert (node.count("reloaded"), node.pid()) == (2, before)
    node.configure()
    node.restart()


def test_privileged_drop_in_gives_users_of_their_own(node):
    shutil.copy(node.machine.root + "/usr/share/doc/rivet-runnerd/examples/privileged.conf", node.machine.root + DROP_IN)
    node.machine.run("systemctl", "daemon-reload")
    node.configure({"other": {"command": ["/bin/sh", "-c", "id -un; nice; ls -A /tmp | wc -l; exec /usr/bin/python3 /srv/counter.py"],
                              "user": "nobody", "private_tmp": True, "nice": -5}})
    node.restart()
    assert node.gateway("other", "a").status_code == 200
    wait_for(lambda: "nobody" in node.machine.journal("-o", "cat", "RIVET_ACTOR_NAME=other"))
    wait_for(lambda: [line for line in node.machine.journal("-o", "cat", "RIVET_ACTOR_NAME=other").splitlines() if line.startswith("-5 ")])
    node.drop_in("")
    node.machine.run("chown", "-R", "rivet-runnerd:", "/var/lib/rivet-runnerd")
    node.configure()
    node.restart()


# ---- what an actor type may be kept from ----

FACTS = """
    echo "umask=$(umask) nice=$(nice) oom=$(cat /proc/self/oom_score_adj) files=$(ulimit -n) core=$(ulimit -c)"
    echo "user=$(id -un) group=$(id -gn) $(sed -n 's/NoNewPrivs:\\t/nnp=/p; s/CapEff:\\t/caps=/p' /proc/self/status | tr '\\n' ' ')"
    for place in /srv/free /srv/locked /etc; do
        if (: >$place/new) 2>/dev/null; then echo "$place=written"; else echo "$place=refused"; fi
    done
    echo told=all
    exec /usr/bin/python3 /srv/counter.py
"""


def facts(node, drop_in, **settings):
    """What a worker with these settings finds, by its words in the journal."""
    machine = node.machine
    machine.run("install", "-d", "-m", "777", "/srv/free", "/srv/locked")
    machine.write("/srv/facts.sh", FACTS)
    node.drop_in(drop_in + "ReadWritePaths=/srv/free /srv/locked\n")
    node.configure({"facts": {"command": ["/bin/sh", "/srv/facts.sh"], "read_only_paths": ["/srv/locked"], **settings}})
    key = secrets.token_hex(4)
    try:
        node.restart()
        assert node.gateway("facts", key).status_code == 200

        def told():
            return machine.journal("-o", "cat", f"RIVET_ACTOR_KEY={key}").split()

        wait_for(lambda: "told=all" in told(), what="the worker's words")
        return dict(word.split("=", 1) for word in told() if "=" in word)
    finally:
        machine.run("rm", "-rf", "/srv/free/new", "/srv/locked/new")
        machine.run("systemctl", "stop", UNIT)
        node.drop_in("")
        machine.run("chown", "-R", "rivet-runnerd:", "/var/lib/rivet-runnerd")
        node.configure()
        node.restart()


SETTINGS = {"umask": "0027", "nice": 5, "oom_score_adj": 300, "limits": {"open_files": 77, "core": 0}}
CAP_SYS_RESOURCE = 24
FOUND = {"umask": "0027", "nice": "5", "oom": "300", "files": "77", "core": "0"}


def may_raise():
    with open("/proc/self/status", encoding="ascii") as file:
        return int(re.search(r"CapEff:\s+(\w+)", file.read()).group(1), 16) >> CAP_SYS_RESOURCE & 1


def test_sandbox_settings_under_the_unit(node):
    """Without a right of its own: read-only paths are a Landlock ruleset."""
    found = facts(node, "[Service]\n", **SETTINGS)
    assert {name: found[name] for name in FOUND} == FOUND
    assert (found["user"], found["group"], found["nnp"]) == ("rivet-runnerd", "rivet-runnerd", "1")
    assert int(found["caps"], 16) == 0
    assert (found["/srv/free"], found["/srv/locked"], found["/etc"]) == ("written", "refused", "refused")


def test_sandbox_settings_with_the_privileged_drop_in(node):
    """Read-only paths are mounts, users are others; where the machine has CAP_SYS_RESOURCE itself, limits may be raised."""
    with open(node.machine.root + "/usr/share/doc/rivet-runnerd/examples/privileged.conf", encoding="utf-8") as file:
        privileged = file.read()
    raised = {"oom_score_adj": -500, "limits": {"open_files": 600000, "core": 0}} if may_raise() else {}
    found = facts(node, privileged, user="nobody", group="games", no_new_privs=False, **{**SETTINGS, **raised})
    assert {name: found[name] for name in FOUND} == {**FOUND, **({"oom": "-500", "files": "600000"} if raised else {})}
    assert (found["user"], found["group"]) == ("nobody", "games")
    assert found["nnp"] == "1"  # the unit's own holds for all below it
    assert int(found["caps"], 16) == 0
    assert (found["/srv/free"], found["/srv/locked"], found["/etc"]) == ("written", "refused", "refused")


def test_what_takes_more_rights_than_the_unit_has_is_refused(node):
    node.configure({"low": {"command": ["/bin/true"], "oom_score_adj": -500}})
    node.machine.run("systemctl", "restart", UNIT, check=False)
    wait_for(lambda: node.machine.show(UNIT, "ActiveState") == "failed")
    assert node.machine.show(UNIT, "ExecMainStatus") == "78"
    wait_for(lambda: "CAP_SYS_RESOURCE" in node.machine.journal("-u", UNIT, "-o", "cat", "-n", "20"))
    node.configure()
    node.restart()


def refuses_strangers(node):
    node.restart()
    assert node.gateway("counter", "a").status_code == 403
    assert node.gateway("counter", "a", headers={"x-rivet-token": "s3cret-token"}).status_code == 200
    assert "s3cret-token" not in node.machine.journal("-u", UNIT)


def test_a_token_comes_from_the_environment_file(node):
    node.machine.write("/etc/default/rivet-runnerd", "RIVET_TOKEN=s3cret-token\n", 0o600)
    refuses_strangers(node)
    os.unlink(node.machine.root + "/etc/default/rivet-runnerd")
    node.restart()


def test_a_token_comes_as_a_credential(node):
    node.machine.write("/etc/credstore/rivet-token", "s3cret-token\n", 0o600)
    try:
        refuses_strangers(node)
    finally:
        os.unlink(node.machine.root + "/etc/credstore/rivet-token")
        node.restart()


def test_a_stop_drains_within_its_time(node):
    node.count("drained")
    node.machine.run("systemctl", "stop", UNIT)
    assert node.machine.show(UNIT, "Result") == "success"
    wait_for(lambda: "actor has stopped" in node.machine.journal("-u", UNIT, "-o", "cat", "-n", "20"))
    node.machine.run("systemctl", "start", UNIT)
    assert node.count("drained") == 2


def test_socket_activation(node):
    port = free_port()
    node.machine.run("systemctl", "stop", UNIT)
    node.machine.write("/etc/systemd/system/rivet-runnerd.socket.d/test.conf",
                       f"[Socket]\nListenStream=\nListenStream=127.0.0.1:{port}\n")
    node.machine.run("systemctl", "daemon-reload")
    node.machine.run("systemctl", "start", "rivet-runnerd.socket")
    assert node.machine.show(UNIT, "ActiveState") == "inactive"
    assert requests.get(f"http://127.0.0.1:{port}/health", timeout=60 * SCALE).status_code == 200
    assert node.machine.show(UNIT, "ActiveState") == "active"
    node.machine.run("systemctl", "stop", "rivet-runnerd.socket", UNIT)
    node.machine.run("systemctl", "start", UNIT)


def test_an_upgrade_keeps_actors_configuration_and_clients(node, tmp_path):
    node.count("upgraded")
    stage = tmp_path / "stage"
    subprocess.run(["dpkg-deb", "-R", node.package, stage], check=True)
    control = stage / "DEBIAN/control"
    control.write_text(control.read_text().replace("Version: ", "Version: 99."))
    subprocess.run(["dpkg-deb", "--root-owner-group", "--build", stage, tmp_path / "next.deb"], check=True, stdout=subprocess.DEVNULL)
    before = node.pid()
    install(node.machine, str(tmp_path / "next.deb"))
    wait_for(lambda: node.machine.show(UNIT, "ActiveState") == "active" and node.pid() != before)
    assert node.count("upgraded") == 2


def test_remove_keeps_state_and_purge_takes_it(node):
    machine = node.machine
    machine.run("dpkg", "--remove", "rivet-runnerd")
    assert machine.run("systemctl", "is-active", UNIT, check=False).stdout.strip() in ("inactive", "failed")
    assert os.path.exists(machine.root + "/var/lib/rivet-runnerd/store.db")
    assert os.path.exists(machine.root + "/etc/rivet-runnerd/rivet-runnerd.json")
    machine.run("dpkg", "--purge", "rivet-runnerd")
    for path in ("/var/lib/rivet-runnerd", "/etc/rivet-runnerd", "/usr/bin/rivet-runnerd"):
        assert not os.path.exists(machine.root + path)
    assert machine.run("dpkg", "-s", "rivet-runnerd", check=False).returncode != 0
