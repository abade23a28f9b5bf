# SPDX-License-Identifier: Apache-2.0
"""Rollouts by shares of clients, and how an operator steers and ends them."""
import contextlib
import re
import socket

import pytest

from lab import topology
from lab.host import LabError, wait_for

ADDRESSES = {4: topology.UPLINK.v4, 6: topology.UPLINK.v6}
NAME = f"web.{topology.ZONE}"
# Client networks as a resolver would tell them (RFC 7871); shares are drawn from their hashes.
PREFIXES = [f"203.0.{number}.0/24" for number in range(128)]
STEPS = "shares: [25%, 50%, 100%], pause: 2s"


@pytest.fixture(scope="module")
def lab(shared_lab):
    shared_lab.apply(shared_lab.fabric(("web1", "web2"), rollout=STEPS))
    shared_lab.wait_states("web", {1: "serving"})
    shared_lab.wait_landings()
    return shared_lab


def answer_to(lab, prefix):
    """(the address, kdig's whole text) that a resolver gets for clients of this prefix."""
    text = lab.capsule.run(["kdig", f"@{ADDRESSES[4]}", NAME, "A", f"+subnet={prefix}"],
                           "client").stdout
    return re.search(r"\sA\s+(\S+)$", text, re.MULTILINE)[1], text


def moved_prefixes(lab, number):
    address = lab.cli.status().services["web"].versions[number].address(4)
    return {prefix for prefix in PREFIXES if answer_to(lab, prefix)[0] == address}


def wait_share(lab, number, share):
    def reached():
        found = lab.cli.status().services["web"].versions[number].share
        if abs(found - share) > 0.001:
            raise LabError(f"it is {found}")
        return True
    wait_for(reached, f"web/{number} to have {share:.0%} of the clients")


def test_shares_only_grow(lab):
    """A quarter of the prefixes moves first and is among the half that moves next; a paused
    rollout stays where it is."""
    lab.apply(lab.fabric(("web1", "web2"), weights={"web1": 1}, rollout=STEPS))
    wait_share(lab, 2, 0.25)
    lab.cli("rollout", "pause", "web")
    quarter = moved_prefixes(lab, 2)
    # 128 draws: five standard deviations on either side.
    assert 8 <= len(quarter) <= 56
    assert "paused" in lab.cli("rollout", "status", "web")
    assert "nothing to change" in lab.cli("rollout", "pause", "web")

    lab.cli("rollout", "resume", "web")
    wait_share(lab, 2, 0.5)
    lab.cli("rollout", "pause", "web")
    half = moved_prefixes(lab, 2)
    assert quarter < half and 36 <= len(half) <= 92

    # In between, both versions serve whoever has their address.
    web = lab.cli.status().services["web"]
    for number in (1, 2):
        assert web.state(number) == "serving"
        for family in ADDRESSES:
            lab.fetch(web.versions[number].address(family))

    lab.cli("rollout", "resume", "web")
    lab.wait_states("web", {1: "draining", 2: "serving"})
    assert moved_prefixes(lab, 2) == set(PREFIXES)


def test_the_answer_tells_its_scope(lab):
    """A resolver may give the answer to no more clients than it is meant for."""
    _, text = answer_to(lab, PREFIXES[0])
    assert re.search(r"203\.0\.0\.0/24/(\d+)", text), text


def test_rollback_in_the_middle_of_a_rollout(lab):
    newest = max(lab.cli.status().services["web"].versions)
    lab.apply(lab.fabric(("web1", "web2"), weights={"web2": 2}, rollout=STEPS))
    wait_share(lab, newest + 1, 0.25)
    lab.cli("rollback", "web")
    lab.wait_states("web", {newest: "serving", newest + 1: "draining"})
    assert moved_prefixes(lab, newest) == set(PREFIXES)


@pytest.mark.parametrize("family", ADDRESSES)
def test_cut_ends_what_is_left(lab, family):
    """Not closed by the backend's program but destroyed under it: the client sees a reset. The
    version, now unused, retires."""
    web = lab.cli.status().services["web"]
    old, began = web.serving.number, web.serving.address(family)
    weight = 50 + family
    with contextlib.ExitStack() as stack:
        with lab.capsule.inside("client"):
            streams = [stack.enter_context(socket.create_connection((began, 80), 3))
                       for _ in range(6)]
        wait_for(lambda: lab.cli.status().services["web"].versions[old].connections == 6,
                 "landing to count the flows")
        lab.apply(lab.fabric(("web1", "web2"), weights={"web1": weight},
                             rollout="shares: [100%]"))
        lab.wait_states("web", {old: "draining"})
        lab.cli("rollout", "cut", f"web/{old}", "--message", "maintenance")
        assert not lab.cli.json("rollout", "cut", f"web/{old}")["changed"]
        for stream in streams:
            stream.settimeout(10)
            with pytest.raises(ConnectionResetError):
                stream.recv(1)
        lab.wait_states("web", {old: "retired"}, seconds=25)


def test_a_serving_version_cannot_be_cut(lab):
    serving = lab.cli.status().services["web"].serving.number
    done = lab.cli.try_("rollout", "cut", f"web/{serving}")
    assert done.returncode == 1 and "drain" in done.stderr
