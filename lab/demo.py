#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""`./dev demo`: the fabric's job with a live display.

On a terminal the screen shows the step that is being done and what to look at, the versions with
their connections per backend, the flows and the probe; elsewhere, or with NO_COLOR set, it prints
a line for each thing that happened. Both end with the same table and the same last line,

    demo: flows=N versions=N late=N killed=N removed=N added=N broken=0

Exit code: 0 when all is well; 1 when a flow broke, fewer than 200 long flows were open at an
event, or nobody came late; 2 for wrong usage; 3 when the demo itself could not go on.

`--break` is the proof that the demo can see: the voter is told by FAIRLEAD_LAB_UNSAFE to re-bind
version 1's addresses although flows use them. It must end in broken>0 and then exits with 1, as
broken flows always do; with 3 if it saw none.

`--versus haproxy` is another show; see versus.py.
"""
import argparse
import contextlib
import os
import signal
import sys
import time
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from lab import versus
from lab.fabric import FabricLab
from lab.fabric_job import TITLES, FabricJob
from lab.host import BUILD, LabError
from lab.screen import BOLD, DIM, GREEN, PLAIN, RED, Terminal
from lab.traffic_job import GAP_GOAL_MS

LOOK_AT = {
    1: "`web` appears with one version; new requests name it",
    2: "connections appear at the backends, as landing counts them",
    3: "version 1 keeps its flows, new requests go to version 2",
    4: "nothing: flows come to an edge that never saw them, and go on",
    5: "nothing: no daemon runs there, and the probe does not notice",
    6: "the probe's gap: what BFD needs to miss a machine",
    7: "nothing: the voter decides on changes, and on no packet",
    8: "version 1 loses its flows, closes, retires; late requests reach version 2",
    9: "nothing: its routes went before it did",
    10: "the name moves; flows stay where they are",
}
FRAME_SECONDS = 0.2
WINDOW = 4000  # a person wants to see each step, and the probe to measure it


class Lines:
    """Plain progress, for logs."""

    def __init__(self):
        self.job, self.shown = None, 0

    def changed(self, event):
        if event:
            self.shown = 0
            self.line(f"step {event.step}, {event.title}: {event.what} "
                      f"({event.flows} long flows open)")
        elif self.job and self.job.events:
            for note in self.job.events[-1].notes[self.shown:]:
                self.line(f"    {note}")
            self.shown = len(self.job.events[-1].notes)

    def line(self, text):
        print(f"{time.monotonic() - self.job.began:5.1f} s  {text}", flush=True)

    def idle(self):
        """Nothing moves here."""

    def close(self):
        """Nothing to put back."""


class Screen:
    """One screen that is drawn again and again, on the terminal's alternate buffer."""

    def __init__(self):
        self.job, self.drawn = None, 0.0
        self.terminal = Terminal()

    def changed(self, _):
        self.drawn = 0.0
        self.idle()

    def idle(self):
        now = time.monotonic()
        if self.job and now - self.drawn >= FRAME_SECONDS:
            self.drawn = now
            self.draw()

    def close(self):
        self.terminal.close()

    def draw(self):
        self.terminal.paint([*self._steps(), "", *self._versions(), "", *self._traffic()])

    def _steps(self):
        job = self.job
        now = job.events[-1].step if job.events else 0
        seconds = time.monotonic() - job.began
        yield (f"{BOLD}Fairlead: edges come and go, versions change, and no flow breaks"
               f"{PLAIN}   {seconds:.0f} s")
        for step, title in TITLES.items():
            if step < now:
                yield f"{GREEN}✓{PLAIN} {step} {DIM}{title}"
            elif step == now:
                yield f"{BOLD}▸ {step} {job.events[-1].what}"
                yield f"     look at: {LOOK_AT[step]}"
            else:
                yield f"  {step} {DIM}{title}"
        if job.events and job.events[-1].notes:
            yield f"  {DIM}» {job.events[-1].notes[-1]}"

    def _versions(self):
        status = self.job.status
        if not status:
            return
        yield (f"{BOLD}version   state     share  flows  "
               f"{'  '.join(f'{name:>5}' for name in self.job.lab.backends)}{PLAIN}")
        for number, states in sorted(self.job.history.items()):
            if states[-1] == "retired":
                yield f"{DIM}{f'web/{number}':9} retired"
        for name, service in sorted(status.services.items(), reverse=True):
            for version in service.versions.values():
                flows = "?" if version.connections is None else version.connections
                counts = "  ".join(f"{version.per_backend.get(backend, 0) or '·':>5}"
                                   for backend in self.job.lab.backends)
                colour = GREEN if version.state == "serving" else ""
                yield (f"{colour}{f'{name}/{version.number}':9} {version.state:9} "
                       f"{version.share:>5.0%}  {flows:>5}  {counts}")
        for alarm in status.alarms[:3]:
            yield f"{RED}! {alarm}"

    def _traffic(self):
        counts = self.job.counts()
        if not counts:
            return
        broken = counts["broken"]
        totals = counts["totals"]
        colour = RED if broken else GREEN
        yield (f"{BOLD}flows{PLAIN}    long and open {self.job.open_flows():4}   "
               f"short requests {totals.get('request ended', 0):5}   "
               f"late {totals.get('late ended', 0):3}   {colour}{BOLD}broken {broken}")
        for family, (address, backend) in sorted(counts["latest"].items()):
            yield f"newest   IPv{family} by name: {address} answered by {backend}"
        yield f"{BOLD}probe    sent    lost   longest gap   (in this step, goal {GAP_GOAL_MS} ms)"
        window = self.job.events[-1].probe if self.job.events else {}
        for family in ("4", "6"):
            tally = window.get(family, {"sent": 0, "lost": 0, "gap_ms": 0})
            yield (f"IPv{family} {tally['sent']:9} {tally['lost']:7} "
                   f"{tally['gap_ms']:10.0f} ms")


def print_table(job):
    """What each event did to the flows and the probe."""
    print(f"\n{'step':14} {'open flows':>10}   {'IPv4: sent':>10} {'lost':>5} {'gap':>7}"
          f"   {'IPv6: sent':>10} {'lost':>5} {'gap':>7}")
    for event in job.events:
        if event.probe:
            print(f"{f'{event.step} {event.title}':14} {event.flows:>10}" + "".join(
                f"   {tally['sent']:>10} {tally['lost']:>5} {tally['gap_ms']:>4.0f} ms"
                for tally in (event.probe["4"], event.probe["6"])))
    waited = job.counts()["longest_wait"]
    print(f"\nThe longest that a flow waited for a byte: {waited * 1000:.0f} ms. "
          f"Names that were not answered: {job.counts()['unresolved']}.")


def run(job, breaking):
    if not breaking:
        for step in job.steps():
            step()
        job.finish()
        return
    for step in job.steps()[:3]:
        step()
    job.break_version_1(8)


def conclude(job, breaking):
    """Print what came of it and return the exit code."""
    print_table(job)
    faults = job.verdict()
    for fault in faults:
        if fault.startswith("broken") or not breaking:
            print(f"demo: {fault}")
    summary = job.summary()
    if breaking:
        print("demo: as intended, version 1 was freed too early and flows broke"
              if summary["broken"] else
              "demo: version 1 was freed too early, and no flow was seen to break")
    print("demo: " + " ".join(f"{key}={value}" for key, value in summary.items()), flush=True)
    if breaking:
        return 1 if summary["broken"] else 3
    return 1 if faults else 0


def play(build, fancy, breaking):
    """The fabric's job in a lab of its own; returns the exit code."""
    display = Screen() if fancy else Lines()
    unsafe = {"FAIRLEAD_LAB_UNSAFE": "skip-closing-barrier"} if breaking else {}
    with contextlib.ExitStack() as stack:
        stack.callback(display.close)
        lab = stack.enter_context(FabricLab(build, voter_env=unsafe))
        job = FabricJob(lab, display.changed, display.idle, WINDOW)
        display.job = job
        run(job, breaking)
    return conclude(job, breaking)


def main():
    parser = argparse.ArgumentParser(prog="./dev demo", description=__doc__.split("\n\n")[0])
    parser.add_argument("--break", dest="breaking", action="store_true",
                        help="free version 1 before its flows ended; must end in broken>0")
    parser.add_argument("--versus", choices=["haproxy"],
                        help="the same clients and blows through HAProxy and through Fairlead")
    parser.add_argument("--blows", type=int, default=0, metavar="N",
                        help="with --versus and no terminal: end after so many blows")
    parser.add_argument("--build", default=BUILD, help="meson's directory")
    options = parser.parse_args()
    # Both signals end the context managers below, which take the lab away.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))

    fancy = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    try:
        if options.versus:
            return versus.play(options.build, fancy, options.blows)
        return play(options.build, fancy, options.breaking)
    except KeyboardInterrupt:
        print("demo: interrupted", file=sys.stderr)
        return 130
    except (LabError, OSError) as failure:
        print(f"demo: {failure}", *getattr(failure, "__notes__", ()), sep="\n", file=sys.stderr)
        return 3


if __name__ == "__main__":
    sys.exit(main())
