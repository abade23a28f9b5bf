# SPDX-License-Identifier: Apache-2.0
"""What all benchmarks do alike.

A machine's speed drifts: clocks, neighbours, temperature. So the contenders take turns, round after
round, each round in another order, and what counts is the median of each over the rounds, beside
the least and the greatest. A ratio is taken within each round and then the median of those, so
that drift which slows both cancels out.
"""
import datetime
import json
import os
import platform
import re
import statistics
import sys
from dataclasses import dataclass
from pathlib import Path

from lab.host import REPOSITORY

RESULTS = REPOSITORY / "build/bench"


@dataclass(frozen=True)
class Sample:
    """One contender's measurements, one a round, in the order of the rounds."""
    values: tuple

    @property
    def median(self):
        return statistics.median(self.values)

    @property
    def least(self):
        return min(self.values)

    @property
    def greatest(self):
        return max(self.values)

    def ratio(self, other):
        """The median over the rounds of ours divided by theirs in the same round."""
        return statistics.median(mine / theirs for mine, theirs in
                                 zip(self.values, other.values, strict=True))


def progress(text):
    """One line for who waits; on stderr, so that stdout is the tables alone."""
    print(f"bench: {text}", file=sys.stderr, flush=True)


def interleave(contenders, rounds, name="round"):
    """Call each of `contenders`, {name: function that returns a number or a dict of numbers},
    once a round, every round from another place in their order.

    Returns {name: Sample}, or {name: {key: Sample}} where the functions return dicts.
    """
    names = list(contenders)
    found = {one: [] for one in names}
    for number in range(rounds):
        progress(f"{name} {number + 1} of {rounds}")
        for step in range(len(names)):
            one = names[(number + step) % len(names)]
            found[one].append(contenders[one]())
    return {one: _sample(values) for one, values in found.items()}


def _sample(values):
    if isinstance(values[0], dict):
        return {key: Sample(tuple(value[key] for value in values)) for key in values[0]}
    return Sample(tuple(values))


def machine():
    """What the figures were measured on."""
    text = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    model = re.search(r"^model name\s*: (.*)$", text, re.MULTILINE)
    return {"cpu": model[1] if model else platform.machine(), "cores": os.cpu_count(),
            "kernel": platform.release(), "date": datetime.date.today().isoformat()}


def read(name):
    """The result that a benchmark left last, or {}."""
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else {}


def write(name, result):
    """Leave the result, with the machine it is of, in build/bench/NAME.json; returns the path."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"{name}.json"
    temporary = path.with_suffix(".new")
    temporary.write_text(json.dumps({**result, "machine": machine()}, indent=2) + "\n")
    temporary.replace(path)
    return path


def table(heads, rows):
    """Lines of a table whose first column is words and whose others are numbers, given as texts."""
    rows = [[str(cell) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in [heads, *rows]) for column in range(len(heads))]
    for row in [heads, *rows]:
        first, *rest = (cell.ljust(width) if column == 0 else cell.rjust(width)
                        for column, (cell, width) in enumerate(zip(row, widths)))
        yield "  ".join([first, *rest]).rstrip()


def print_table(title, heads, rows):
    print(f"\n{title}")
    for line in table(heads, rows):
        print(f"  {line}")
    sys.stdout.flush()
