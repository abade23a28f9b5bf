#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`./dev fuzz`: run the fuzz targets for minutes. New inputs that reach new code are kept in
build/corpus/TARGET between runs; those that crash go to tests/fuzz/corpus/TARGET, to be replayed
by every later run of the tests."""

import argparse
import signal
import subprocess
import sys

import run_tests
import tree


def run_target(name, path, seconds):
    """Run one target in sight of the user; whether it found nothing."""
    new_inputs = tree.ROOT / "build" / "corpus" / name
    seeds = tree.ROOT / "tests" / "fuzz" / "corpus" / name
    new_inputs.mkdir(parents=True, exist_ok=True)
    seeds.mkdir(parents=True, exist_ok=True)
    print(f"fuzz: {name}, {seconds} s", flush=True)
    command = run_tests.fuzz_command(name, path, seconds, new_inputs, f"{seeds}/")
    ended = subprocess.run(command, env={**run_tests.os.environ,
                                         **run_tests.SANITIZER_ENVIRONMENT}, check=False)
    if ended.returncode != 0:
        print(f"fuzz: {name} crashed; its input is in {seeds.relative_to(tree.ROOT)}", flush=True)
    return ended.returncode == 0


def main():
    parser = argparse.ArgumentParser(prog="./dev fuzz", add_help=False)
    parser.add_argument("--minutes", type=float, default=1)
    parser.add_argument("targets", nargs="*", metavar="TARGET")
    wanted = parser.parse_args()
    success, output = tree.build("fuzz", "fuzzers")
    if not success:
        sys.exit(output)
    targets = run_tests.fuzz_targets()
    unknown = [name for name in wanted.targets if name not in targets]
    if unknown:
        parser.error(f"there is no target '{unknown[0]}'; targets: {', '.join(targets)}")
    quiet = [run_target(name, path, max(int(wanted.minutes * 60), 1))
             for name, path in targets.items() if not wanted.targets or name in wanted.targets]
    return 0 if all(quiet) else 1


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("interrupted")
