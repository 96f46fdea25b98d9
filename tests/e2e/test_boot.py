"""The package and its unit on a booted systemd: install, serve, sandbox, crash, watch, activate, upgrade, purge."""

import json
import os
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
    node.count("story")
    actor, = [actor for actor in json.loads(node.machine.run("rivet-runnerctl", "--json", "actors").stdout)["actors"]
              if actor["key"] == "story"]

    def told():
        return [json.loads(line) for line in node.machine.journal("-o", "json", f"RIVET_ACTOR_ID={actor['id']}").splitlines()]

    wait_for(lambda: any(record["MESSAGE"].startswith("actor is running") for record in told()))
    records = told()
    running, = [record for record in records if record["MESSAGE"].startswith("actor is running")]
    assert (running["RIVET_ACTOR_NAME"], running["RIVET_GENERATION"], running["PRIORITY"]) == ("counter", "0", "6")
    assert running["RIVET_WORKER_ID"].startswith("w-")
    created, = [record for record in records if record["MESSAGE"].startswith("actor created")]
    assert created["RIVET_ACTOR_KEY"] == "story"


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
