# SPDX-License-Identifier: Apache-2.0
"""`status` and `get` on any node: the whole fabric, whose word it is, what would not outlive one
machine, and what to do next. The topology is test_fabric.py's; the tests go on from each other."""
import json
import signal

import pytest

from lab.host import Capsule, wait_for
from test_fabric import PROGRAM, SERVER, TOPOLOGY, Fabric

JOINERS = {"b": [], "c": ["--metrics", "10.99.99.99:7124"]}  # c has no such address


class Watched(Fabric):
    def options(self, name):
        return [*super().options(name), *JOINERS.get(name, [])]

    def ask(self, name):
        return self.clis[name].json("status")

    def codes(self, name, kind):
        return {alarm["code"] for alarm in self.ask(name)[kind]}


@pytest.fixture(scope="module")
def fabric():
    with Capsule(TOPOLOGY, PROGRAM) as capsule:
        running = Watched(capsule)
        for name in running.clis:
            capsule.spawn(f"http-{name}", ["python3", "-c", SERVER, name], name)
        running.token_of_init = running.init()
        running.start("a")
        yield running


def test_the_first_node_says_what_comes_next(fabric):
    wait_for(lambda: fabric.ask("a")["nodes"], "the first member")
    status = fabric.ask("a")
    assert [line.split()[0] for line in status["next"]] == ["let", "write"]
    assert "fairlead token" in status["next"][0] and "fairlead apply" in status["next"][1]
    assert fabric.codes("a", "risks") == {"single.voter", "single.edge", "single.names"}
    assert all(risk["severity"] == "risk" and risk["advice"] for risk in status["risks"])


def test_what_is_no_single_machine_any_more(fabric):
    token = fabric.token_of_init
    for name in JOINERS:
        assert fabric.join(name, token).returncode == 0
        fabric.start(name)
        token = fabric.token()
    wait_for(lambda: fabric.codes("c", "risks") == {"single.voter"}, "the other edges to count")
    assert not any("token" in line for line in fabric.ask("b")["next"])
    fabric.apply("b", on="c")
    assert fabric.codes("b", "risks") == {"single.voter", "single.backend"}
    fabric.apply("b", "a", on="b")
    assert fabric.codes("c", "risks") == {"single.voter"}


def test_any_node_tells_of_all(fabric):
    """The voter answers, and says so; who asked is named."""
    def told(name):
        status = fabric.ask(name)
        nodes = {node["name"]: node for node in status["nodes"]}
        return (status["asked"], status["node"]) == (name, "a") and set(nodes) == {"a", "b", "c"} and (
            all(node["heard_ms"] < 3000 and node["behind"] == 0 and node["site"] == "main"
                and node["applied"] == status["sequence"] for node in nodes.values())) and (
            nodes["a"]["roles"] == "edge,names,backend,voter" and nodes["c"]["level"] >= 1) and (
            "voter_silent_ms" not in status)
    for name in "a", "b", "c":
        wait_for(lambda name=name: told(name), f"{name} to tell of all")
        assert fabric.clis[name].json("get", "nodes")
        assert {backend["name"] for backend in fabric.clis[name].json("get", "backends")} >= {
            "a", "b"}
        (site,) = fabric.clis[name].json("get", "sites")
        assert [site[key] for key in ("nodes", "edges", "names", "backends")] == [3, 3, 3, 2]
    text = fabric.clis["c"]("status")
    assert text.startswith("c was asked, and the voter answers: a at main: fairlead ")
    assert "\nnodes\n" in text and "\nsingle points of failure\n" in text
    assert fabric.clis["a"]("status").startswith("a at main: fairlead ")


def test_what_is_wrong_anywhere_is_told_everywhere(fabric):
    """c was told to be read at an address that it has not."""
    def told(name):
        return [alarm for alarm in fabric.ask(name)["alarms"]
                if alarm["code"] == "metrics.closed" and alarm["subject"] == "node/c"]
    for name in "a", "b", "c":
        (alarm,) = wait_for(lambda name=name: told(name), f"{name} to tell of it")
        assert alarm["text"].startswith("node c: metrics cannot be read: 10.99.99.99 port 7124")
        assert "--metrics" in alarm["advice"]
        assert fabric.ask(name)["next"][0].startswith("see to the alarms")
    fabric.capsule.run(["ip", "address", "add", "10.99.99.99/32", "dev", "lo"], "c")
    for name in "a", "b", "c":
        wait_for(lambda name=name: not told(name), f"{name} to tell that it is over")


def test_what_a_rollout_waits_for(fabric):
    """A backend whose landing is not there."""
    fabric.nodes["c"].stop()
    number = fabric.apply("c", wait=False)
    wait_for(lambda: any(f"version {number} of web waits for" in line
                         and "fairlead rollout status web" in line
                         for line in fabric.ask("b")["next"]), "b to tell what it waits for")
    fabric.again("c")
    fabric.wait_state(number, "serving", "b", 20)
    wait_for(lambda: not fabric.ask("b")["next"], "nothing to be left to do", 20)


def test_who_is_silent_is_told(fabric):
    fabric.nodes["c"].stop(signal.SIGKILL)

    def told():
        status = fabric.ask("b")
        (node,) = [node for node in status["nodes"] if node["name"] == "c"]
        return node["heard_ms"] > 3000 and [
            alarm for alarm in status["alarms"]
            if (alarm["code"], alarm["subject"]) == ("member.silent", "node/c")]
    (alarm,) = wait_for(told, "b to tell that c is silent", 20)
    assert "every closing waits for it" in alarm["text"]
    fabric.again("c")
    wait_for(lambda: "member.silent" not in fabric.codes("b", "alarms"), "c to be heard")
    # A voter that starts anew heard nobody yet, and does not cry at once.
    fabric.nodes["c"].stop()
    fabric.nodes["a"].stop()
    fabric.again("a")
    wait_for(lambda: "member.never-heard" in fabric.codes("a", "alarms"), "a to miss c", 20)
    fabric.again("c")
    wait_for(lambda: not fabric.codes("a", "alarms"), "nothing to be wrong", 20)


def test_who_reaches_nobody_says_how_stale_he_is(fabric):
    before = fabric.ask("b")["sequence"]
    fabric.unplug("b")
    try:
        def stale():
            status = fabric.ask("b")
            return status["node"] == "b" and status["voter_silent_ms"] > 1000 and status
        status = wait_for(stale, "b to know that it is alone", 20)
        assert status["asked"] == "b" and status["sequence"] == before
        assert {node["name"] for node in status["nodes"]} == {"a", "b", "c"}
        (alarm,) = [one for one in status["alarms"] if one["code"] == "voter.unreached"]
        assert f"ledger entry {before}" in alarm["text"]
        assert not {one["code"] for one in status["alarms"]} & {"member.silent",
                                                                "member.never-heard"}
        text = fabric.clis["b"]("status")
        assert "stale   no voter was heard for " in text
        later = json.loads(fabric.clis["b"]("status", "-o", "json"))
        assert later["voter_silent_ms"] > status["voter_silent_ms"]
    finally:
        fabric.plug("b")
    wait_for(lambda: fabric.ask("b")["node"] == "a", "b to reach the voter", 20)
