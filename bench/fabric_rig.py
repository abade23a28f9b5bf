# SPDX-License-Identifier: Apache-2.0
"""What the benchmark of fabrics runs: real daemons in machines of a lab, and one process that is as
many edges as are wanted. The states lie on the disk of the repository, so that every commit waits
for a true fsync.

    client ── net ──┬── a  10.0.1.2  the voter, and an edge, a name server and a backend
                    ├── b  10.0.1.3  the same but for deciding
                    └── …

The many edges stand on the voter's own machine and come over its loopback, each from an address of
its own: so each counts for itself, as one machine among many does.
"""
import json
import re
import select
import shutil
import socket
import struct
import subprocess
import time
from pathlib import Path

from lab.host import BUILD, REPOSITORY, Capsule, LabError, wait_for
from lab.product import Cli

PROGRAM = BUILD / "src/fairlead"
EDGES = BUILD / "bench/bench-fabric-edges"
FLOOR = BUILD / "bench/bench-fabric-floor"
STATES = REPOSITORY / "build/bench/fabric"
ZONE = "svc.example.net"
# The first is for benchmarks (RFC 2544): many versions fit.
POOLS = ("{prefix: 198.18.0.0/16, site_bits: 1}", '{prefix: "2001:db8:f::/108", site_bits: 4}')
CHANNEL_PORT = 7122


def address(number):
    return f"10.0.1.{2 + number}"


def topology(names):
    machines = "".join(
        f'  {name}: {{routes: [{{to: default, via: 10.0.1.1}}, {{to: default, via: "fd00:1::1"}}]}}\n'
        for name in names)
    links = "".join(f"""
  {name}:
    from: {{machine: {name}, interface: eth0, addresses: [{address(number)}/24, "fd00:1::{2 + number}/64"]}}
    to: {{machine: net, interface: {name}-eth0, bridge: rack, xdp: pass}}""" for number, name in
                    enumerate(names))
    return f"""
machines:
  net:
    forwards: true
    bridges: {{rack: [10.0.1.1/24, "fd00:1::1/64"]}}
  client: {{routes: [{{to: default, via: 192.0.2.1}}]}}
{machines}
links:
  client:
    from: {{machine: client, interface: eth0, addresses: [192.0.2.10/24]}}
    to: {{machine: net, interface: client-eth0, addresses: [192.0.2.1/24]}}
{links}
"""


def fabric_file(weights, backends):
    """Service i has weights[i] for its first backend: another weight is another version."""
    services = "".join(
        f"  {service_name(number)}:\n    ports: [tcp/80]\n    ttl: 1s\n"
        "    rollout: {shares: [100%]}\n    backends:\n" + "".join(
            f'      - {{name: {name}, site: main, address: "{where}", '
            f"weight: {weight if place == 0 else 100}}}\n"
            for place, (name, where) in enumerate(backends.items()))
        for number, weight in enumerate(weights))
    return (f"fabric: bench\nzone: {ZONE}\n"
            "settings: {quiet: 1h, stale: 24h, report_interval: 1s}\n"
            f"nameservers: {{ns1: [{address(0)}]}}\npools: [{', '.join(POOLS)}]\n"
            f"sites: {{main: {{}}}}\nservices:\n{services}")


def service_name(number):
    return f"s{number:04}"


class Node:
    """One machine's daemon."""

    def __init__(self, fabric, name):
        self.fabric, self.name = fabric, name
        self.state = fabric.states / name
        self.cli = Cli(fabric.capsule, PROGRAM, fabric.capsule.root / name / "run/fairlead.sock")
        self.daemon = None

    def types(self, *words):
        done = self.fabric.capsule.run([PROGRAM, *words], self.name, check=False)
        if done.returncode != 0:
            raise LabError(f"fairlead {words[0]} on {self.name}: {done.stderr.strip()}")
        return done.stdout

    def options(self):
        return ("--node", self.name, "--state", self.state,
                "--run-dir", self.fabric.capsule.root / self.name / "run",
                "--pins", self.fabric.capsule.bpffs / self.name)

    def init(self):
        return re.search(r"--token (\S+)", self.types("init", *self.options()))[1]

    def join(self, token):
        self.types("join", address(0), "--token", token, *self.options())

    def run(self):
        if self.daemon:
            self.daemon.start()
        else:
            self.daemon = self.fabric.capsule.spawn(
                self.name, [PROGRAM, "run", "--state", self.state], self.name)

    def wait(self):
        def answers():
            self.fabric.capsule.check()
            return self.cli("status")
        wait_for(answers, f"{self.name} to answer")

    def mark(self):
        """The newest ledger entry of which this node said to itself that it holds it: its maps and
        its names do what it says. That is written before anybody is told."""
        try:
            text = (self.state / "mark").read_bytes()
        except FileNotFoundError:
            return 0
        return max((int(one[1]) for one in re.finditer(rb"fairlead mark \d (\d+) ", text)),
                   default=0)

    def children(self):
        """The process that the daemon keeps for its node channel."""
        pid = self.daemon.process.pid
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def resident_mb(self):
        """Of the daemon and of its channel's process."""
        return {"daemon": resident_mb(self.daemon.process.pid),
                "channel": sum(map(resident_mb, self.children()))}

    def processor_s(self):
        """What the two have used so far, in all."""
        return {"daemon": processor_s(self.daemon.process.pid),
                "channel": sum(map(processor_s, self.children()))}


def resident_mb(pid):
    text = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"^VmRSS:\s+(\d+) kB", text, re.MULTILINE)[1]) / 1024


def processor_s(pid):
    # By the scheduler's account, of all threads: clock ticks are too coarse for one change.
    return sum(int(one.read_text().split()[0])
               for one in Path(f"/proc/{pid}/task").glob("*/schedstat")) / 1e9


class Fabric:
    """A lab with these machines; nothing runs yet. A context manager."""

    def __init__(self, names):
        self.names = names
        self.capsule = Capsule(topology(names), PROGRAM)
        # Bench and test may run at the same time.
        self.states = STATES / self.capsule.name
        self.nodes = {}

    def __enter__(self):
        for program in PROGRAM, EDGES, FLOOR:
            if not program.exists():
                raise LabError(f"{program} is not built: run ./dev bench fabric")
        self.capsule.__enter__()
        self.states.mkdir(parents=True)
        self.nodes = {name: Node(self, name) for name in self.names}
        return self

    def __exit__(self, _, failure, __):
        if isinstance(failure, LabError):
            failure.add_note("\n".join(f"── {child.name}\n{text}" for child in self.capsule.children
                                       if (text := child.tail())))
        self.capsule.__exit__()
        shutil.rmtree(self.states, ignore_errors=True)

    def start_voter(self):
        """The first machine's; returns the token that it printed."""
        voter = self.nodes[self.names[0]]
        token = voter.init()
        voter.run()
        voter.wait()
        return token

    @property
    def voter(self):
        return self.nodes[self.names[0]]

    def write(self, weights, backends):
        path = self.capsule.root / "fabric.yaml"
        path.write_text(fabric_file(weights, backends))
        return path

    def start_apply(self, node, path):
        """Begin `apply` on a node; the process, and when it was begun."""
        begin = time.monotonic()
        return self.capsule.popen([PROGRAM, "--socket", node.cli.socket, "apply", path],
                                  stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                  text=True), begin


class Api:
    """The local API of a node, over one connection: for more calls than a process each is worth."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(60)
        self.socket.connect(str(path))
        self.lines = self.socket.makefile("r")

    def __call__(self, verb, **parameters):
        self.socket.sendall(json.dumps({"verb": verb, "parameters": parameters}).encode() + b"\n")
        answer = json.loads(self.lines.readline())
        if "error" in answer:
            raise LabError(f"{verb}: {answer['error']['text']}")
        return answer["data"]

    def close(self):
        self.lines.close()
        self.socket.close()


class Edges:
    """The process that is many edges, beside the voter (bench/fabric_edges.c)."""

    def __init__(self, fabric):
        self.fabric = fabric
        self.process = fabric.capsule.popen(
            [EDGES, "127.0.0.1", CHANNEL_PORT], fabric.names[0], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0)
        self.rest = b""
        self.events = []
        self.joined = 0

    def say(self, words):
        self.process.stdin.write(words.encode() + b"\n")

    def _take(self, seconds):
        """Whatever is said within that time."""
        if not select.select([self.process.stdout], [], [], max(seconds, 0))[0]:
            return
        chunk = self.process.stdout.read(65536)
        if not chunk:
            raise LabError(f"the edges ended: {self.process.stderr.read().decode().strip()}")
        *lines, self.rest = (self.rest + chunk).split(b"\n")
        self.events += map(json.loads, lines)

    def wait(self, wanted, what, seconds=60):
        """The first event that is wanted; those before it are forgotten."""
        deadline = time.monotonic() + seconds
        while True:
            while self.events:
                event = self.events.pop(0)
                if wanted(event):
                    return event
            if time.monotonic() > deadline:
                raise LabError(f"the edges: waited {seconds} s for {what}")
            self._take(deadline - time.monotonic())

    def settle(self, seconds=0.7):
        """Until no entry came to all of them for so long."""
        while True:
            self.events.clear()
            self._take(seconds)
            if not self.events:
                return

    def join(self, count):
        """Until so many are members: each by a token of its own."""
        api = Api(self.fabric.voter.cli.socket)
        while self.joined < count:
            # In lots, since so many tokens may be good at a time.
            lot = min(count, self.joined + 100)
            for _ in range(self.joined, lot):
                self.say("join " + api("token", role="edge", hours=1)["token"])
            self.wait(lambda event: event == {"event": "joined", "edges": lot},  # noqa: B023
                      f"{lot} to have joined", 300)
            self.joined = lot
        api.close()

    def up(self, count):
        self.say(f"up {count}")
        self.wait(lambda event: event == {"event": "up", "edges": count}, f"{count} to be up", 300)

    def held(self, kind="apply"):
        """The next ledger entry of that kind that all of them hold."""
        return self.wait(lambda event: event["event"] == "held" and event["kind"] == kind,
                         f"an entry `{kind}` to be held by all")

    def traffic(self):
        self.say("traffic")
        return self.wait(lambda event: event["event"] == "traffic", "what went over the sessions")

    def processor_s(self):
        return processor_s(self.process.pid)

    def close(self):
        self.process.stdin.close()
        self.process.wait(30)


def floor_ms(connections, down, up, rounds):
    """The least that it takes to bring `down` bytes to each and `up` bytes back; one a round."""
    done = subprocess.run([str(word) for word in (FLOOR, connections, down, up, rounds)],
                          capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise LabError(f"{FLOOR.name}: {done.stderr.strip()}")
    return [json.loads(line)["ms"] for line in done.stdout.splitlines()]


class Names:
    """Asks the nodes' name servers from the client's place, without ever waiting."""

    def __init__(self, fabric, nodes):
        self.sockets = {}
        with fabric.capsule.inside("client"):
            for name in nodes:
                one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                one.connect((address(fabric.names.index(name)), 53))
                one.setblocking(False)
                self.sockets[name] = one
        self.sequence = 0

    def close(self):
        for one in self.sockets.values():
            one.close()

    def ask(self, name, service):
        self.sequence = (self.sequence + 1) % 65536
        labels = f"{service_name(service)}.{ZONE}".split(".")
        question = b"".join(bytes([len(one)]) + one.encode() for one in labels) + b"\0\0\1\0\1"
        try:
            self.sockets[name].send(struct.pack(">HHHHHH", self.sequence, 0, 1, 0, 0, 0) + question)
        except OSError:
            pass  # nobody listens yet
        return question

    def answer(self, name, service):
        """What is answered by now, asking once more: an address, or None."""
        question = self.ask(name, service)
        found = None
        end = 12 + len(question)
        while True:
            try:
                message = self.sockets[name].recv(4096)
            except BlockingIOError:
                return found
            except OSError:
                continue  # the port was closed
            # One answer, whose name points to the question: 12 bytes, then the address.
            if message[12:end] == question and message[6:8] == b"\0\1":
                found = socket.inet_ntoa(message[end + 12:end + 16])

    def wait(self, name, service, other_than=None, seconds=30.0):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            found = self.answer(name, service)
            if found and found != other_than:
                return found
            time.sleep(0.0005)
        raise LabError(f"{name} did not answer {service_name(service)} in {seconds:g} s")
