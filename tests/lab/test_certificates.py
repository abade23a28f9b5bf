# SPDX-License-Identifier: Apache-2.0
"""Certificates end, clocks go on: two machines of a fabric whose wall clocks a test sets."""
import os
import struct

import pytest

from lab.host import BUILD, Capsule, wait_for
from test_fabric import PROGRAM, TOPOLOGY, Fabric

DAY_S = 86400


class Aging(Fabric):
    def __init__(self, capsule):
        super().__init__(capsule)
        self.clock = capsule.root / "clock"
        self.set_days(0)

    def set_days(self, days):
        """All wall clocks of the fabric are so far ahead from now on."""
        with open(self.clock, "r+b" if self.clock.exists() else "w+b") as file:
            file.write(struct.pack("=q", days * DAY_S))

    def start(self, name):
        self.nodes[name] = self.capsule.spawn(name, [
            PROGRAM, "run", "--state", self.capsule.root / name / "state"], name, env={
                **os.environ, "LD_PRELOAD": str(BUILD / "tests/lab/fake-clock.so"),
                "FAKE_CLOCK": str(self.clock)})
        self.wait(name)

    def renewals(self, name):
        return self.nodes[name].tail(1000).count("certificate.renewed")

    def certificate(self, name):
        return (self.capsule.root / name / "state/channel/certificate").read_bytes()

    def is_reached_by(self, name):
        return self.clis[name].status().node == "a"


@pytest.fixture(scope="module")
def aging():
    with Capsule(TOPOLOGY, PROGRAM) as capsule:
        running = Aging(capsule)
        token = running.init()
        running.start("a")
        done = running.join("b", token)
        assert done.returncode == 0, done.stderr
        running.start("b")
        wait_for(lambda: running.is_reached_by("b"), "b to reach the voter")
        yield running


def test_they_renew_at_two_thirds_of_their_life(aging):
    before = aging.certificate("a"), aging.certificate("b")
    aging.set_days(19)
    wait_for(lambda: aging.is_reached_by("b"), "b to reach the voter")
    assert (aging.certificate("a"), aging.certificate("b")) == before
    aging.set_days(21)
    for name, old in zip("ab", before):
        wait_for(lambda name=name, old=old: aging.certificate(name) != old,
                 f"{name} to have another certificate", 20)
        assert aging.renewals(name)
    assert aging.is_reached_by("b")
    before = aging.certificate("a"), aging.certificate("b")
    aging.set_days(45)
    wait_for(lambda: aging.certificate("a") != before[0] and aging.certificate("b") != before[1],
             "both to renew again", 20)


def test_who_was_off_past_its_certificates_end_comes_back_by_its_key(aging):
    old = aging.certificate("b")
    aging.nodes["b"].stop()
    aging.nodes["a"].stop()
    aging.set_days(120)
    for name in "a", "b":
        aging.again(name)
    wait_for(lambda: aging.is_reached_by("b"), "b to reach the voter", 20)
    assert aging.certificate("b") != old


def test_a_joiner_whose_clock_is_far_off_is_told(aging):
    """This test's own clock is four months behind the fabric's."""
    done = aging.join("c", aging.token())
    assert done.returncode == 1 and "one of the two clocks is wrong" in done.stderr


def test_who_was_removed_meanwhile_hears_of_it_by_its_key(aging):
    """Its certificate has ended as well, so that no session begins: the answer to its question for
    another one shows it the removal."""
    aging.nodes["b"].stop()
    aging.clis["a"]("node", "remove", "b", "--yes")
    aging.nodes["a"].stop()
    aging.set_days(200)
    for name in "a", "b":
        aging.again(name)
    wait_for(lambda: any(alarm["code"] == "node.removed"
                         for alarm in aging.clis["b"].json("status")["alarms"]),
             "b to be told", 20)
