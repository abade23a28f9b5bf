# SPDX-License-Identifier: Apache-2.0
"""A disk that fails under open files: the state of a forwarding edge lies on one that the kernel
turns read-only, and on one that answers every read and write with an I/O error."""
import signal

import pytest

from disks import Disk
from faults import dig, edge_stopped, everything_comes_back, forwarding_goes_on, wait_alarm
from lab import topology
from lab.host import wait_for

UP = topology.UPLINK
ATTEMPTS_MS = 3000  # in which the daemon has tried the store again, once a second
EVENTS = "store.failed", "copy.failed"


@pytest.fixture(scope="module")
def disk(job):
    """The edge's state is moved to it."""
    with edge_stopped(job.lab, signal.SIGTERM):
        disk = Disk(job.lab.capsule, job.lab.root / "edge/state")
    return disk


@pytest.fixture(autouse=True)
def back(job, disk):
    with everything_comes_back(job):
        yield


def acknowledge(job, quiet):
    """An order right before the fault; the ledger entry that must be there after it."""
    job.lab.apply(job.lab.fabric(("web1", "web2", "web3"), quiet=quiet))
    return job.lab.cli.json("status")["sequence"]


def assert_refused(job, *words):
    done = job.lab.cli.try_("apply", job.lab.write(job.lab.fabric(("web1",)), "refused.yaml"))
    assert done.returncode == 1 and not done.stdout
    for word in words:
        assert word in done.stderr, done.stderr


def counts(job):
    text = job.lab.edge.log.read_text()
    return {name: text.count(name) for name in EVENTS}


def wait_attempts(job, event):
    before = event.probe["4"]["sent"] if event.probe else 0
    job.wait(lambda: event.probe and event.probe["4"]["sent"] >= before + ATTEMPTS_MS,
             "the probe to go on", 3 * ATTEMPTS_MS / 1000)


def assert_goes_on(job):
    """Names, what is shown, and what landings report."""
    status = job.lab.cli.json("status")
    assert dig(job.lab, UP.v4)
    assert not [one["name"] for one in status["backends"] if one["silent"]]


def assert_kept(job, acknowledged, quiet):
    """After the repair: what was acknowledged is there, and orders are taken."""
    wait_for(lambda: job.lab.cli.json("status")["state"]["origin"] == "store", "the store", 15,
             job.refresh)
    assert job.lab.cli.json("status")["sequence"] == acknowledged
    assert f"quiet: {quiet}" in job.lab.cli("get", "-o", "yaml")
    assert acknowledge(job, "3s") == acknowledged + 1
    assert job.lab.cli.json("verify")["sound"]


def test_a_disk_turns_read_only(job, disk):
    """By the kernel, which found an error. Nothing mounts it writable then while a file is open on
    it; so the daemon is restarted, holds none, and takes the repaired disk by itself."""
    acknowledged = acknowledge(job, "4s")
    with forwarding_goes_on(job, "disk read-only") as event:
        before = counts(job)
        disk.find_error()
        for _ in range(3):
            assert_refused(job, "file system is read-only; nothing was changed", "fsck")
        said = wait_alarm(job, "the store takes no changes", "read-only")
        assert "restart the daemon" in said and "fsck" in said
        wait_attempts(job, event)
        assert_refused(job, "read-only")
        assert_goes_on(job)
        assert job.lab.cli.json("status")["sequence"] == acknowledged
        assert job.lab.cli.json("verify")["sound"]
        assert counts(job)["store.failed"] == before["store.failed"] + 1
        assert counts(job)["copy.failed"] <= before["copy.failed"] + 1
    with forwarding_goes_on(job, "read-only, restarted"):
        with edge_stopped(job.lab, signal.SIGTERM):
            pass
        said = wait_alarm(job, "nothing can be changed now", "read-only")
        assert "fsck" in said
        assert_refused(job, "nothing can be changed now")
        wait_for(lambda: dig(job.lab, UP.v4), "the names", idle=job.refresh)
        disk.unmount()
        disk.repair()
        disk.mount()
        assert_kept(job, acknowledged, "4s")


def test_a_disk_dies(job, disk):
    """Whatever was in memory goes on. The sentence is of the disk, and not of a damaged store, which
    nobody should put a backup in the place of; and a restart is no cure, as it says."""
    acknowledged = acknowledge(job, "5s")
    with forwarding_goes_on(job, "disk dead") as event:
        before = counts(job)
        disk.die()
        for _ in range(3):
            assert_refused(job, "input/output error", "dmesg", "leave the daemon running")
        wait_alarm(job, "the store takes no changes", "input/output error", "Check the disk")
        wait_attempts(job, event)
        assert_refused(job, "input/output error")
        assert_goes_on(job)
        assert job.lab.cli.json("status")["sequence"] == acknowledged
        assert not any("damaged" in text for text in job.lab.cli.status().alarms)
        # One for the write that failed, and one for the block that cannot be read since.
        assert counts(job)["store.failed"] <= before["store.failed"] + 2
        assert counts(job)["copy.failed"] <= before["copy.failed"] + 1
    with forwarding_goes_on(job, "dead, repaired"):
        with edge_stopped(job.lab, signal.SIGTERM):
            done = job.lab.capsule.run(job.lab.edge_command(job.lab.program), "edge", check=False,
                                       timeout=10)
            assert done.returncode == 1 and "Input/output error" in done.stderr
            disk.unmount()
            disk.repair()
            disk.mount()
        assert_kept(job, acknowledged, "5s")
