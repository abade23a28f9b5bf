#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`./dev soak`: what a test does for seconds, for as long as somebody wants to wait.

Each soak is a function that runs for about so many seconds and returns whether it found nothing.
What one prints says how to play again what it found.
"""

import argparse
import os
import subprocess
import sys
import time

import tree


def build(*targets):
    """Build these targets of build/dev, or all."""
    subprocess.run([tree.ROOT / "dev", "build", *targets], check=True, stdout=subprocess.DEVNULL)


def power(seconds):
    """Power loss at every write of the store and of its copies, with seeds that no test has."""
    program = "tests/sim/sim_power"
    build(program)
    # Two tests share the time.
    environment = os.environ | {"FAIRLEAD_SOAK_S": str(max(1, seconds // 2))}
    return subprocess.run([tree.ROOT / "build/dev" / program], env=environment,
                          check=False).returncode == 0


def lab_command(*words):
    return ["/usr/bin/python3", "-B", "-m", "pytest", "-p", "no:cacheprovider", "-m", "soak", *words]


def fabric(seconds):
    """Whole fabrics of up to 100 nodes: partitions, kills, power loss, clocks, disks that are set
    back, orders. A thousand seeds, then, while there is time, seeds that no test has. Then a real
    one, once: a thousand flows, and twenty rollouts under every fault."""
    program = "tests/sim/sim_fabric"
    build()
    deadline = time.monotonic() + seconds
    environment = os.environ | {"FAIRLEAD_SIM_NODES": "100"}

    def play(**more):
        return subprocess.run([tree.ROOT / "build/dev" / program], env=environment | more,
                              check=False).returncode == 0
    if not play(FAIRLEAD_SEEDS="1000"):
        return False
    left = int(deadline - time.monotonic())
    if left > 0 and not play(FAIRLEAD_SOAK_S=str(left)):
        return False
    real = subprocess.run(lab_command("tests/lab/test_anycast.py"), cwd=tree.ROOT, check=False)
    return real.returncode == 0


def faults(seconds):
    """Faults of a node in the lab that take minutes: a stopped daemon, hundreds of kills."""
    command = lab_command("tests/lab", "--ignore", "tests/lab/test_anycast.py")
    build()
    deadline = time.monotonic() + seconds
    while True:
        if subprocess.run(command, cwd=tree.ROOT, check=False).returncode != 0:
            return False
        if time.monotonic() >= deadline:
            return True


# name → what runs; its docstring is what `--list` says
SOAKS = {
    "fabric": fabric,
    "faults": faults,
    "power": power,
}


def main():
    parser = argparse.ArgumentParser(prog="./dev soak")
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--list", action="store_true")
    arguments = parser.parse_args()
    if arguments.list:
        for name, soak in SOAKS.items():
            print(f"{name:10} {soak.__doc__}")
        return 0
    unknown = [name for name in arguments.names if name not in SOAKS]
    if unknown:
        parser.error(f"there is no soak '{unknown[0]}'; --list names them")
    failed = []
    for name in arguments.names or SOAKS:
        print(f"soak {name}: {arguments.minutes:g} min", flush=True)
        if not SOAKS[name](int(arguments.minutes * 60)):
            failed.append(name)
    print(f"soak: {', '.join(failed)} failed" if failed else "soak: nothing was found")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
