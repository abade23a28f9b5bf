#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""No circles of files: within a folder of src/, what a file calls never calls back into it.

The calls are those that the compiled objects of build/dev show, so that has to be built and as new
as the sources. Run alone it prints each circle, the files on it and what they take of each other.
"""

import collections
import json
import pathlib
import subprocess
import sys

import tree


def find_objects(root):
    """folder of src/ → {name of the source: its object}; one object of each source."""
    build = root / "build" / "dev"
    folders = collections.defaultdict(dict)
    for command in json.loads((build / "compile_commands.json").read_text()):
        source = (pathlib.Path(command["directory"]) / command["file"]).resolve()
        try:
            parts = source.relative_to(root.resolve()).parts
        except ValueError:
            continue
        if len(parts) >= 3 and parts[0] == "src" and source.suffix == ".c" and source.exists():
            folders["/".join(parts[1:-1])].setdefault(source, build / command["output"])
    return folders


def stale(objects):
    """Objects that are not there or older than their sources."""
    return [source for source, path in objects.items()
            if not path.exists() or path.stat().st_mtime < source.stat().st_mtime]


def read_calls(objects):
    """source → {source that it takes symbols of: these symbols}."""
    listing = subprocess.run(["nm", "-A", "-P", *objects.values()], capture_output=True, text=True,
                             check=True).stdout
    source_of = {str(path): source for source, path in objects.items()}
    defined, taken = {}, []
    for line in listing.splitlines():
        path, _, rest = line.partition(": ")
        symbol, kind = rest.split()[:2]
        if kind == "U":
            taken.append((source_of[path], symbol))
        elif kind.isupper():
            defined[symbol] = source_of[path]
    calls = {source: collections.defaultdict(list) for source in objects}
    for source, symbol in taken:
        if defined.get(symbol, source) != source:
            calls[source][defined[symbol]].append(symbol)
    return calls


def find_circles(calls):
    """The sets of sources of which each reaches each other one (Tarjan's algorithm)."""
    found, order, lowest, stack = [], {}, {}, []

    def visit(source):
        order[source] = lowest[source] = len(order)
        stack.append(source)
        for other in calls[source]:
            if other not in order:
                visit(other)
            if other in stack:
                lowest[source] = min(lowest[source], lowest[other])
        if lowest[source] == order[source]:
            circle = {source}
            while stack[-1] != source:
                circle.add(stack.pop())
            stack.pop()
            if len(circle) > 1:
                found.append(circle)

    for source in calls:
        if source not in order:
            visit(source)
    return found


def describe(folder, circle, calls):
    names = ", ".join(sorted(source.name for source in circle))
    edges = [f"{source.name} takes {', '.join(sorted(symbols)[:3])} of {other.name}"
             for source in sorted(circle) for other, symbols in sorted(calls[source].items())
             if other in circle]
    return f"src/{folder}: a circle of {names}: {'; '.join(edges)}"


def check(root=tree.ROOT):
    """Every circle, one line each."""
    if not (root / "build" / "dev" / "compile_commands.json").exists():
        return ["build/dev is not there, so that nothing is known of circles; run ./dev build"]
    complaints = []
    folders = find_objects(root)
    if not folders:
        return ["build/dev compiles nothing of src/"]
    for folder, objects in sorted(folders.items()):
        old = stale(objects)
        if old:
            complaints.append(f"build/dev is older than {old[0].relative_to(root.resolve())}; "
                              "run ./dev build")
            continue
        calls = read_calls(objects)
        complaints += [describe(folder, circle, calls) for circle in find_circles(calls)]
    return complaints


def main():
    complaints = check()
    print("\n".join(complaints) or "circles: there is none")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
