# SPDX-License-Identifier: Apache-2.0
"""`--wait`: how far a rollout is, that it has ended, and everything else that ends the waiting."""

import contextlib
import itertools
import os
import pty
import signal
import time

import pytest
from conftest import answer, blocks, refusal

OLDER = {"service": "web", "number": 1, "state": "draining",
         "waits": [{"reason": "connections", "text": "its connections have ended"}],
         "backends": [{"name": "web1", "connections": 2}]}
APPLIED = {"plan": {"services": [{"service": "web", "new_version": True, "to_version": 2},
                                 {"service": "api", "new_version": False, "to_version": 1}]},
           "changed": True, "sequence": 7, "text": "", "warnings": ""}
ROLLED_BACK = {"service": "web", "from": 3, "to": 1, "published": 0, "backends": ["web1"],
               "changed": True, "sequence": 7}


def rollout(share, **more):
    return {"service": "web", "base": 1, "target": 2, "share": share, "step": 1, "steps": 2,
            "paused": False, "under_way": True, "older": [], **more}


FIRST = rollout(0.05, next_step_in_ms=42700)
DONE = rollout(1.0, base=2, under_way=False)


def turns(*lines):
    """One line a request; the last one goes on."""
    left = itertools.chain(lines, itertools.repeat(lines[-1]))

    def serve(connection, requests):
        next(requests)
        connection.sendall(next(left))
    return serve


def rollouts(*one_by_one):
    return [answer([one]) for one in one_by_one]


def said(done):
    return (done.returncode, done.stderr)


def test_a_rollout_is_waited_for_and_shown(client, daemon):
    """A line for each news, and none for what a clock alone changes."""
    node = daemon(turns(*rollouts(FIRST, FIRST, rollout(0.05, next_step_in_ms=41700),
                                  rollout(0.05, paused=True), DONE)))
    done = client("rollout", "status", "web", "--wait")
    assert said(done) == (0, (
        "fairlead: waiting: web: version 2 has 5% of the clients, step 1 of 2\n"
        "fairlead: waiting: web: version 2 has 5% of the clients, step 1 of 2; paused; "
        "`fairlead rollout resume web` lets it go on\n"
        "fairlead: version 2 of web has all clients\n"))
    assert done.stdout.splitlines()[1].split() == ["web", "-", "2", "100%", "-", "complete"]
    assert all(one == {"verb": "rollout status", "parameters": {"service": "web"}}
               for one in node.requests)


def test_nothing_is_waited_for_where_nothing_was_ordered(client, daemon):
    node = daemon(turns(answer({**APPLIED, "dry_run": True})))
    assert client("apply", "-", "--dry-run", "--wait", input="x").returncode == 0
    assert len(node.requests) == 1


def test_what_has_ended_is_not_waited_for(client, daemon):
    daemon(turns(*rollouts(DONE)))
    assert said(client("rollout", "status", "web", "--wait")) == (
        0, "fairlead: version 2 of web has all clients\n")


def test_a_program_gets_nothing_but_the_answer(client, daemon):
    daemon(turns(*rollouts(FIRST, FIRST, DONE)))
    done = client("rollout", "status", "web", "--wait", "-o", "jsonl")
    assert said(done) == (0, "") and '"under_way":false' in done.stdout


@pytest.mark.parametrize("words, first", [(["apply", "-"], APPLIED), (["rollback", "web"],
                                                                     ROLLED_BACK)])
def test_orders_wait_for_what_they_began(client, daemon, words, first):
    target = 2 if first is APPLIED else 1
    node = daemon(turns(answer(first), *rollouts({**FIRST, "target": target},
                                                 {**DONE, "target": target, "base": target})))
    done = client(*words, "--wait", "--timeout", "1h", "--message", "why", input="x")
    assert done.returncode == 0
    assert done.stderr.endswith(f"fairlead: version {target} of web has all clients\n")
    assert not {"wait", "timeout", "retired"} & set(node.requests[0]["parameters"])
    assert [one["verb"] for one in node.requests[1:]] == ["rollout status"] * 2


def test_a_file_that_is_applied_already_may_be_on_its_way(client, daemon):
    """Of all services those whose rollouts are under way; what has ended needs no line."""
    empty = {"plan": {"services": []}, "empty": True, "changed": False, "sequence": 0, "text": "",
             "warnings": ""}
    others = [{**DONE, "service": "api"}, {**FIRST, "service": "mail"}]
    node = daemon(turns(answer(empty), answer([FIRST, *others]), answer([FIRST, *others]),
                        answer([DONE, *others]), *rollouts({**DONE, "service": "mail"})))
    done = client("apply", "-", "--wait", input="x")
    assert said(done) == (0, (
        "fairlead: waiting: web: version 2 has 5% of the clients, step 1 of 2 (and 1 more)\n"
        "fairlead: version 2 of web has all clients\n"
        "fairlead: waiting: mail: version 2 has 5% of the clients, step 1 of 2\n"
        "fairlead: version 2 of mail has all clients\n"))
    assert [one["parameters"] for one in node.requests[1:]] == [{}, {}, {}, {"service": "mail"}]


def test_older_versions_are_waited_for_on_demand(client, daemon):
    daemon(turns(*rollouts(DONE, {**DONE, "older": [OLDER]}, DONE)))
    assert said(client("rollout", "status", "web", "--retired")) == (0, (
        "fairlead: waiting: web: version 2 has all clients; web/1 drains until its connections "
        "have ended; web1 has 2\n"
        "fairlead: version 2 of web has all clients, and no older one drains\n"))


def test_it_says_for_whom_the_version_waits(client, daemon):
    waits = [{"name": "web9", "text": "it is silent"}]
    edges = {"reason": "edges", "text": "every edge that is heard holds it (edge2 does not)"}
    daemon(turns(*rollouts(rollout(0, wait=edges), rollout(0, wait=edges),
                           rollout(0, waits=waits, waits_for=4), DONE)))
    lines = client("rollout", "status", "web", "--wait").stderr.splitlines()
    assert lines[0].endswith("; it waits until every edge that is heard holds it (edge2 does not)")
    assert lines[1].endswith("; it waits for web9: it is silent (and for 3 more)")


def test_a_later_order_ends_the_waiting(client, daemon):
    daemon(turns(answer(APPLIED), *rollouts(FIRST, {**FIRST, "target": 3})))
    done = client("apply", "-", "--wait", input="x")
    assert done.returncode == 1
    assert done.stderr.endswith(
        "fairlead: version 2 of web is superseded: by a later order clients go to version 3; "
        "`fairlead log` says who gave it\n")


def test_a_version_that_had_all_clients_has_reached_its_end(client, daemon):
    """Although the next one came between two looks."""
    daemon(turns(answer(APPLIED), *rollouts(FIRST, {**FIRST, "base": 2, "target": 3})))
    assert client("apply", "-", "--wait", input="x").returncode == 0


@pytest.mark.parametrize("gone", [answer([rollout(0, base=0, target=0, under_way=False)]),
                                  refusal("FL_ENOTFOUND", "there is no service web")])
def test_a_removed_service_ends_the_waiting(client, daemon, gone):
    daemon(turns(answer(APPLIED), *rollouts(FIRST), gone))
    done = client("apply", "-", "--wait", input="x")
    assert done.returncode == 1 and "the service was removed" in done.stderr


def test_the_waiting_has_an_end(client, daemon):
    daemon(turns(*rollouts(rollout(0.05, paused=True))))
    done = client("rollout", "status", "web", "--timeout", "1s")
    assert done.returncode == 3 and not done.stdout
    assert done.stderr.splitlines()[-1] == (
        "fairlead: web: version 2 has 5% of the clients, step 1 of 2; paused; `fairlead rollout "
        "resume web` lets it go on: --timeout is over; the order stays in force, and the rollout "
        "of web goes on: `fairlead rollout status` shows it")


def test_waiting_for_slots_has_an_end_too(client, daemon):
    text = "pool 198.51.100.0/29 has no free slot; 1 idle, 0 closing: it is being freed"
    daemon(turns(refusal("FL_EWAIT", text)))
    done = client("apply", "-", "--timeout", "1s", input="x")
    assert done.returncode == 3
    assert done.stderr.splitlines()[-1] == (
        f"fairlead: --timeout is over, and nothing was changed: {text}")


@pytest.mark.parametrize("words, sentence", [
    (["--timeout", "soon"], '--timeout: "soon" is not a duration: '),
    (["--timeout", "0s"], '--timeout: there is no time in "0s"')])
def test_a_timeout_is_a_duration(client, words, sentence):
    done = client("rollout", "status", *words)
    assert done.returncode == 2 and sentence in done.stderr


def test_an_interrupt_ends_the_waiting_only(daemon, start):
    node = daemon(turns(answer(APPLIED), *rollouts(FIRST)))
    process = start("apply", "/dev/null", "--wait")
    while not blocks(process, signal.SIGINT) or len(node.requests) < 2:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, messages = process.communicate(timeout=60)
    assert process.returncode == 130
    assert messages.splitlines()[-1] == (
        "fairlead: interrupted; the order stays in force, and the rollout of web goes on: "
        "`fairlead rollout status` shows it")


def test_a_daemon_that_is_replaced_is_waited_for(daemon, start):
    node = daemon(turns(*rollouts(FIRST)))
    process = start("rollout", "status", "web", "--wait")
    while len(node.requests) < 2:
        time.sleep(0.01)
    node.close()
    os.unlink(daemon.path)
    time.sleep(1.5)
    daemon(turns(*rollouts(DONE)))
    _, messages = process.communicate(timeout=60)
    assert process.returncode == 0 and "nothing answers on" in messages


def test_a_terminal_shows_one_line_that_changes(daemon, start, environment):
    environment["COLUMNS"] = "60"
    daemon(turns(*rollouts(FIRST, FIRST, rollout(0.05, next_step_in_ms=31000), DONE)))
    ours, theirs = pty.openpty()
    process = start("rollout", "status", "web", "--wait", stderr=theirs)
    os.close(theirs)
    process.communicate(timeout=60)
    shown = b""
    with contextlib.suppress(OSError):  # which is how the end of a terminal reads
        while chunk := os.read(ours, 65536):
            shown += chunk
    shown = shown.decode()
    os.close(ours)
    lines = shown.split("\r\x1b[K")
    assert lines[1] == "waiting: web: version 2 has 5% of the clients, step 1 of 2…"
    assert lines[-1] == "fairlead: version 2 of web has all clients\r\n"
    assert all(len(line) < 60 for line in lines) and process.returncode == 0
