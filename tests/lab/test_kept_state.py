# SPDX-License-Identifier: Apache-2.0
"""Today's daemon starts over the state folder of 2bea0c5 that is kept in tests/data: everything that
its own daemon told is told again, and stays true."""
import json
import shutil

import pytest

from lab.host import REPOSITORY, wait_for
from lab.parts import Lab
from release import parse

KEPT = REPOSITORY / "tests/data/state-2bea0c5"


class KeptLab(Lab):
    """No backends and no landings; the edge finds a copy of the folder."""

    def __init__(self):
        super().__init__(backends=())

    def edge_command(self, program):
        state = self.directory("edge") / "state"
        if not state.exists():
            shutil.copytree(KEPT / "state", state)
            state.chmod(0o700)
            for path in state.iterdir():
                path.chmod(0o600)
        return super().edge_command(program)


@pytest.fixture(scope="module")
def kept():
    with KeptLab() as lab:
        yield lab


def told(status):
    """Shares to three digits: the release said which 65,536th of the clients it is."""
    return {(service.name, version.number): (version.state, round(version.share, 3),
                                             version.addresses, version.late_addresses)
            for service in status.services.values() for version in service.versions.values()}


def test_versions_are_as_they_were(kept):
    before = told(parse(json.loads((KEPT / "status.json").read_text())))
    assert {state for state, *_ in before.values()} == {"serving", "draining"}
    assert told(kept.cli.status()) == before


def test_the_ledger_goes_on(kept):
    """It verifies, from the release's first entry to the newest, and none of the release's changed."""
    kept.cli("verify")
    entries = kept.cli("log", "--from", "1", "--limit", "1000", "-o", "jsonl").splitlines()
    before = (KEPT / "log.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in entries[:len(before)]] == [json.loads(line)
                                                                     for line in before]


def test_the_configuration_is_the_same(kept):
    assert kept.cli("plan", KEPT / "fabric.yaml") == "nothing would change\n"


def test_a_rollout_is_still_paused(kept):
    assert "paused" in kept.cli("rollout", "status", "api")


def go_on(kept, service):
    """No landing reports here, so that the version waits for its backends: it is let go on."""
    wait_for(lambda: kept.cli.try_("rollout", "resume", service, "--force").returncode == 0,
             f"{service} to go on")


def test_orders_are_taken(kept):
    """A second rollback goes one further back, to what retired under the release: its content comes
    back under the next number. So does a change's."""
    kept.cli("rollback", "web")
    go_on(kept, "web")
    kept.wait_states("web", {4: "serving", 2: "draining", 3: "draining"})
    config = kept.cli("get", "-o", "yaml")
    assert config.count("name: web1,") == 2 and config.count("name: web4,") == 1
    changed = (KEPT / "fabric.yaml").read_text().replace("tcp/25", "tcp/25, tcp/587")
    kept.apply(changed)
    go_on(kept, "mail")
    kept.wait_states("mail", {2: "serving", 1: "draining"})
    kept.cli("verify")
