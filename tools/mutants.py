#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`./dev mutants`: does each test that guards an invariant notice when the invariant is broken?

tests/mutants/NAME.patch is a unified diff below a few header lines:

    Invariant: 3                 or   Drop: reason, for a drop reason of abi/
    Test: sim.lifecycle          a meson test, or bpf.edge::test_ports, one case of it; or a pytest
                                 node such as tests/lab/test_x.py::test_y

The patches are applied, one at a time, to a copy of the tree below build/mutants, so that neither
the tree nor its builds change. The copy is built with each patch and runs the test, which must
fail: ending red by itself, not by a build that breaks, a set-up that fails or a test that does not
exist. Before that, the same test must be green in the unpatched copy.
"""

import argparse
import os
import pathlib
import re
import subprocess
import sys

import tree

FOLDER = "tests/mutants"
COPY = tree.ROOT / "build" / "mutants" / "tree"
PYTEST_TIMEOUT_S = 1800
HEADER = re.compile(r"^(Invariant|Drop|Test): *(\S+)\s*$", re.MULTILINE)

GREEN, RED, BROKEN = "green", "red", "broken"


class Mutant:
    """A patch and what its header says."""

    def __init__(self, path):
        self.path = path
        self.name = path.stem
        header = path.read_text().partition("\n--- ")[0]
        fields = dict(HEADER.findall(header))
        self.test = fields.get("Test", "")
        self.breaks = ", ".join(f"{key.lower()} {fields[key]}" for key in ("Invariant", "Drop")
                                if key in fields)
        self.invariant = fields.get("Invariant")

    def fault(self):
        """What is wrong with the header, or ''."""
        if not self.test:
            return "no 'Test:' line"
        if not self.breaks:
            return "neither an 'Invariant:' nor a 'Drop:' line"
        if self.invariant and self.invariant not in list("123456"):
            return f"there is no invariant {self.invariant}"
        return ""


def all_mutants(root=tree.ROOT):
    return [Mutant(path) for path in sorted((root / FOLDER).glob("*.patch"))]


def patch(mutant, root, *options):
    """Run patch(1); returns what it printed if it failed, or ''."""
    run = subprocess.run(["patch", "-p1", "--force", "--silent", "--no-backup-if-mismatch",
                          "--reject-file=-", *options, "--input", mutant.path],
                         cwd=root, text=True, capture_output=True, check=False)
    return (run.stdout + run.stderr or "patch failed") if run.returncode != 0 else ""


def check(root=tree.ROOT):
    """Complaints about patches with a bad header, or that do not apply any more."""
    complaints = []
    for mutant in all_mutants(root):
        fault = mutant.fault() or patch(mutant, root, "--dry-run")
        if fault:
            complaints.append(f"{FOLDER}/{mutant.name}.patch: {fault.strip()}")
    return complaints


def refresh_copy(root=tree.ROOT, copy=COPY):
    """Make the copy equal the tree, touching only what differs, so that ninja rebuilds only that."""
    wanted = set(tree.files(root))
    copy.mkdir(parents=True, exist_ok=True)
    for name in wanted:
        source, target = root / name, copy / name
        content = source.read_bytes()
        if not target.is_file() or target.read_bytes() != content:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
            target.chmod(source.stat().st_mode)
    for path in list(copy.rglob("*")):
        name = str(path.relative_to(copy))
        if path.is_file() and not name.startswith("build/") and name not in wanted:
            path.unlink()


def judge_cases(cases, wanted):
    """(colour, what was printed) of a meson test's cases, or of the one that is wanted."""
    import run_tests  # it imports this module by way of the house's checks

    if wanted:
        others = [case.detail for case in cases if case.outcome == run_tests.FAILED]
        cases = [case for case in cases if case.name.endswith(f": {wanted}")]
        if not cases:
            return BROKEN, "\n".join([f"the case '{wanted}' did not run", *others[-1:]])
    failed = [case for case in cases if case.outcome == run_tests.FAILED]
    if failed:
        return RED, failed[0].detail
    if all(case.outcome == run_tests.SKIPPED for case in cases):
        return BROKEN, "every test was skipped"
    return GREEN, ""


def find_meson_test(name):
    """What meson knows of the test in the copy, or None."""
    program = name.partition("::")[0]
    return next((test for test in tree.introspect("dev", "tests", COPY)
                 if test["name"] == program), None)


def run_meson_test(name):
    """(colour, what was printed) of a meson test, or of one case of it, in the copy."""
    import run_tests

    found = find_meson_test(name)
    if not found:
        return BROKEN, f"meson knows no test '{name}'"
    return judge_cases(run_tests.run_meson_test(found, "dev", {}, COPY), name.partition("::")[2])


def judge_pytest(finished):
    """(colour, what was printed). A lab that does not start is an error of pytest's, no failure:
    then the test has not looked at what the patch broke."""
    if finished.code == 0 and not finished.fault:
        passed = re.search(r"\b[1-9]\d* passed\b", finished.output)
        return (GREEN if passed else BROKEN), finished.output
    failed = re.search(r"\b[1-9]\d* failed\b", finished.output)
    return (RED if failed or finished.fault else BROKEN), finished.output


def run_pytest(node):
    """(colour, what was printed) of a pytest node in the copy."""
    return judge_pytest(tree.run_apart(
        ["/usr/bin/python3", "-B", "-m", "pytest", "-p", "no:cacheprovider", "-x", node],
        "mutant-pytest.log", PYTEST_TIMEOUT_S, cwd=COPY))


def configure_copy():
    """Set up the copy's build/dev as ./dev would, but for one thing: what a patch leaves unused
    shall not be an error, since that would hide what the test thinks of it."""
    if not (COPY / "build/dev/build.ninja").exists():
        subprocess.run(["meson", "setup", "build/dev", "-Dwerror=false"], cwd=COPY,
                       capture_output=True, check=True)


def targets_of(test):
    """What ninja has to build: a unit test or a walk is one program, for others it is everything.
    To link all programs anew takes most of a mutant's time."""
    if not test.startswith(("unit.", "sim.")):
        return []
    found = find_meson_test(test)
    return [os.path.relpath(found["cmd"][0], COPY / "build/dev")] if found else []


def build_and_run(test):
    """(colour, what was printed) of the test in the copy as it is now."""
    configure_copy()
    success, output = tree.build("dev", *targets_of(test), log="mutant-build.log", root=COPY)
    if not success:
        return BROKEN, f"the build failed\n{output}"
    return run_pytest(test) if ".py" in test else run_meson_test(test)


def try_mutant(mutant):
    """(verdict, what to show): 'killed', or why it was not."""
    fault = mutant.fault() or patch(mutant, COPY)
    if fault:
        return "does not apply", fault
    colour, output = build_and_run(mutant.test)
    refresh_copy()
    if colour == RED:
        return "killed", ""
    if colour == GREEN:
        return "SURVIVED", ""
    return "proves nothing", output


def run(mutants):
    """Print a line per mutant; whether all were killed."""
    width = max(len(mutant.name) for mutant in mutants) + 2
    breaks_width = max(len(mutant.breaks) for mutant in mutants) + 2
    test_width = max(len(mutant.test) for mutant in mutants) + 2
    refresh_copy()
    unpatched = {}
    every_one_killed = True
    for mutant in mutants:
        if mutant.test and mutant.test not in unpatched:
            unpatched[mutant.test] = build_and_run(mutant.test)
        colour, output = unpatched.get(mutant.test, (BROKEN, ""))
        if mutant.test and colour != GREEN:
            verdict = f"proves nothing: without it the test is {colour}"
        else:
            verdict, output = try_mutant(mutant)
        every_one_killed &= verdict == "killed"
        print(f"{mutant.name:<{width}}{mutant.breaks:<{breaks_width}}{mutant.test:<{test_width}}"
              f"{verdict}", flush=True)
        if verdict != "killed" and output:
            print("\n".join(f"    {line}" for line in output.strip().splitlines()[-30:]))
    return every_one_killed


def main():
    parser = argparse.ArgumentParser(prog="./dev mutants", add_help=False)
    parser.add_argument("names", nargs="*", metavar="NAME")
    names = [pathlib.PurePath(name).stem for name in parser.parse_args().names]
    mutants = all_mutants()
    unknown = set(names) - {mutant.name for mutant in mutants}
    if unknown:
        parser.error(f"there is no {FOLDER}/{sorted(unknown)[0]}.patch")
    mutants = [mutant for mutant in mutants if not names or mutant.name in names]
    if not mutants:
        sys.exit(f"there is no mutant in {FOLDER}")
    success = run(mutants)
    print("every mutant was killed" if success else "not every mutant was killed")
    return 0 if success else 1


if __name__ == "__main__":
    tree.run_main(main)
