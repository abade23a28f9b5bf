# SPDX-License-Identifier: Apache-2.0
"""What `fairlead lab` shows of a lab. The lab is a socket that says what the test wants; that labs
say so themselves, tests/lab/test_lab.py shows."""
import json
import secrets
import socket
import threading

import pytest

from conftest import CLIENT
from lab.described import fields, undescribed


def way(there=True, **more):
    return {"from": "edge:up0", "to": "net:edge", "there": there, "delay_ms": 0.0, "loss": 0.0,
            "sent": 7, "passed": 7, "lost": 0, "full": 0, "too_big": 0} | more


STATUS = {
    "lab": "rack", "topology": "/somewhere/rack.yaml", "up_ms": 75000, "root": "/run/lab",
    "machines": [
        {"name": "net", "forwards": True, "interfaces": [
            {"name": "br0", "addresses": ["10.0.1.1/24", "fd00:1::1/64"]},
            {"name": "edge", "link": "uplink", "addresses": []}]},
        {"name": "edge", "forwards": False, "interfaces": [
            {"name": "up0", "link": "uplink", "addresses": ["10.0.0.2/24"]}]},
        {"name": "alone", "forwards": False, "interfaces": []}],
    "links": [
        {"name": "uplink", "mtu": 1500, "ways": [way(), way(False)]},
        {"name": "ocean", "mtu": 1400, "ways": [
            way(delay_ms=45.0, loss=0.0099945, rate=5000000, sent=1200, lost=13, full=4, too_big=1),
            way(delay_ms=45.0, rate=64000)]}],
    "processes": [
        {"name": "edge", "machine": "edge", "pid": 12, "alive": True, "state": "running",
         "log": "/run/lab/log/edge.log", "command": "fairlead run"},
        {"name": "web", "machine": "alone", "pid": 13, "alive": False, "state": "exit code 1",
         "log": "/run/lab/log/web.log", "command": "nginx"}],
    "try": []}


@pytest.fixture
def lab():
    """lab(answer): the name of a lab that gives this answer once."""
    listeners = []

    def start(answer):
        name = f"golden-{secrets.token_hex(4)}"
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(f"\0fairlead-lab/{name}")
        listener.listen()
        listeners.append(listener)
        start.asked = []

        def serve():
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection, connection.makefile("rb") as lines:
                    if line := lines.readline():  # else somebody only looked who is there
                        start.asked.append(json.loads(line))
                        connection.sendall(json.dumps(answer).encode() + b"\n")
        threading.Thread(target=serve, daemon=True).start()
        return name

    yield start
    for listener in listeners:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


@pytest.mark.parametrize("form", ["table", "json"])
def test_status(client, golden, lab, form):
    done = client("lab", "status", lab({"data": STATUS}), "-o", form)
    assert (done.returncode, done.stderr) == (0, "")
    shown = done.stdout
    if form == "json":
        data = json.loads(shown)
        assert data.pop("pid") > 0
        shown = json.dumps(data, indent=2) + "\n"
    golden(f"lab_status.{form}", shown)


def test_a_status_is_what_the_help_describes():
    assert not undescribed(STATUS, fields(CLIENT, "lab", "status"))


def test_status_of_less_than_expected(client, golden, lab):
    """An answer of another release is shown as far as it goes."""
    odd = {"lab": "odd\x1b", "machines": 5, "links": [{"ways": [{}]}], "processes": [{}]}
    golden("lab_status_odd.table", client("lab", "status", lab({"data": odd})).stdout)


@pytest.mark.parametrize("verb, already, sentence", [
    ("plug", False, "The link uplink is there again.\n"),
    ("plug", True, "The link uplink is in place already.\n"),
    ("unplug", False, "The link uplink is cut.\n"),
    ("unplug", True, "The link uplink is cut already.\n")])
def test_links(client, lab, verb, already, sentence):
    name = lab({"data": {"lab": "rack", "link": "uplink", "plugged": verb == "plug",
                         "already": already}})
    assert client("lab", verb, name, "uplink").stdout == sentence
    asked, = lab.asked
    assert asked == {"verb": f"lab {verb}", "parameters": {"topology": name, "link": "uplink"}}


@pytest.mark.parametrize("words, beginning", [
    (["a b.yaml"], 'a b.yaml: "a b"'),
    (["mine.yaml", "--name", "a b/c"], '--name: "a b/c"'),
    (["mine.yaml", "--name", "other.yaml"], '--name: "other.yaml"'),
    (["mine.yaml", "--name", "n" * 64], f'--name: "{"n" * 64}"')])
def test_names_that_are_none(client, words, beginning):
    """What --name says is the name as it stands; only a file's is cut out of its path."""
    done = client("lab", "up", *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"fairlead: {beginning} cannot be the name of a lab: ")


def test_down_of_one_that_is_not_up_names_those_that_are(client, lab):
    others = {lab({}), lab({})}
    done = client("lab", "down", "no-such-lab")
    assert (done.returncode, done.stdout) == (0, "no-such-lab was not up.\n")
    beginning = "fairlead: these are up: "
    assert done.stderr.startswith(beginning) and done.stderr.endswith("\n")
    assert others <= set(done.stderr.strip().removeprefix(beginning).split(", "))


@pytest.mark.parametrize("answer, sentence", [
    ({"error": {"code": "FL_ENOTFOUND", "text": "there is no link rope"}}, "there is no link rope"),
    ({}, "the daemon's answer has neither data nor error"),
    ([], "the daemon's answer is not a JSON object")])
def test_refusals(client, lab, answer, sentence):
    done = client("lab", "plug", lab(answer), "rope")
    assert (done.returncode, done.stdout, done.stderr) == (1, "", f"fairlead: {sentence}\n")
