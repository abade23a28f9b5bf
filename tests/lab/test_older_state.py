# SPDX-License-Identifier: Apache-2.0
"""An older state is put back under traffic: the database alone, or the whole folder.

The main job's flows are open on version 1 and on version 2, of which the older state knows nothing.
They go on, and what is forwarded stays as it is; the node says what it misses and takes no order.
test_faults_store.py looks at the files and at what else a node without its newest state does.
"""
import shutil
import signal

import pytest

from lab.host import wait_for
from lab.job import MainJob
from lab.traffic_job import FLOWS
from test_forwarding import STEP, assert_alarm, daemon_away


@pytest.fixture(scope="module")
def job(shared_lab):
    """Version 2 serves, version 1 drains, long flows are open on both; `kept` is from before."""
    running = MainJob(shared_lab, window=700)
    running.step_1_create()
    running.step_2_open()
    shared_lab.edge.options["env"] = {**shared_lab.edge.options.get("env", {}),
                                      "FAIRLEAD_LAB_GOOD_MS": "400"}
    with daemon_away(shared_lab, signal.SIGTERM):
        shutil.copytree(shared_lab.root / "edge/state", shared_lab.root / "edge/kept")
    running.step_3_change()
    running.open_group("on 2")
    return running


def recover(lab, sequence):
    """The copy beside the database has what is missing: it takes the database's place."""
    told = lab.cli("store", "recover", "--dry-run")
    assert "nothing that this node acknowledged is lost" in told
    asked = lab.cli.try_("store", "recover")
    assert asked.returncode == 1 and "nothing was changed; say --yes" in asked.stderr
    assert "done; the daemon starts anew" in lab.cli("store", "recover", "--yes")
    wait_for(lambda: lab.cli.json("status")["state"]["writable"], "orders to be taken", 20)
    assert lab.cli.json("status")["sequence"] == sequence


@pytest.mark.parametrize("what", ["database", "folder"])
def test_flows_go_on(job, what):
    lab = job.lab
    state, kept, newest = (lab.root / "edge" / name for name in ("state", "kept", "newest"))
    before = job.counts()["backends"]

    def copied():
        status = lab.cli.json("status")
        return status["state"]["good_copy"] == status["sequence"] and status["sequence"]
    sequence = wait_for(copied, "the last good copy", 20, job.refresh)
    with job.event(STEP, f"older {what}"):
        lab.edge.stop(signal.SIGTERM)
        shutil.copytree(state, newest)
        if what == "folder":
            shutil.rmtree(state)
            shutil.copytree(kept, state)
        else:
            shutil.copy(kept / "store.db", state / "store.db")
        lab.edge.start()
        lab.wait_edge()
        assert_alarm(lab, f"and entry {sequence} was acknowledged and is forwarded by")
        refused = lab.cli.try_("rollback", "web")
        assert refused.returncode == 1 and "orders are refused" in refused.stderr
        damaged = lab.cli.try_("verify")
        assert damaged.returncode == 1 and "is missing: the ledger ends at" in damaged.stderr
        if what == "database":
            recover(lab, sequence)
            shutil.rmtree(newest)
        else:
            lab.edge.stop(signal.SIGTERM)
            shutil.rmtree(state)
            newest.rename(state)
            lab.edge.start()
            lab.wait_edge()
    assert job.counts()["backends"] == before
    assert job.open_flows() == 2 * FLOWS
    assert lab.cli.json("verify")["sound"]


def test_no_flow_broke(job):
    """Every long flow ends well, to its last byte."""
    job.finish()
    counts = job.counts()
    assert counts["broken"] == 0, counts["reasons"]
