# SPDX-License-Identifier: Apache-2.0
"""The daemon alone, over its socket: one namespace with a veth pair, roles edge and names, and
landings that this test plays itself. What a client can do to it, and what a restart may not lose.
"""
import contextlib
import json
import os
import re
import signal
import socket
import sqlite3

import peer
import pytest

from lab.host import BUILD, Capsule, LabError, wait_for
from lab.described import fields, undescribed
from lab.product import sentences

PROGRAM = BUILD / "src/fairlead"
NAMESPACE = "node"
# One machine with an interface that leads nowhere.
TOPOLOGY = """
machines: {node: , nowhere: }
links:
  up:
    from: {machine: node, interface: up0, addresses: [10.0.0.2/24]}
    to: {machine: nowhere, interface: peer0}
"""
INTERVAL_MS = 200
MAX_LINE = 8 << 20


class Refused(LabError):
    """The daemon answered with an error; `code` is its name."""

    def __init__(self, error):
        super().__init__(error["text"])
        self.code = error["code"]


class Client:
    """One connection to the local API."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.connect(str(path))
        self.socket.settimeout(20)
        self._input = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, verb, **parameters):
        self.socket.sendall(json.dumps({"verb": verb, "parameters": parameters}).encode() + b"\n")

    def line(self):
        """The next answer as it is, or None when the daemon has closed the connection."""
        while b"\n" not in self._input:
            chunk = self.socket.recv(1 << 20)
            if not chunk:
                return None
            self._input += chunk
        line, _, self._input = self._input.partition(b"\n")
        return json.loads(line)

    def read(self):
        answer = self.line()
        if answer is None:
            raise LabError("the daemon closed the connection")
        if "error" in answer:
            raise Refused(answer["error"])
        return answer["data"]

    def ask(self, verb, **parameters):
        self.send(verb, **parameters)
        return self.read()


class Node:
    """The daemon, and what a test says to it."""

    def __init__(self, capsule):
        self.capsule = capsule
        self.folder = capsule.root / "node"
        self.socket = self.folder / "run/fairlead.sock"
        self.peers = self.folder / "run/peers.sock"
        self.child = None
        self.main = None
        self.landings = {}

    def argv(self, **changes):
        options = {"node": "edge1", "site": "fra", "role": "edge,names", "interface": "up0",
                   "source": "10.0.0.2", "dns": "10.0.0.2", "state": self.folder / "state",
                   "run-dir": self.folder / "run", "pins": self.capsule.bpffs / "node"} | changes
        return [PROGRAM, "run", *(word for key, value in options.items()
                                  for word in (f"--{key}", str(value)) if value is not None)]

    def start(self, **changes):
        self.child = self.capsule.spawn("node", self.argv(**changes), NAMESPACE)
        self.wait()

    def again(self):
        self.child.start()
        self.wait()

    def wait(self):
        def answers():
            self.capsule.check()
            self.main = self.connect()
            return self.main.ask("status")
        wait_for(answers, "the daemon to answer")

    def connect(self):
        return Client(self.socket)

    def ask(self, verb, **parameters):
        return self.main.ask(verb, **parameters)

    def refused(self, verb, **parameters):
        with pytest.raises(Refused) as caught:
            self.ask(verb, **parameters)
        return caught.value

    def apply(self, text, **options):
        """What clients lose by it is meant: see test_guards.py."""
        return self.ask("apply", file="fabric.yaml", text=text, yes=True, **options)

    def plan(self, text):
        return self.ask("plan", file="fabric.yaml", text=text)

    def landing(self, name, instance="1"):
        """The session of a landing that the test plays."""
        key = name, instance
        if key not in self.landings:
            self.landings[key] = peer.Landing(self.peers, name, instance)
        return self.landings[key]

    def report(self, name, connections=(), instance="1", **more):
        """True when the answer brought another configuration. A daemon that started anew is
        reported to anew."""
        try:
            return self.landing(name, instance).report(connections, **more)
        except (BrokenPipeError, LabError) as gone:
            if isinstance(gone, peer.Refused):
                raise
            del self.landings[name, instance]
            return self.landing(name, instance).report(connections, **more)

    def report_until_told(self, name):
        """A node that has just started is no member yet: it tells landings nothing."""
        wait_for(lambda: self.report(name), f"{name} to be told what it shall be", 10)

    def versions(self, service):
        """{number: state}, also of those that are retired."""
        found = self.ask("describe", thing=f"service/{service}", all=True)
        return {version["number"]: version["state"] for version in found["versions"]}

    def wait_versions(self, service, states, reporting=(), seconds=15):
        """`reporting` landings count nothing meanwhile. The machine's interface leads nowhere, so
        that no backend has a next hop: what waits for that is let go on."""
        def reached():
            for name in reporting:
                self.report(name)
            self.force(service)
            found = self.versions(service)
            if all(found.get(number) == state for number, state in states.items()):
                return True
            raise LabError(f"they are {found}")
        wait_for(reached, f"{service} to be {states}", seconds)

    def force(self, service=None):
        """What waits gets its first share; of all services unless one is named."""
        for rollout in self.ask("rollout status"):
            if service in (None, rollout["service"]) and rollout["waits"]:
                with contextlib.suppress(Refused):  # not every edge holds it yet
                    self.ask("rollout resume", service=rollout["service"], force=True)

    def all_versions(self):
        """What `get versions` says, when whatever waits was let go on."""
        self.force()
        return self.ask("get", kind="versions")

    def resolve(self, name, server="10.0.0.2", kind="A", zone="svc.example.net"):
        done = self.capsule.run(["kdig", "+short", "+timeout=1", "+retry=0", f"@{server}",
                                 f"{name}.{zone}", kind], NAMESPACE, check=False)
        return done.stdout.split()

    def run(self, **changes):
        """A start that must fail: the one sentence that it printed."""
        done = self.capsule.run(self.argv(**changes), NAMESPACE, check=False)
        assert done.returncode == 1, done
        said = [line for line in done.stderr.splitlines() if line.startswith("fairlead: ")]
        assert len(said) == 1, done.stderr
        return said[0]


def backend(name, number, weight=10):
    return f"      - {{name: {name}, site: fra, address: 10.0.0.{number}, weight: {weight}}}\n"


def service(name, backends=(("web1", 11), ("web2", 12)), extra=""):
    return (f"  {name}:\n    ports: [tcp/80]\n    ttl: 1s\n{extra}"
            f"    rollout: {{shares: [100%]}}\n    backends:\n"
            + "".join(backend(*one) for one in backends))


def fabric(*services, pool="198.51.100.0/26", sites="fra: {}", settings="", nameservers=True):
    """A configuration file; settings are such that nothing waits for long."""
    return (f"fabric: lab\nzone: svc.example.net\n"
            f"settings: {{quiet: 100ms, stale: 100ms, report_interval: {INTERVAL_MS}ms{settings}}}\n"
            + ("nameservers:\n  ns1: [10.0.0.2]\n" if nameservers else "")
            + f"pools:\n  - {{prefix: {pool}, site_bits: 1}}\n"
            f"sites: {{{sites}}}\nservices:\n" + "".join(services))


@pytest.fixture
def node():
    with Capsule(TOPOLOGY) as capsule:
        node = Node(capsule)
        try:
            yield node
            capsule.check()
        finally:
            if node.child and node.child.log.exists():
                print(node.child.tail(40))


@pytest.fixture
def running(node):
    node.start()
    return node


KINDS = "services", "versions", "backends", "bindings", "pools", "sites"
THINGS = [("service/web", "services"), ("version/web/1", "versions"), ("backend/web1", "backends"),
          ("address/198.51.100.1", "bindings")]


def test_what_is_shown_is_what_the_help_describes(running):
    """Every field of every answer, with its type."""
    running.apply(fabric(service("web")))
    running.report("web1", {"198.51.100.1": 1}, alarms=[TROUBLE])
    running.report("wbe1", {})
    for words in ("status",), ("rollout", "status"), ("log",), ("verify",):
        assert not undescribed(running.ask(" ".join(words)), fields(PROGRAM, *words))
    for kind in KINDS:
        described = fields(PROGRAM, "get", kind)
        answer = running.ask("get", kind=kind)
        assert answer and not undescribed(answer, described)
    for thing, kind in THINGS:
        answer = running.ask("describe", thing=thing)
        assert not undescribed(answer, fields(PROGRAM, "get", kind))
    assert not undescribed(running.ask("get"), fields(PROGRAM, "get"))


def test_what_orders_and_events_say_is_what_the_help_describes(running):
    slow = service("web").replace("shares: [100%]", "shares: [50%, 100%], pause: 1h")
    first = {"file": "fabric.yaml", "text": fabric(slow)}
    second = {"file": "fabric.yaml", "text": fabric(slow.replace("web1", "web3"),
                                                    settings=", quarantine: 1d")}
    both = {1: "serving", 2: "serving"}
    # The states that must be reached before, the verb, its parameters.
    orders = [({}, "plan", first), ({}, "apply", first), ({}, "plan", first),
              ({1: "serving"}, "plan", second), ({}, "apply", second | {"dry_run": True}),
              ({}, "apply", second), (both, "rollout pause", {"service": "web"}),
              ({}, "rollout resume", {"service": "web"}), ({}, "rollback", {"service": "web"}),
              ({2: "draining"}, "rollout cut", {"version": "web/2"}),
              ({}, "backend forget", {"backend": "web2"})]
    with running.connect() as events:
        events.send("events")
        for states, verb, parameters in orders:
            if states:
                running.wait_versions("web", states)
            answer = running.ask(verb, **parameters)
            assert not undescribed(answer, fields(PROGRAM, *verb.split())), verb
        described, seen = fields(PROGRAM, "events"), set()
        while "backend.forget" not in seen:
            event = events.read()
            seen.add(event["event"])
            assert not undescribed(event, described)
    assert {"apply", "transition", "rollout.pause", "rollback", "rollout.cut"} <= seen


# --- the socket ---

def test_a_client_that_stops_sending_gets_its_answers(running):
    with running.connect() as client:
        client.send("apply", file="f", text=fabric(service("web")))
        client.send("status")
        client.socket.shutdown(socket.SHUT_WR)
        assert client.read()["changed"]
        assert client.read()["configured"]
        assert client.line() is None


def test_pipelined_requests_are_answered_in_order(running):
    with running.connect() as client:
        for number in range(500):
            client.send("describe", thing=f"service/s{number}")
        for number in range(500):
            assert f"service/s{number}" in client.line()["error"]["text"]


def test_a_line_that_is_too_long_ends_the_connection(running):
    with running.connect() as client:
        rest = b'{"verb": "status", "parameters": {"x": "' + b"x" * (MAX_LINE + 1)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            client.socket.sendall(rest)
        assert "longer than" in client.line()["error"]["text"]
    assert running.ask("status")


def test_a_request_of_eight_megabytes_is_read(running):
    with running.connect() as client:
        text = "#" * (MAX_LINE - 200)
        with pytest.raises(Refused) as caught:
            client.ask("plan", file="big", text=text)
        assert caught.value.code == "FL_EINVALID"
        assert client.ask("status")


@pytest.mark.parametrize("line", [b"", b"[]", b"{}", b'{"verb": 1}', b'{"verb": "rollout cut"}',
                                  b'{"verb": "rollback", "parameters": {}}', b"\xff\xfe", b"\0",
                                  b'{"verb": "log", "parameters": {"from": -1}}',
                                  b'{"verb": "log", "parameters": {"limit": 999999999}}',
                                  b'{"verb": "landing report", "parameters": {}}',
                                  b'{"verb": "status", "parameters": {"node": "\\u0000"}}',
                                  b'{"verb": "status", "parameters": ' + b"[" * 3000])
def test_hostile_lines_do_no_harm(running, line):
    with running.connect() as client:
        client.socket.sendall(line + b"\n")
        answer = client.line()
        assert answer is None or "error" in answer
    assert running.ask("status")


def test_the_client_beyond_the_limit_is_told_so(running):
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(running.connect()) for _ in range(255)]
        assert clients[-1].ask("status")
        beyond = stack.enter_context(running.connect())
        assert "256 clients" in beyond.line()["error"]["text"]
        assert beyond.line() is None
        assert running.ask("status")


def test_a_slow_reader_of_events_is_dropped_and_nobody_else(running):
    with running.connect() as slow, running.connect() as quick:
        slow.send("events")
        quick.send("events")
        filler = "x" * 1000
        for number in range(60):
            files = [service(f"s{n}", (("web1", 11, number % 7 + 1),)) for n in range(8)]
            running.apply(fabric(*files, pool="198.51.96.0/20"), message=filler)
            if number == 0:
                assert quick.read()["event"]
        assert running.ask("status")
        slow.socket.settimeout(5)
        seen = 0
        with contextlib.suppress(ConnectionError, socket.timeout):
            while slow.line():
                seen += 1
        assert seen  # what was sent before is still there
    assert running.ask("status")


def test_only_root_may_open_the_socket(running):
    assert running.socket.stat().st_mode & 0o777 == 0o600
    running.socket.chmod(0o666)
    os.chmod(running.folder, 0o755)
    script = ("import os,socket,sys; os.setgid(65534); os.setuid(65534);"
              "s=socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); print(s.recv(999).decode())")
    done = running.capsule.run(["/usr/bin/python3", "-c", script, running.socket])
    assert "only root" in done.stdout


# --- starting and stopping ---

def test_a_second_daemon_on_the_same_state_is_refused(running):
    said = running.run(**{"run-dir": running.folder / "other", "pins": None})
    assert "store" in said or "process" in said


def test_a_second_daemon_on_the_same_socket_is_refused(running):
    said = running.run(state=running.folder / "other", dns="10.0.0.2@5353",
                       pins=running.capsule.bpffs / "other")
    assert "another fairlead answers here" in said
    assert running.connect().ask("status")


def test_a_stale_socket_is_replaced_and_a_file_is_not(node):
    node.socket.parent.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(node.socket))
    node.start()
    assert node.child.stop() == 0
    assert not node.socket.exists()
    node.socket.write_text("mine")
    assert "not a socket" in node.run()
    assert node.socket.read_text() == "mine"


@pytest.mark.parametrize("changes, sentence", [
    ({"dns": "192.0.2.77"}, "192.0.2.77"),
    ({"pins": "/run/lab/nowhere"}, "BPF"),
    ({"state": "/proc/fairlead"}, "/proc/fairlead"),
    ({"run-dir": "/run/lab/" + "long/" * 30}, "characters"),
])
def test_a_start_that_fails_says_why_and_leaves_nothing(node, changes, sentence):
    assert sentence in node.run(**changes)
    assert not list(node.capsule.bpffs.rglob("links/*"))
    node.start()


def test_a_state_folder_belongs_to_one_node(node):
    node.start()
    node.apply(fabric(service("web")))
    assert node.child.stop() == 0
    said = node.run(node="edge2")
    assert "state of node edge1" in said and "--node edge1" in said
    node.again()
    assert node.ask("verify")["sound"]


def test_stopping_answers_what_is_under_way(running):
    with running.connect() as client:
        for number in range(20):
            client.send("apply", file="f", text=fabric(service("web", (("web1", 11, number + 1),))))
            client.send("log")
            client.send("verify")
        assert running.child.stop() == 0
        with contextlib.suppress(ConnectionError):
            while client.line():
                pass
    running.again()
    assert running.ask("verify")["sound"]


def test_the_system_manager_is_told(node):
    path = node.capsule.root / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(path))
        manager.settimeout(10)
        node.child = node.capsule.spawn("node", node.argv(), NAMESPACE,
                                        env=os.environ | {"NOTIFY_SOCKET": str(path)})
        node.wait()
        said = [manager.recv(999).decode() for _ in range(2)]
        assert said == ["STATUS=nothing was applied yet", "READY=1"]
        node.apply(fabric(service("web")))
        while "DNS answers" not in (line := manager.recv(999).decode()):
            assert line.startswith("STATUS=1 services, ledger entry")
        assert node.child.stop() == 0
        while manager.recv(999) != b"STOPPING=1":
            pass


def damage(node, key, value):
    path, = (node.folder / "state").rglob("store.db")
    with contextlib.closing(sqlite3.connect(path, timeout=5)) as store, store:
        changed = store.execute("UPDATE record SET value = ? WHERE key = ?", (value, key))
        assert changed.rowcount  # the history has it too


def test_a_damaged_record_is_named_and_forwarding_stays(running):
    """Without a copy to stand in for it; test_faults_store.py has what one does."""
    running.apply(fabric(service("web")))
    running.wait_versions("web", {1: "serving"})
    assert running.child.stop() == 0
    (running.folder / "state/replica.good").unlink(missing_ok=True)
    pinned = sorted(running.capsule.bpffs.rglob("*"))
    assert pinned
    damage(running, "service/web", b'{"name": "web"}')
    assert "service/web" in running.run()
    assert sorted(running.capsule.bpffs.rglob("*")) == pinned


def test_a_zone_that_dns_cannot_take_whole_is_answered_in_part(running):
    """As a release before this one stored it: its mailbox is longer than a name may be. And a record
    that no release lets pass."""
    zone = ".".join([63 * "a"] * 3 + [51 * "a"])
    records = [{"name": "good", "ttl_s": 0, "sets": [{"type": "txt", "values": ["good"]}]},
               {"name": "web", "ttl_s": 0, "sets": [{"type": "cname", "values": ["good"]}]}]
    running.apply(fabric(service("web")))
    running.wait_versions("web", {1: "serving"})
    for more, names in (({}, ("web",)), ({"level": 2, "dns": {
            "contact": None, "ttl_s": 0, "negative_ttl_s": 0, "rate": 0, "names": records}},
            ("web", "good"))):
        assert running.child.stop() == 0
        damage(running, "config/fabric", json.dumps(
            {"name": "lab", "zone": zone, "nameservers": [], "level": 1} | more).encode())
        running.start()
        wait_for(lambda: running.resolve("web", zone=zone), "the service's address", 10)
        assert all(running.resolve(name, kind=kind, zone=zone)
                   for name, kind in zip(names, ("A", "TXT")))
        told = [one for one in running.ask("status")["alarms"] if one["code"] == "dns.in-part"]
        assert len(told) == 1 and "leaves out" in told[0]["text"], told


# --- what landings say ---

def test_two_processes_of_one_name_are_not_both_heard(running):
    running.apply(fabric(service("web")))
    running.report_until_told("web1")
    running.report("web1", {"198.51.100.1": 3}, instance="1")
    assert running.report("web1", instance="2")  # and so knows which addresses it is asked for
    with pytest.raises(peer.Refused, match="another process"):
        running.report("web1", instance="2")
    alarms = sentences(running.ask("status")["alarms"])
    assert any("two processes report as web1" in alarm for alarm in alarms)

    def is_heard():
        with contextlib.suppress(peer.Refused):
            running.report("web1", instance="2")
            return True
    wait_for(is_heard, "the second to be heard", 5)
    with pytest.raises(peer.Refused):
        running.report("web1", instance="1")


def test_before_the_first_apply_a_landing_is_left_as_it_is(running):
    assert not running.report("web1")
    running.apply(fabric(service("web")))
    running.report_until_told("web1")
    assert running.landing("web1").sets["addresses"] == {"10.0.0.11"}
    assert not running.report("web1")


def test_a_landing_is_told_what_changed(running):
    """A difference, to who has had it all; all of it, to who comes anew with something else."""
    running.apply(fabric(service("web")))
    running.report_until_told("web1")
    landing = running.landing("web1")
    before = landing.generation
    assert landing.sets["edges"] == {"10.0.0.2"} and not landing.cuts
    running.apply(fabric(service("web"), service("other", (("web1", 21),))))
    assert running.report("web1")  # peer.Landing holds it to its base
    assert landing.sets["addresses"] == {"10.0.0.11", "10.0.0.21"}
    assert landing.generation != before
    landing.close()
    del running.landings["web1", "1"]
    running.landing("web1").generation = landing.generation
    assert not running.report("web1")
    del running.landings["web1", "1"]
    assert running.report("web1", generation=before)
    assert running.landing("web1").sets == landing.sets


def test_a_name_that_is_no_backend_is_shown_and_its_landing_left_as_it_is(running):
    running.apply(fabric(service("web")))
    assert not running.report("wbe1", {"198.51.100.9": 1})
    assert any("wbe1 reports" in note for note in sentences(running.ask("status")["notes"]))
    wait_for(lambda: not any("wbe1" in note for note in sentences(running.ask("status")["notes"])),
             "the stranger to be forgotten", 5)


def test_a_first_report_is_awaited_for_three_intervals(running):
    """A landing that has not had the time to speak is no trouble; one that never speaks is. Each
    backend has its own time, and it counts as in use all along."""
    def silent():
        return [alarm for alarm in sentences(running.ask("status")["alarms"]) if "has not reported" in alarm]
    running.apply(fabric(service("web")).replace(f"{INTERVAL_MS}ms", "2s"))
    status = running.ask("status")
    assert not status["alarms"]
    assert sentences(status["notes"]) == ["the first report of 2 backends is awaited"]
    assert [backend.get("awaited") for backend in status["backends"]] == [True, True]
    assert status["services"][0]["versions"][0]["connections"] is None
    running.report_until_told("web1")
    running.report("web1")
    assert sentences(running.ask("status")["notes"]) == ["the first report of 1 backend is awaited"]
    alarms = wait_for(silent, "the alarm for web2", 30)
    assert len(alarms) == 1 and "web2" in alarms[0]
    running.apply(fabric(service("web"), service("api", (("api1", 13), ("web2", 12))))
                  .replace(f"{INTERVAL_MS}ms", "2s"))
    status = running.ask("status")
    assert sentences(status["notes"]) == ["the first report of 1 backend is awaited"]
    assert len(silent()) == 1 and "web2" in silent()[0]


@pytest.mark.parametrize("data", [
    b"", b"\0", b'{"verb": "status"}\n', b"\xff" * 100, peer.hello("web1") * 2, peer.report(),
    peer.frame(peer.HEARD, b""), peer.hello("../x"), peer.hello("web1", boot_id=""),
    peer.hello("web1", instance="i" * 65), peer.hello("web1") + peer.frame(peer.REPORT, b"\0" * 40),
    peer.hello("web1") + peer.frame(peer.REPORT, peer.report()[peer.HEADER.size:] + b"\0")],
    ids=["nothing", "a byte", "JSON", "a length", "two hellos", "no hello", "a node's word",
         "no name", "no boot", "a long instance", "a short report", "a long report"])
def test_nonsense_ends_the_session_and_nothing_else(running, data):
    running.report("web1", {"198.51.100.1": 3})
    with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as hostile:
        hostile.connect(str(running.peers))
        hostile.sendall(data)
        hostile.shutdown(socket.SHUT_WR)
        hostile.settimeout(20)
        with contextlib.suppress(ConnectionResetError):
            assert hostile.recv(1) == b""
    [web1] = running.ask("status")["backends"]
    assert web1["name"] == "web1" and web1["connections"] == 3


def test_counts_out_of_order_are_refused(running):
    running.report("web1", {"198.51.100.1": 3})
    landing = running.landing("web1")
    landing.send(peer.report([("198.51.100.2", 1), ("198.51.100.1", 1)]))
    number, message = landing.read()
    assert number == peer.REFUSED and message.number(2)
    assert "not in their order" in message.text()
    [web1] = running.ask("status")["backends"]
    assert web1["connections"] == 3


def test_what_a_later_release_says_is_passed_over(running):
    """A message that is not known, and a known one of a later level."""
    running.apply(fabric(service("web")))
    landing = running.landing("web1")
    landing.send(peer.frame(999, b"news") + peer.frame(peer.REPORT, b"?", level=2))
    wait_for(landing.report, "it to be told what it shall be", 10)


# Of a newer landing: no table of this node has the code.
TROUBLE = {"code": "disk.on-fire", "severity": "alarm", "subject": "disk/sda",
           "text": "the disk is on fire", "advice": "leave the room"}


def test_a_landing_that_cannot_land_is_named(running):
    running.apply(fabric(service("web")))

    def alarms():
        running.report("web1", generation=peer.NONE, alarms=[TROUBLE])
        running.report("web2")
        said = " ".join(sentences(running.ask("status")["alarms"]))
        return "web1: the disk is on fire" in said and \
            "web1 has not carried out its configuration" in said and "web2" not in said
    wait_for(alarms, "the alarms", 5)
    assert {"code": "disk.on-fire", "severity": "alarm", "subject": "backend/web1",
            "text": "backend web1: the disk is on fire", "advice": "leave the room"} \
        in running.ask("status")["alarms"]


# --- changes ---

def test_a_file_of_200_services_is_published_whole(running):
    names = [f"s{number:03}" for number in range(200)]
    text = fabric(*map(service, names), pool="198.51.96.0/20")
    answer = running.apply(text)
    assert answer["changed"] and answer["sequence"] > 2
    assert running.plan(text)["empty"]
    assert running.plan(running.ask("get")["file"])["empty"]
    wait_for(lambda: all(version["state"] == "serving" for version in running.all_versions()),
             "all to serve", 40)
    assert len(running.ask("get", kind="versions")) == 200
    assert running.resolve("s000") and running.resolve("s199")


def test_an_apply_that_was_cut_short_is_completed_by_applying_again(running):
    text = fabric(*(service(f"s{number:03}") for number in range(200)), pool="198.51.96.0/20")
    with running.connect() as client, running.connect() as events:
        events.send("events")
        client.send("apply", file="fabric.yaml", text=text)
        while events.read()["event"] != "apply":
            pass
        running.child.stop(signal.SIGKILL)
    running.again()
    published = len(running.ask("get", kind="versions"))
    assert 0 < published < 200
    assert not running.plan(text)["empty"]
    assert running.apply(text)["changed"]
    assert running.plan(text)["empty"]
    assert {version["number"] for version in running.ask("get", kind="versions")} == {1}


def test_a_file_that_does_not_fit_the_pool_changes_nothing(running):
    def services(weight):
        return fabric(*(service(f"s{number}", (("web1", 11, weight), ("web2", 12)))
                        for number in range(14)), pool="198.51.100.0/26")
    for weight in (1, 2):
        assert running.apply(services(weight))["changed"]
        wait_for(lambda: all(version["state"] == "serving" or version["number"] != weight
                             for version in running.all_versions()), "them to serve")
    error = running.refused("apply", file="f", text=services(3))
    assert error.code == "FL_EEXHAUSTED"
    assert re.search(r"3 free slots for 14 services .* backend is silent", str(error))
    assert running.plan(services(2))["empty"]


def test_what_get_gives_plans_empty_in_every_state(running):
    def plans_empty():
        return running.plan(running.ask("get")["file"])["empty"]
    backends = "web1", "web2", "web3"
    first = service("web", (("web1", 11), ("web2", 12)))
    second = service("web", (("web3", 13), ("web2", 12, 3)),
                     extra="    health: {tcp: {port: 80}, interval: 2s}\n")
    other = service("other")
    assert running.apply(fabric(first)) and plans_empty()
    running.wait_versions("web", {1: "serving"}, backends)
    assert running.apply(fabric(second)) and plans_empty()
    running.wait_versions("web", {1: "draining", 2: "serving"}, ())
    # Since then the file has changed elsewhere, and keeps it.
    assert running.apply(fabric(second, other, sites="fra: {location: [1, 2]}")) and plans_empty()
    sequence = running.ask("status")["sequence"]
    told = running.ask("rollback", service="web", dry_run=True)
    assert told["to"] == 1 and told["dry_run"] and told["backends"]
    assert running.ask("status")["sequence"] == sequence
    assert "not known" in str(running.refused("rollback", service="web", to=99))
    assert running.ask("rollback", service="web")["to"] == 1 and plans_empty()
    file = running.ask("get")["file"]
    assert "other:" in file and "location" in file and "web1" in file and "web3" not in file
    running.wait_versions("web", {2: "retired"}, backends)
    assert plans_empty()
    assert running.apply(fabric(second, other))["changed"]
    running.wait_versions("web", {1: "retired", 3: "serving"}, backends)
    assert running.ask("rollback", service="web")["published"] == 4 and plans_empty()
    running.wait_versions("web", {4: "serving"}, backends)
    assert plans_empty()


def test_a_removed_service_ends_and_may_come_back(running):
    backends = "web1", "web2"
    running.apply(fabric(service("web"), service("other")))
    running.wait_versions("web", {1: "serving"}, backends)
    running.apply(fabric(service("other")))
    assert running.plan(running.ask("get")["file"])["empty"]
    wait_for(lambda: not running.resolve("web"), "the name to vanish")

    def gone():
        for name in backends:
            running.report(name)
        return [one["name"] for one in running.ask("get", kind="services")] == ["other"]
    wait_for(gone, "the service to be gone", 20)
    running.apply(fabric(service("web"), service("other")))
    running.wait_versions("web", {2: "serving"}, backends)
    assert running.resolve("web")
    running.child.stop()
    running.again()
    assert running.ask("verify")["sound"]


def test_the_removal_of_a_service_is_undone(running):
    """Also when nothing is left of it; as its next version, with what it was when it went."""
    backends = "web1", "web3"
    last = service("web", (("web1", 11, 5), ("web3", 13))).replace("ttl: 1s", "ttl: 7s")
    running.apply(fabric(service("web"), service("other")))
    running.wait_versions("web", {1: "serving"})
    running.apply(fabric(last, service("other")))
    running.wait_versions("web", {2: "serving"}, ("web1", "web2", "web3"))
    before = running.ask("get")["file"]
    for number in (3, 4):
        running.apply(fabric(service("other")))
        if number == 4:
            def gone():
                for name in (*backends, "web2"):
                    running.report(name)
                return [one["name"] for one in running.ask("get", kind="services")] == ["other"]
            wait_for(gone, "the service to be gone", 20)
            running.child.stop()
            running.again()
        sequence = running.ask("status")["sequence"]
        told = running.ask("rollback", service="web", dry_run=True)
        assert told["published"] == number and told["to"] == number - 1 and told["dry_run"]
        assert told["backends"] == ["web1", "web3"]
        assert running.ask("status")["sequence"] == sequence
        assert "without --to" in str(running.refused("rollback", service="web", to=1))
        assert running.ask("rollback", service="service/web")["published"] == number
        assert running.ask("get")["file"] == before
        running.wait_versions("web", {number: "serving"}, backends)
        wait_for(lambda: running.resolve("web"), "an answer")
    entry = [one for one in running.ask("log") if one["kind"] == "undo"][-1]
    assert entry["what"]["undoes"] < entry["sequence"]
    assert entry["what"]["published"][0]["version"] == 4
    assert running.ask("verify")["sound"]


def test_any_entry_of_configuration_is_undone(running):
    running.apply(fabric(service("web"), service("other")))
    running.wait_versions("web", {1: "serving"})
    first = running.ask("get")["file"]
    entries = [running.apply(fabric(*services, sites=sites, settings=settings))["sequence"]
               for services, sites, settings in (
                   ((service("web"), service("other")), "fra: {}, nyc: {}", ", quarantine: 9d"),
                   ((service("web", extra="    drain_limit: 9m\n"), service("other")),
                    "fra: {}, nyc: {}", ", quarantine: 9d"),
                   ((service("web", extra="    drain_limit: 8m\n"),), "fra: {}", ", quarantine: 8d"))]
    last = running.ask("get")["file"]
    refusal = str(running.refused("undo", entry=entries[0]))
    assert "the setting quarantine was changed again" in refusal and "log" in refusal
    told = running.ask("undo", entry=entries[2], dry_run=True)
    assert "drain_limit" in told["text"] and running.ask("get")["file"] == last
    for entry in reversed(entries):
        assert running.ask("undo", entry=entry, message="back")["changed"]
    assert running.ask("get")["file"] == first
    assert not running.ask("undo", entry=entries[0])["changed"]
    # The site came, the service came again, the site went.
    assert max(running.versions("other")) == 4

    # And an undo.
    undone = [one["sequence"] for one in running.ask("log", limit=100) if one["kind"] == "undo"]
    for sequence in reversed(undone[1:]):
        assert running.ask("undo", entry=sequence)["changed"]
    # Which takes a service from its clients again, as a file would.
    asked = running.refused("undo", entry=undone[0])
    assert asked.code == "FL_ECONFIRM" and "clients lose what this takes back" in str(asked)
    assert running.ask("undo", entry=undone[0], yes=True)["changed"]
    assert running.ask("get")["file"] == last
    assert running.ask("verify")["sound"]


def test_what_undoes_other_entries(running):
    running.apply(fabric(service("web")))
    running.wait_versions("web", {1: "serving"})
    slow = service("web", (("web3", 13),)).replace("[100%]", "[50%, 100%], pause: 1h")
    running.apply(fabric(slow))
    pause = running.ask("rollout pause", service="web")["sequence"]
    assert "`fairlead rollout resume web` takes it back" in str(running.refused("undo", entry=pause))
    back = running.ask("rollback", service="web")["sequence"]
    assert "`fairlead rollback web` goes" in str(running.refused("undo", entry=back))
    assert "(node.key) changed no configuration" in str(running.refused("undo", entry=1))
    assert running.refused("undo", entry=9999).code == "FL_ENOTFOUND"
    assert running.refused("undo", entry=0).code == "FL_EUSAGE"


def test_a_service_that_comes_back_while_it_drains(running):
    running.apply(fabric(service("web"), service("other")))
    running.wait_versions("web", {1: "serving"})
    running.apply(fabric(service("other")))
    running.apply(fabric(service("web"), service("other")))
    running.wait_versions("web", {2: "serving"})
    assert running.plan(running.ask("get")["file"])["empty"]


def test_sites_come_and_go(running):
    running.apply(fabric(service("web")))
    running.apply(fabric(service("web"), sites="fra: {}, nyc: {}"))
    running.wait_versions("web", {2: "serving"})
    running.apply(fabric(service("web"), sites="fra: {}"))
    running.wait_versions("web", {3: "serving"})
    error = running.refused("apply", file="f", text=fabric(service("web"), sites="nyc: {}").replace(
        "site: fra", "site: nyc"))
    assert "no site \"fra\"" in str(error) and "edge1" in str(error)
    assert not sentences(running.ask("status")["alarms"]) or "edge" not in sentences(running.ask("status")["alarms"])[0]


def test_two_applies_at_once(running):
    with running.connect() as one, running.connect() as two:
        many = [service(f"s{number:03}") for number in range(150)]
        one.send("apply", file="f", text=fabric(*many, pool="198.51.96.0/20"))
        two.send("apply", file="f", text=fabric(*many[:3], pool="198.51.96.0/20"))
        outcomes = [client.line() for client in (one, two)]
    assert outcomes[0]["data"]["changed"]
    assert outcomes[1]["error"]["code"] == "FL_ECONFLICT"
    assert len(running.ask("get", kind="services")) == 150


# --- names ---

def test_names_come_back_after_a_restart_in_the_middle_of_a_rollout(running):
    slow = service("web").replace("shares: [100%]", "shares: [50%, 100%], pause: 1h")
    running.apply(fabric(slow))
    running.wait_versions("web", {1: "serving"})
    running.apply(fabric(slow.replace("web1", "web3")))
    running.wait_versions("web", {1: "serving", 2: "serving"})
    before = running.resolve("web")
    for how in (signal.SIGTERM, signal.SIGKILL):
        running.child.stop(how)
        running.again()
        wait_for(lambda: running.resolve("web") == before, "the same answer")
        assert running.versions("web") == {1: "serving", 2: "serving"}


def test_a_service_may_be_called_like_the_node_and_not_like_a_name_server(running):
    running.apply(fabric(service("edge1"), service("web1")))
    for name in ("edge1", "web1"):
        running.wait_versions(name, {1: "serving"})
        wait_for(lambda: running.resolve(name), f"{name} to be answered")
    assert running.ask("describe", thing="service/web1")["name"] == "web1"
    error = running.refused("apply", file="f", text=fabric(service("ns1")))
    assert "`ns1` is the name of a name server already" in str(error)


def test_a_wildcard_is_not_published_as_an_address(node):
    node.start(dns="0.0.0.0")
    node.apply(fabric(service("web"), nameservers=False))
    node.wait_versions("web", {1: "serving"})
    wait_for(lambda: node.resolve("web"), "the name")
    assert "0.0.0.0" not in node.resolve("edge1")
    assert any("nameservers" in alarm for alarm in sentences(node.ask("status")["alarms"]))
    node.apply(fabric(service("web")))
    assert not any("nameservers" in alarm for alarm in sentences(node.ask("status")["alarms"]))
