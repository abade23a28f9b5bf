# SPDX-License-Identifier: Apache-2.0
"""An earlier release's state folder and pins are taken over, under traffic, and no flow breaks."""
import json

import pytest

from faults import open_new_flows, unbroken, wait_clean, window
from lab.job import MainJob
from release import ReleaseLab


@pytest.fixture(scope="module")
def job():
    """The release serves version 1 of web, long flows are open on it, and a change was rolled back:
    version 2 is retired, and late clients of its addresses are version 1's."""
    with ReleaseLab() as lab:
        running = MainJob(lab, window=700)
        running.step_1_create()
        running.step_2_open()
        running.remembered = running.status.services["web"].serving.addresses
        running.step_3_change()
        lab.cli("rollback", "web")
        running.wait_state(2, "retired", seconds=30)
        running.wait_moved(1)
        running.wait(lambda: running.fresh_status().well, "every alarm of the start to end")
        yield running


def promises(job):
    """What must be the same under the next daemon."""
    return {(service.name, version.number):
            (version.state, tuple(version.addresses), tuple(version.late_addresses))
            for service in job.fresh_status().services.values()
            for version in service.versions.values()}


def ledger(lab):
    words = ("log", "--from", "1", "--limit", "1000", "-o", "jsonl")
    return [json.loads(line) for line in lab.cli(*words).splitlines()]


def test_todays_program_takes_over(job):
    """Versions, states and addresses are the same, nothing of the ledger is lost, no datagram is
    lost and no flow moves or breaks."""
    lab = job.lab
    before, entries, build = promises(job), ledger(lab), job.fresh_status().build_id
    lab.cli("verify")
    with unbroken(job), window(job, "from the release") as event, lab.upgrade():
        # A third of the window passes while nobody is there to look after the packets.
        job.wait(lambda: event.probe and event.probe["4"]["sent"] > job.window // 3,
                 "the probe to see no daemon")
    with unbroken(job):
        wait_clean(job)
        open_new_flows(job)
    for family in ("4", "6"):
        assert event.probe[family]["lost"] == event.probe[family]["moved"] == 0, event.probe
    assert job.fresh_status().build_id != build
    assert promises(job) == before
    assert ledger(lab)[:len(entries)] == entries
    lab.cli("verify")


def test_a_change_applies_on_top(job):
    """Its version is numbered after the release's, and the long flows of version 1 stay."""
    job.contents[3] = ("web1", "web2", "web3", "web4")
    with unbroken(job):
        job.lab.apply(job.lab.fabric(job.contents[3]))
        job.wait_state(3, "serving")
        job.wait_state(1, "draining")
        job.wait_moved(3)
    job.lab.cli("verify")


def test_no_flow_broke(job):
    """Every long flow ends well, to its last byte."""
    job.finish()
    counts = job.counts()
    assert counts["broken"] == 0, counts["reasons"]
