# SPDX-License-Identifier: Apache-2.0
"""An edge that knows that it is behind passes on what it has no word for (PROTOCOL.md rules 3 and 7).

The machines are those of test_fabric.py: `a` decides and is everything, `b` is everything but that, and
`c` is an edge and a name server. `net` sends what is for the pools to whichever edge a test names.
"""
import shutil
import signal
import socket
import struct

import pytest

from lab.host import Capsule, wait_for
from edge_maps import EdgeMaps
from test_fabric import NODES, PROGRAM, TOPOLOGY, Fabric
from test_one_interface import SERVER

SIZE = 1 << 20


class Passing(Fabric):
    """The fabric, and how its edges are behind."""

    def maps(self, name):
        return EdgeMaps(self.capsule, name, self.capsule.bpffs / name)

    def passed(self, name):
        return self.maps(name).passes("passed")

    def taken(self, name):
        return self.maps(name).passes("taken")

    def drops(self, name, label):
        return self.maps(name).drops(label)

    def wait_behind(self, name, behind):
        wait_for(lambda: self.maps(name).is_behind() == behind, f"{name} to be behind: {behind}", 20)

    def wait_held(self):
        """Everybody has what the voter has."""
        wait_for(lambda: all(node["behind"] == 0 for node in self.clis["a"].json("get", "nodes")
                             if "edge" in node["roles"]), "every edge to have it", 20)

    def state(self, name):
        return self.capsule.root / name / "state"

    def keep(self, name):
        """A copy of the stopped node's store."""
        copy = self.capsule.root / f"{name}-older"
        shutil.rmtree(copy, ignore_errors=True)
        copy.mkdir()
        for file in self.state(name).glob("store.db*"):
            shutil.copy(file, copy)
        return copy

    def put_back(self, name, copy):
        for file in self.state(name).glob("store.db*"):
            file.unlink()
        for file in self.state(name).glob("replica.good*"):
            file.unlink()
        for file in copy.iterdir():
            shutil.copy(file, self.state(name))

    def lose_power(self, name):
        """It ends without a word, and its maps with it."""
        self.nodes[name].stop(signal.SIGKILL)
        self.capsule.run([PROGRAM, "detach", "--pins", self.capsule.bpffs / name], name)


@pytest.fixture(scope="module")
def fabric():
    with Capsule(TOPOLOGY, PROGRAM) as capsule:
        running = Passing(capsule)
        for name in NODES:
            capsule.spawn(f"http-{name}", ["python3", "-c", SERVER, name], name)
        token = running.init()
        running.start("a")
        assert running.join("b", token).returncode == 0
        running.start("b")
        done = running.join("c", running.token(), role="edge,names")
        assert done.returncode == 0, done.stderr
        running.start("c")
        yield running


def ask(connections):
    """Who answers each, by the connections that are open; each also takes in a long body, and gives
    one."""
    names = []
    for connection in connections:
        assert connection.sock
        connection.request("GET", "/")
        names.append(connection.getresponse().read().decode())
        connection.request("GET", "/long")
        assert connection.getresponse().read().decode() == names[-1] * 200000
        connection.request("PUT", "/", b"x" * SIZE)
        assert int(connection.getresponse().read()) == SIZE
    return names


def close(connections):
    for connection in connections:
        connection.close()


def test_nothing_is_passed_on_by_edges_that_are_not_behind(fabric):
    number = fabric.apply("a", "b")
    fabric.wait_held()
    for name in NODES:
        fabric.wait_behind(name, False)
    before = {name: fabric.passed(name) for name in NODES}
    unbound = fabric.drops("c", "no_binding")
    fabric.lead_to("c")
    connections = fabric.connect(number, 2)
    assert set(ask(connections)) <= {"a", "b"}
    with fabric.capsule.inside("client"):
        with pytest.raises(OSError):
            socket.create_connection(("198.51.100.60", 80), timeout=1).close()
    assert {name: fabric.passed(name) for name in NODES} == before
    assert fabric.drops("c", "no_binding") > unbound
    close(connections)


def test_an_edge_without_maps_below_its_mark(fabric):
    """It was restored from an older copy, its machine was started anew, and it reaches no voter."""
    fabric.apply("a")
    fabric.wait_held()
    fabric.nodes["c"].stop()
    older = fabric.keep("c")
    fabric.again("c")
    number = fabric.apply("a", "b")
    fabric.wait_held()
    fabric.lead_to("c")
    connections = fabric.connect(number, 6)
    before = ask(connections)
    assert set(before) == {"a", "b"}
    fabric.lose_power("c")
    fabric.put_back("c", older)
    fabric.unplug("c")
    fabric.again("c")
    fabric.wait_behind("c", True)
    assert "older than" in fabric.clis["c"].json("status")["alarms"][0]["text"]
    assert ask(connections) == before
    more = fabric.connect(number, 4)
    assert set(ask(more)) <= {"a", "b"}
    passed = fabric.passed("c")
    assert passed > 100 and fabric.taken("c") == 0
    assert fabric.taken("a") + fabric.taken("b") >= passed
    status = fabric.clis["c"].json("status")
    assert status["node"] == "c" and status["passing"]["behind"]
    assert status["passing"]["passed"] >= passed
    assert any("passed" in alarm for alarm in fabric.clis["c"].status().alarms)
    fabric.plug("c")
    fabric.wait_behind("c", False)
    passed = fabric.passed("c")
    assert ask(connections) == before
    assert fabric.passed("c") == passed
    close(connections + more)


def test_a_version_that_a_cut_off_edge_lacks(fabric):
    """Publishing waits only for edges that are heard; the one that is not passes it on."""
    old = fabric.apply("a")
    fabric.wait_held()
    fabric.lead_to("c")
    held = fabric.connect(old, 2)
    fabric.unplug("c")
    number = fabric.apply("b", "a")
    fabric.wait_behind("c", True)
    before = fabric.passed("c")
    assert ask(held) == ["a"] * 4
    assert fabric.passed("c") == before
    connections = fabric.connect(number, 6)
    names = ask(connections)
    assert set(names) == {"a", "b"}
    assert fabric.passed("c") > before
    fabric.plug("c")
    fabric.wait_behind("c", False)
    before = fabric.passed("c")
    assert ask(connections) == names
    assert fabric.passed("c") == before
    close(held + connections)


def test_it_is_passed_on_once(fabric):
    """Two edges are behind, and both pass on: what one has of the other it drops."""
    fabric.apply("a")
    fabric.wait_held()
    fabric.unplug("b")
    fabric.unplug("c")
    for name in "b", "c":
        fabric.wait_behind(name, True)
    fabric.lead_to("c")
    passed = {name: fabric.passed(name) for name in NODES}
    taken = fabric.taken("c")
    dropped = fabric.drops("b", "passed_unknown")
    knocks = []
    for n in range(20, 52):  # each of them is another flow's end
        fabric.capsule.run(["ip", "addr", "add", f"192.0.2.{n}/24", "dev", "eth0"], "client")
    with fabric.capsule.inside("client"):
        for n in range(20, 52):
            knock = socket.socket()
            knock.bind((f"192.0.2.{n}", 0))
            knock.setblocking(False)
            knock.connect_ex(("198.51.100.62", 80))
            knocks.append(knock)
    wait_for(lambda: fabric.drops("b", "passed_unknown") > dropped, "b to drop what c passed on")
    assert fabric.passed("c") > passed["c"] and fabric.taken("c") == taken
    assert fabric.passed("b") == passed["b"]
    for knock in knocks:
        knock.close()
    for name in "b", "c":
        fabric.plug(name)
        fabric.wait_behind(name, False)


def form(inner, token=b"\0" * 8):
    """What an edge would pass on."""
    return b"fl\1\4" + token + inner


@pytest.mark.parametrize("source, reason", [("10.0.1.4", "passed_token"),
                                            ("10.0.1.1", "passed_not_edge")])
def test_a_forged_one_is_dropped(fabric, source, reason):
    fabric.apply("a")
    before = fabric.drops("b", reason)
    taken = fabric.taken("b")
    payload = form(b"\x45" + b"\0" * 39)
    udp = struct.pack("!HHHH", 50000, 7123, 8 + len(payload), 0) + payload
    packet = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0x4000, 64, 17, 0,
                         socket.inet_aton(source), socket.inet_aton("10.0.1.3")) + udp
    with fabric.capsule.inside("net"):
        with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as tunnel:
            tunnel.sendto(packet, ("10.0.1.3", 0))
    wait_for(lambda: fabric.drops("b", reason) == before + 1, "the packet to be dropped")
    assert fabric.taken("b") == taken


def test_nothing_is_wrong_in_the_end(fabric):
    for name, cli in fabric.clis.items():
        wait_for(lambda cli=cli: not cli.status().alarms, f"nothing to be wrong at {name}", 40)
