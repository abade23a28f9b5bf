# SPDX-License-Identifier: Apache-2.0
"""Every allocation of the command line's client, and of `fairlead lab`, fails once, by each way that
leads to it: the command then ends with a sentence and not with a signal, and never says less without
saying so."""
import os
import re
import secrets
import subprocess

import pytest

from lab.host import BUILD, wait_for
from memory import FailingMemory

MOST_ATTEMPTS = 2000
PROGRAM = BUILD / "src/fairlead"
WEB = ("web1", "web2", "web3")
# What is different a moment later: times, ages, and what is counted.
MOVING = re.compile(r"[\d.:,T-]+[a-zZ]*")

READING = [("status",), ("status", "-o", "json"), ("get", "services"), ("get", "versions"),
           ("get", "services", "-o", "json"), ("get", "-o", "yaml"), ("describe", "service/web"),
           ("describe", "service/web", "-o", "json"), ("rollout", "status"), ("log",),
           ("log", "-o", "json"), ("verify",), ("--help",), ("apply", "--help"), ("--version",)]
OF_A_FILE = [("validate",), ("validate", "-o", "json"), ("plan",), ("plan", "-o", "json"),
             ("apply",), ("apply", "--dry-run")]

PAIR = """
machines: {left: , right: {run: {rest: sleep 1000}}}
links:
  line:
    from: {machine: left, interface: eth0, addresses: [192.0.2.1/24]}
    to: {machine: right, interface: eth0, addresses: [192.0.2.2/24]}
    delay: 1ms
"""


@pytest.fixture(scope="module", autouse=True)
def _applied(shared_lab):
    shared_lab.apply(shared_lab.fabric(WEB))
    wait_for(lambda: shared_lab.cli.status().services["web"].state(1) == "serving",
             "the version to serve", 30)


def outcome(done):
    return done.returncode, re.sub(r"[ #]+", " ", MOVING.sub("#", done.stdout)), done.stderr


def each_allocation_fails(lab, words):
    """How many there are."""
    memory = FailingMemory(lab.build, lab.root / "client-memory")
    expected = lab.cli.try_(*words)
    with memory.armed():
        for _ in range(MOST_ATTEMPTS):
            before = memory.failures
            done = lab.cli.try_(*words, env=memory.environment)
            where = memory.last(lab.program)
            if outcome(done) == outcome(expected):
                if memory.failures == before:
                    return memory.failures
                continue
            assert memory.failures > before, (outcome(done), outcome(expected))
            assert done.returncode in (1, 2) and "memory" in done.stderr, (
                done.returncode, done.stdout, done.stderr, where)
    raise AssertionError(f"{words} meets failures without an end: {memory.last(lab.program)}")


@pytest.mark.parametrize("words", READING, ids=" ".join)
def test_what_reads(shared_lab, words):
    assert each_allocation_fails(shared_lab, words) >= (words != ("--version",))


@pytest.mark.parametrize("words", OF_A_FILE, ids=" ".join)
def test_what_takes_a_file(shared_lab, words):
    sequence = shared_lab.cli.json("status")["sequence"]
    path = shared_lab.write(shared_lab.fabric(WEB))
    assert each_allocation_fails(shared_lab, (words[0], path, *words[1:])) > 10
    assert shared_lab.cli.json("status")["sequence"] == sequence


def test_what_is_wrong_with_a_file(shared_lab):
    path = shared_lab.write("fabric: lab\nzone: [1\n")
    assert each_allocation_fails(shared_lab, ("validate", path)) > 10


def fairlead_lab(*words, memory=None):
    return subprocess.run([PROGRAM, "lab", *map(str, words)], capture_output=True, text=True,
                          stdin=subprocess.DEVNULL, timeout=60, check=False,
                          env={**os.environ, **(memory.environment if memory else {})})


def test_what_the_lab_does(tmp_path):
    """One that does not come up leaves nothing; what a lab that is up has no memory for ends it, or
    is refused."""
    name = f"test-{secrets.token_hex(4)}"
    file = tmp_path / "pair.yaml"
    file.write_text(PAIR)
    memory = FailingMemory(BUILD, tmp_path / "lab-memory")
    before = -1
    with memory.armed():
        while before != memory.failures:
            before = memory.failures
            for words in (("up", file, "--name", name), ("status", name),
                          ("exec", name, "left", "--", "true"), ("down", name)):
                done = fairlead_lab(*words, memory=memory)
                assert done.returncode >= 0, (words, memory.last(PROGRAM))
                assert done.returncode == 0 or done.stderr.strip(), (words, memory.last(PROGRAM))
            fairlead_lab("down", name)
            assert fairlead_lab("status", name).returncode, "the lab is still there"
    assert memory.failures > 200
