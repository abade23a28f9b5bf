# SPDX-License-Identifier: Apache-2.0
"""The main job: a service changes versions under traffic, and no flow breaks.

`MainJob` does it step by step in a running `Lab`. The demo runs the steps and shows them; the lab
test runs the same steps and asserts more after each. A step raises LabError when the product does
not do what the step is about; what happens to the flows is not judged there but counted all along,
by clients that know nothing of Fairlead, and judged at the end by `verdict`.
"""
import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import dataclass, field

from lab import topology
from lab.host import REPOSITORY, LabError, wait_for
from lab.parts import PROBE_PORT
from lab.product import TTL_SECONDS, StatusPoll

NAME = f"web.{topology.ZONE}"
FLOWS, FLOWS_WANTED = 212, 200  # opened on each of two versions; that must be open at each event
REQUEST_RATE = 20
LATE_REQUESTS = 40
GAP_GOAL_MS, GAP_LIMIT_MS = 50, 1000

FIRST = ("web1", "web2", "web3"), {}
SECOND = ("web2", "web3", "web4"), {"web2": 5, "web4": 20}

TITLES = {
    1: "apply a file: service web, version 1, on web1, web2, web3",
    2: f"open {FLOWS} long flows; short requests by name go on all the time",
    3: "web4 in, web1 out, other weights: plan, then apply version 2",
    4: "kill -9 the daemon, start it again",
    5: "replace daemon and BPF programs by a build with another map layout",
    6: "let version 1 end: draining, closing, retired; then come late",
    7: "roll back, to a retired version and to one that still drains",
    8: "verify the ledger, change one byte of it, verify again",
}


class Reporter:
    """A process that prints JSON lines; `latest` is what it said last."""

    def __init__(self, child):
        self.child, self.latest, self._partial = child, None, b""
        os.set_blocking(child.process.stdout.fileno(), False)

    def tell(self, text):
        self.child.process.stdin.write(text.encode() + b"\n")
        self.child.process.stdin.flush()

    def read(self):
        """Everything printed since the last call, oldest first."""
        chunk = self.child.process.stdout.read() or b""
        *lines, self._partial = (self._partial + chunk).split(b"\n")
        said = [json.loads(line) for line in lines]
        self.latest = said[-1] if said else self.latest
        return said


@dataclass
class Event:
    """Something done to the fabric: when, how many long flows were open, and the probe's window."""
    step: int
    title: str  # short and unlike any other event's; the probe's window has it
    what: str
    began: float
    flows: int
    probe: dict = field(default_factory=dict)  # as lab-probe prints it; "final" once settled
    notes: list = field(default_factory=list)


class MainJob:
    """The eight steps, their traffic, and what came of it.

    `changed` is called whenever there is something new to show, with an Event whose step begins
    or None; `idle` as often as possible while the job waits. `window` is how many datagrams of
    each family the probe has at least to send before the next step begins: milliseconds.
    """

    def __init__(self, lab, changed=lambda event: None, idle=lambda: None, window=1500):
        self.lab, self.changed, self.on_idle, self.window = lab, changed, idle, window
        self.began = time.monotonic()
        self.events = []
        self.status = None  # the latest that the daemon gave
        self.client = None
        self.probe = None
        self.contents = {}  # version of web: its backends
        self.late_by_product = 0
        self.history = {}  # version of web: its states, in the order in which they were seen
        self._poll = StatusPoll(lab.cli)
        self._meanings = {}

    # What goes on in the background

    def refresh(self):
        """Read what the traffic and the daemon say; raise when some part of the lab died."""
        self.lab.capsule.check()
        if self.client:
            self.client.read()
        if self.probe:
            for window in self.probe.read():
                self._take_window(window)
        status = self._poll.latest()
        if status:
            self._take_status(status)
        self.on_idle()

    def _take_window(self, window):
        for event in self.events:
            if event.title == window["window"] and not event.probe.get("final"):
                event.probe = window

    def _take_status(self, status):
        self.status = status
        web = status.services.get("web")
        if not web:
            return
        for number in self.history.keys() | web.versions.keys():
            seen = self.history.setdefault(number, [])
            if seen[-1:] != [web.state(number)]:
                seen.append(web.state(number))
        if self.client:
            self._tell_meanings(web)

    def _tell_meanings(self, web):
        """The client must know who may answer on which address."""
        for version in web.versions.values():
            if version.number not in self.contents:
                raise LabError(f"web/{version.number} is there, and nobody published it")
            backends = sorted(self.contents[version.number])
            for address in version.addresses + version.late_addresses:
                if self._meanings.get(address) != backends:
                    self._meanings[address] = backends
                    self.tell("meaning", address=address, backends=backends)

    def fresh_status(self):
        """What the daemon says now; an answer that is still on its way would be older."""
        self._poll.disregard()
        self._take_status(self.lab.cli.status())
        return self.status

    def wait(self, condition, what, seconds=15):
        return wait_for(condition, what, seconds, self.refresh)

    def tell(self, order, **arguments):
        self.client.tell(json.dumps({"do": order, **arguments}))

    def counts(self):
        """The client's latest counts; see flows.Client.counts."""
        return self.client.latest if self.client else None

    def open_flows(self, group=None):
        groups = self.counts()["open"] if self.client and self.counts() else {}
        return groups.get(group, 0) if group else sum(groups.values())

    def _version(self, number):
        return self.status.services["web"].versions[number]

    # Pieces that several steps use

    @contextlib.contextmanager
    def event(self, step, title, what=None):
        """Something is done to the fabric: flows are counted before, the probe measures from here
        on, until it has enough datagrams to say something."""
        self.refresh()
        event = Event(step, title, what or TITLES[step], time.monotonic() - self.began,
                      self.open_flows())
        self.events.append(event)
        if self.probe:
            self.probe.tell(f"mark {title}")
        self.changed(event)
        yield event
        if self.probe:
            self.wait(lambda: event.probe and event.probe["4"]["sent"] >= self.window,
                      "the probe to measure", 30)
        self.changed(None)

    def note(self, text):
        self.events[-1].notes.append(text)
        self.changed(None)

    def wait_state(self, number, *states, seconds=20):
        """Until a version of web is in one of the states."""
        def reached():
            return self.fresh_status().services["web"].state(number) in states
        self.wait(reached, f"web/{number} to be {' or '.join(states)}", seconds)

    def wait_moved(self, number, seconds=15):
        """Until new requests by name, of both families, are answered on this version's address."""
        version = self._version(number)

        def moved():
            latest = self.counts()["latest"]
            return all(latest.get(str(family), [None])[0] == version.address(family)
                       for family in (4, 6))
        self.wait(moved, f"new requests to use web/{number}", seconds)

    def fabric(self, content):
        return self.lab.fabric(*content)

    # The steps

    def step_1_create(self):
        with self.event(1, "create"):
            self.lab.apply(self.fabric(FIRST))
            self.contents[1] = FIRST[0]
            self.wait_state(1, "serving")
            self.lab.wait_landings()
            self.wait(lambda: "probe" in self.status.services and
                      self.status.services["probe"].serving, "the service probe", 10)
            self._start_traffic()
            self.fresh_status()
            self.tell("requests", rate=REQUEST_RATE)
            self.wait_moved(1)
            v4, v6 = (self._version(1).address(family) for family in (4, 6))
            self.note(f"{NAME} is {v4} and {v6}; pages come by name")

    def _start_traffic(self):
        capsule, probe = self.lab.capsule, self.status.services["probe"].serving
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self.client = Reporter(capsule.spawn("client", [
            sys.executable, "-B", "-m", "lab.traffic.flows", topology.RESOLVER.v4, NAME],
            "client", cwd=REPOSITORY, **pipes))
        self.probe = Reporter(capsule.spawn("probe", [
            self.lab.tool("probe"), probe.address(4), probe.address(6), PROBE_PORT],
            "client", **pipes))
        self.probe.tell("mark create")
        self.wait(self.counts, "the client's first word")

    def step_2_open(self):
        with self.event(2, "open"):
            self.open_group("on 1")
            kinds = self.counts()["kinds"]
            self.note(", ".join(f"{number} {kind[:-1]}s over IPv{kind[-1]}"
                                for kind, number in sorted(kinds.items())))
            self.wait(lambda: (self._version(1).connections or 0) >= FLOWS,
                      "landing to count the flows")

    def open_group(self, group):
        self.tell("open", group=group, count=FLOWS)
        self.wait(lambda: self.open_flows(group) == FLOWS, f"{FLOWS} flows {group}", 20)

    def step_3_change(self):
        file = self.lab.write(self.fabric(SECOND))
        plan = self.lab.cli("plan", file)
        with self.event(3, "change"):
            for line in plan.splitlines():
                if "stay on version" in line:
                    self.note(line.strip())
            self.contents[2] = SECOND[0]
            self.lab.cli("apply", file)
            self.wait_state(2, "serving")
            self.wait_state(1, "draining")
            self.wait_moved(2)
            self.note(f"new requests go to version 2; {self.open_flows('on 1')} flows go on "
                      "where they began")
        return plan

    def step_4_kill(self):
        before = self._durable(self.fresh_status())
        with self.event(4, "SIGKILL") as event:
            self.lab.edge.stop(signal.SIGKILL)
            # A third of the window passes while nobody is there to look after the packets.
            self.wait(lambda: event.probe and event.probe["4"]["sent"] > self.window // 3,
                      "the probe to see no daemon")
            self.lab.edge.start()
            self.lab.wait_edge()
            after = self._durable(self.fresh_status())
            if after != before:
                raise LabError(f"the daemon came back with {after}, not with {before}")
            self.note("the daemon came back with the same versions, states and addresses")

    @staticmethod
    def _durable(status):
        """What must survive the daemon: everything but counts."""
        return {(service.name, version.number): (version.state, tuple(version.addresses))
                for service in status.services.values() for version in service.versions.values()}

    def step_5_replace(self):
        before = self.fresh_status()
        with self.event(5, "upgrade"):
            self.lab.edge.stop(signal.SIGTERM)
            self.lab.edge.start(argv=self.lab.edge_command(self.lab.next_program))
            self.lab.wait_edge()
            after = self.fresh_status()
            if after.build_id == before.build_id or after.layout == before.layout:
                raise LabError(f"build {after.build_id} with layout {after.layout} is no other "
                               f"than {before.build_id} with {before.layout}")
            self.note(f"build {before.build_id[:12]} → {after.build_id[:12]}, "
                      f"map layout {before.layout[:8]} → {after.layout[:8]}")

    def step_6_retire(self):
        self.open_group("on 2")
        with self.event(6, "retire"):
            remembered = self._version(1).addresses
            self.tell("finish", group="on 1")
            self.wait(lambda: self.open_flows("on 1") == 0, "the flows on version 1 to end", 30)
            self.note("the last flow on version 1 ended, every byte right")
            self.wait_state(1, "closing", "retired", seconds=30)
            self.wait_state(1, "retired", seconds=30)
            self.fresh_status()
            self.come_late(remembered)

    def come_late(self, addresses):
        """A client that remembers old addresses is served, and counted as late."""
        self.tell("late", addresses=list(addresses), count=LATE_REQUESTS)
        self.wait(lambda: self.counts()["totals"].get("late ended", 0) == LATE_REQUESTS,
                  "the late requests", 30)

        def counted():
            web = self.fresh_status().services["web"]
            self.late_by_product = sum(version.late for version in web.versions.values())
            return self.late_by_product >= LATE_REQUESTS
        self.wait(counted, "the edge to count the late flows", 10)
        self.note(f"{LATE_REQUESTS} requests to version 1's addresses were served by version 2, "
                  "and counted as late")

    def step_7_roll_back(self):
        with self.event(7, "roll back", "roll back to version 1, which is retired"):
            self.contents[3] = self.contents[1]
            self.lab.cli("rollback", "web")
            self.wait_state(3, "serving")
            self.wait_state(2, "draining")
            self.wait_moved(3)
            self.note("version 1 was retired: its content came back as version 3")
        with self.event(7, "back again", "roll back to version 2, which still drains"):
            began = time.monotonic()
            self.lab.cli("rollback", "web", "--to", "2")
            self.wait_state(2, "serving")
            self.wait_moved(2)
            took = time.monotonic() - began
            if took > TTL_SECONDS + 2:  # the daemon's, the client's and this program's own time
                raise LabError(f"DNS took {took:.1f} s to name version 2 again")
            self.note(f"version 2 still drained: the name means it again after {took:.1f} s "
                      f"(TTL {TTL_SECONDS} s)")

    def step_8_verify(self):
        with self.event(8, "verify"):
            self.lab.cli("verify")
            entry = self.damage_ledger()
            done = self.lab.cli.try_("verify")
            said = (done.stdout + done.stderr).strip()
            if done.returncode != 1 or str(entry) not in said:
                raise LabError(f"verify said {done.returncode}, {said!r} of damaged entry {entry}")
            self.note(f"one byte of entry {entry} changed; verify: {said.splitlines()[0]}")

    def damage_ledger(self):
        """Change one byte in the middle of the ledger; returns the number of that entry."""
        path, = (self.lab.root / "edge/state").rglob("store.db")
        with contextlib.closing(sqlite3.connect(path, timeout=5)) as store, store:
            rows = store.execute("SELECT number, key, value FROM record WHERE key GLOB "
                                 "'ledger/[0-9]*' ORDER BY key").fetchall()
            number, key, value = rows[len(rows) // 2]
            damaged = bytearray(value)
            damaged[len(damaged) // 2] ^= 1
            store.execute("UPDATE record SET value = ? WHERE number = ?", (bytes(damaged), number))
        return int(key.rpartition("/")[2])

    def break_version_1(self):
        """What `--break` shows after step 3: with the closing barrier switched off, version 1's
        addresses are re-bound while flows use them, and the client must notice."""
        with self.event(6, "break", "re-bind version 1's addresses though flows use them"):
            self.wait_state(1, "retired", seconds=30)
            with contextlib.suppress(LabError):
                self.wait(lambda: self.counts()["broken"], "flows to break", 10)
        self._end_traffic()

    def finish(self):
        """Let what is still open end, and take the last counts."""
        self.tell("requests", rate=0)
        for group in list(self.counts()["open"]):
            self.tell("finish", group=group)
        self.wait(lambda: self.open_flows() == 0, "the last flows to end", 30)
        self._end_traffic()

    def _end_traffic(self):
        self.probe.tell("stop")
        self.client.tell(json.dumps({"do": "stop"}))
        for reporter in (self.probe, self.client):
            reporter.child.expected = False
            self.wait(lambda r=reporter: r.child.process.poll() is not None,
                      f"{reporter.child.name} to end")
        self.refresh()

    def steps(self):
        return (self.step_1_create, self.step_2_open, self.step_3_change, self.step_4_kill,
                self.step_5_replace, self.step_6_retire, self.step_7_roll_back,
                self.step_8_verify)

    # What came of it

    def summary(self):
        """The counts of the last line: flows, versions, late, broken."""
        totals = self.counts()["totals"]
        flows = sum(totals.get(kind, 0) for kind in ("download", "keepalive", "request", "late"))
        answered_late = totals.get("late ended", 0)
        return {"flows": flows, "versions": len(self.history),
                "late": answered_late, "broken": self.counts()["broken"]}

    def verdict(self):
        """Why the job failed, as sentences; empty when it did not."""
        counts = self.summary()
        faults = [f"broken: {reason}" for reason in self.counts()["reasons"]]
        if counts["broken"] > len(faults):
            faults.append(f"broken: {counts['broken'] - len(faults)} more")
        faults += [f"{event.title}: only {event.flows} flows were open"
                   for event in self.events if event.step >= 3 and event.flows < FLOWS_WANTED]
        if not counts["late"]:
            faults.append("nobody came late")
        for event in self.events:
            for family in ("4", "6"):
                window = event.probe.get(family, {})
                if window.get("gap_ms", 0) > GAP_LIMIT_MS:
                    faults.append(f"{event.title}: IPv{family} stood still for "
                                  f"{window['gap_ms']:.0f} ms")
                if window.get("moved"):
                    faults.append(f"{event.title}: {window['moved']} IPv{family} datagrams went "
                                  "to another backend")
        return faults
