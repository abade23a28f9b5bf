# SPDX-License-Identifier: Apache-2.0
"""What keeps an operator from doing what he did not mean: a file that was planned against something
else, and one that leaves out what clients use. The daemon is alone; see test_daemon_alone.py."""
import os
import pty
import re
import shlex
import subprocess

import pytest
from test_daemon_alone import (  # noqa: F401
    PROGRAM, backend, fabric, node, running, service)

from lab.described import fields, undescribed
from lab.host import wait_for

OTHER = (("web3", 13),)


class Operator:
    """Somebody with a file of his own, who types commands."""

    def __init__(self, node, name):  # noqa: F811
        self.node, self.path = node, node.folder / f"{name}.yaml"

    def argv(self, *words):
        return [PROGRAM, "--socket", self.node.socket, *map(str, words)]

    def types(self, *words, text=None):
        if text:
            self.path.write_text(text)
        return subprocess.run(self.argv(*words, self.path), capture_output=True, text=True,
                              stdin=subprocess.DEVNULL, check=False, timeout=60)

    def plans(self, text, *words):
        """What `plan` says, and what it says to type."""
        done = self.types("plan", *words, text=text)
        command = re.search(r"^to apply it: (fairlead .*)$", done.stdout, re.MULTILINE)
        return done, command and shlex.split(command[1])[1:]

    def answers(self, word, *words, meanwhile=lambda: None):
        """At a terminal: what is shown before the question, and how it ends."""
        ours, theirs = pty.openpty()
        process = subprocess.Popen(self.argv("apply", *words, self.path), stdin=theirs,
                                   stderr=theirs, stdout=subprocess.PIPE, text=True)
        os.close(theirs)
        shown = b""
        try:
            while b"[y/N] " not in shown:
                shown += os.read(ours, 65536)
            meanwhile()
            os.write(ours, word.encode() + b"\n")
            said, _ = process.communicate(timeout=60)
            more = b""
            while True:
                try:
                    piece = os.read(ours, 65536)
                except OSError:  # the other side is closed
                    break
                if not piece:
                    break
                more += piece
        finally:
            process.kill()
            os.close(ours)
        return shown.decode(), said, more.decode(), process.returncode


@pytest.fixture
def operators(running):  # noqa: F811
    return Operator(running, "alice's"), Operator(running, "bob's")


def head(node):  # noqa: F811
    return node.ask("status")["sequence"]


def test_the_second_of_two_operators_is_told(running, operators):  # noqa: F811
    """Both planned against the same; each file alone is right."""
    alice, bob = operators
    running.apply(fabric(service("web")))
    running.wait_versions("web", {1: "serving"})
    _, hers = alice.plans(fabric(service("web", OTHER)))
    _, his = bob.plans(fabric(service("web"), service("api")))
    assert hers == ["--socket", str(running.socket), "apply", "--expect", str(head(running)),
                    str(alice.path)]
    assert alice.types(*hers[2:5], "--message", "more room").returncode == 0
    before = running.ask("get")["file"]
    refused = bob.types(*his[2:5])
    assert refused.returncode == 1 and not refused.stdout
    assert re.search(rf"has moved past entry {his[4]}, .* there is entry \d+, by \S+ at "
                     r"20\d\d-\S+ \S+ \(apply: publish web/2: more room\)\. Nothing was changed",
                     refused.stderr), refused.stderr
    assert "plan it again" in refused.stderr and f"log --from {int(his[4]) + 1}" in refused.stderr
    assert running.ask("get")["file"] == before
    # He plans again, against what is there now.
    _, his = bob.plans(fabric(service("web", OTHER), service("api")))
    assert bob.types(*his[2:5]).returncode == 0


def test_of_two_at_the_same_moment_one_is_told(running):  # noqa: F811
    """Each expects what is there when it is read; what comes between reading and writing counts."""
    running.apply(fabric(service("web")))
    with running.connect() as one, running.connect() as two:
        for weight in range(20, 32):
            planned = head(running)
            for client, name in (one, "web1"), (two, "web2"):
                client.send("apply", file="f", expect=planned,
                            text=fabric(service("web", ((name, 11, weight), ("web3", 13)))))
            answers = [client.line() for client in (one, two)]
            assert sorted("data" in answer for answer in answers) == [False, True], answers
            refused, = (answer["error"] for answer in answers if "error" in answer)
            assert refused["code"] == "FL_ECONFLICT"
            assert "(apply: publish web/" in refused["text"] or (
                "another apply is being committed" in refused["text"])
            running.force()


def test_what_the_fabric_does_by_itself_refuses_nobody(running, operators):  # noqa: F811
    """Steps of versions, and a node that starts anew in another role."""
    alice, _ = operators
    running.apply(fabric(service("web")))
    running.wait_versions("web", {1: "serving"})
    running.apply(fabric(service("web", OTHER)))
    running.wait_versions("web", {2: "serving", 1: "draining"})
    _, hers = alice.plans(fabric(service("web")))

    def retired():
        for name in "web1", "web2", "web3":
            running.report(name)
        return running.versions("web")[1] == "retired"
    wait_for(retired, "version 1 to be retired", 20)
    running.child.stop()
    running.start(role="edge", dns=None)
    wait_for(lambda: {entry["kind"] for entry in running.ask("log", **{"from": int(hers[4]) + 1})}
             == {"transition", "member.update"}, "the node to say what it is now")
    assert alice.types(*hers[2:5]).returncode == 0
    assert running.versions("web")[3]


@pytest.mark.parametrize("order, told", [
    (("rollback", {"service": "web"}), "rollback: web: 2 → 1"),
    (("rollout pause", {"service": "web"}), "rollout.pause: web"),
    (("rollout cut", {"version": "web/1"}), "rollout.cut: web/1"),
    (("backend forget", {"backend": "web1"}), "backend.forget: web1"),
], ids=lambda value: value if isinstance(value, str) else value[0])
def test_every_order_moves_the_configuration(running, operators, order, told):  # noqa: F811
    alice, _ = operators
    paused = "pause" in order[0]
    first, second = service("web"), service("web", OTHER)
    if paused:
        first, second = (one.replace("shares: [100%]", "shares: [5%, 100%], pause: 1h")
                         for one in (first, second))
    running.apply(fabric(first))
    running.wait_versions("web", {1: "serving"})
    running.apply(fabric(second))
    running.wait_versions("web", {2: "serving", 1: "serving" if paused else "draining"})
    _, hers = alice.plans(fabric(first))
    assert running.ask(order[0], **order[1])["changed"]
    for words in hers[2:5], [*hers[2:5], "--dry-run"], [*hers[2:5], "--yes"]:
        refused = alice.types(*words)
        assert refused.returncode == 1 and f"({told})" in refused.stderr, refused.stderr


def test_an_entry_that_is_not_there_is_not_expected(running, operators):  # noqa: F811
    alice, _ = operators
    done = alice.types("apply", "--expect", "99", text=fabric(service("web")))
    assert done.returncode == 1 and "the ledger has no entry 99: its newest is" in done.stderr
    assert alice.types("apply", "--expect", "-1").returncode == 2
    assert alice.types("apply", "--expect", "0").returncode == 0


def test_plan_tells_scripts_whether_anything_would_change(running, operators):  # noqa: F811
    alice, _ = operators
    text = fabric(service("web"))
    done, command = alice.plans(text, "--exit-code")
    assert done.returncode == 2 and command
    assert alice.types(*command[2:5]).returncode == 0
    done, command = alice.plans(text, "--exit-code")
    assert (done.returncode, done.stdout, command) == (0, "nothing would change\n", None)
    assert alice.types("plan", text=fabric(service("api"))).returncode == 0
    # What is not known is neither.
    for words in ("plan", "--exit-code", "--nonsense"), ("plan", "--nonsense", "--exit-code"):
        assert alice.types(*words).returncode == 1
    assert alice.types("plan", "--nonsense").returncode == 2
    assert alice.types("plan", "--exit-code", text="fabric: 1").returncode == 1


WHOLE = service("web").replace("[tcp/80]", "[tcp/80, tcp/443]") + service("api", OTHER)
RECORDS = "dns: {records: {mail: {a: 203.0.113.1}, note: {txt: x}}}\n"
LOSSES = {
    "service": (service("web").replace("[tcp/80]", "[tcp/80, tcp/443]"),
                r"api.svc.example.net is NXDOMAIN from then on, and nobody new reaches tcp/80; "
                r"198\.51\.100\.\d+ goes when the last connection there has ended"),
    "port": (service("web") + service("api", OTHER),
             "nobody new reaches web.svc.example.net at tcp/443: version 2 does not have it; "
             "connections on version 1 stay"),
    "zone": (WHOLE, "every name in svc.example.net is REFUSED from then on; only those in "
                    "new.example.net are answered"),
    "record": (WHOLE, r"mail.svc.example.net \(a\) is NXDOMAIN from then on"),
}


@pytest.mark.parametrize("kind", LOSSES)
def test_what_clients_lose_wants_a_yes(running, operators, kind):  # noqa: F811
    alice, _ = operators
    before = fabric(WHOLE) + RECORDS
    running.apply(before)
    running.wait_versions("web", {1: "serving"})
    running.wait_versions("api", {1: "serving"})
    services, loss = LOSSES[kind]
    after = fabric(services) + (RECORDS if kind != "record" else "")
    if kind == "zone":
        after = after.replace("zone: svc.example.net", "zone: new.example.net")
    done, command = alice.plans(after)
    assert re.search(f"^clients lose:\n.*    {loss}$", done.stdout, re.MULTILINE | re.DOTALL), (
        done.stdout)
    answer = running.plan(after)
    assert not undescribed(answer, fields(PROGRAM, "plan"))
    assert [one["kind"] for one in answer["plan"]["losses"] if one["asks"]] == [kind]
    file = running.ask("get")["file"]
    # Nobody is there who could answer.
    for words in command[2:5], ["apply"]:
        refused = alice.types(*words)
        assert refused.returncode == 1 and re.search(f"  {loss}\n", refused.stderr)
        assert "nothing was changed; say --yes to do it" in refused.stderr
    assert '"FL_ECONFIRM"' in alice.types("apply", "-o", "json").stderr
    assert running.ask("get")["file"] == file
    # What only asks for no more than to be told: a txt record, a backend, a new service.
    assert alice.types("apply", text=before.replace("note: {txt: x}", "other: {txt: x}")
                       ).returncode == 0
    assert alice.types("apply", "--yes", text=after).returncode == 0
    assert running.plan(after)["empty"]


def test_the_answer_at_a_terminal_is_about_what_was_shown(running, operators):  # noqa: F811
    alice, _ = operators
    running.apply(fabric(service("web"), service("api", OTHER)))
    running.wait_versions("web", {1: "serving"})
    alice.path.write_text(fabric(service("web")))
    shown, said, more, code = alice.answers("n")
    assert "- service api: DNS stops naming it" in shown and "clients lose:" in shown
    assert (said, code) == ("", 1) and "nothing was changed" in more
    assert len(running.ask("get", kind="services")) == 2
    # Somebody gives an order while she thinks.
    both = fabric(service("web"), service("api", OTHER), service("more", OTHER))
    _, said, more, code = alice.answers("yes", meanwhile=lambda: running.apply(both))
    assert (said, code) == ("", 1) and "has moved past entry" in more and (
        "(apply: publish more/1)" in more)
    assert len(running.ask("get", kind="services")) == 3
    # What she expected herself stays so until the question, and what was shown holds then.
    shown, said, _, code = alice.answers("y", "--expect", str(head(running)))
    assert "- service more" in shown and "applied as entry" in said and code == 0


def test_plan_says_who_is_waited_for_and_what_a_limit_cuts(running, operators):  # noqa: F811
    alice, _ = operators
    limited = {"extra": "    drain_limit: 1h\n"}
    first = service("web", (("web1", 11), ("web2", 12)), **limited)
    done, _ = alice.plans(fabric(first))
    assert "    waits for web1: it has not reported since this daemon started\n" in done.stdout
    running.apply(fabric(first))
    running.wait_versions("web", {1: "serving"})
    for name in "web1", "web2":
        running.report_until_told(name)
        running.report(name, {"198.51.100.1": 7})
    changed = first + backend("web9", 19) + backend("web8", 18, 0)
    answer = running.plan(fabric(changed))
    planned, = answer["plan"]["services"]
    assert [(one["name"], one["address"], one["reason"]) for one in planned["waits"]] == [
        ("web9", "10.0.0.19", "never-reported")]
    assert planned["waits_for"] == 1
    assert planned["versions"] == [{"version": 1, "state": "serving", "connections": 14,
                                    "addresses": ["198.51.100.1"], "cut_after_ms": 3600000}]
    assert not undescribed(answer, fields(PROGRAM, "plan"))
    done, _ = alice.plans(fabric(changed))
    assert ("    waits for web9: it has not reported since this daemon started\n"
            "    14 connections stay on version 1; 0 move\n"
            "    what is left on version 1 is cut 1h after DNS stopped naming it (drain_limit)\n"
            ) in done.stdout
    # What drains already is cut by what the file says now.
    running.apply(fabric(changed))
    running.wait_versions("web", {1: "draining", 2: "serving"})
    shorter = running.plan(fabric(changed.replace("drain_limit: 1h", "drain_limit: 30m")))
    cuts = {one["version"]: one.get("cut_in_ms")
            for one in shorter["plan"]["services"][0]["versions"]}
    assert 1700000 < cuts[1] <= 1800000 and cuts[2] is None
