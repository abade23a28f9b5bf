# SPDX-License-Identifier: Apache-2.0
"""What the command line teaches, and how it refuses what it does not understand."""

import re
import subprocess

import pytest

from conftest import CLIENT, answer, say

COMMANDS = ["init", "join", "run", "validate", "plan", "apply", "status", "get", "describe", "rollout status",
            "rollout pause", "rollout resume", "rollout cut", "rollback", "undo", "token", "node remove",
            "routing status", "routing config", "backend forget",
            "store recover", "store resume", "log", "verify", "events", "doctor", "detach", "lab up", "lab exec", "lab status",
            "lab unplug", "lab plug", "lab down"]

KINDS = ["services", "versions", "backends", "bindings", "pools", "sites", "nodes"]


def listed(overview):
    body = overview.partition("commands:\n")[2].partition("\n\n")[0]
    return [re.split(r"  +", line.strip())[0] for line in body.splitlines()]


def test_overview(client, golden):
    done = client("--help")
    assert (done.returncode, done.stderr) == (0, "")
    golden("help.txt", done.stdout)
    assert listed(done.stdout) == COMMANDS


def test_version(client):
    done = client("--version")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(r"fairlead \d+\.\d+\.\d+\n", done.stdout)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of(client, golden, command):
    done = client(*command.split(), "--help")
    assert (done.returncode, done.stderr) == (0, "")
    golden(f"help_{command.replace(' ', '_')}.txt", done.stdout)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_fits_a_terminal(client, command):
    for line in client(*command.split(), "--help").stdout.splitlines():
        # Examples are to be copied whole.
        assert len(line) <= 100 or line.startswith("  fairlead "), line


@pytest.mark.parametrize("command", COMMANDS)
def test_examples_are_understood(client, command):
    """Each example of the help, asked for its help, is a command line that parses. What `lab exec`
    is given behind the machine is another program's, so `--help` comes before."""
    text = client(*command.split(), "--help").stdout
    examples = text.partition("examples:\n")[2].splitlines()
    assert examples
    for example in examples:
        words = re.sub(r" > \S+$", "", example.strip())
        assert words.startswith(f"fairlead {command}")
        arguments = words.removeprefix(f"fairlead {command}")
        done = subprocess.run(["bash", "-c", f'"$0" {command} --help {arguments}',
                               CLIENT], capture_output=True, text=True, check=False)
        # A kind of `get` has a help of its own.
        kind = arguments.strip() if command == "get" and arguments.strip() in KINDS else None
        assert (done.returncode, done.stdout) == \
            (0, client("get", kind, "--help").stdout if kind else text), example


@pytest.mark.parametrize("kind", KINDS)
def test_help_of_a_kind(client, golden, kind):
    done = client("get", kind, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    golden(f"help_get_{kind}.txt", done.stdout)
    assert all(len(line) <= 100 for line in done.stdout.splitlines())
    assert kind in client("get", "--help").stdout


@pytest.mark.parametrize("words", [["lab", "--help"], ["help", "lab"]], ids=" ".join)
def test_help_of_a_group(client, golden, words):
    """The first word of two shows what may follow."""
    done = client(*words)
    assert (done.returncode, done.stderr) == (0, "")
    golden("help_lab.txt", done.stdout)


@pytest.mark.parametrize("words", [
    ["help", "apply"], ["-h", "apply"], ["apply", "-h"], ["apply", "--help", "f.yaml"],
    ["--socket", "/nowhere", "apply", "--help"],
], ids=" ".join)
def test_ways_to_ask(client, words):
    assert client(*words).stdout == client("apply", "--help").stdout


USAGE = [
    ([], "say what to do; `fairlead --help` lists the commands"),
    (["aply"], 'there is no command "aply"; is `apply` meant?'),
    (["frobnicate"], 'there is no command "frobnicate"; `fairlead --help` lists them all'),
    (["rollout"], "after `rollout` comes one of: status, pause, resume, cut"),
    (["rollout", "puase", "web"],
     'there is no command "rollout puase"; is `rollout pause` meant?'),
    (["rollout", "explode"], "after `rollout` comes one of: status, pause, resume, cut"),
    (["landing", "report"], 'there is no command "landing"; `fairlead --help` lists them all'),
    (["apply"], "`apply` needs <file>: the configuration; - reads standard input"),
    (["apply", "a", "b"], '"b" is one word too many for `apply`'),
    (["apply", "a", "b", "c", "d", "e", "f", "g"], '"g" is one word too many'),
    (["apply", "a", "--mesage", "x"], "`apply` has no option --mesage; is --message meant?"),
    (["verify", "--deeply"], "`verify` has no option --deeply; `fairlead verify --help` lists "
     "them"),
    (["--message", "x", "apply"],
     "--message stands before a command that takes it; `fairlead --help` lists the commands"),
    (["apply", "a", "--message"], "--message needs a value"),
    (["apply", "a", "--message=x", "--message=y"], "--message is given twice"),
    (["apply", "a", "--dry-run=yes"], "--dry-run takes no value"),
    (["status", "--watch=no"], "--watch takes no value"),
    (["status", "-x"], "there is no option -x"),
    (["status", "-o"], "--output needs a value"),
    (["status", "-o", "xml"], "-o xml: it takes table, json, jsonl or yaml"),
    (["log", "--limit", "ten"], "--limit ten: it takes a number of 0 or more"),
    (["log", "--limit", "-1"], "--limit -1: it takes a number of 0 or more"),
    (["log", "--limit", "+1"], "--limit +1: it takes a number of 0 or more"),
    (["log", "--limit="], "--limit : it takes a number of 0 or more"),
    (["log", "--limit", "99999999999999999999"],
     "--limit 99999999999999999999: it takes a number of 0 or more"),
    (["lab"], "after `lab` comes one of: up, exec, status, unplug, plug, down"),
    (["lab", "exec", "rack", "edge"],
     "`lab exec` needs <command>: the program and its arguments"),
    (["lab", "exec", "rack", "edge", "--"],
     "`lab exec` needs <command>: the program and its arguments"),
    (["lab", "exec", "rack"], "`lab exec` needs <machine>: name of the machine"),
    (["lab", "up", "-"],
     "a topology from standard input has no name: give it one by --name"),
    (["lab", "up", "My Lab.yaml"],
     'My Lab.yaml: "My Lab" cannot be the name of a lab: names are written in lower case; '
     '--name gives it another'),
    (["rollback", b"\xff"], "<service> is not UTF-8 text"),
    (["rollback", "web", b"--message=\xff"], "--message: the value is not UTF-8 text"),
    (["apply", "a", "--watch"],
     "--watch repeats what only shows something, which `apply` does not"),
]


@pytest.mark.parametrize("words, sentence", USAGE, ids=[str(words) for words, _ in USAGE])
def test_usage(client, words, sentence):
    done = client(*words)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"fairlead: {sentence}\n")


@pytest.mark.parametrize("words", [
    ["-ojson", "status"], ["--output=json", "status"], ["status", "--output", "json"],
    ["--no-color", "status", "-o", "json"],
], ids=" ".join)
def test_ways_to_say_the_form(client, daemon, words):
    daemon(say(answer({"a": 1})))
    assert client(*words).stdout == '{\n  "a": 1\n}\n'


def test_dashes_end_the_options(client, daemon):
    node = daemon(say(answer({"service": "--message", "changed": False, "sequence": 0})))
    assert client("rollback", "--", "--message").returncode == 0
    assert node.requests[0]["parameters"] == {"service": "--message"}
