# SPDX-License-Identifier: Apache-2.0
"""Traffic that watches a lab while something is done to it, and what came of it.

A `TrafficJob` starts the clients, tells them what each service address means, and counts. What is
done is for those who derive from it, in events: MainJob on one node, FabricJob on many. A step of
theirs raises LabError when the product does not do what the step is about; what happens to the
flows is counted all along, by clients that know nothing of Fairlead, and judged at the end by
`verdict`.
"""
import contextlib
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field

from lab import topology
from lab.host import REPOSITORY, LabError, wait_for
from lab.parts import PROBE_PORT
from lab.product import StatusPoll

NAME = f"web.{topology.ZONE}"
FLOWS, FLOWS_WANTED = 212, 200  # opened on each of two versions; that must be open at each event
REQUEST_RATE = 20
LATE_REQUESTS = 40
GAP_GOAL_MS, GAP_LIMIT_MS = 50, 1000


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
    gap_limit_ms: float = GAP_LIMIT_MS
    probe: dict = field(default_factory=dict)  # as lab-probe prints it; "final" once settled
    notes: list = field(default_factory=list)


class TrafficJob:
    """`changed` is called whenever there is something new to show, with an Event that begins or
    None; `idle` as often as possible while the job waits. `window` is how many datagrams of each
    family the probe has at least to send before the next event begins: milliseconds. `flows` is how
    many long ones a group has, and TITLES says what the steps are.
    """

    TITLES = {}

    def __init__(self, lab, changed=lambda event: None, idle=lambda: None, window=1500,
                 flows=FLOWS):
        self.lab, self.changed, self.on_idle, self.window = lab, changed, idle, window
        self.flows = flows
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

    # Pieces of steps

    @contextlib.contextmanager
    def event(self, step, title, what=None, gap_limit_ms=GAP_LIMIT_MS):
        """Something is done to the fabric: flows are counted before, the probe measures from here
        on, until it has enough datagrams to say something."""
        self.refresh()
        event = Event(step, title, what or self.TITLES.get(step, title), time.monotonic() - self.began,
                      self.open_flows(), gap_limit_ms)
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

    def start_traffic(self):
        capsule, probe = self.lab.capsule, self.status.services["probe"].serving
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self.client = Reporter(capsule.spawn("client", [
            sys.executable, "-B", "-m", "lab.traffic.flows", topology.RESOLVER.v4, NAME],
            "client", cwd=REPOSITORY, **pipes))
        self.probe = Reporter(capsule.spawn("probe", [
            self.lab.tool("probe"), probe.address(4), probe.address(6), PROBE_PORT],
            "client", **pipes))
        if self.events:
            self.probe.tell(f"mark {self.events[-1].title}")
        self.wait(self.counts, "the client's first word")

    def open_group(self, group):
        self.tell("open", group=group, count=self.flows)
        self.wait(lambda: self.open_flows(group) == self.flows, f"{self.flows} flows {group}",
                  max(20, self.flows / 10))

    def see_retired(self):
        """Let the flows on version 1 end, and see it close and retire."""
        self.tell("finish", group="on 1")
        self.wait(lambda: self.open_flows("on 1") == 0, "the flows on version 1 to end", 30)
        self.note("the last flow on version 1 ended, every byte right")
        self.wait_state(1, "closing", "retired", seconds=30)
        self.wait_state(1, "retired", seconds=30)
        self.fresh_status()

    def be_late(self, addresses):
        """A client that remembers old addresses is served."""
        self.tell("late", addresses=list(addresses), count=LATE_REQUESTS)
        self.wait(lambda: self.counts()["totals"].get("late ended", 0) == LATE_REQUESTS,
                  "the late requests", 30)

    def come_late(self, addresses):
        """The same, and the edge counts it as late."""
        self.be_late(addresses)

        def counted():
            web = self.fresh_status().services["web"]
            self.late_by_product = sum(version.late for version in web.versions.values())
            return self.late_by_product >= LATE_REQUESTS
        self.wait(counted, "the edge to count the late flows", 10)
        self.note(f"{LATE_REQUESTS} requests to version 1's addresses were served by version 2, "
                  "and counted as late")

    def break_version_1(self, step):
        """What `--break` shows: with the closing barrier switched off, version 1's addresses are
        re-bound while flows use them, and the client must notice."""
        with self.event(step, "break", "re-bind version 1's addresses though flows use them"):
            self.wait_state(1, "retired", seconds=30)
            with contextlib.suppress(LabError):
                self.wait(lambda: self.counts()["broken"], "flows to break", 10)
        self.end_traffic()

    def finish(self):
        """Let what is still open end, and take the last counts."""
        self.tell("requests", rate=0)
        for group in list(self.counts()["open"]):
            self.tell("finish", group=group)
        self.wait(lambda: self.open_flows() == 0, "the last flows to end", 30)
        self.end_traffic()

    def end_traffic(self):
        self.probe.tell("stop")
        self.client.tell(json.dumps({"do": "stop"}))
        for reporter in (self.probe, self.client):
            reporter.child.expected = False
            self.wait(lambda r=reporter: r.child.process.poll() is not None,
                      f"{reporter.child.name} to end")
        self.refresh()

    # What came of it

    def summary(self):
        """The counts of the last line: flows, versions, late, broken."""
        totals = self.counts()["totals"]
        flows = sum(totals.get(kind, 0) for kind in ("download", "keepalive", "request", "late"))
        answered_late = totals.get("late ended", 0)
        return {"flows": flows, "versions": len(self.history),
                "late": answered_late, "broken": self.counts()["broken"]}

    def verdict(self, since=3):
        """Why the job failed, as sentences; empty when it did not. From the step `since` on, the
        long flows are open."""
        counts = self.summary()
        faults = [f"broken: {reason}" for reason in self.counts()["reasons"]]
        if counts["broken"] > len(faults):
            faults.append(f"broken: {counts['broken'] - len(faults)} more")
        wanted = self.flows * FLOWS_WANTED // FLOWS
        faults += [f"{event.title}: only {event.flows} flows were open"
                   for event in self.events if event.step >= since and event.flows < wanted]
        if not counts["late"]:
            faults.append("nobody came late")
        for event in self.events:
            for family in ("4", "6"):
                window = event.probe.get(family, {})
                if window.get("gap_ms", 0) > event.gap_limit_ms:
                    faults.append(f"{event.title}: IPv{family} stood still for "
                                  f"{window['gap_ms']:.0f} ms")
                if window.get("moved"):
                    faults.append(f"{event.title}: {window['moved']} IPv{family} datagrams went "
                                  "to another backend")
        return faults
