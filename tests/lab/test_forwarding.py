# SPDX-License-Identifier: Apache-2.0
"""Invariant 6: losing the daemon or its store never stops forwarding.

The main job's traffic (long flows, short requests, a probe, half of each over IPv6) runs through
all tests of this file. Each test takes something away, sees that the flows go on and that new ones
are served by the same version, and gives it back.
"""
import contextlib
import shutil
import signal

import pytest

from faults import open_new_flows
from lab.job import MainJob
from lab.traffic_job import FLOWS, GAP_LIMIT_MS

FAMILIES = (4, 6)
STEP = 4  # of the main job, where the daemon is killed


@pytest.fixture(scope="module")
def job(shared_lab):
    """Version 1 serves, and long flows are open. In each event the probe sends for 0.7 s."""
    running = MainJob(shared_lab, window=700)
    running.step_1_create()
    running.step_2_open()
    running.remembered = running.status.services["web"].serving.addresses
    assert len(running.remembered) == len(FAMILIES)
    return running


@contextlib.contextmanager
def forwarding_goes_on(job, what):
    """While the body does something, and after it."""
    before = job.counts()["backends"]["on 1"]
    with job.event(STEP, what) as event:
        yield
        open_new_flows(job)
    assert job.counts()["backends"]["on 1"] == before
    assert sum(before.values()) == FLOWS
    for family in FAMILIES:
        window = event.probe[str(family)]
        assert window["sent"] > 0 and window["moved"] == 0
        assert window["gap_ms"] <= GAP_LIMIT_MS
    assert job.counts()["broken"] == 0, job.counts()["reasons"]


@contextlib.contextmanager
def daemon_away(lab, how=signal.SIGKILL):
    lab.edge.stop(how)
    try:
        yield
    finally:
        lab.edge.start(argv=lab.edge_command(lab.program))
        lab.wait_edge()


@contextlib.contextmanager
def store_away(lab):
    """The state folder is gone, with store, keys and all, until the end of the body; so is then a
    daemon that was started without it."""
    state, kept = lab.root / "edge/state", lab.root / "edge/kept"
    state.rename(kept)
    try:
        yield state
    finally:
        if lab.edge.expected:
            lab.edge.stop(signal.SIGKILL)
        shutil.rmtree(state, ignore_errors=True)
        kept.rename(state)


def assert_alarm(lab, words):
    alarms = lab.cli.status().alarms
    assert any(words in alarm for alarm in alarms), alarms


@pytest.fixture(autouse=True)
def everything_is_back(job):
    """What a test took away is there again, and says what it said before."""
    def known():
        return {name: (version.number, version.state, tuple(version.addresses))
                for name, service in job.fresh_status().services.items()
                for version in service.versions.values()}
    before = known()
    yield
    assert known() == before
    # The landings find the daemon again; nothing else is amiss.
    job.wait(lambda: job.fresh_status().well, "every alarm to end")


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM], ids=lambda how: how.name)
def test_without_the_daemon(job, how):
    with daemon_away(job.lab, how), forwarding_goes_on(job, f"daemon gone, {how.name}"):
        pass


def test_without_the_store(job):
    """The files vanish under a daemon that runs, and then it dies, too."""
    with contextlib.ExitStack() as stack:
        with forwarding_goes_on(job, "store gone"):
            state = stack.enter_context(store_away(job.lab))
            assert not state.exists()
        with forwarding_goes_on(job, "store and daemon gone"):
            job.lab.edge.stop(signal.SIGKILL)
    job.lab.edge.start()
    job.lab.wait_edge()


@pytest.mark.parametrize("damage", ["no store", "torn"])
def test_a_damaged_store_is_refused(job, damage):
    """The daemon says what is wrong with which file, and ends without touching what forwards."""
    lab = job.lab
    # An end in order moves the log into the file, of which half is then a torn store and not an
    # empty one.
    with daemon_away(lab, signal.SIGTERM), store_away(lab) as state:
        state.mkdir()
        path = state / "store.db"
        content = (lab.root / "edge/kept/store.db").read_bytes()
        path.write_bytes(b"nothing that SQLite has ever written\n" * 200 if damage == "no store"
                         else content[:len(content) // 2])
        before = path.read_bytes()
        with forwarding_goes_on(job, f"damaged store, {damage}"):
            done = lab.capsule.run(lab.edge_command(lab.program), "edge", check=False)
            assert done.returncode == 1
            assert f"{path}: the store is damaged (" in done.stderr
            assert "put a backup in their place" in done.stderr
        assert path.read_bytes() == before


def test_an_empty_store_withdraws_nothing(job):
    """A daemon that finds no store knows by the maps that there was one. What the earlier one
    published stays, and status says so, until somebody decides."""
    lab = job.lab
    with daemon_away(lab), store_away(lab) as state:
        with forwarding_goes_on(job, "empty store"):
            lab.edge.start()
            lab.wait_edge()
            assert not (state / "store.db").exists()
        assert_alarm(lab, "though this node has had one")
        with forwarding_goes_on(job, "empty store, daemon gone"):
            assert lab.edge.stop() == 0


def test_an_empty_store_and_another_layout(job):
    """The same when that daemon is of a build whose maps are laid out differently."""
    lab = job.lab
    with daemon_away(lab), store_away(lab):
        with forwarding_goes_on(job, "empty store, another layout"):
            lab.edge.start(argv=lab.edge_command(lab.next_program))
            lab.wait_edge()
        assert_alarm(lab, "though this node has had one")


def test_no_flow_broke(job):
    """Every long flow of this file ends well, to its last byte."""
    job.finish()
    counts = job.counts()
    assert counts["broken"] == 0, counts["reasons"]
    for kind in ("download", "keepalive", "request"):
        assert counts["totals"][f"{kind} ended"] == counts["totals"][kind] > 0
