# SPDX-License-Identifier: Apache-2.0
"""`./dev bench dataplane --against REV`: today's program beside an earlier revision's.

The revision's measuring process is built from the history (tools/against.py). Each program is run by
its own revision's rig, since maps and publishing belong to the program. What is asked of both is
here: two cases, over the same number of versions, each with a ring of one page, the same backends
and flows; and from the time of the edge is subtracted that of the process's own entry, taken right
before. Both are loaded anew in every round, one after the other: with a process come other physical
pages and another place for the program, and each makes it faster or slower for as long as it is
loaded. The keys of 2bea0c5 are one byte repeated, and drawn at random since; no time depends on them.

The result goes into build/bench/dataplane.json, beside what is there:

    against           CASE: today's ns divided by the revision's, the median over the rounds
    against_details   revision, rounds, seed, and by case the ns of `today` and of `then`
"""
import functools
import statistics
import sys

from bench import measure as common
from bench.dataplane import FLOWS, PROGRAM, Failure, Rig, Seeds, summary
from lab.host import BUILD, REPOSITORY

sys.path.insert(0, str(REPOSITORY / "tools"))
import against  # noqa: E402  (the path comes first)

ROUNDS = 15
REPEATS = 3  # of each case by one process
# Case: what it may take at most, as a share of what 2bea0c5 takes.
TARGETS = {"v4.established.1Mi.16": 0.72, "v6.established.1Mi.16": 0.65}


def measure_case(seeds, build, case):
    """ns above the entry, from a process of that build and the programs that it loads."""
    family, kind, label, versions = case.split(".")
    with Rig(seeds.next(), build) as rig:
        pairs = [[rig.time(family, kind, program, FLOWS[label], versions)
                  for program in ("entry", "edge")] for _ in range(REPEATS)]
    return statistics.median(edge - entry for entry, edge in pairs)


def measure(options):
    rounds = options.rounds or ROUNDS
    common.progress(f"building {options.against}")
    try:
        commit = against.commit_of(options.against)
        builds = {"today": BUILD, "then": against.build(commit, PROGRAM)}
    except against.Missing as failure:
        raise Failure(failure) from failure
    seeds = Seeds()
    found = common.interleave({(case, name): functools.partial(measure_case, seeds, build, case)
                               for case in TARGETS for name, build in builds.items()}, rounds)
    ratios = {case: round(found[case, "today"].ratio(found[case, "then"]), 3) for case in TARGETS}
    times = {case: {name: summary(found[case, name]) for name in builds} for case in TARGETS}
    return {**common.read("dataplane"), "against": ratios,
            "against_details": {"revision": commit, "rounds": rounds, "seed": seeds.first, **times}}


def show(result):
    details = result["against_details"]
    rows = [[case, *(f"{details[case][name]['ns']:.1f} ({details[case][name]['min']:.1f}–"
                     f"{details[case][name]['max']:.1f})" for name in ("today", "then")),
             f"{ratio:.2f}", f"{TARGETS[case]:.2f}"] for case, ratio in result["against"].items()]
    common.print_table(f"Against {details['revision'][:12]}: ns, median of {details['rounds']} rounds "
                       "(least–greatest)", ["case", "today", "then", "ratio", "target"], rows)
