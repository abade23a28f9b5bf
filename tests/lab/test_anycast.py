# SPDX-License-Identifier: Apache-2.0
"""Every address at several edges, by BGP: real BIRD on edges and router, BFD, and a kernel that shares
flows by a hash. Edges come, go, die and are exchanged under long flows of both families, of which every
byte is checked, and which new ones join all the time; versions roll out meanwhile. No flow breaks.

The tests of this file share one fabric and go in their order.
"""
import json
import signal

import pytest

from lab.fabric import EDGES, PREFIXES, VOTER, FabricLab
from lab.fabric_job import POWER_GAP_MS, FabricJob
from lab.host import wait_for
from lab.traffic_job import FLOWS_WANTED

WINDOW = 500  # datagrams of each family that the probe sends at least in each event


@pytest.fixture(scope="module")
def lab():
    with FabricLab() as running:
        yield running


@pytest.fixture(scope="module")
def job(lab):
    job = FabricJob(lab, window=WINDOW)
    job.create(1)
    job.open(2)
    return job


def gaps(job):
    """How long either family stood still in each event; milliseconds."""
    return {event.title: tuple(event.probe[family]["gap_ms"] for family in "46")
            for event in job.events if event.probe}


@pytest.fixture(autouse=True)
def nothing_breaks(request):
    yield
    job = request.node.funcargs.get("job")
    if job and job.client.child.expected:
        job.refresh()
        assert job.counts()["broken"] == 0, (job.counts()["reasons"], gaps(job))
        assert job.open_flows("on 1") >= FLOWS_WANTED


def test_what_is_announced_is_the_sites_slice(job, lab):
    for edge in lab.first_edges:
        assert sorted(lab.announced(edge)) == sorted(PREFIXES)
    status = json.loads(lab.clis["web1"]("routing", "status", "-o", "json"))
    assert status["announce"] == "none" and not status["prefixes"]
    done = lab.clis["web1"].try_("routing", "config", "bird")
    assert done.returncode == 1 and "--announce bgp" in done.stderr


def test_routes_that_somebody_deletes_come_back(job, lab):
    with job.event(3, "deleted"):
        lab.capsule.run(["ip", "route", "flush", "table", "122"], "edge1")
        wait_for(lambda: len(lab.announced("edge1")) == 2, "the routes to be back")
        assert "routing.lost" in lab.nodes["edge1"].log.read_text()
        job.wait_paths(2)


def test_an_edge_is_added(job):
    job.add(4)
    job.roll("edge3")


def test_flows_land_on_other_edges(job, lab):
    lab.first_edges = EDGES
    job.deal_anew(5)


def test_an_edge_is_killed_without_a_word(job):
    """The daemon alone: its programs forward, and its routes stay."""
    job.kill(6)
    job.roll("edge2")


def test_an_edge_loses_its_power(job):
    """A version rolls out before it is back."""
    job.meanwhile_off = lambda name: job.roll("edge1")
    job.lose_power(7)
    job.wait_paths(3)


def test_an_edge_that_is_stopped_withdraws_first(job, lab):
    job.stop(8)
    assert not lab.announced_without_daemon("edge3")
    with job.event(9, "started"):
        job.roll("edge1")
        lab.start("edge3")
        job.wait_paths(3)


def test_the_second_signal_ends_it_at_once(job, lab):
    with job.event(9, "two signals"):
        process = lab.nodes["edge3"]
        process.expected = False
        process.process.send_signal(signal.SIGTERM)
        wait_for(lambda: not lab.announced_without_daemon("edge3"), "edge3 to withdraw")
        process.process.send_signal(signal.SIGTERM)
        assert process.process.wait(10) == 0
        lab.start("edge3")
        job.wait_paths(3)


def test_a_line_is_cut(job, lab):
    with job.event(10, "line", gap_limit_ms=POWER_GAP_MS):
        lab.capsule.run(["ip", "link", "set", "edge3-eth0", "down"], "router")
        job.wait_paths(2)
        lab.capsule.run(["ip", "link", "set", "edge3-eth0", "up"], "router")
        job.wait_paths(3, 20)


def test_a_channel_is_cut_and_a_version_rolls_out(job):
    job.cut_channel(11)


def test_the_voter_dies_and_comes_back(job):
    job.lose_voter(11)
    job.roll("edge2")


def test_nodes_are_upgraded_one_by_one(job, lab):
    """To another build, with other maps; the voter and a backend as well."""
    for name in (*EDGES, VOTER, "web2"):
        job.upgrade(12, name)
    job.roll("edge1")


def test_an_edge_is_removed(job):
    job.remove(13)
    job.roll("edge2")


def test_every_byte_was_right(job):
    assert job.version(1).state == "draining"
    job.retire(14, further=None)
    job.finish()
    print(gaps(job))
    assert job.verdict() == []
    counts = job.summary()
    assert counts["broken"] == 0 and counts["late"] > 0 and counts["versions"] > 5


SOAK_FLOWS, SOAK_ROLLOUTS = 1000, 20


@pytest.mark.soak
def test_a_thousand_flows_and_twenty_rollouts_under_every_fault():
    """Each fault again, with a thousand long flows, while versions roll out one after the other."""
    with FabricLab(edges=EDGES) as lab:
        job = FabricJob(lab, window=WINDOW, flows=SOAK_FLOWS)
        job.create(1)
        job.open(2)

        def roll(on):
            for _ in range(SOAK_ROLLOUTS):
                job.roll(on)
        job.meanwhile_off = lambda name: roll("edge1")
        for step, (fault, on) in enumerate((
                (lambda step: job.deal_anew(step, range(1, 6)), "edge1"),
                (lambda step: job.kill(step, "edge1"), "edge2"),
                (lambda step: job.lose_power(step, "edge2"), "edge3"),
                (job.stop, "edge2"),
                (lambda step: (lab.start("edge3"), job.wait_paths(3)), "edge3"),
                (job.lose_voter, "edge1"),
                *((lambda step, name=name: job.upgrade(step, name), "edge1")
                  for name in (*EDGES, VOTER, *lab.backends))), start=3):
            fault(step)
            roll(on)
            assert job.counts()["broken"] == 0, job.counts()["reasons"]
        job.retire(90, further=None)
        job.finish()
        assert job.verdict() == []
