#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`./dev fuzz`: run the fuzz targets for a number of minutes, all of them together.

As many run at once as there are jobs. The time is dealt out in turns: whenever a place is free, the
target that has run for the shortest time gets it, until the minutes are over. So each target gets
its fair share, and the time of one that ends early goes to the others. New inputs that reach new
code are kept in build/corpus/TARGET between runs; those that crash a target go to
tests/fuzz/corpus/TARGET, to be replayed by every later run of the tests, and the target rests.
"""

import argparse
import pathlib
import re
import sys
import threading
import time

import run_tests
import tree

PACKET_TARGETS = {"edge", "landing"}  # each of their inputs is a packet through a BPF program
TURNS = 4  # of each target in one run; fewer if they were too short, more if too long
TURN_SECONDS = (10, 120)
PATIENCE_SECONDS = 60  # for a target to end after its turn
SHOWN_LINES = 40  # of a finding's log


class Target:
    """One target and what has become of it."""

    def __init__(self, name, path):
        self.name = name
        self.path = path
        self.seeds = tree.ROOT / "tests" / "fuzz" / "corpus" / name
        self.corpus = tree.ROOT / "build" / "corpus" / name
        self.running = 0
        self.promised = 0.0  # seconds of the turns that were dealt to it
        self.seconds = 0.0  # seconds that it ran
        self.inputs = 0
        self.known = 0  # corpus entries at the start
        self.findings = []  # artifacts, or what was wrong if there are none

    def prepare(self):
        self.seeds.mkdir(parents=True, exist_ok=True)
        self.corpus.mkdir(parents=True, exist_ok=True)
        self.known = len(list(self.corpus.iterdir()))

    def kind(self):
        return "packets" if self.name in PACKET_TARGETS else "inputs"

    def new_entries(self):
        return max(len(list(self.corpus.iterdir())) - self.known, 0)

    def rate(self):
        return self.inputs / self.seconds if self.seconds else 0.0


class Dealer:
    """Who runs next and for how long. Threads share it."""

    def __init__(self, targets, seconds, places, clock=time.monotonic):
        self.targets = targets
        self.clock = clock
        self.lock = threading.Lock()
        self.deadline = clock() + seconds
        self.share = seconds * places / len(targets)
        shortest, longest = TURN_SECONDS
        turns = min(max(int(self.share / shortest), 1), TURNS)
        self.turn = min(self.share / turns, longest)

    def deal(self):
        """(target, seconds) for a free place, or None when the time is over or nobody is left."""
        with self.lock:
            left = self.deadline - self.clock()
            able = [target for target in self.targets if not target.findings]
            if left < 1 or not able:
                return None
            target = min(able, key=lambda target: (target.promised, target.running))
            # What would be left after this turn must not be too little for another one.
            seconds = left if left < 1.5 * self.turn else self.turn
            target.running += 1
            target.promised += seconds
            return target, max(int(seconds), 1)

    def take_back(self, target, finished, findings):
        with self.lock:
            target.running -= 1
            target.seconds += finished.seconds
            target.inputs += executed(finished.output)
            target.findings += [finding for finding in findings if finding not in target.findings]


def executed(output):
    """How many inputs a run of libFuzzer says that it ran."""
    return sum(int(count) for count in
               re.findall(r"^stat::number_of_executed_units:\s*(\d+)", output, re.MULTILINE))


def findings_of(target, finished):
    """What a run has found: the artifacts it names, or a word on how else it failed."""
    artifacts = re.findall(r"Test unit written to (\S+)", finished.output)
    if artifacts:
        return [str(pathlib.Path(path).relative_to(tree.ROOT)) for path in artifacts]
    if finished.fault:
        return [f"{target.name} {finished.fault}"]
    if finished.code != 0:
        return [f"{target.name} ended with {finished.code}"]
    return [] if executed(finished.output) else [f"{target.name} ran no input"]


def run_turn(target, seconds, place):
    # libFuzzer ends in the second after the last one that it is given.
    command = run_tests.fuzz_command(target.name, target.path, max(seconds - 1, 1), target.corpus,
                                     f"{target.seeds}/")
    return tree.run(command, f"fuzz-{target.name}.{place}.log", seconds + PATIENCE_SECONDS,
                    env=run_tests.SANITIZER_ENVIRONMENT)


def show_turn(target, dealer, finished, findings):
    print(f"fuzz: {target.name:<9}{target.seconds:>6.0f} of {dealer.share:.0f} s  "
          f"{target.inputs:>11} {target.kind():<8}{target.rate():>8.0f}/s  "
          f"{target.new_entries():>5} new entries", flush=True)
    if findings:
        lines = finished.output.splitlines()[-SHOWN_LINES:]
        print("\n".join(f"    {line}" for line in lines))
        print("\n".join(f"fuzz: found {finding}" for finding in findings), flush=True)


def play(dealer, place):
    """Fill one place with turns until the time is over."""
    while dealt := dealer.deal():
        target, seconds = dealt
        finished = run_turn(target, seconds, place)
        findings = findings_of(target, finished)
        dealer.take_back(target, finished, findings)
        show_turn(target, dealer, finished, findings)
    return []


def summary(targets, minutes):
    """The lines at the end; the last one says it all."""
    lines = [f"{'target':<10}{'seconds':>9}{'run':>12}  {'':<8}{'per second':>11}"
             f"{'new entries':>13}{'found':>7}"]
    for target in targets:
        lines.append(f"{target.name:<10}{target.seconds:>9.0f}{target.inputs:>12}  "
                     f"{target.kind():<8}{target.rate():>11.0f}{target.new_entries():>13}"
                     f"{len(target.findings):>7}")
    inputs, packets = (sum(target.inputs for target in targets if target.kind() == kind)
                       for kind in ("inputs", "packets"))
    findings = [finding for target in targets for finding in target.findings]
    outcome = "found: " + ", ".join(findings) if findings else "nothing found"
    unit = "minute" if minutes == 1 else "minutes"
    return [*lines, f"fuzz: {inputs} inputs and {packets} packets in {minutes:g} {unit}, {outcome}"]


def main():
    parser = argparse.ArgumentParser(prog="./dev fuzz", add_help=False)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("targets", nargs="*", metavar="TARGET")
    wanted = parser.parse_args()
    success, output = tree.build("fuzz", "fuzzers")
    if not success:
        sys.exit(output)
    paths = run_tests.fuzz_targets()
    unknown = [name for name in wanted.targets if name not in paths]
    if unknown:
        parser.error(f"there is no target '{unknown[0]}'; targets: {', '.join(paths)}")
    targets = [Target(name, path) for name, path in sorted(paths.items())
               if not wanted.targets or name in wanted.targets]
    for target in targets:
        target.prepare()
    dealer = Dealer(targets, wanted.minutes * 60, tree.jobs())
    run_tests.in_parallel(lambda place: play(dealer, place), range(tree.jobs()))
    print("\n".join(summary(targets, wanted.minutes)))
    return 1 if any(target.findings for target in targets) else 0


if __name__ == "__main__":
    tree.run_main(main)
