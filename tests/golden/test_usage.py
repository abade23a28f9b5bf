# SPDX-License-Identifier: Apache-2.0
"""What is wrong with the way that a command is given, command by command as `--help` describes
them: exit status 2 and a sentence, and nobody is asked. Which sentences, test_help.py looks at."""
import re
import subprocess

import pytest

from conftest import CLIENT
from test_help import COMMANDS

GLOBAL_FLAGS = ["help", "version", "watch", "no-color"]


def described(command):
    """(its arguments, its options), each as the usage line and the lists of --help have them."""
    text = subprocess.run([CLIENT, *command.split(), "--help"], text=True, check=True,
                          capture_output=True).stdout
    usage = re.search(r"^usage: fairlead (.*)$", text, re.M)[1].removeprefix(command)
    options = text.partition("\noptions:\n")[2].partition("\n\n")[0]
    return usage.split(), re.findall(r"^  --(\S+)(?: ([A-Z]\S*))?", options, re.M)


def usable(words):
    """What the command takes, so that only one thing is wrong."""
    return [("1" if word == "<entry>" else "word") for word in words if word[0] == "<"
            or word.startswith("[--]")]


def cases():
    for command in COMMANDS:
        words, options = described(command)
        arguments = [word for word in words if word not in ("[options]", "[--]")]
        takes_rest = any("…" in word for word in arguments)
        given = command.split()
        good = given + usable(arguments)
        yield command, "no such option", good[:len(given)] + ["--no-such-option"]
        yield command, "no such short option", given + ["-x"]
        yield command, "a form that is none", given + ["-o", "xml"]
        yield command, "no value of -o", given + ["-o"]
        yield command, "no value of --socket", given + ["--socket"]
        yield command, "an empty --socket", given + ["--socket="]
        for flag in GLOBAL_FLAGS:
            yield command, f"--{flag} with a value", given + [f"--{flag}=yes"]
        if not takes_rest:
            most = good + ["word"] * sum(word[0] == "[" for word in arguments)
            yield command, "a word too many", most + ["one-too-many"]
        for missing in range(sum(word[0] == "<" for word in arguments)):
            yield command, f"{missing} of its arguments", given + usable(arguments)[:missing]
        if "<entry>" in arguments:
            for entry in ("", "x", "-1", "1x", "99999999999999999999"):
                yield command, f"entry {entry}", given + ["--", entry]
        for name, placeholder in options:
            if not placeholder:
                yield command, f"--{name} with a value", given + [f"--{name}=yes"]
                yield command, f"--{name} twice", given + [f"--{name}", f"--{name}"]
                continue
            yield command, f"--{name} without a value", given + [f"--{name}"]
            yield command, f"--{name} that is no text", given + [f"--{name}".encode() + b"=\xff"]
            if placeholder == "N":
                for number in ("", "x", "-1", "1x", "1.5", "99999999999999999999"):
                    yield command, f"--{name} {number}", given + [f"--{name}={number}"]


CASES = list(cases())


@pytest.mark.parametrize("command, what, words", CASES,
                         ids=[f"{command}: {what}" for command, what, _ in CASES])
def test_a_usage_error_is_2(client, command, what, words):
    """Where 2 is asked to mean something else, it is 1."""
    done = client(*words)
    status = 1 if any("--exit-code" in str(word) for word in words) else 2
    assert (done.returncode, done.stdout) == (status, ""), (what, done.stderr)
    assert done.stderr.startswith("fairlead: ") and done.stderr.count("\n") == 1


@pytest.mark.parametrize("words", [["nope", "--help"], ["help", "nope"], ["rollout", "nope", "--help"],
                                   ["help", "rollout", "nope"], [], ["rollout"], [""]], ids=str)
def test_no_such_command(client, words):
    assert client(*words).returncode == 2
