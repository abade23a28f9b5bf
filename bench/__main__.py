# SPDX-License-Identifier: Apache-2.0
"""`./dev bench`: run the benchmarks that are named, or all, and print their tables."""
import argparse
import importlib
import signal
import sys

from bench import measure
from lab.host import REPOSITORY, LabError

NAMES = ("dataplane", "naming", "forwarding", "state", "fabric")


def main():
    parser = argparse.ArgumentParser(prog="./dev bench", add_help=False)
    parser.add_argument("--rounds", type=int, default=0)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--against", metavar="REV")
    options = parser.parse_args()
    unknown = [name for name in options.names if name not in NAMES]
    if unknown:
        parser.error(f"there is no benchmark '{unknown[0]}'; benchmarks: {', '.join(NAMES)}")
    if options.against and options.names != ["dataplane"]:
        parser.error("--against REV is for `dataplane` alone")
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    for name in options.names or NAMES:
        benchmark = importlib.import_module(f"bench.{name}{'_against' if options.against else ''}")
        measure.progress(name)
        result = benchmark.measure(options)
        path = measure.write(name, result)
        benchmark.show(result)
        print(f"  written to {path.relative_to(REPOSITORY)}")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("bench: interrupted")
    except (LabError, OSError) as failure:
        print(f"bench: {failure}", *getattr(failure, "__notes__", ()), sep="\n", file=sys.stderr)
        sys.exit(1)
