# SPDX-License-Identifier: Apache-2.0
"""Nanoseconds per packet of the edge's XDP program, above the floor that any encapsulation costs.

What runs is bench/dataplane.c: the real program with maps filled through the edge's own interface,
run in the kernel by BPF_PROG_TEST_RUN, 2^20 packets at a time. In front of it stands an entry
program that writes the next flow into the frame; the time of the entry alone is subtracted. Beside
it stand the floor, which parses and puts a constant outer header in front, and `move`, which only
makes room for one. Each figure is taken once a round, and compared with the floor and the entry of
the same round, family and kind, which are measured right before it. The kernel puts a program where
there is room, and by where that is, the same program is some nanoseconds faster or slower: so every
round loads anew for each family and kind, and the spread shows that luck.

In build/bench/dataplane.json, times in nanoseconds and memory in bytes:

    cases    FAMILY.KIND.FLOWS.VERSIONS: ns above the entry, over the rounds their median, `min` and
             `max`; floor_ratio; and floor_ratio_bare, from which the cost of taking the header off
             again, which only the benchmark pays, is subtracted on both sides
    more_versions   by family: ns that established packets of 2^20 flows take more over 128 versions
             than over 16, each round from its own
    entry, floor, move   by family: ns, min, max; the last two above the entry
    memory   of all maps, before and after flows, and per further version: dataplane_memory.h
    seed     of the versions' keys; FAIRLEAD_SEED=N repeats a run with the same

`--against REV` is dataplane_against.py's.
"""
import functools
import json
import os
import random
import secrets
import subprocess

from bench import measure as common
from lab.host import BUILD

ROUNDS = 11
PROGRAM = "bench/bench-dataplane"  # in a build directory
MOST_NS_FOR_128, MOST_BYTES_PER_VERSION = 8.0, 9728

FAMILIES = ("v4", "v6")
KINDS = ("syn", "established", "udp")
FLOWS = {"1": 1, "1Mi": 1 << 20}
VERSIONS = (1, 16, 128)


class Failure(OSError):
    pass


class Rig:
    """The measuring process: one line of command, one line of JSON."""

    def __init__(self, seed, build=BUILD):
        self.command = [build / PROGRAM, str(seed)]

    def __enter__(self):
        self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True, bufsize=1)
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait()

    def ask(self, command):
        try:
            self.process.stdin.write(f"{command}\n")
            answer = self.process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            raise Failure(f"the measuring process ended, with code {self.process.wait()}")
        return json.loads(answer)

    def time(self, family, kind, program, flows, versions):
        return self.ask(f"time {family} {kind} {program} {flows} {versions}")["ns"]


class Seeds:
    """Seeds for one process after the other, all from one number."""

    def __init__(self):
        self.first = int(os.environ.get("FAIRLEAD_SEED") or secrets.randbits(32))
        self.random = random.Random(self.first)
        common.progress(f"FAIRLEAD_SEED={self.first}")

    def next(self):
        return self.random.getrandbits(64)


def measure_group(seeds, family, kind):
    """{contender: ns} of one family and kind, from programs loaded for it."""
    with Rig(seeds.next()) as rig:
        found = {program: rig.time(family, kind, program, 1 << 20, 128)
                 for program in ("entry", "move", "floor")}
        for label, flows in FLOWS.items():
            for versions in VERSIONS:
                found[f"{label}.{versions}"] = rig.time(family, kind, "edge", flows, versions)
    return found


def less(sample, *others, share=1.0):
    """`sample` without `share` of the others, each round from its own."""
    return common.Sample(tuple(value - share * sum(rest) for value, *rest in
                                zip(sample.values, *(other.values for other in others),
                                    strict=True)))


def summary(sample):
    return {"ns": round(sample.median, 2), "min": round(sample.least, 2),
            "max": round(sample.greatest, 2)}


def evaluate(groups):
    """The samples by family, kind and contender as the JSON that the head of this file describes."""
    result = {"cases": {}, "more_versions": {}, "entry": {}, "floor": {}, "move": {}}
    for (family, kind), samples in groups.items():
        entry = samples["entry"]
        move, floor = less(samples["move"], entry), less(samples["floor"], entry)
        if kind == "established":
            for name, sample in (("entry", entry), ("floor", floor), ("move", move)):
                result[name][family] = summary(sample)
            more = less(samples["1Mi.128"], samples["1Mi.16"])
            result["more_versions"][family] = round(more.median, 2)
        for label in FLOWS:
            for versions in VERSIONS:
                edge = less(samples[f"{label}.{versions}"], entry)
                # Making room and taking it away are one call of the kernel each.
                bare = less(edge, move, share=0.5).ratio(less(floor, move, share=0.5))
                result["cases"][f"{family}.{kind}.{label}.{versions}"] = {
                    **summary(edge), "floor_ratio": round(edge.ratio(floor), 3),
                    "floor_ratio_bare": round(bare, 3)}
    return result


def measure(options):
    rounds, seeds = options.rounds or ROUNDS, Seeds()
    with Rig(seeds.next()) as rig:
        memory = rig.ask("memory")
    groups = common.interleave(
        {(family, kind): functools.partial(measure_group, seeds, family, kind)
         for family in FAMILIES for kind in KINDS}, rounds)
    return {"rounds": rounds, "seed": seeds.first, **evaluate(groups), "memory": memory}


def row(result, family, kind, label, versions):
    case = result["cases"][f"{family}.{kind}.{label}.{versions}"]
    return [f"{family} {kind}", label, versions, f"{case['ns']:.1f}",
            f"{case['min']:.1f} – {case['max']:.1f}", f"{case['floor_ratio']:.2f}",
            f"{case['floor_ratio_bare']:.2f}"]


def show_memory(memory):
    version = memory["per_version"]
    rows = [["all maps, whatever the flows", f"{memory['total']:,}"],
            [f"a flow (before and after {memory['flows']:,} of them)", f"{memory['per_flow']:g}"],
            ["a further version, with an address in both families", f"{version['bytes']:,.0f}"]]
    rows += [[f"  of {name}", f"{size:,.0f}"]
             for name, size in sorted(version["maps"].items(), key=lambda one: -one[1]) if size]
    common.print_table(f"Memory of the edge's maps, on {memory['cpus']} CPUs", ["", "bytes"], rows)


def show_targets(result):
    rows = [[f"128 versions over 16, {family}, ns", f"{ns:.1f}", f"{MOST_NS_FOR_128:g}"]
            for family, ns in result["more_versions"].items()]
    rows.append(["maps of a further version, bytes",
                 f"{result['memory']['per_version']['bytes']:,.0f}", f"{MOST_BYTES_PER_VERSION:,}"])
    common.print_table("Targets; --against has one more", ["", "measured", "at most"], rows)


def show(result):
    heads = ["packets", "flows", "versions", "ns", "least – most", "× floor", "× floor, bare"]
    rows = [row(result, family, kind, label, versions) for family in FAMILIES for kind in KINDS
            for label in FLOWS for versions in VERSIONS]
    common.print_table(f"The edge's program, per packet: median of {result['rounds']} rounds",
                        heads, rows)
    for family in FAMILIES:
        floor, move, entry = (result[name][family]["ns"] for name in ("floor", "move", "entry"))
        print(f"  {family}: the floor, parse and a fixed outer header, takes {floor:.1f} ns; "
              f"making room and taking it away again, {move:.1f}; the entry, {entry:.1f}.")
    print("  Times are above the entry's. Program and floor both include that the benchmark takes\n"
          "  their header off again; `bare` is the ratio without it.")
    show_memory(result["memory"])
    show_targets(result)
