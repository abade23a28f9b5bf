# SPDX-License-Identifier: Apache-2.0
"""Three machines become a fabric by `init` and `join`: one voter, and nobody else decides.

    client ── net ── rack ──┬── a  10.0.1.2  the voter, edge, name server, backend
                            ├── b  10.0.1.3  edge, name server, backend
                            └── c  10.0.1.4  edge, name server, backend

`net` leads both pools to one of them, and to another when a test says so. What an edge sends back
out of the link that it came by arrives only where the far end has an XDP program
(docs/design/lab.md).
"""
import http.client
import json
import os
import re
import signal
import socket
import time

import pytest

from lab.host import BUILD, Capsule, wait_for
from lab.product import Cli

PROGRAM = BUILD / "src/fairlead"
NODES = {"a": 2, "b": 3, "c": 4}
POOLS = ("198.51.100.0/26", "{}:{}"), ("2001:db8:f::/108", "[{}]:{}")

LINK = """
  {name}:
    from: {{machine: {name}, interface: eth0, addresses: [10.0.1.{n}/24, "fd00:1::{n}/64"]}}
    to: {{machine: net, interface: {name}-eth0, bridge: rack, xdp: pass}}"""
TOPOLOGY = """
machines:
  net:
    forwards: true
    bridges: {rack: [10.0.1.1/24, "fd00:1::1/64"]}
    routes: [{to: 198.51.100.0/26, via: 10.0.1.2}, {to: "2001:db8:f::/108", via: "fd00:1::2"}]
  client: {routes: [{to: default, via: 192.0.2.1}, {to: default, via: "2001:db8:c::1"}]}
""" + "".join(f"""  {name}: {{routes: [{{to: default, via: 10.0.1.1}}, {{to: default, via: "fd00:1::1"}}]}}
""" for name in NODES) + """
links:
  client:
    from: {machine: client, interface: eth0, addresses: [192.0.2.10/24, "2001:db8:c::10/64"]}
    to: {machine: net, interface: client-eth0, addresses: [192.0.2.1/24, "2001:db8:c::1/64"]}
""" + "".join(LINK.format(name=name, n=n) for name, n in NODES.items())

FABRIC = """
fabric: example
zone: svc.example.net
nameservers: {{ns1: [10.0.1.2], ns2: [10.0.1.3]}}
pools: [{{prefix: 198.51.100.0/26}}, {{prefix: "2001:db8:f::/108"}}]
sites: {{main: {{}}}}
settings: {{report_interval: 200ms, quiet: 2s, stale: 2s}}
services:
  web:
    ports: [tcp/80]
    ttl: 1s
    backends:
{backends}
"""

SERVER = """
import http.server, socket, sys
class Server(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", str(len(sys.argv[1])))
        self.end_headers()
        self.wfile.write(sys.argv[1].encode())
    def log_message(self, *words):
        pass
Server(("::", 80), Handler).serve_forever()
"""


class Fabric:
    """The nodes, and what an operator and a client do."""

    numbers = NODES  # the last ones of their addresses

    def __init__(self, capsule):
        self.capsule = capsule
        self.nodes = {}
        self.clis = {name: Cli(capsule, PROGRAM, capsule.root / name / "run/fairlead.sock")
                     for name in NODES}

    def options(self, name):
        folder = self.capsule.root / name
        return ["--node", name, "--state", folder / "state", "--run-dir", folder / "run",
                "--pins", self.capsule.bpffs / name]

    def types(self, name, *words):
        """What somebody types on a machine; a CompletedProcess."""
        return self.capsule.run([PROGRAM, *words], name, check=False)

    def init(self):
        done = self.types("a", "init", *self.options("a"))
        assert done.returncode == 0, done.stderr
        return re.search(r"--token (\S+)", done.stdout)[1]

    def token(self, *words):
        return self.clis["a"].json("token", *words)["token"]

    def join(self, machine, token, node=None, **changes):
        words = self.options(machine)
        words[1] = node or machine
        for key, value in changes.items():
            words += [f"--{key}", value]
        return self.types(machine, "join", "10.0.1.2", "--token", token, *words)

    def start(self, name):
        self.nodes[name] = self.capsule.spawn(name, [
            PROGRAM, "run", "--state", self.capsule.root / name / "state"], name)
        self.wait(name)

    def again(self, name):
        self.nodes[name].start()
        self.wait(name)

    def wait(self, name):
        def answers():
            self.capsule.check()
            return self.clis[name]("status")
        wait_for(answers, f"{name} to answer")

    def apply(self, *backends, on="a", wait=True):
        path = self.capsule.root / "fabric.yaml"
        path.write_text(FABRIC.format(backends="\n".join(
            f'      - {{name: {name}, site: main, address: "10.0.1.{self.numbers[name]}"}}'
            for name in backends)))
        self.clis[on]("apply", str(path))
        number = max(self.clis[on].status().services["web"].versions)
        if wait:
            self.wait_state(number, "serving", on)
        return number

    def wait_state(self, number, state, on="a", seconds=10):
        wait_for(lambda: self.clis[on].status().services["web"].state(number) == state,
                 f"version {number} to be {state}", seconds)

    def lead_to(self, name):
        """The router sends everything to this edge from now on."""
        for pool, via in (("198.51.100.0/26", f"10.0.1.{self.numbers[name]}"),
                          ("2001:db8:f::/108", f"fd00:1::{self.numbers[name]}")):
            self.capsule.run(["ip", "route", "replace", pool, "via", via], "net")

    def connect(self, number, count):
        version = self.clis["a"].status().services["web"].versions[number]
        connections = []
        with self.capsule.inside("client"):
            for address in (version.address(4), version.address(6)) * count:
                connections.append(http.client.HTTPConnection(address, 80, timeout=5))
                connections[-1].connect()
        return connections

    def unplug(self, name):
        """Its node channel is cut; packets go on."""
        self.capsule.run(["nft", "-f", "-"], name, input=(
            "table inet cut {\nchain in {\ntype filter hook input priority 0\n"
            "tcp dport 7122 drop\ntcp sport 7122 drop\n}\n}\n"))

    def plug(self, name):
        self.capsule.run(["nft", "delete", "table", "inet", "cut"], name)


def answers(connections):
    """Who answers each connection, in order; none of them is opened anew."""
    names = []
    for connection in connections:
        assert connection.sock
        connection.request("GET", "/")
        names.append(connection.getresponse().read().decode())
    return names


@pytest.fixture(scope="module")
def fabric():
    with Capsule(TOPOLOGY, PROGRAM) as capsule:
        running = Fabric(capsule)
        for name in NODES:
            capsule.spawn(f"http-{name}", ["python3", "-c", SERVER, name], name)
        token = running.init()
        running.start("a")
        for name in "b", "c":
            began = time.monotonic()
            done = running.join(name, token)
            assert done.returncode == 0, done.stderr
            assert time.monotonic() - began < 5
            running.start(name)
            token = running.token()
        yield running


def test_who_joins_is_told_where_the_voter_is(fabric):
    """Also the first one, which may come before the voter's own record."""
    for name in "b", "c":
        doors = fabric.capsule.root / name / "state/channel/doors"
        assert json.loads(doors.read_text()) == [
            {"node": "a", "address": "10.0.1.2", "port": 7122}]


def test_all_commands_work_on_any_node(fabric):
    number = fabric.apply("b", "c", on="c")
    states = [cli.status().services["web"].state(number) for cli in fabric.clis.values()]
    assert states == ["serving"] * 3
    (entry,) = [entry for entry in fabric.clis["b"].json("log")
                if entry["kind"] == "apply"]
    assert entry["who"] == "root@c"
    assert fabric.clis["b"]("verify")


def test_the_members_and_what_was_heard_of_them(fabric):
    nodes = {node["name"]: node for node in fabric.clis["c"].json("get", "nodes")}
    assert {"a", "b", "c"} <= set(nodes)
    assert nodes["a"]["roles"] == "edge,names,backend,voter" and nodes["b"]["address"] == "10.0.1.3"
    wait_for(lambda: all(node["heard_ms"] < 3000 and node["behind"] == 0
                         for node in fabric.clis["b"].json("get", "nodes")), "nobody to be behind")


def test_every_edge_sends_a_flow_to_the_same_backend(fabric):
    number = fabric.apply("a", "b", "c")
    fabric.lead_to("a")
    connections = fabric.connect(number, 20)
    before = answers(connections)
    assert set(before) == {"a", "b", "c"}
    for name in "b", "c", "a":
        fabric.lead_to(name)
        assert answers(connections) == before, name
    for connection in connections:
        connection.close()


def test_names_are_answered_by_every_node(fabric):
    number = fabric.apply("b", "c")
    address = fabric.clis["a"].status().services["web"].versions[number].address(4)
    for n in NODES.values():
        done = fabric.capsule.run(["kdig", "+short", f"@10.0.1.{n}", "web.svc.example.net", "A"],
                                  "client")
        assert done.stdout.split() == [address]


def test_without_the_voter_all_goes_on_but_changes(fabric):
    number = fabric.apply("b", "c")
    fabric.lead_to("b")
    connections = fabric.connect(number, 10)
    before = answers(connections)
    fabric.nodes["a"].stop(signal.SIGKILL)
    assert answers(connections) == before
    refused = fabric.clis["c"].try_("rollback", "web")
    assert refused.returncode == 1 and "no voter is reached" in refused.stderr
    fabric.nodes["b"].stop(signal.SIGKILL)
    fabric.again("b")
    assert answers(connections) == before
    fabric.again("a")
    number = wait_for(lambda: applied(fabric), "orders to be taken again", 20)
    fabric.wait_state(number, "serving", "c")
    assert answers(connections) == before
    for connection in connections:
        connection.close()


def applied(fabric):
    return fabric.apply("a", "b", "c", on="c", wait=False)


def test_a_node_that_is_cut_off_is_waited_for(fabric):
    """It may forward: no address gets another meaning before it says that it refuses."""
    old = fabric.apply("b")
    connections = fabric.connect(old, 2)
    fabric.unplug("c")
    new = fabric.apply("a", wait=False)
    fabric.wait_state(new, "serving")
    for connection in connections:
        connection.close()
    time.sleep(6)
    assert fabric.clis["a"].status().services["web"].state(old) == "draining"
    fabric.plug("c")
    fabric.wait_state(old, "retired", seconds=20)


def test_what_listens_has_no_rights(fabric):
    daemon = fabric.nodes["b"].process.pid
    children = fabric.capsule.run(["pgrep", "-P", str(daemon)], "b").stdout.split()
    (worker,) = children
    with open(f"/proc/{worker}/status", encoding="ascii") as file:
        status = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
    assert "0" not in status["Uid"].split() and "0" not in status["Gid"].split()
    assert int(status["CapEff"], 16) == int(status["CapPrm"], 16) == 0
    assert status["NoNewPrivs"] == "1"


def test_the_process_of_the_channel_dies_and_comes_back(fabric):
    number = fabric.apply("b", "c")
    daemon = fabric.nodes["a"].process.pid
    (worker,) = fabric.capsule.run(["pgrep", "-P", str(daemon)], "a").stdout.split()
    os.kill(int(worker), signal.SIGKILL)
    assert fabric.clis["a"].status().services["web"].state(number) == "serving"
    wait_for(lambda: fabric.apply("c", "a", on="b", wait=False), "b to reach the voter again")


def test_a_port_that_is_taken(fabric):
    """A node without its channel goes on by what it has, and takes the port when it comes free."""
    fabric.nodes["c"].stop()
    with fabric.capsule.inside("c"):
        other = socket.create_server(("0.0.0.0", 7122))
    with other:
        fabric.again("c")
        assert any("the node channel does not listen" in alarm
                   for alarm in fabric.clis["c"].status().alarms)
        refused = fabric.clis["c"].try_("store", "recover", "--yes")
        assert refused.returncode == 1 and "decides nothing" in refused.stderr
    wait_for(lambda: fabric.clis["c"].status().node == "a", "c to reach the voter")


@pytest.mark.parametrize("change, told", [
    (lambda token: token[:40], "cut short"),
    (lambda token: token[:-1] + ("a" if token[-1] != "a" else "b"), "wrong"),
    (lambda token: "hello", "token"),
])
def test_tokens_that_are_none(fabric, change, told):
    done = fabric.join("client", change(fabric.token()))
    assert done.returncode == 1 and told in done.stderr, done.stderr


def test_a_token_lets_one_machine_in(fabric):
    token = fabric.token("--role", "names")
    done = fabric.join("client", token, role="edge")
    assert done.returncode == 1 and "does not allow the role edge" in done.stderr
    done = fabric.join("client", token, node="b", role="names")
    assert done.returncode == 1 and "another key" in done.stderr
    done = fabric.join("client", token, role="names")
    assert done.returncode == 0, done.stderr
    done = fabric.join("client", token, role="names")
    assert done.returncode == 1 and "is a node already" in done.stderr
    done = fabric.join("net", token, role="names", address="10.0.1.1")
    assert done.returncode == 1 and "was used by node client" in done.stderr


@pytest.mark.parametrize("where", ["10.0.1.99", "10.0.1.1"])
def test_nobody_answers_a_join(fabric, where):
    """No machine has the address, or it drops what comes: told in time, and nothing is left."""
    fabric.unplug("net")
    try:
        done = fabric.types("client", "join", where, "--token", fabric.token(), "--node", "late",
                            "--state", fabric.capsule.root / "late/state",
                            "--pins", fabric.capsule.bpffs / "late")
    finally:
        fabric.plug("net")
    assert done.returncode == 1 and f"{where} port 7122" in done.stderr, done


def test_another_fabric_is_not_told_the_secret(fabric):
    """The token's CA is compared before anything is said."""
    done = fabric.types("net", "init", *fabric.options("net"), "--address", "10.0.1.1",
                        "--interface", "rack")
    assert done.returncode == 0, done.stderr
    foreign = re.search(r"--token (\S+)", done.stdout)[1]
    folder = fabric.capsule.root / "stranger"
    done = fabric.types("client", "join", "10.0.1.2", "--token", foreign, "--node", "stranger",
                        "--state", folder / "state", "--pins", fabric.capsule.bpffs / "stranger")
    assert done.returncode == 1 and "another fabric" in done.stderr, done.stderr
    assert "stranger" not in fabric.clis["a"]("log")


def test_nothing_is_wrong_in_the_end(fabric):
    """But that a member was never started, until it is removed."""
    wait_for(lambda: [alarm for alarm in fabric.clis["c"].status().alarms if "client" in alarm],
             "the node that was never started to be told of", 10)
    fabric.clis["b"]("node", "remove", "client", "--yes")
    for cli in fabric.clis.values():
        wait_for(lambda cli=cli: not cli.status().alarms, "nothing to be wrong", 10)
