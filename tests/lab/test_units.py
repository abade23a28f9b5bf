# SPDX-License-Identifier: Apache-2.0
"""The systemd units: where they are installed, what systemd's own checks say of them, whether a node
lives with the rights that they leave it, and what it tells its supervisor.

No systemd runs here: what one would do for a unit is done by setpriv, a socket and a program that
stands for systemctl.
"""
import os
import re
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from lab.host import BUILD, REPOSITORY, Capsule, wait_for
from test_fabric import PROGRAM, SERVER, TOPOLOGY, Fabric, answers

UNITS = ["fairlead.service", "fairlead-landing@.service"]
FILES = ["bin/fairlead", "bin/fairlead-lab", "lib/sysusers.d/fairlead.conf",
         "lib/systemd/networkd.conf.d/fairlead.conf",
         *(f"lib/systemd/system/{unit}" for unit in UNITS)]


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A root folder into which `./dev install` put everything."""
    root = tmp_path_factory.mktemp("root")
    done = subprocess.run([REPOSITORY / "dev", "install"], check=False, capture_output=True, text=True,
                          env={**os.environ, "DESTDIR": str(root), "FAIRLEAD_BUILD": str(BUILD)})
    assert done.returncode == 0, done.stdout + done.stderr
    return root


def settings(root, unit):
    """{key: value} of a unit as it was installed; of what stands twice the last."""
    text = (root / "usr/local/lib/systemd/system" / unit).read_text()
    return dict(line.split("=", 1) for line in text.splitlines()
                if "=" in line and not line.startswith("#"))


def test_everything_is_in_its_place(installed):
    found = {str(path.relative_to(installed / "usr/local"))
             for path in installed.rglob("*") if path.is_file()}
    assert found == set(FILES)
    program = installed / "usr/local/bin/fairlead"
    done = subprocess.run([program, "--version"], check=True, capture_output=True, text=True)
    assert done.stdout.startswith("fairlead ")
    assert settings(installed, UNITS[0])["ExecStart"] == "/usr/local/bin/fairlead run"


@pytest.mark.parametrize("unit", UNITS)
def test_systemd_understands_a_unit(installed, unit):
    """Nothing is unknown to it, misspelt or missing; the targets that units hang on are its own."""
    own = installed / "lib/systemd/system"
    own.mkdir(parents=True, exist_ok=True)
    for path in Path("/lib/systemd/system").iterdir():
        if path.suffix in (".target", ".slice", ".mount", ".socket") and path.is_file():
            (own / path.name).write_bytes(path.read_bytes())
    shown = unit.replace("@.", "@web1.")
    done = subprocess.run(["systemd-analyze", "verify", f"--root={installed}", "--man=no", shown],
                          check=False, capture_output=True, text=True)
    told = [line for line in (done.stdout + done.stderr).splitlines() if "fairlead" in line]
    assert done.returncode == 0 and not told, done.stdout + done.stderr


@pytest.mark.parametrize("unit, most", [(UNITS[0], 40), (UNITS[1], 36)])
def test_a_unit_is_confined(installed, unit, most):
    """systemd's own figure, 0 (all is barred) to 100: a daemon that loads BPF keeps what is below."""
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", f"--root={installed}",
         f"--threshold={most}", "--no-pager", unit.replace("@.", "@web1.")],
        check=False, capture_output=True, text=True)
    figure = re.search(r"Overall exposure level for \S+: (\S+) (\w+)", done.stdout)
    assert figure, done.stdout + done.stderr
    print(unit, figure[1], figure[2])
    assert done.returncode == 0, figure[0]


class Supervised(Fabric):
    """Nodes that are started with the rights that the unit leaves them."""

    words: list = []

    def start(self, name):
        self.nodes[name] = self.capsule.spawn(name, [
            *self.words, PROGRAM, "run", "--state", self.capsule.root / name / "state"], name)
        self.wait(name)


@pytest.fixture(scope="module")
def fabric(installed):
    unit = settings(installed, UNITS[0])
    assert unit["NoNewPrivileges"] == "yes"
    rights = unit["CapabilityBoundingSet"].lower().replace("cap_", "+").replace(" ", ",")
    with Capsule(TOPOLOGY, PROGRAM) as capsule:
        running = Supervised(capsule)
        unit = installed / "usr/local/lib/systemd/system" / UNITS[0]
        running.words = ["/usr/bin/python3", "-B", Path(__file__).with_name("confined.py"), unit,
                         "setpriv", "--no-new-privs", f"--bounding-set=-all,{rights}",
                         "--inh-caps=-all"]
        for name in "a", "b":
            capsule.spawn(f"http-{name}", ["python3", "-c", SERVER, name], name)
        token = running.init()
        running.start("a")
        assert running.join("b", token).returncode == 0
        running.start("b")
        yield running


def test_a_node_lives_with_these_rights(fabric):
    """It joins, forwards, lands, hands over to listeners, answers names and counts; nothing is
    wrong with it, and it finds out what another program does to its edge."""
    for name in "a", "b":
        with open(f"/proc/{fabric.nodes[name].process.pid}/status", encoding="ascii") as file:
            status = dict(line.split(":\t", 1) for line in file)
        assert status["NoNewPrivs"].strip() == "1" and status["Seccomp"].strip() == "2"
        assert int(status["CapBnd"], 16) == int(status["CapPrm"], 16) != 0x1ffffffffff
    number = fabric.apply("a", "b")
    for name in "a", "b":
        fabric.lead_to(name)
        connections = fabric.connect(number, 10)
        assert set(answers(connections)) == {"a", "b"}
        wait_for(lambda: fabric.clis["a"].status().services["web"].versions[number].connections == 20,
                 "twenty connections to be counted")
        for connection in connections:
            connection.close()
    done = fabric.capsule.run(["kdig", "+short", "@10.0.1.3", "web.svc.example.net", "A"], "client")
    assert done.stdout
    wait_for(lambda: not [alarm for cli in fabric.clis.values() if cli is not fabric.clis["c"]
                          for alarm in cli.status().alarms], "nothing to be wrong", 20)
    (worker,) = fabric.capsule.run(
        ["pgrep", "-P", str(fabric.nodes["b"].process.pid)], "b").stdout.split()
    with open(f"/proc/{worker}/status", encoding="ascii") as file:
        status = dict(line.split(":\t", 1) for line in file)
    assert int(status["CapBnd"], 16) == 0 and "0" not in status["Uid"].split()


def test_it_cuts_by_order_with_these_rights(fabric):
    old = fabric.apply("b")
    connections = fabric.connect(old, 2)
    new = fabric.apply("a")
    assert new > old
    fabric.clis["a"]("rollout", "cut", f"web/{old}")

    def ended():
        for connection in connections:
            connection.sock.setblocking(False)
            try:
                if connection.sock.recv(1):
                    return False
            except BlockingIOError:
                return False
            except ConnectionError:
                pass
        return True
    wait_for(ended, "the connections to be cut", 20)


class Supervisor:
    """What systemd is to a service of Type=notify: a socket, and what came there."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.socket.setblocking(False)
        self.environment = {"NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": "600000"}
        self.said = []

    def hear(self):
        while True:
            try:
                self.said += self.socket.recv(4096).decode().splitlines()
            except BlockingIOError:
                return self.said

    def count(self, word):
        return self.hear().count(word)


def test_what_a_node_tells_its_supervisor(fabric):
    """READY once it forwards and answers, WATCHDOG while its loop turns, STOPPING at the end."""
    supervisor = Supervisor(fabric.capsule.root / "notify.sock")
    child = fabric.nodes["b"]
    child.stop()
    child.start(env=supervisor.environment)
    wait_for(lambda: supervisor.count("READY=1") == 1, "it to be ready", 20)
    assert not any(line.startswith("STOPPING") for line in supervisor.said)
    before = supervisor.count("WATCHDOG=1")
    wait_for(lambda: supervisor.count("WATCHDOG=1") >= before + 3, "it to live")
    assert any(line.startswith("STATUS=") for line in supervisor.said)
    # One whose loop stands still is found out.
    child.process.send_signal(signal.SIGSTOP)
    before = supervisor.count("WATCHDOG=1")
    time.sleep(1)
    assert supervisor.count("WATCHDOG=1") <= before + 1
    child.process.send_signal(signal.SIGCONT)
    wait_for(lambda: supervisor.count("WATCHDOG=1") > before + 1, "it to live again")
    assert child.stop() == 0
    assert supervisor.count("STOPPING=1") == 1 and supervisor.count("READY=1") == 1
    child.start()
    fabric.wait("b")


SYSTEMCTL = """#!/bin/sh
echo "$@" >>"$LOG"
echo "Created symlink." # systemctl is talkative
exit ${SYSTEMCTL_FAILS:-0}
"""
# A machine on which systemd runs: its folder, a state folder of its own, and its systemctl.
MACHINE = """
set -e
mount -t tmpfs tmpfs /run/systemd
mkdir -p /run/systemd/system /var/lib/fairlead
mount -t tmpfs tmpfs /var/lib/fairlead
export LOG="$1/systemctl.log" PATH="$1:$PATH"
shift
for command; do
    echo "+ $command"
    eval "$command" || echo "exit $?"
done
"""


def machine(fabric, folder, *commands, **environment):
    """What somebody sees who types these on a machine with systemd, and what systemctl was told."""
    path = folder / "systemctl"
    path.write_text(SYSTEMCTL)
    path.chmod(0o755)
    done = fabric.capsule.run(["unshare", "-m", "sh", "-c", "mkdir -p /run/systemd; " + MACHINE, "sh",
                               folder, *commands], "c", check=False,
                              env={**os.environ, **environment})
    log = folder / "systemctl.log"
    return done.stdout, done.stderr, log.read_text() if log.exists() else ""


@pytest.fixture
def folder(fabric, request):
    path = fabric.capsule.root / re.sub(r"\W", "-", request.node.name)
    path.mkdir()
    return path


def test_where_systemd_runs_init_starts_the_unit(fabric, folder):
    init = f"{PROGRAM} init --node c --pins {fabric.capsule.bpffs / 'x'}"
    out, err, told = machine(fabric, folder, init, init)
    assert told.splitlines() == ["enable --now fairlead.service"] * 2
    first, again = out.split(f"+ {init}\n")[1:]
    assert "it runs, also after a restart" in first and "--token fl1" in first
    assert "fairlead run\n" not in first and "symlink" not in out
    # What was done is done: the unit is started all the same, in case it was cut short before.
    assert "exit 1" in again and "is a node already" in err and "its unit runs" in err


def test_a_unit_that_does_not_start_is_told(fabric, folder):
    init = f"{PROGRAM} init --node c --pins {fabric.capsule.bpffs / 'y'}"
    out, err, told = machine(fabric, folder, init, SYSTEMCTL_FAILS="1")
    assert told and "exit 1" in out and "journalctl -u fairlead.service" in err
    assert "--token fl1" in out


def test_where_systemd_runs_join_starts_the_unit(fabric, folder):
    join = (f"{PROGRAM} join 10.0.1.2 --token {fabric.token()} --node cc --role names "
            f"--pins {fabric.capsule.bpffs / 'z'}")
    out, err, told = machine(fabric, folder, join)
    assert told.splitlines() == ["enable --now fairlead.service"], err
    assert "it runs, also after a restart" in out


def test_a_state_elsewhere_has_no_unit(fabric, folder):
    init = f"{PROGRAM} init --node c --state {folder / 'state'} --pins {fabric.capsule.bpffs / 'w'}"
    out, _, told = machine(fabric, folder, init)
    assert not told and f"fairlead run --state {folder / 'state'}\n" in out
