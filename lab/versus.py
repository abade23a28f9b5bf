# SPDX-License-Identifier: Apache-2.0
"""`./dev demo --versus haproxy`: the same clients through HAProxy and through Fairlead, while the
same blows fall on both.

Both stand on the same machine of the lab, before the same backends, with the same clients: long
flows, some of which end and others begin at every blow, and short requests by name. A blow is what
happens to a front door in its life: its backends change, its process is killed, its program is
upgraded, a change is taken back. Each side takes it in its own best way (lab/haproxy.cfg says
what HAProxy's is), and the process that was killed is started again after a second on both, as a
supervisor would. What became of the flows is counted by the clients, who know nothing of either.

On a terminal the blows fall until `q` is pressed, and keys give them out of turn; elsewhere each
falls twice, or as many of them as `--blows` says. The last line is

    versus: haproxy flows=N broken=N fairlead flows=N broken=N

Exit code: 0 when no flow broke on Fairlead's side, else 1.
"""
import collections
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from lab import topology
from lab.host import REPOSITORY, wait_for
from lab.job import FIRST, SECOND
from lab.parts import Lab
from lab.product import UNDERLAY_FAMILY, StatusPoll
from lab.screen import BOLD, DIM, GREEN, PLAIN, RED, Terminal
from lab.traffic_job import Reporter

HAPROXY_NAME = "haproxy.example.net"
HAPROXY_ADDRESSES = ("10.0.0.3", "fd00::3")
GROUP_FLOWS, GROUPS = 32, 4  # long flows begin and end in groups, one of each at a blow
REQUEST_RATE = 20
RESTART_SECONDS = 1.0  # what a supervisor waits before it starts again what died
BLOW_SECONDS = 6.0  # a stall counts as broken after 3 s, so each blow is judged before the next


class Side:
    """One front door with the clients that use it."""

    def __init__(self, lab, title, name):
        self.lab, self.title, self.name = lab, title, name
        self.client = None
        self.content = FIRST
        self.earlier = SECOND
        self.restart_at = None
        self.groups = collections.deque()
        self._begun = 0

    def start_traffic(self):
        self.client = Reporter(self.lab.capsule.spawn(f"client-{self.title}", [
            sys.executable, "-B", "-m", "lab.traffic.flows", topology.RESOLVER.v4, self.name],
            "client", cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE))

    def tell(self, order, **arguments):
        self.client.tell(json.dumps({"do": order, **arguments}))

    def turn_over(self):
        """A new group of long flows begins; the oldest one ends when there are enough."""
        self._begun += 1
        self.groups.append(f"group {self._begun}")
        self.tell("open", group=self.groups[-1], count=GROUP_FLOWS)
        if len(self.groups) > GROUPS:
            self.end_oldest()

    def end_oldest(self):
        self.tell("finish", group=self.groups.popleft())

    def refresh(self):
        self.client.read()
        if self.restart_at and time.monotonic() >= self.restart_at:
            self.restart_at = None
            self.restart()
        if not self.groups and not self.restart_at and self.is_up():
            for _ in range(GROUPS):
                self.turn_over()

    @property
    def counts(self):
        return self.client.latest

    @property
    def broken(self):
        return self.counts["broken"] if self.counts else 0

    @property
    def flows(self):
        totals = self.counts["totals"] if self.counts else {}
        return sum(totals.get(kind, 0) for kind in ("download", "keepalive", "request"))

    @property
    def open_flows(self):
        return sum(self.counts["open"].values()) if self.counts else 0

    def memory(self):
        """(processes, resident bytes) of this side."""
        resident = 0
        for pid in (pids := self.pids()):
            try:
                pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
            except (OSError, IndexError):
                continue
            resident += pages * os.sysconf("SC_PAGE_SIZE")
        return len(pids), resident

    def change(self):
        self.content, self.earlier = self.earlier, self.content
        self.carry_out()

    def kill(self):
        """All flows are read to their ends now, or a slow download whose sender is dead would be
        busy with what the kernel still has of it, and be found broken blows later."""
        self.slay()
        while self.groups:
            self.end_oldest()
        self.restart_at = time.monotonic() + RESTART_SECONDS


class Haproxy(Side):
    """HAProxy in master-worker mode."""

    def __init__(self, lab):
        super().__init__(lab, "haproxy", HAPROXY_NAME)
        self.directory = lab.directory("edge/haproxy")
        self.file = self.directory / "haproxy.cfg"
        for address, length in zip(HAPROXY_ADDRESSES, (24, 64)):
            lab.capsule.run(["ip", "-n", "edge", "address", "add", f"{address}/{length}", "dev",
                             topology.UPLINK.interface, *(["nodad"] if ":" in address else [])])
        self._write()
        self.child = lab.capsule.spawn("haproxy", ["haproxy", "-W", "-f", self.file], "edge",
                                       death_signal=signal.SIGTERM)

    def _write(self):
        names, weights = self.content
        lines = "".join(
            f"    server {name} {topology.RACK[name].address(UNDERLAY_FAMILY[name])}:80 "
            f"weight {weights.get(name, 10)}\n" for name in names)
        text = (REPOSITORY / "lab/haproxy.cfg").read_text(encoding="utf-8")
        self.file.write_text(text.format(directory=self.directory, servers=lines,
                                         v4=HAPROXY_ADDRESSES[0], v6=HAPROXY_ADDRESSES[1]),
                             encoding="utf-8")

    def pids(self):
        master = self.child.process.pid
        try:
            children = Path(f"/proc/{master}/task/{master}/children").read_text(encoding="ascii")
        except OSError:
            return []
        return [master, *map(int, children.split())]

    def is_up(self):
        return len(self.pids()) > 1  # the master forks its worker once it listens

    def wait_ready(self):
        wait_for(lambda: self.lab.fetch(HAPROXY_ADDRESSES[0]), "HAProxy to answer")
        for address in HAPROXY_ADDRESSES:
            self.tell("meaning", address=address, backends=topology.BACKENDS)

    def carry_out(self):
        """A reload: the same process becomes the master of a new worker; old ones stay."""
        self._write()
        self.upgrade()

    def upgrade(self):
        """The master executes its program again, which by then may be a newer one."""
        if self.child.expected:
            self.child.process.send_signal(signal.SIGUSR2)

    def rollback(self):
        self.change()

    def slay(self):
        pids = self.pids()
        self.child.stop(signal.SIGKILL)
        for pid in pids[1:]:
            with contextlib.suppress(ProcessLookupError):  # it may have followed its master
                os.kill(pid, signal.SIGKILL)

    def restart(self):
        self.child.start()


class Fairlead(Side):
    """The lab's edge."""

    def __init__(self, lab):
        super().__init__(lab, "fairlead", f"web.{topology.ZONE}")
        self.programs = [lab.next_program, lab.program]
        self._poll = StatusPoll(lab.cli)
        self._told = {}
        self.carry_out()

    def pids(self):
        return [self.lab.edge.process.pid] if self.lab.edge.expected else []

    def is_up(self):
        return True  # packets are forwarded with or without the process

    def wait_ready(self):
        self.lab.wait_states("web", {1: "serving"})
        self.lab.wait_landings()

    def refresh(self):
        super().refresh()
        status = self._poll.latest()
        if status and "web" in status.services:
            for version in status.services["web"].versions.values():
                for address in version.addresses + version.late_addresses:
                    self._tell_meaning(address, sorted(version.per_backend))

    def _tell_meaning(self, address, backends):
        """The client must know who may answer on which address."""
        if self._told.get(address) != backends:
            self._told[address] = backends
            self.tell("meaning", address=address, backends=backends)

    def carry_out(self):
        self.lab.apply(self.lab.fabric(*self.content))

    def upgrade(self):
        """By a build whose maps are laid out differently, and the next time back to this one."""
        self.lab.edge.stop(signal.SIGTERM)
        self.lab.edge.start(argv=self.lab.edge_command(self.programs[0]))
        self.programs.reverse()

    def rollback(self):
        self.lab.wait_edge()
        self.lab.cli("rollback", "web")
        self.content, self.earlier = self.earlier, self.content

    def slay(self):
        self.lab.edge.stop(signal.SIGKILL)

    def restart(self):
        self.lab.edge.start()


@dataclass
class Blow:
    """Something that is done to both sides, and how many flows each had lost before."""
    kind: str
    before: dict  # title: broken
    lost: dict = None  # title: flows that broke by it; once judged


BLOWS = {  # what each is called, and the key that gives it
    "change": ("backends change", "c"),
    "kill": ("process killed", "k"),
    "upgrade": ("program upgraded", "u"),
    "rollback": ("change taken back", "r"),
}


class Versus:
    """The show: two sides, and blows that fall in turn until somebody ends it."""

    def __init__(self, lab, idle=lambda: None):
        self.lab, self.idle = lab, idle
        self.blows = []
        self.sides = ()
        self.next_at = 0.0
        self._turn = 0

    def start(self):
        self.sides = Haproxy(self.lab), Fairlead(self.lab)
        for side in self.sides:
            side.start_traffic()
            side.wait_ready()
            side.tell("requests", rate=REQUEST_RATE)
        wait_for(lambda: all(side.open_flows == GROUPS * GROUP_FLOWS for side in self.sides),
                 "the long flows to open", 20, self.refresh)
        self.next_at = time.monotonic()

    def refresh(self):
        self.lab.capsule.check()
        for side in self.sides:
            side.refresh()
        self.idle()

    def turn(self):
        """Give the next blow if it is time; whether it was."""
        if time.monotonic() < self.next_at:
            return False
        self.give(list(BLOWS)[self._turn % len(BLOWS)])
        self._turn += 1
        return True

    def give(self, kind):
        self.judge()
        if self.blows:
            wait_for(lambda: all(side.groups for side in self.sides),
                     "what was killed to be started again", 10, self.refresh)
        self.blows.append(Blow(kind, {side.title: side.broken for side in self.sides}))
        for side in self.sides:
            getattr(side, kind)()
            if side.groups:
                side.turn_over()
        self.next_at = time.monotonic() + BLOW_SECONDS

    def judge(self):
        """What the latest blow did; the clients have counted all of it by now."""
        if self.blows and self.blows[-1].lost is None:
            blow = self.blows[-1]
            blow.lost = {side.title: side.broken - blow.before[side.title] for side in self.sides}

    def finish(self):
        """Let what is open end, and take the last counts."""
        for side in self.sides:
            side.tell("requests", rate=0)
            for group in list(side.counts["open"]):
                side.tell("finish", group=group)
        wait_for(lambda: not any(side.open_flows for side in self.sides),
                 "the last flows to end", 30, self.refresh)
        self.judge()

    def summary(self):
        return " ".join(f"{side.title} flows={side.flows} broken={side.broken}"
                        for side in self.sides)

    def fairlead_broke(self):
        return self.sides[1].broken > 0


def verdict(blow):
    """What a blow showed, in words: also where the other side does as well."""
    if blow.lost is None:
        return "…"
    haproxy, fairlead = blow.lost["haproxy"], blow.lost["fairlead"]
    if haproxy == fairlead == 0:
        return "HAProxy does as well: no flow broke on either side"
    if fairlead == 0:
        return f"HAProxy broke {haproxy} flows, long and short ones, Fairlead none"
    return f"HAProxy broke {haproxy} flows, long and short ones, Fairlead {fairlead}"


def lines(show, width=38):
    """The display: both sides beside each other, then the blows."""
    left, right = show.sides
    yield (f"{BOLD}{'HAProxy':>{width + 14}}{'Fairlead':>{width - 14}}{PLAIN}")
    for name, left_text, right_text in rows(left, right):
        yield f"{name:24}{left_text:>{width - 10}}{right_text:>{width - 14}}{PLAIN}"
    yield ""
    keys = "   ".join(f"{BOLD}{key}{PLAIN} {title}" for title, key in BLOWS.values())
    yield f"{keys}   {BOLD}q{PLAIN} quit      next blow in {max(0, show.next_at - time.monotonic()):.0f} s"
    yield ""
    for blow in reversed(show.blows):
        colour = DIM if blow.lost is None else (
            RED if blow.lost["fairlead"] else GREEN if blow.lost["haproxy"] else "")
        yield f"{colour}{BLOWS[blow.kind][0]:20}{verdict(blow)}{PLAIN}"


def rows(left, right):
    def both(name, text):
        return name, text(left), text(right)

    def memory(side):
        processes, resident = side.memory()
        return f"{processes}, {resident / 1e6:.0f} MB"

    yield both("long flows open", lambda side: str(side.open_flows))
    yield both("flows so far", lambda side: str(side.flows))
    yield both("broken", lambda side: str(side.broken))
    yield both("names not answered", lambda side: str(side.counts["unresolved"]))
    yield both("longest wait for a byte", lambda side: f"{side.counts['longest_wait']:.1f} s")
    yield both("processes, memory", memory)


def print_table(show):
    print(f"\n{'blow':20}{'HAProxy broke':>14}{'Fairlead broke':>16}")
    for blow in show.blows:
        print(f"{BLOWS[blow.kind][0]:20}{blow.lost['haproxy']:>14}{blow.lost['fairlead']:>16}")
    for side in show.sides:
        for reason in side.counts["reasons"][:3]:
            print(f"  {side.title}: {reason}")


class Screen:
    """The live display, and the keys that give blows."""

    FRAME_SECONDS = 0.2

    def __init__(self):
        self.terminal, self.drawn = Terminal(keys=True), 0.0

    def idle(self, show):
        now = time.monotonic()
        if now - self.drawn >= self.FRAME_SECONDS and all(side.counts for side in show.sides):
            self.drawn = now
            self.terminal.paint(lines(show))

    def play(self, show):
        """Until `q` is pressed."""
        while True:
            pressed = self.terminal.key()
            if pressed == "q":
                return
            for kind, (_, key) in BLOWS.items():
                if key == pressed:
                    show.give(kind)
            show.turn()
            show.refresh()
            time.sleep(0.02)

    def close(self):
        self.terminal.close()


class Lines:
    """Plain progress, for logs."""

    def __init__(self, blows):
        self.blows = blows

    def idle(self, show):
        """Nothing moves here."""

    def play(self, show):
        print("HAProxy and Fairlead on one machine, with the same clients and backends: "
              f"{self.blows} blows, one every {BLOW_SECONDS:g} s", flush=True)
        for _ in range(self.blows):
            wait_for(show.turn, "the next blow", BLOW_SECONDS + 10, show.refresh)
            self._tell(show)
        wait_for(lambda: time.monotonic() >= show.next_at, "the last blow's end",
                 BLOW_SECONDS + 10, show.refresh)

    def _tell(self, show):
        for blow in show.blows[-2:-1]:
            print(f"    {verdict(blow)}", flush=True)
        print(f"{len(show.blows)}. {BLOWS[show.blows[-1].kind][0]} "
              f"({', '.join(f'{side.open_flows} long flows by {side.title}' for side in show.sides)})",
              flush=True)

    def close(self):
        """Nothing to put back."""


def play(build, fancy, blows):
    """Run the show in a lab of its own, with so many blows if not `fancy`; the exit code."""
    with contextlib.ExitStack() as stack:
        display = Screen() if fancy else Lines(blows or 2 * len(BLOWS))
        stack.callback(display.close)
        # It is killed more often than a state has time to become good (docs/design/daemon.md).
        lab = stack.enter_context(Lab(build, names={HAPROXY_NAME: HAPROXY_ADDRESSES},
                                      edge_env={"FAIRLEAD_LAB_GOOD_MS": "1000"}))
        show = Versus(lab, lambda: display.idle(show))
        show.start()
        display.play(show)
        show.finish()
    print_table(show)
    print(f"versus: {show.summary()}", flush=True)
    return 1 if show.fairlead_broke() else 0
