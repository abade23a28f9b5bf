#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`./dev test`: build, run every group of tests, count single test cases.

A group is a function from the selection to cases. What cannot say how many tests it ran counts as
failed: a program that crashes, ends early, hangs, leaves processes behind or runs no test at all,
and a group without tests. Each line printed is one group, then its failures with their output; at
the end, once more, what failed, and `N passed, N failed, N skipped` as the last line.
"""

import argparse
import concurrent.futures
import hashlib
import itertools
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time
import xml.etree.ElementTree

import house
import tree

sys.path.insert(0, str(tree.ROOT / "tests" / "kernel"))
import boot  # noqa: E402  (the path comes first)

FUZZ_SECONDS = 5
PYTEST_TIMEOUT_S = 3600
KERNEL_TIMEOUT_S = 1800
TIDY_TIMEOUT_S = 1800  # it gives way, so what counts is what the others leave

SANITIZER_ENVIRONMENT = {
    "ASAN_OPTIONS": "detect_leaks=1:detect_stack_use_after_return=1:strict_string_checks=1",
    "UBSAN_OPTIONS": "print_stacktrace=1",
    "ASAN_SYMBOLIZER_PATH": "/usr/bin/llvm-symbolizer-19",
}

TAP_MEASURE = re.compile(r"^(sim: .*)$", re.MULTILINE)
TAP_PLAN = re.compile(r"^1\.\.(\d+)$", re.MULTILINE)
# cmocka 1.1 writes "not ok N # SKIP name" for a skipped test.
TAP_RESULT = re.compile(r"^(ok|not ok) \d+ (?:# (SKIP) |- )(.*)$", re.MULTILINE)
PYTEST_LINE = re.compile(r"^(\S+::.*?) (PASSED|FAILED|ERROR|SKIPPED|XFAIL|XPASS)\b")

PYTEST = ["/usr/bin/python3", "-B", "-m", "pytest", "-v", "--tb=short", "-p",
          "no:cacheprovider"]
# The BPF fixtures that are also run under the old kernel; the others load programs many times,
# which is slow on an emulated processor.
KERNEL_PROGRAMS = {"bpf.clamp", "bpf.edge", "bpf.landing"}

# Runs a command so that it leaves the processors to whatever else wants them. The kernel weighs
# sessions against each other before it looks at classes within them (sched(7), autogroups).
GIVING_WAY = ["sh", "-c",
              '{ echo 19 >/proc/self/autogroup; } 2>/dev/null; exec chrt --idle 0 "$@"', "sh"]

PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"


class Case:
    """One test: what it is called, how it went, and what to show if it did not pass."""

    def __init__(self, name, outcome, detail="", measure=""):
        self.name = name
        self.outcome = outcome
        self.detail = detail
        self.measure = measure  # how much was tried, where that is worth a line


def in_parallel(function, items, more=0):
    """function(item) for each item, `jobs` and so many more at a time; the flattened lists of
    cases, in order."""
    with concurrent.futures.ThreadPoolExecutor(tree.jobs() + more) as pool:
        try:
            return [case for cases in pool.map(function, items) for case in cases]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            tree.end_all()
            raise


# ── cmocka ──────────────────────────────────────────────────────────────────────────────────────

def cases_of_tap(name, finished):
    """The cases in the output of one cmocka program, and one more for how it ended if that does
    not follow from them."""
    cases = []
    for verdict, skip, case in TAP_RESULT.findall(finished.output):
        outcome = SKIPPED if skip else PASSED if verdict == "ok" else FAILED
        cases.append(Case(f"{name}: {case}", outcome,
                          finished.output if outcome == FAILED else ""))
    measure = TAP_MEASURE.search(finished.output)
    if cases and measure:
        cases[-1].measure = measure[1]
    planned = sum(int(count) for count in TAP_PLAN.findall(finished.output))
    failed = any(case.outcome == FAILED for case in cases)
    fault = finished.fault
    if not fault and not cases:
        fault = "ran no test"
    elif not fault and planned != len(cases):
        fault = f"planned {planned} tests but reported {len(cases)}"
    elif not fault and finished.code != 0 and not failed:
        fault = f"every test passed, but the program ended with {finished.code}"
    if fault:
        cases.append(Case(name, FAILED, f"{fault}\n{finished.output}"))
    return cases


def run_meson_test(test, kind, environment, root=tree.ROOT):
    """Run one executable that meson knows as a test; its cases."""
    finished = tree.run_apart(
        test["cmd"], f"{kind}-{test['name']}.log", test["timeout"],
        env={**environment, **test["env"], "CMOCKA_MESSAGE_OUTPUT": "TAP"},
        cwd=test["workdir"] or root / "build" / kind)
    return cases_of_tap(test["name"], finished)


def meson_tests(kind, suites, words):
    return [test for test in tree.introspect(kind, "tests")
            if {suite.rpartition(":")[2] for suite in test["suite"]} & suites
            and words in test["name"]]


def run_suites(kind, suites, words, environment=None):
    tests = meson_tests(kind, suites, words)
    parallel = [test for test in tests if test["is_parallel"]]
    serial = [test for test in tests if not test["is_parallel"]]

    def run(test):
        return run_meson_test(test, kind, environment or {})

    return in_parallel(run, parallel) + [case for test in serial for case in run(test)]


# ── pytest ──────────────────────────────────────────────────────────────────────────────────────

def cases_of_junit(path):
    for element in xml.etree.ElementTree.parse(path).iter("testcase"):
        name = f"{element.get('classname')}::{element.get('name')}"
        bad = [child for child in element if child.tag in ("failure", "error")]
        if bad:
            yield Case(name, FAILED, "\n".join(child.text or "" for child in bad))
        elif element.find("skipped") is not None:
            yield Case(name, SKIPPED, element.find("skipped").get("message", ""))
        else:
            yield Case(name, PASSED)


def cases_of_pytest(group, junit, finished, nothing_is_fine=False):
    """The cases that pytest wrote down, and one more for how it ended if that does not follow from
    them."""
    cases = list(cases_of_junit(junit)) if junit.exists() else []
    failed = any(case.outcome == FAILED for case in cases)
    nothing_selected = nothing_is_fine and finished.code == 5
    fault = finished.fault
    if not fault and finished.code != 0 and not failed and not nothing_selected:
        fault = f"pytest ended with {finished.code}"
    if fault:
        cases.append(Case(group, FAILED, f"{fault}\n{finished.output}"))
    return cases


def run_pytest(group, path, words, show_progress=False):
    """pytest on a folder, or on one file of it; its log and results are named after `group`."""
    junit = tree.LOGS / f"{group}.xml"
    junit.unlink(missing_ok=True)

    def progress(line):
        match = PYTEST_LINE.match(line)
        if match:
            print(f"  {match[1]} {match[2].lower()}", flush=True)

    finished = tree.run_apart(
        [*PYTEST, f"--junit-xml={junit}", *(["-k", words] if words else []), path],
        f"{group}.log", PYTEST_TIMEOUT_S, on_line=progress if show_progress else None)
    return cases_of_pytest(group, junit, finished, nothing_is_fine=bool(words))


# ── libFuzzer ───────────────────────────────────────────────────────────────────────────────────

def fuzz_targets(words=""):
    """name → path of the executable, for the targets of tests/fuzz/meson.build."""
    found = {}
    for target in tree.introspect("fuzz", "targets"):
        name = target["name"].removeprefix("fuzz_")
        if target["type"] == "executable" and name != target["name"] and words in name:
            found[name] = target["filename"][0]
    return found


def fuzz_command(name, path, seconds, new_inputs, artifacts):
    """libFuzzer on the target: every committed input first, then new ones, kept in new_inputs."""
    dictionary = tree.ROOT / "tests" / "fuzz" / f"{name}.dict"
    corpus = tree.ROOT / "tests" / "fuzz" / "corpus" / name
    return [path, f"-max_total_time={seconds}", "-timeout=10", "-rss_limit_mb=2048",
            "-print_final_stats=1", f"-artifact_prefix={artifacts}",
            *([f"-dict={dictionary}"] if dictionary.exists() else []),
            str(new_inputs), *([str(corpus)] if corpus.is_dir() else [])]


def run_fuzz_target(target):
    name, path = target
    new_inputs = tree.LOGS / f"fuzz-{name}"
    # What an earlier run found must not decide what this one finds.
    shutil.rmtree(new_inputs, ignore_errors=True)
    new_inputs.mkdir(parents=True)
    command = fuzz_command(name, path, FUZZ_SECONDS, new_inputs, f"{new_inputs}-")
    finished = tree.run([*command, "-seed=1"], f"fuzz-{name}.log", 120,
                        env=SANITIZER_ENVIRONMENT)
    done = re.search(r"^Done (\d+) runs", finished.output, re.MULTILINE)
    fault = finished.fault
    if not fault and finished.code != 0:
        fault = f"ended with {finished.code}; its input is kept beside {new_inputs}"
    elif not fault and not (done and int(done[1]) > 0):
        fault = "ran no input"
    if fault:
        return [Case(f"fuzz.{name}", FAILED, f"{fault}\n{finished.output}")]
    return [Case(f"fuzz.{name}", PASSED)]


# ── clang-tidy ──────────────────────────────────────────────────────────────────────────────────

def read_dependencies(kind):
    """object → the files it was compiled from, as ninja recorded them."""
    listing = subprocess.run(["ninja", "-C", tree.ROOT / "build" / kind, "-t", "deps"],
                             capture_output=True, text=True, check=True).stdout
    dependencies = {}
    for block in listing.split("\n\n"):
        # ninja -C speaks of the folder it enters before it lists.
        lines = [line for line in block.splitlines() if not line.startswith("ninja:")]
        if lines:
            dependencies[lines[0].split(":")[0]] = [line.strip() for line in lines[1:]]
    return dependencies


class Tidy:
    """clang-tidy over what a build directory compiles. A file is read again only when it, a header
    it includes, its command line, the settings or the tool changed since it was last clean."""

    CACHE = tree.ROOT / "build" / "tidy"

    def __init__(self):
        version = subprocess.run(["clang-tidy-19", "--version"], capture_output=True, check=True)
        settings = [tree.ROOT / name for name in tree.files()
                    if pathlib.PurePath(name).name == ".clang-tidy"]
        self.common = version.stdout + b"".join(path.read_bytes() for path in settings)
        self.digests = {}
        self.CACHE.mkdir(parents=True, exist_ok=True)

    def units(self, kind, prefix, words):
        """(kind, source, key) for each of the tree's sources below prefix that kind compiles."""
        directory = tree.ROOT / "build" / kind
        dependencies = read_dependencies(kind)
        for entry in json.loads((directory / "compile_commands.json").read_text()):
            source = os.path.relpath(os.path.normpath(directory / entry["file"]), tree.ROOT)
            if source.startswith(prefix) and not source.startswith("build/") and words in source:
                yield kind, source, self.key(directory, entry, dependencies)

    def key(self, directory, entry, dependencies):
        digest = hashlib.sha256(self.common + entry["command"].encode())
        for name in dependencies.get(entry["output"], [entry["file"]]):
            digest.update(self.digest(os.path.normpath(directory / name)))
        return digest.hexdigest()

    def digest(self, path):
        if path not in self.digests:
            self.digests[path] = hashlib.sha256(pathlib.Path(path).read_bytes()).digest()
        return self.digests[path]

    def run(self, unit):
        kind, source, key = unit
        clean = self.CACHE / key
        name = f"tidy {source}"
        if clean.exists():
            return [Case(name, PASSED)]
        finished = tree.run([*GIVING_WAY, "clang-tidy-19", "--quiet", "-p", f"build/{kind}",
                             source],
                            f"tidy-{source.replace('/', '-')}.log", TIDY_TIMEOUT_S)
        if finished.code != 0 or finished.fault:
            return [Case(name, FAILED, f"{finished.fault}\n{finished.output}")]
        clean.touch()
        return [Case(name, PASSED)]


# ── the groups ──────────────────────────────────────────────────────────────────────────────────

def group_house(words):
    cases = []
    for name, check in house.CHECKS.items():
        if words in name:
            complaints = check()
            cases.append(Case(f"house.{name}", FAILED if complaints else PASSED,
                              "\n".join(complaints)))
    return cases + run_pytest("house", "tests/house", words)


def group_unit(words):
    return run_suites("dev", {"unit"}, words)


def group_sim(words):
    return run_suites("dev", {"sim"}, words)


def group_bpf(words):
    return run_suites("dev", {"bpf"}, words)


def group_asan(words):
    return run_suites("asan", {"unit", "sim"}, words, SANITIZER_ENVIRONMENT)


def group_fuzz(words):
    return in_parallel(run_fuzz_target, fuzz_targets(words).items())


def group_golden(words):
    return run_pytest("golden", "tests/golden", words)


def group_lab(words):
    """A lab is in nobody's way and waits for most of its time, so more files run at once than there
    are processors, those with the most tests first."""
    files = sorted((tree.ROOT / "tests" / "lab").glob("test_*.py"),
                   key=lambda path: path.stat().st_size, reverse=True)
    return in_parallel(lambda path: run_pytest(f"lab-{path.stem.removeprefix('test_')}", path,
                                               words, show_progress=True), files, more=1)


def group_kernel(words):
    """What asks something of the kernel, under the oldest one that is promised."""
    junit = boot.RESULTS / "lab.xml"
    commands = {test["name"]: ["env", "CMOCKA_MESSAGE_OUTPUT=TAP", *test["cmd"]]
                for test in meson_tests("dev", {"bpf"}, words) if test["name"] in KERNEL_PROGRAMS}
    if words in "lab":
        commands["lab"] = [*PYTEST, "--junit-xml=/run/results/lab.xml", "tests/kernel"]
    if not commands:
        return []
    try:
        finished = boot.run(commands, KERNEL_TIMEOUT_S)
    except boot.BootError as failure:
        return [Case("kernel", FAILED, str(failure))]
    lab = finished.pop("lab", None)
    cases = [case for name, one in finished.items() for case in cases_of_tap(name, one)]
    return cases + (cases_of_pytest("kernel", junit, lab) if lab else [])


def group_tidy(words):
    tidy = Tidy()
    return in_parallel(tidy.run, [*tidy.units("asan", "", words),
                                  *tidy.units("fuzz", "tests/fuzz/", words)])


# name → (function, the builds it needs)
GROUPS = {
    "house": (group_house, ["dev"]),
    "unit": (group_unit, ["dev"]),
    "sim": (group_sim, ["dev"]),
    "bpf": (group_bpf, ["dev"]),
    "asan": (group_asan, ["asan"]),
    "fuzz": (group_fuzz, ["fuzz"]),
    "golden": (group_golden, ["dev"]),
    "lab": (group_lab, ["dev"]),
    "kernel": (group_kernel, ["dev"]),
    "tidy": (group_tidy, ["asan", "fuzz"]),
}
# The fuzz build compiles everything once more; only the targets are wanted of it.
BUILD_TARGETS = {"dev": [], "asan": [], "fuzz": ["fuzzers"]}
BESIDE_LAB = "golden", "tidy"


class Report:
    """Prints each group as it ends, and adds up."""

    def __init__(self):
        self.totals = {PASSED: 0, FAILED: 0, SKIPPED: 0}
        self.failed = []

    def add(self, group, cases, seconds):
        counts = {outcome: sum(case.outcome == outcome for case in cases)
                  for outcome in self.totals}
        for outcome, count in counts.items():
            self.totals[outcome] += count
        print(f"{group:<12}{self.line(counts)}  ({seconds:.1f} s)", flush=True)
        shown = set()
        for case in cases:
            if case.measure:
                print(f"  {case.measure}")
            if case.outcome == SKIPPED:
                print(f"  skipped {case.name} {case.detail}")
            elif case.outcome == FAILED:
                print(f"  FAILED {case.name}")
                self.failed.append(f"{group} {case.name}")
                # Several failures of one program share one output.
                if case.detail not in shown:
                    shown.add(case.detail)
                    print("\n".join(f"    {line}" for line in case.detail.strip().splitlines()))
        sys.stdout.flush()

    def end(self):
        """What failed may be many screens up by now."""
        for name in self.failed:
            print(f"failed: {name}")
        print(self.line(self.totals))

    @staticmethod
    def line(counts):
        return ", ".join(f"{count} {outcome}" for outcome, count in counts.items())


def measured(function, *arguments):
    """What function returns, and the seconds that it took."""
    started = time.monotonic()
    return function(*arguments), time.monotonic() - started


def timed(report, name, function):
    """Run function and report its cases; returns whether all passed."""
    cases, seconds = measured(function)
    report.add(name, cases, seconds)
    return all(case.outcome != FAILED for case in cases)


def build_once(kind, built, report):
    """Build a directory at its first need, as one test case; whether it is usable."""
    if kind not in built:
        def build():
            success, output = tree.build(kind, *BUILD_TARGETS[kind])
            return [Case(f"build/{kind}", PASSED if success else FAILED, output)]

        print(f"build: {kind}", flush=True)
        built[kind] = timed(report, f"build {kind}", build)
    return built[kind]


def build_for(name, built, report):
    """Whether all that the group needs is built; if not, that is its outcome."""
    if all([build_once(kind, built, report) for kind in GROUPS[name][1]]):
        return True
    report.add(name, [Case(name, FAILED, "not run, since the build failed")], 0)
    return False


def cases_of_group(name, words):
    cases = GROUPS[name][0](words)
    if not cases and not words:
        cases = [Case(name, FAILED, "there is no test in this group")]
    return cases


def run_groups(names, words, built, report):
    for name in names:
        if build_for(name, built, report):
            timed(report, name, lambda: cases_of_group(name, words))


def run_beside_lab(names, words, built, report):
    """The lab waits for most of its time: the golden outputs, which take one processor, run beside
    it, and the linter fills what is left and gives way whenever they have something to do. What
    these need must be built before, since a compiler gives way to nobody."""
    beside = [name for name in BESIDE_LAB if name in names and build_for(name, built, report)]
    with concurrent.futures.ThreadPoolExecutor(len(BESIDE_LAB)) as background:
        running = {name: background.submit(measured, cases_of_group, name, words)
                   for name in beside}
        try:
            run_groups([name for name in names if name not in BESIDE_LAB], words, built, report)
        except BaseException:
            tree.end_all()
            raise
        for name, future in running.items():
            report.add(name, *future.result())


def main():
    parser = argparse.ArgumentParser(prog="./dev test", add_help=False)
    parser.add_argument("groups", nargs="*", metavar="GROUP")
    parser.add_argument("-k", dest="words", default="")
    selection = parser.parse_args()
    unknown = [group for group in selection.groups if group not in GROUPS]
    if unknown:
        parser.error(f"there is no group '{unknown[0]}'; groups: {', '.join(GROUPS)}")
    report = Report()
    built = {}
    names = [name for name in GROUPS if not selection.groups or name in selection.groups]
    before = list(itertools.takewhile(lambda name: name not in ("golden", "lab"), names))
    run_groups(before, selection.words, built, report)
    rest = names[len(before):]
    run = run_beside_lab if "lab" in rest else run_groups
    run(rest, selection.words, built, report)
    if sum(report.totals.values()) == len(built):
        print(f"nothing matches '{selection.words}'", file=sys.stderr)
        report.totals[FAILED] += 1
    report.end()
    return 1 if report.totals[FAILED] else 0


if __name__ == "__main__":
    tree.run_main(main)
