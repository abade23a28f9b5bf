# SPDX-License-Identifier: Apache-2.0
"""Nodes are removed: in order, while they are cut off and go on forwarding, and when they come back.

    client ── net ── rack ──┬── a      10.0.1.2  the voter, edge, name server
                            ├── b      10.0.1.3  edge, name server
                            ├── w1, w2 10.0.1.4, 10.0.1.5  backends
                            └── spare  10.0.1.6

`net` leads both pools to one edge, and single addresses to another when a test says so.
"""
import http.client
import json
import os
import shutil
import signal
import socket
import time

import pytest

from lab.host import Capsule, wait_for
from test_fabric import LINK, PROGRAM, SERVER, Fabric, answers

NODES = {"a": 2, "b": 3, "w1": 4, "w2": 5, "spare": 6}
LANDING_NOT_EDGE = 67  # of abi/drop.h
ROLES = {"b": "edge,names", "w1": "backend", "w2": "backend"}
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
nameservers: {{ns1: [10.0.1.2]{more}}}
pools: [{{prefix: 198.51.100.0/26}}, {{prefix: "2001:db8:f::/108"}}]
sites: {{main: {{}}}}
settings: {{report_interval: 200ms, quiet: 2s, stale: 2s}}
services:
  web:
    ports: [tcp/80]
    ttl: 1s
    backends: [{{name: {backend}, site: main, address: "10.0.1.{n}"}}]
"""


class Removals(Fabric):
    """The same with other machines, of which two are edges and two are backends."""

    def __init__(self, capsule):
        super().__init__(capsule)
        from lab.product import Cli
        self.clis = {name: Cli(capsule, PROGRAM, capsule.root / name / "run/fairlead.sock")
                     for name in NODES}

    def init(self):
        done = self.types("a", "init", "--role", "edge,names", *self.options("a"))
        assert done.returncode == 0, done.stderr

    def add(self, name):
        done = self.join(name, self.token("--role", ROLES[name]))
        assert done.returncode == 0, done.stderr
        self.start(name)

    def apply(self, backend, more="", wait=True):
        path = self.capsule.root / "fabric.yaml"
        path.write_text(FABRIC.format(backend=backend, n=NODES[backend], more=more))
        self.clis["a"]("apply", str(path))
        number = max(self.clis["a"].status().services["web"].versions)
        if wait:
            self.wait_state(number, "serving")
        return number

    def address(self, number):
        return self.clis["a"].status().services["web"].versions[number].address(4)

    def lead(self, address, name):
        self.capsule.run(["ip", "route", "replace", f"{address}/32", "via",
                          f"10.0.1.{NODES[name]}"], "net")

    def asks(self, address, timeout=2):
        """Who answers a new connection; None: nobody does."""
        with self.capsule.inside("client"):
            connection = http.client.HTTPConnection(address, 80, timeout=timeout)
            try:
                connection.connect()
            except OSError:
                return None
        try:
            (name,) = answers([connection])
            return name
        finally:
            connection.close()

    def remove(self, name, *words, on="a"):
        return self.clis[on].try_("node", "remove", name, *words)

    def gone(self, name):
        """What is shown of a node that was removed; None: its fence stands."""
        for node in self.clis["a"].json("get", "nodes"):
            if node["name"] == name and node.get("removed"):
                return node["removed"]
        return None

    def entries(self):
        return self.clis["a"].json("log", "--limit", "1000")

    def drops(self, name):
        """Tunnel packets that the landing dropped, since they came from no edge."""
        drops = 0
        for path in (self.capsule.bpffs / name / "landing").rglob("landing_counts"):
            done = self.capsule.run(["bpftool", "-j", "map", "dump", "pinned", path], name)
            for row in json.loads(done.stdout):
                for value in row["formatted"]["values"]:
                    drops += value["value"]["drops"][LANDING_NOT_EDGE]
        return drops

    def told(self, name):
        """The sentences of its alarms, also of one that has no role any more."""
        return [alarm["text"] for alarm in self.clis[name].json("status")["alarms"]]

    def pins(self, name):
        return [str(path) for path in (self.capsule.bpffs / name).rglob("*")]


@pytest.fixture(scope="module")
def fabric():
    with Capsule(TOPOLOGY, PROGRAM) as capsule:
        running = Removals(capsule)
        for name in NODES:
            capsule.spawn(f"http-{name}", ["python3", "-c", SERVER, name], name)
        running.init()
        running.start("a")
        for name in ROLES:
            running.add(name)
        yield running


def test_whom_the_fabric_needs_it_keeps(fabric):
    fabric.apply("w1", more=", ns2: [10.0.1.3]")
    for name, why in (("a", "only voter"), ("b", "`nameservers` has its address under ns2"),
                      ("nobody", "there is no node")):
        done = fabric.remove(name, "--yes")
        assert done.returncode == 1 and why in done.stderr, done.stderr
    fabric.apply("w1")
    done = fabric.remove("b")
    assert done.returncode == 1 and "say --yes to do it" in done.stderr
    assert "edges that stay: 1" in done.stderr and "quarantine" in done.stderr
    done = fabric.remove("w1")
    assert "backend of web/" in done.stderr and "`fairlead backend forget w1`" in done.stderr
    assert not any(entry["kind"] == "member.remove" for entry in fabric.entries())


def test_an_edge_that_is_cut_off_is_removed_while_it_forwards(fabric):
    old = fabric.apply("w1")
    address = fabric.address(old)
    fabric.lead(address, "b")
    assert fabric.asks(address) == "w1"
    fabric.unplug("b")
    assert fabric.asks(address) == "w1"  # it forwards on

    new = fabric.apply("w2")
    connections = fabric.connect(new, 10)
    before = answers(connections)
    time.sleep(5)
    assert fabric.clis["a"].status().services["web"].state(old) == "draining"

    fabric.unplug("w1")  # its landing cannot be told
    done = fabric.remove("b", "--yes", "--message", "its line is dead")
    assert done.returncode == 0, done.stderr
    assert "b" not in {node["name"] for node in fabric.clis["a"].json("get", "nodes")
                       if not node.get("removed")}
    wait_for(lambda: fabric.gone("b") ==
             "removed, fenced off by 1 of 2 landings, waits for w1", "w2 to take b off its list")
    assert any("fenced off by 1 of 2 landings, waits for w1" in alarm
               for alarm in fabric.told("a"))
    assert "(b: removed, fenced off by 1 of 2 landings, waits for w1)" in \
        json.dumps(fabric.clis["a"].json("rollout", "status", "web"))
    time.sleep(4)
    assert fabric.gone("b") and fabric.clis["a"].status().services["web"].state(old) == "draining"
    assert fabric.asks(address) == "w1"  # and still does: nothing may have another meaning yet

    fabric.nodes["a"].stop(signal.SIGKILL)  # a restart of the voter forgets nothing
    fabric.again("a")
    assert fabric.gone("b")
    fabric.plug("w1")
    wait_for(lambda: not fabric.gone("b"), "all landings to take b off their lists", 20)
    fabric.wait_state(old, "retired", seconds=30)
    kinds = [(entry["sequence"], entry["kind"], json.dumps(entry["what"]))
             for entry in fabric.entries()]
    fenced = next(number for number, kind, what in kinds if kind == "member.fenced")
    removed = next(number for number, kind, what in kinds if kind == "member.remove")
    retired = next(number for number, kind, what in kinds
                   if kind == "transition" and '"retire"' in what and f'"version": {old}' in what)
    assert removed < fenced < retired

    # What b still sends by the address's old meaning ends at the landing.
    wait_for(lambda: address in
             fabric.clis["a"].status().services["web"].versions[new].late_addresses,
             "the address to mean the new version")
    drops = fabric.drops("w1")
    assert fabric.asks(address) is None
    assert fabric.drops("w1") > drops
    fabric.lead(address, "a")
    assert wait_for(lambda: fabric.asks(address), "late clients to be let in") == "w2"
    assert answers(connections) == before
    for connection in connections:
        connection.close()


def test_who_comes_back_hears_of_its_removal(fabric):
    assert fabric.pins("b")
    fabric.plug("b")
    wait_for(lambda: any("this node was removed from the fabric by ledger entry" in alarm
                         for alarm in fabric.told("b")), "b to be told", 20)
    with fabric.capsule.inside("client"), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ask:
        ask.settimeout(1)
        ask.connect(("10.0.1.3", 53))
        ask.send(b"\0\1\1\0\0\1\0\0\0\0\0\0\3web\3svc\7example\3net\0\0\1\0\1")
        with pytest.raises(OSError):
            ask.recv(512)
    wait_for(lambda: not fabric.pins("b"), "b to take its maps away", 20)
    refused = fabric.clis["b"].try_("rollback", "web")
    assert refused.returncode == 1 and "removed from the fabric" in refused.stderr
    fabric.nodes["b"].stop(signal.SIGKILL)
    fabric.again("b")  # no restart makes it forget
    assert any("removed" in alarm for alarm in fabric.told("b"))
    assert not fabric.pins("b")


def test_it_joins_anew_by_a_new_key(fabric):
    token = fabric.token("--role", "edge,names")
    done = fabric.join("b", token)
    assert done.returncode == 1 and "stop it, then join" in done.stderr, done.stderr
    fabric.nodes["b"].stop()
    done = fabric.join("b", token)
    assert done.returncode == 0, done.stderr
    fabric.start("b")
    wait_for(lambda: [node["behind"] for node in fabric.clis["a"].json("get", "nodes")
                      if node["name"] == "b"] == [0], "b to be up to date", 20)
    new = max(fabric.clis["a"].status().services["web"].versions)
    address = fabric.address(new)
    fabric.lead(address, "b")
    assert fabric.asks(address) == "w2"
    fabric.lead(address, "a")
    assert not fabric.told("b")


def test_a_copied_disk(fabric):
    """The copy is refused, told of on both sides, and harms nobody."""
    number = fabric.apply("w1")
    connections = fabric.connect(number, 5)
    before = answers(connections)
    shutil.copytree(fabric.capsule.root / "w1" / "state", fabric.capsule.root / "spare" / "state")
    file = fabric.capsule.root / "spare" / "state" / "node.json"
    told = json.loads(file.read_text())
    options = dict(zip(fabric.options("spare")[::2], map(str, fabric.options("spare")[1::2])))
    told |= {"run_dir": options["--run-dir"], "pins": options["--pins"]}
    file.write_text(json.dumps(told))
    fabric.start("spare")
    try:
        wait_for(lambda: any("a second machine speaks by the channel key of node w1, from 10.0.1.6"
                             in alarm for alarm in fabric.told("a")),
                 "the voter to tell of it", 20)
        wait_for(lambda: "channel.copied" in fabric.nodes["w1"].log.read_text(), "w1 to be told of it")
        assert any("another process speaks by the key of w1" in alarm
                   for alarm in fabric.told("spare"))
        assert fabric.clis["a"].status().services["web"].state(number) == "serving"
        assert answers(connections) == before
    finally:
        fabric.nodes["spare"].stop()
        fabric.types("spare", "detach", *fabric.options("spare")[2:4], *fabric.options("spare")[6:])
        shutil.rmtree(fabric.capsule.root / "spare" / "state")
    fabric.apply("w2")
    for connection in connections:
        connection.close()


def test_who_floods_the_channel_harms_nobody(fabric):
    number = max(fabric.clis["a"].status().services["web"].versions)
    connections = fabric.connect(number, 5)
    before = answers(connections)
    with fabric.capsule.inside("client"):
        ends = time.monotonic() + 6
        slow = [socket.create_connection(("10.0.1.2", 7122), 2) for _ in range(8)]
        count = 0
        while time.monotonic() < ends:
            for words in (b"GET / HTTP/1.1\r\n\r\n", os.urandom(4000), b"\x16\x03\x01\xff\xff" * 800):
                try:
                    with socket.create_connection(("10.0.1.2", 7122), 2) as one:
                        one.sendall(words)
                        count += 1
                except OSError:
                    pass
    for one in slow:
        one.close()
    assert count > 100
    assert fabric.apply("w1") > number  # all of the members are heard, and take a change
    wait_for(lambda: all(node["heard_ms"] < 3000 for node in
                         fabric.clis["b"].json("get", "nodes")), "everybody to be heard")
    refusals = fabric.nodes["a"].log.read_text().count("peer.refused")
    assert 0 < refusals < 150  # and told of at a rate
    assert answers(connections) == before
    for connection in connections:
        connection.close()


def test_a_node_that_is_heard_is_removed_at_once(fabric):
    fabric.apply("w2")
    done = fabric.remove("b", "--yes", on="b")
    assert done.returncode == 0 or "not known" in done.stderr, done.stderr
    wait_for(lambda: not fabric.pins("b"), "b to take its maps away", 20)
    wait_for(lambda: not fabric.gone("b"), "all landings to take b off their lists", 20)
    done = fabric.remove("b", "--yes")
    assert done.returncode == 1 and "was removed already" in done.stderr


def test_old_pins_are_no_joiners(fabric):
    """A machine that still forwards by an earlier state asks for nothing."""
    (fabric.capsule.bpffs / "spare" / "edge").mkdir(parents=True)
    done = fabric.join("spare", fabric.token(), role="edge")
    assert done.returncode == 1 and "still forwards or lands by an earlier state" in done.stderr
    assert not any(entry["kind"] == "member.join" and entry["what"]["node"] == "spare"
                   for entry in fabric.entries())


def test_nothing_is_wrong_in_the_end(fabric):
    for name in "a", "w1", "w2":
        wait_for(lambda name=name: all("second machine" in alarm for alarm in
                                       fabric.told(name)),
                 "nothing to be wrong", 10)
