# SPDX-License-Identifier: Apache-2.0
"""The fabric's job: edges are added, killed and removed under traffic, versions roll out, the voter
dies and comes back, and no flow breaks.

`FabricJob` does it in a running `FabricLab`, step by step for the demo; tests/lab/test_anycast.py
runs the same events in an order of its own, and others that only it has.
"""
import contextlib
import signal

from lab.fabric import ANNOUNCE_WAIT, EDGES, VOTER
from lab.host import LabError
from lab.job import FIRST, SECOND
from lab.traffic_job import FLOWS, LATE_REQUESTS, NAME, REQUEST_RATE, TrafficJob

# BFD misses a machine after 300 ms, and then the router has to change its routes.
POWER_GAP_MS = 2500

TITLES = {
    1: "init, six joins, BGP; apply a file on edge1: service web, version 1",
    2: f"open {FLOWS} long flows; short requests by name go on all the time",
    3: "web4 in, web1 out, other weights: apply version 2 on edge2",
    4: "a third edge joins, and the router shares all flows among three",
    5: "kill -9 the daemon of edge1, start it again",
    6: "edge2 loses its power, without a word; later it is back",
    7: "the voter dies; the fabric goes on without changes; it comes back",
    8: "let version 1 end: draining, closing, retired; then come late",
    9: "edge3 is removed by an order: it withdraws, waits for the router, empties",
    10: "roll back to version 1, which is retired",
}


class FabricJob(TrafficJob):
    """The ten steps; the counts beside those of the traffic are of edges and of processes that were
    killed."""

    TITLES = TITLES

    def __init__(self, lab, *arguments, **options):
        super().__init__(lab, *arguments, **options)
        self.killed = self.removed = self.added = 0

    # Pieces

    def wait_paths(self, number, seconds=10):
        self.lab.wait_paths(number, seconds, self.refresh)

    def version(self, number):
        return self.fresh_status().services["web"].versions[number]

    def next_content(self):
        """The number of the version after all there were, and what it will be."""
        number = max(self.contents, default=0) + 1
        return number, FIRST if number % 2 else SECOND

    def publish(self, on):
        """A further version, by an order on this node."""
        number, content = self.next_content()
        self.contents[number] = content[0]
        self.lab.apply_on(on, self.fabric(content))
        return number

    def roll(self, on):
        """The same, until new requests use it."""
        number = self.publish(on)
        self.wait_state(number, "serving")
        self.wait_moved(number)
        return number

    def wait_requests(self, number):
        """Until so many further requests by name have ended."""
        def ended():
            return self.counts()["totals"].get("request ended", 0)
        before = ended()
        self.wait(lambda: ended() >= before + number, f"{number} requests")

    @contextlib.contextmanager
    def forwarding(self, *edges):
        """Each of these edges must forward meanwhile."""
        before = {name: self.lab.forwarded(name) for name in edges}
        yield
        for name, frames in before.items():
            self.wait(lambda n=name, f=frames: self.lab.forwarded(n) > f + 20,
                      f"{name} to forward")

    # Events

    def create(self, step):
        with self.event(step, "create"):
            number = self.publish("edge1")
            self.wait_state(number, "serving")
            self.lab.wait_landings()
            for name in self.lab.first_edges:
                self.lab.start_bird(name)
            self.wait_paths(len(self.lab.first_edges))
            self.wait(lambda: "probe" in self.fresh_status().services and
                      self.status.services["probe"].serving, "the service probe", 10)
            self.start_traffic()
            self.fresh_status()
            self.tell("requests", rate=REQUEST_RATE)
            self.wait_moved(number)
            v4, v6 = (self.version(number).address(family) for family in (4, 6))
            self.note(f"{NAME} is {v4} and {v6}; pages come by name")

    def open(self, step):
        with self.event(step, "open"), self.forwarding(*self.lab.first_edges):
            self.open_group("on 1")
            kinds = self.counts()["kinds"]
            self.note(", ".join(f"{number} {kind[:-1]}s over IPv{kind[-1]}"
                                for kind, number in sorted(kinds.items())))
            self.wait(lambda: (self.version(1).connections or 0) >= self.flows,
                      "landing to count the flows")

    def change(self, step):
        with self.event(step, "change"):
            before = max(self.contents)
            number = self.roll("edge2")
            self.wait_state(before, "draining")
            self.note(f"new requests go to version {number}; {self.open_flows('on 1')} flows go "
                      "on where they began")

    def add(self, step, name="edge3"):
        with self.event(step, "add"):
            ways = self.lab.paths()[0]
            self.lab.join_edge(name)
            self.lab.start_bird(name)
            self.wait_paths(ways + 1)
            with self.forwarding(name):
                self.added += 1
            self.note(f"{name} announces {', '.join(self.lab.announced(name))}, and forwards flows "
                      "that began before it was there")

    def kill(self, step, name="edge1"):
        with self.event(step, "SIGKILL") as event:
            ways = self.lab.paths()
            self.lab.stop(name, signal.SIGKILL)
            self.killed += 1
            # A third of the window passes while nobody is there to look after the packets.
            with self.forwarding(name):
                self.wait(lambda: event.probe and event.probe["4"]["sent"] > self.window // 3,
                          "the probe to see no daemon")
            if self.lab.paths() != ways:
                raise LabError(f"the daemon of {name} was killed, and the router left it")
            self.lab.start(name)
            self.note(f"without its daemon, {name} forwarded, and its routes stayed")

    def lose_power(self, step, name="edge2"):
        with self.event(step, "power off", gap_limit_ms=POWER_GAP_MS):
            ways = self.lab.paths()[0]
            self.lab.power_off(name)
            self.killed += 1
            self.wait_paths(ways - 1)
            self.note("BFD told the router, which sends its flows by the others")
            self.meanwhile_off(name)
            self.lab.power_on(name)
            self.wait_paths(ways, 20)
            with self.forwarding(name):
                self.note(f"{name} is back, and forwards")

    def meanwhile_off(self, name):
        """What is done while an edge has no power."""

    def cut_channel(self, step, name="edge3"):
        """Packets come to it as before, also of a version of which it cannot hear."""
        with self.event(step, "channel cut"):
            self.lab.cut_channel(name)
            with self.forwarding(name):
                number = self.roll("edge1")
                self.wait_requests(100)
            self.note(f"version {number} serves; {name} never heard of it, and passes its packets on")
            self.lab.join_channel(name)
            self.wait(lambda: self.behind(name) == 0, f"{name} to catch up", 20)

    def behind(self, name):
        """Entries of the ledger that a node has not applied yet, by what was heard of it."""
        return next(node["behind"] for node in self.lab.cli.json("get", "nodes")
                    if node["name"] == name)

    def lose_voter(self, step):
        with self.event(step, "voter"):
            self.lab.stop(VOTER, signal.SIGKILL)
            self.killed += 1
            refused = self.lab.clis["edge1"].try_("rollback", "web")
            if refused.returncode != 1:
                raise LabError(f"an order without a voter: {refused.stdout}{refused.stderr}")
            self.note(f"an order on edge1: {refused.stderr.strip().splitlines()[0]}")
            with self.forwarding(*self.lab.first_edges):
                self.lab.start(VOTER)
            self.wait(self.fresh_status, "the voter to answer")

            self.wait(lambda: self.lab.clis["edge1"].try_("token").returncode == 0,
                      "orders to be taken again", 30)
            self.note("the voter is back, and takes orders")

    def retire(self, step, further="on 2"):
        """Version 1; `further` flows are open then on the newest one."""
        if further:
            self.open_group(further)
        with self.event(step, "retire"):
            remembered = self.version(1).addresses
            self.see_retired()
            self.be_late(remembered)
            self.note(f"{LATE_REQUESTS} requests to version 1's addresses were served by version "
                      f"{max(self.contents)}")

    def stop(self, step, name="edge3"):
        with self.event(step, "stop"):
            ways = self.lab.paths()[0]
            self.withdraw(name)
            self.wait_paths(ways - 1)
            self.note(f"{name} withdrew its routes, went on forwarding for {ANNOUNCE_WAIT} s, and "
                      "ended")

    def remove(self, step, name="edge3"):
        """By an order on another node: it hears of it, withdraws, waits, and takes its maps away."""
        with self.event(step, "remove"):
            ways = self.lab.paths()[0]
            self.lab.clis["edge1"]("node", "remove", name, "--yes")
            self.wait_paths(ways - 1)
            self.removed += 1
            self.note(f"{name} heard of it, and withdrew its routes")
            pins = self.lab.capsule.bpffs / name / "edge"
            self.wait(lambda: not pins.exists(), f"{name} to take its maps away", 20)
            self.lab.stop(name)
            self.note(f"its maps are gone; {len(self.lab.cli.json('get', 'nodes'))} nodes are left")

    def withdraw(self, name):
        """An end in order: the routes go while it still forwards."""
        process = self.lab.nodes[name]
        process.expected = False
        process.process.send_signal(signal.SIGTERM)
        self.wait(lambda: not self.lab.announced_without_daemon(name), f"{name} to withdraw")
        if process.process.poll() is not None:
            raise LabError(f"{name} ended before the router could leave it")
        self.wait(lambda: process.process.poll() is not None, f"{name} to end")

    def roll_back(self, step):
        with self.event(step, "roll back"):
            number, _ = self.next_content()
            self.contents[number] = self.contents[1]
            self.lab.clis["edge2"]("rollback", "web")
            self.wait_state(number, "serving")
            self.wait_moved(number)
            self.note(f"version 1 was retired: its content came back as version {number}")

    def deal_anew(self, step, seeds=(1, 2, 3)):
        """The router's hash gets another seed, so that most flows come to another edge."""
        for seed in seeds:
            with self.event(step, f"seed {seed}", f"the router deals all flows anew: {seed}"):
                with self.forwarding(*self.lab.first_edges):
                    self.lab.deal_anew(seed)

    def upgrade(self, step, name):
        with self.event(step, f"upgrade {name}", f"{name}: another build, with other maps"):
            ways = self.lab.paths()[0]
            self.lab.stop(name)
            self.lab.start(name, self.lab.next_program)
            if name in EDGES:
                self.wait_paths(ways)

    def steps(self):
        return tuple(lambda do=do, step=step: do(step) for step, do in enumerate(
            (self.create, self.open, self.change, self.add, self.kill, self.lose_power,
             self.lose_voter, self.retire, self.remove, self.roll_back), start=1))

    def summary(self):
        """The counts of the demo's last line."""
        counts = super().summary()
        broken = counts.pop("broken")
        return counts | {"killed": self.killed, "removed": self.removed, "added": self.added,
                         "broken": broken}
