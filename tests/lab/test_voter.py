# SPDX-License-Identifier: Apache-2.0
"""What a voter and those who follow it may believe (PROTOCOL.md rules 3 and 4): it is killed, set
back to an older copy, copied to another machine; and who was off while it was there takes what it
missed from whoever has it. Flows are on all the time.

    client ── net ── rack ──┬── a  10.0.1.2  the voter, edge, name server, backend
                            ├── b, c, d      edges, name servers, backends
                            └── e  10.0.1.6  where a copy of a's disk comes to life
"""
import re
import shutil
import signal

import pytest

from lab.host import Capsule, wait_for
from lab.product import Cli
from test_fabric import LINK, PROGRAM, SERVER, Fabric

NODES = {"a": 2, "b": 3, "c": 4, "d": 5}
MACHINES = NODES | {"e": 6}

TOPOLOGY = """
machines:
  net:
    forwards: true
    bridges: {rack: [10.0.1.1/24, "fd00:1::1/64"]}
    routes: [{to: 198.51.100.0/26, via: 10.0.1.3}, {to: "2001:db8:f::/108", via: "fd00:1::3"}]
  client: {routes: [{to: default, via: 192.0.2.1}, {to: default, via: "2001:db8:c::1"}]}
""" + "".join(f"""  {name}: {{routes: [{{to: default, via: 10.0.1.1}}, {{to: default, via: "fd00:1::1"}}]}}
""" for name in MACHINES) + """
links:
  client:
    from: {machine: client, interface: eth0, addresses: [192.0.2.10/24, "2001:db8:c::10/64"]}
    to: {machine: net, interface: client-eth0, addresses: [192.0.2.1/24, "2001:db8:c::1/64"]}
""" + "".join(LINK.format(name=name, n=n) for name, n in MACHINES.items())


# Long connections, a request on one after the other: what answers each must not change.
FLOWS = """
import http.client, signal, sys
ends = []
signal.signal(signal.SIGTERM, lambda *_: ends.append(1))
flows = [http.client.HTTPConnection(address, 80, timeout=5) for address in sys.argv[1:] * 10]
names, requests = {}, 0
for flow in flows:
    flow.connect()
while not ends:
    for i, flow in enumerate(flows):
        try:
            assert flow.sock, "it was opened anew"
            flow.request("GET", "/")
            name = flow.getresponse().read().decode()
            assert names.setdefault(i, name) == name, f"{name} answers, {names[i]} did"
        except Exception as error:
            sys.exit(f"flow {i} broke: {error!r}")
        requests += 1
    print("requests", requests, flush=True)
print("broken 0", flush=True)
"""


class Flows:
    count = 0

    def __init__(self, fabric, number):
        version = fabric.clis["a"].status().services["web"].versions[number]
        Flows.count += 1
        self.process = fabric.capsule.spawn(
            f"flows-{Flows.count}", ["python3", "-c", FLOWS, version.address(4), version.address(6)],
            "client")
        self.wait_more()

    def requests(self):
        lines = [line for line in self.process.tail(1).splitlines() if "requests" in line]
        return int(lines[-1].split()[-1]) if lines else 0

    def wait_more(self):
        """Each of them has got an answer since."""
        before = self.requests()
        wait_for(lambda: self.requests() > before + 40, "the flows to go on", 15)

    def end(self):
        self.wait_more()
        self.process.stop()
        assert "broken 0" in self.process.tail(2), self.process.tail(5)


class Peers(Fabric):
    numbers = NODES

    def __init__(self, capsule):
        super().__init__(capsule)
        self.clis = {name: Cli(capsule, PROGRAM, capsule.root / name / "run/fairlead.sock")
                     for name in NODES}

    def head(self, name):
        """By what the node itself says; the voter's while it reaches it."""
        return self.clis[name].json("log", "--limit", "1")[0]["sequence"]

    def log_since(self, name, event):
        return self.nodes[name].log.read_text().rpartition(event)[2]

    def wait_all_at(self, sequence):
        wait_for(lambda: all(node["behind"] == 0 for node in self.clis["a"].json("get", "nodes")),
                 f"everyone to be at entry {sequence}", 20)

    def wait_orders(self, on="a", seconds=20):
        """Until the voter takes orders again, also in a process that has just begun."""
        def taken():
            done = self.clis[on].try_("rollout", "pause", "web")
            if any(words in done.stderr for words in (
                    "takes no orders", "no voter is reached", "not known",
                    "older than what this node does", "nothing answers",
                    "the daemon went away")):
                return False
            if done.returncode == 0:
                self.clis[on]("rollout", "resume", "web")
            assert done.returncode == 0 or "no rollout" in done.stderr, done.stderr
            return True
        wait_for(taken, f"orders to be taken on {on}", seconds)

    def keep(self, name):
        """A copy of the node's disk, made while it does not run."""
        folder = self.capsule.root / name / "state"
        copy = self.capsule.root / name / "kept"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(folder, copy)
        return copy

    def put_back(self, name, copy):
        folder = self.capsule.root / name / "state"
        shutil.rmtree(folder)
        shutil.copytree(copy, folder)

    def forget(self, name):
        """What a machine's kernel forgets when its power goes."""
        done = self.types(name, "detach", "--pins", self.capsule.bpffs / name)
        assert done.returncode == 0, done.stderr

    def entries(self, on="a"):
        return {entry["sequence"]: (entry["kind"], entry["digest"])
                for entry in self.clis[on].json("log", "--limit", "1000")}


@pytest.fixture(scope="module")
def fabric():
    with Capsule(TOPOLOGY, PROGRAM) as capsule:
        running = Peers(capsule)
        for name in NODES:
            capsule.spawn(f"http-{name}", ["python3", "-c", SERVER, name], name)
        token = running.init()
        running.start("a")
        for name in "b", "c", "d":
            done = running.join(name, token)
            assert done.returncode == 0, done.stderr
            running.start(name)
            token = running.token()
        yield running


@pytest.fixture
def flows(fabric):
    """By edge b, to backends b and c."""
    number = fabric.apply("b", "c")
    fabric.lead_to("b")
    running = Flows(fabric, number)
    yield running
    running.end()


def test_the_voter_is_killed_and_comes_back(fabric, flows):
    before = fabric.entries()
    fabric.nodes["a"].stop(signal.SIGKILL)
    refused = fabric.clis["c"].try_("rollback", "web")
    assert refused.returncode == 1 and "no voter is reached" in refused.stderr
    fabric.again("a")
    fabric.wait_orders(on="c")
    assert before.items() <= fabric.entries().items()


@pytest.mark.parametrize("maps", ["kept", "gone"])
def test_the_voter_gets_an_older_disk_back(fabric, flows, maps):
    """It takes what it lacks from the edges: nothing is decided a second time."""
    fabric.nodes["a"].stop()
    older = fabric.keep("a")
    fabric.again("a")
    fabric.wait_orders()
    for backends in ("b", "c"), ("c", "d"), ("b", "c", "d"):
        fabric.apply(*backends)
    before = fabric.entries()
    fabric.wait_all_at(max(before))
    fabric.nodes["a"].stop(signal.SIGKILL)
    if maps == "gone":
        fabric.forget("a")
    fabric.put_back("a", older)
    fabric.again("a")
    fabric.wait_orders()
    assert "voter.waits" in fabric.log_since("a", " daemon.stopping ")
    after = fabric.entries()
    assert before.items() <= after.items()
    assert fabric.clis["a"]("verify")
    fabric.apply("b", "c", "d", on="b")
    wait_for(lambda: not fabric.clis["a"].status().alarms, "nothing to be wrong", 20)


def test_who_was_off_takes_what_it_missed_from_a_peer(fabric, flows):
    fabric.nodes["d"].stop()
    number = fabric.apply("c", wait=False)
    fabric.wait_state(number, "serving", seconds=20)
    head = fabric.head("a")
    fabric.nodes["a"].stop(signal.SIGKILL)
    fabric.again("d")
    wait_for(lambda: fabric.head("d") >= head, "d to have what it missed", 15)
    alarms = fabric.clis["d"].status().alarms
    assert any(re.search(r"takes what is newer from [bc]", alarm) for alarm in alarms), alarms
    assert fabric.clis["d"].status().services["web"].state(number) == "serving"
    # It forwards by it, also after it begins anew.
    fabric.lead_to("d")
    flows.wait_more()
    fabric.nodes["d"].stop(signal.SIGKILL)
    fabric.again("d")
    refused = fabric.clis["d"].try_("rollback", "web")
    assert refused.returncode == 1 and "no voter is reached" in refused.stderr
    fabric.again("a")
    fabric.wait_orders(on="d")
    fabric.lead_to("b")
    fabric.wait_state(fabric.apply("b", "c", wait=False), "serving", "d", 20)


def test_a_majority_is_away_and_the_operator_says_so(fabric, flows):
    for name in "b", "c", "d":
        fabric.unplug(name)
    fabric.nodes["a"].stop()
    fabric.again("a")
    refused = fabric.clis["a"].try_("rollback", "web")
    assert refused.returncode == 1 and "heard 1 of 4 edges" in refused.stderr, refused.stderr
    assert "fairlead store resume" in refused.stderr
    assert any("heard 1 of 4 edges" in alarm for alarm in fabric.clis["a"].status().alarms)
    said = fabric.clis["a"]("store", "resume", "--message", "three burned")
    assert "b, c, d" in said or "b" in said
    fabric.wait_orders()
    entry = next(entry for entry in fabric.clis["a"].json("log") if entry["kind"] == "store.resume")
    assert entry["why"] == "three burned" and entry["what"]["unheard"] == ["b", "c", "d"]
    refused = fabric.clis["a"].try_("store", "resume")
    assert refused.returncode == 1 and "takes orders" in refused.stderr
    for name in "b", "c", "d":
        fabric.plug(name)
    fabric.wait_orders(on="c")


def test_a_copy_of_the_voters_disk_is_refused(fabric, flows):
    """Two machines with one key: whoever comes second is told so, and takes no orders."""
    folder = fabric.capsule.root / "e"
    fabric.nodes["a"].stop()
    shutil.copytree(fabric.capsule.root / "a/state", folder / "state")
    options = folder / "state/node.json"
    options.write_text(options.read_text().replace("10.0.1.2", "10.0.1.6")
                       .replace("fd00:1::2", "fd00:1::6"))
    fabric.again("a")
    fabric.wait_orders()
    clone = fabric.capsule.spawn("clone", [
        PROGRAM, "run", "--state", folder / "state", "--run-dir", folder / "run", "--pins",
        fabric.capsule.bpffs / "e"], "e")
    cli = Cli(fabric.capsule, PROGRAM, folder / "run/fairlead.sock")
    wait_for(lambda: cli("status"), "the copy to answer")
    wait_for(lambda: "another process speaks by the key of a" in cli("status"),
             "the copy to be told", 15)
    refused = cli.try_("rollback", "web")
    assert refused.returncode == 1 and "heard 1 of 4 edges" in refused.stderr, refused.stderr
    fabric.wait_orders(on="c")
    fabric.apply("b", "c", on="c")
    clone.stop()


def test_a_fork_is_refused_until_the_operator_says_so(fabric):
    """By an older disk, and with nobody to tell it, the voter was let go on: now there are two
    histories. It stops when it hears so, and goes on from its own when that is what is wanted."""
    fabric.nodes["a"].stop()
    older = fabric.keep("a")
    fabric.again("a")
    fabric.wait_orders()
    fabric.apply("c", wait=False)
    fabric.wait_all_at(fabric.head("a"))
    fabric.nodes["a"].stop(signal.SIGKILL)
    fabric.forget("a")
    fabric.put_back("a", older)
    for name in "b", "c", "d":
        fabric.unplug(name)
    fabric.again("a")
    fabric.clis["a"]("store", "resume", "--message", "nobody has more")
    fabric.apply("b", "c", wait=False)
    for name in "b", "c", "d":
        fabric.plug(name)

    def stopped():
        done = fabric.clis["a"].try_("rollback", "web")
        return done.returncode == 1 and "goes by another history" in done.stderr and done.stderr
    said = wait_for(stopped, "the fork to be seen", 20)
    assert "fairlead store recover" in said
    told = fabric.clis["a"].try_("store", "recover")
    assert told.returncode == 1 and "is given up" in told.stderr, told.stderr
    fabric.clis["a"]("store", "recover", "--yes")
    fabric.wait_orders()
