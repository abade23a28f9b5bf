# SPDX-License-Identifier: Apache-2.0
"""No client is led to a backend that is known to be bad, unless the operator says so."""
import json

import pytest

from lab import topology
from lab.host import LabError, wait_for

WEB = ("web1", "web2")


@pytest.fixture
def lab(shared_lab):
    """`web` serves from web1 and web2, and every landing reports."""
    shared_lab.apply(shared_lab.fabric(WEB))
    wait_for(lambda: current(shared_lab).state == "serving", "web to serve")
    shared_lab.wait_landings()
    yield shared_lab
    if shared_lab.landings["web3"].process.poll() is not None:
        shared_lab.landings["web3"].start()
    wait_for(lambda: not shared_lab.cli.status().silent, "all backends to report")


def current(lab):
    versions = lab.cli.status().services["web"].versions
    return versions[max(versions)]


def wait_waiting(lab, backend, words):
    """Until `web`'s rollout says that it waits for the backend, and why."""
    def waits():
        waits = lab.cli.json("rollout", "status", "web")[0]["waits"]
        if not any(wait["name"] == backend and words in wait["text"] for wait in waits):
            raise LabError(f"it waits for {waits}")
        return True
    wait_for(waits, f"the version to wait for {backend}")


def test_a_version_waits_for_a_backend_that_never_reported(lab):
    """The good version goes on serving everybody; when the backend reports the rollout goes on."""
    before = current(lab).number
    lab.landings["web3"].stop()
    wait_for(lambda: "web3" in lab.cli.status().silent, "web3 to be silent")
    lab.edge.stop()
    lab.edge.start()
    lab.wait_edge()
    lab.apply(lab.fabric(WEB + ("web3",)))
    lab.wait_states("web", {before: "serving", before + 1: "ready"})
    wait_waiting(lab, "web3", "has not reported since this daemon started")
    # The daemon has just started: until the others report, one of them may be named first.
    wait_for(lambda: "waits for web3: it has not reported" in lab.cli("status"),
             "web3 to be the one that is waited for")
    assert "--force" in lab.cli("status")
    assert "waits for web3" in lab.cli("rollout", "status", "web")
    wait_for(lambda: "rollout.waits" in lab.edge.tail(200), "the event")
    for _ in range(20):
        assert lab.fetch(lab.cli.status().services["web"].serving.address(4))[0] in WEB
    assert lab.cli.status().services["web"].state(before + 1) == "ready"
    lab.landings["web3"].start()
    lab.wait_states("web", {before + 1: "serving"})


def test_a_version_waits_for_a_silent_backend_until_the_operator_forces_it(lab):
    before = current(lab).number
    lab.landings["web3"].stop()
    wait_for(lambda: "web3" in lab.cli.status().silent, "web3 to be silent")
    lab.apply(lab.fabric(WEB + ("web3",)))
    lab.wait_states("web", {before: "serving", before + 1: "ready"})
    wait_waiting(lab, "web3", "it is silent")
    # What takes no flows is not waited for.
    lab.apply(lab.fabric(WEB + ("web3",), {"web3": 0}))
    lab.wait_states("web", {before + 2: "serving"})
    lab.apply(lab.fabric(WEB + ("web3",)))
    lab.wait_states("web", {before + 2: "serving", before + 3: "ready"})
    lab.cli("rollout", "resume", "web", "--force", "--message", "web3 comes tomorrow")
    lab.wait_states("web", {before + 2: "draining", before + 3: "serving"})
    entry = next(entry for entry in map(json.loads, lab.cli("log", "-o", "jsonl").splitlines())
                 if entry["kind"] == "rollout.force")
    assert entry["why"] == "web3 comes tomorrow"
    assert [wait["name"] for wait in entry["what"]["waits"]] == ["web3"]
    assert "no rollout of web" in lab.cli.try_("rollout", "resume", "web", "--force").stderr


def test_a_version_waits_for_a_next_hop(lab):
    """Nobody is at the address; what reports by the backend's name is elsewhere."""
    before = current(lab).number
    other = topology.RACK["web3"].v4.rsplit(".", 1)[0] + ".99"
    text = lab.fabric(WEB + ("web3",))
    moved = text.replace(f'name: web3, site: fra, address: "{topology.RACK["web3"].v4}"',
                         f'name: web3, site: fra, landing: none, address: "{other}"', 1)
    assert moved != text
    lab.apply(moved)
    lab.wait_states("web", {before: "serving", before + 1: "ready"})
    wait_waiting(lab, "web3", "edge edge1 has no next hop for it")
    # Somebody is there now, and its landing is not asked for.
    lab.capsule.run(["ip", "address", "add", f"{other}/24", "dev", "eth0"], "web4")
    try:
        lab.wait_states("web", {before + 1: "serving"}, seconds=30)
        lab.apply(lab.fabric(WEB))
        status = lab.wait_states("web", {before + 1: "draining", before + 2: "serving"})
        assert status.services["web"].versions[before + 1].connections is None
        assert not [alarm for alarm in status.alarms if "web3" in alarm]
        lab.cli("backend", "forget", "web3", other)
        lab.wait_states("web", {before + 1: "retired"}, seconds=30)
    finally:
        lab.capsule.run(["ip", "address", "del", f"{other}/24", "dev", "eth0"], "web4")


def test_a_version_waits_for_a_landing_in_alarm(lab):
    before = current(lab).number
    lab.capsule.run(["ip", "rule", "add", "pref", "40", "from", "203.0.113.0/24", "lookup", "main"],
                    "web3")
    try:
        wait_for(lambda: any("rule with preference 40" in alarm
                             for alarm in lab.cli.status().alarms), "the alarm")
        lab.apply(lab.fabric(WEB + ("web3",)))
        lab.wait_states("web", {before: "serving", before + 1: "ready"})
        wait_waiting(lab, "web3", "its landing says: ")
    finally:
        lab.capsule.run(["ip", "rule", "del", "pref", "40"], "web3")
    lab.wait_states("web", {before + 1: "serving"})


def test_a_version_whose_listener_is_missing_gets_no_client(lab):
    """The landing looks for the listeners of a configuration before it says that it carried it
    out. The alarm ends with the service."""
    extra = f"""\
  extra:
    ports: [tcp/81]
    ttl: 1s
    backends:
      - {{name: web3, site: fra, address: "{topology.RACK['web3'].v4}", listen: {{tcp/81: ":8099"}}}}
"""
    for _ in range(3):
        lab.apply(lab.fabric(WEB, services=extra))

        def waits():
            found = lab.cli.json("rollout", "status", "extra")[0]["waits"]
            assert lab.cli.status().services["extra"].serving is None, "it has clients"
            return [wait for wait in found if "nothing listens on" in wait["text"]]
        wait_for(waits, "the version to wait for its listener")
        lab.apply(lab.fabric(WEB), "--yes")
        wait_for(lambda: "extra" not in lab.cli.status().services, "the service to be gone", 40)
        wait_for(lambda: not any("8099" in alarm for alarm in lab.cli.status().alarms),
                 "the alarm to end", 3)
