#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`./dev coverage`: which lines of each folder the unit tests run, counted by gcc and gcov.

A line counts as run if any copy of it ran: a header's inline function has one copy in each file
that includes it, and a static library is linked into many tests. GOALS are the folders that must be
above their share of lines; the others are shown.
"""

import argparse
import collections
import concurrent.futures
import json
import os
import pathlib
import subprocess
import sys

import run_tests
import tree

BUILD = tree.ROOT / "build" / "coverage"
GOAL = 90.0  # percent; "above", so that it itself is not enough
GOALS = ["abi", "src/model", "src/naming", "src/wire"]


def build():
    """Build the unit tests, and forget what earlier runs counted; the tests, as meson has them."""
    success, output = tree.build("coverage", "build.ninja")
    if not success:
        sys.exit(output)
    tests = run_tests.meson_tests("coverage", {"unit"}, "")
    programs = sorted({os.path.relpath(test["cmd"][0], BUILD) for test in tests})
    success, output = tree.build("coverage", *programs)
    if not success:
        sys.exit(output)
    for counts in BUILD.rglob("*.gcda"):
        counts.unlink()


def run_unit_tests():
    """Run them all; the names of those that failed."""
    cases = run_tests.run_suites("coverage", {"unit"}, "")
    return [case.name for case in cases if case.outcome == run_tests.FAILED]


def read_notes(notes):
    """What gcov makes of one object: the files it was compiled from, with their lines' counts."""
    listing = subprocess.run(["gcov", "--json-format", "--stdout", notes], cwd=BUILD, check=True,
                             capture_output=True, text=True).stdout
    return [file for report in listing.splitlines() for file in json.loads(report)["files"]]


def tree_name(name):
    """The file's name in the tree, or None if it is not a source of the product."""
    path = pathlib.Path(os.path.normpath(BUILD / name))
    if not path.is_relative_to(tree.ROOT) or path.is_relative_to(tree.ROOT / "build"):
        return None
    name = str(path.relative_to(tree.ROOT))
    return name if name.startswith(("abi/", "src/")) else None


def merge(files):
    """name → line → how often it ran, of the product's files among `files`."""
    counts = collections.defaultdict(collections.Counter)
    for file in files:
        name = tree_name(file["file"])
        for line in file["lines"] if name else []:
            counts[name][line["line_number"]] += line["count"]
    return counts


def count_lines():
    notes = [path for folder in ("src", "tests/unit") for path in (BUILD / folder).rglob("*.gcno")]
    with concurrent.futures.ThreadPoolExecutor(tree.jobs()) as pool:
        return merge(file for files in pool.map(read_notes, notes) for file in files)


def folder_of(name):
    parts = pathlib.PurePath(name).parts
    return parts[0] if parts[0] == "abi" else "/".join(parts[:2]) if len(parts) > 2 else "src"


def share(lines):
    """Percent of the lines that ran."""
    return 100.0 * sum(count > 0 for count in lines) / len(lines)


def by_folder(counts):
    """folder → the counts of all its lines."""
    folders = collections.defaultdict(list)
    for name, lines in counts.items():
        folders[folder_of(name)] += lines.values()
    return folders


def missed(folders):
    """The folders with a goal that do not reach it."""
    return [folder for folder in GOALS if not folders.get(folder) or share(folders[folder]) <= GOAL]


def ranges(numbers):
    """[1, 2, 3, 7] → "1-3, 7"."""
    found = []
    for number in sorted(numbers):
        if found and found[-1][1] == number - 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    return ", ".join(f"{first}-{last}" if first != last else str(first) for first, last in found)


def print_table(folders):
    print(f"{'folder':<16}{'lines':>8}{'run':>8}{'share':>10}")
    for folder in sorted(folders, key=lambda folder: (folder not in GOALS, folder)):
        lines = folders[folder]
        goal = f"   goal: above {GOAL:.0f} %" if folder in GOALS else ""
        print(f"{folder:<16}{len(lines):>8}{sum(count > 0 for count in lines):>8}"
              f"{share(lines):>8.1f} %{goal}")


def print_uncovered(counts, words):
    for name in sorted(counts):
        numbers = [number for number, count in counts[name].items() if count == 0]
        if numbers and any(name.startswith(word) for word in words):
            print(f"{name} ({share(counts[name].values()):.1f} %): {ranges(numbers)}")


def main():
    parser = argparse.ArgumentParser(prog="./dev coverage", add_help=False)
    parser.add_argument("paths", nargs="*", metavar="PATH")
    wanted = parser.parse_args()
    build()
    failed = run_unit_tests()
    if failed:
        sys.exit("coverage: not counted, since these failed: " + ", ".join(failed))
    counts = count_lines()
    folders = by_folder(counts)
    print_table(folders)
    print_uncovered(counts, wanted.paths)
    below = missed(folders)
    for folder in below:
        print(f"coverage: {folder} is not above {GOAL:.0f} %; `./dev coverage {folder}` lists the "
              "lines that no unit test runs", file=sys.stderr)
    return 1 if below else 0


if __name__ == "__main__":
    tree.run_main(main)
