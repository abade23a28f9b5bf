# SPDX-License-Identifier: Apache-2.0
"""Small pools: orders that find too few slots wait for those that lie idle, and for no others.

The daemon is alone, and its landings are played; see test_daemon_alone.py.
"""
import pytest
from test_daemon_alone import Refused, fabric, node, running, service  # noqa: F401

from lab.host import LabError, wait_for

BACKENDS = "web1", "web2"
# Seven slots at each site that can be given out.
SMALL = "198.51.100.0/28"


def file_of(names, number, pool=SMALL, **more):
    """Another number is another version of each service."""
    return fabric(*(service(name, (("web1", 11, number), ("web2", 12, 10))) for name in names),
                  pool=pool, **more)


def settle(node, names, number, seconds=30):
    """This version serves, and all before it are retired."""
    states = {one: "retired" for one in range(1, number)} | {number: "serving"}
    for name in names:
        node.wait_versions(name, states, BACKENDS, seconds)


def apply_patiently(node, text, seconds=30):
    """What `apply --wait` does, while the landings go on reporting; what it was refused with."""
    said = []

    def applied():
        for name in BACKENDS:
            node.report(name)
        try:
            return node.apply(text)
        except Refused as refused:
            assert refused.code == "FL_EWAIT", refused
            said.append(str(refused))
            raise LabError(str(refused)) from refused
    wait_for(applied, "the order to be taken", seconds)
    return said


def test_an_order_gets_the_idle_slots_that_it_needs(running):  # noqa: F811
    """One slot is free and two are wanted: each service has idle late addresses, of which one each
    is freed, and the rest serves late clients on."""
    names = "api", "web"
    for number in (1, 2, 3):
        assert not apply_patiently(running, file_of(names, number))
        settle(running, names, number)
    said = apply_patiently(running, file_of(names, 4))
    assert "1 free slot for 2 services" in said[0] and "being freed" in said[0], said[0]
    assert "rollout cut" not in "".join(said)
    settle(running, names, 4)
    late = [one for one in running.ask("get", kind="bindings") if one["is_late"]]
    assert len(late) >= 3
    # And so on: nobody is ever stuck.
    for number in (5, 6):
        apply_patiently(running, file_of(names, number))
        settle(running, names, number)


def test_new_services_wait_for_what_others_give_up(running):  # noqa: F811
    """Their slots were another service's, so they rest in quarantine first."""
    settings = ", quarantine: 8s"
    for number in range(1, 8):
        apply_patiently(running, file_of(["web"], number, settings=settings))
        settle(running, ["web"], number)
    # One was freed when the pool was empty, for the next version of `web`.
    text = file_of(["web", "yak", "zoo"], 7, settings=settings)
    refused = running.refused("apply", file="fabric.yaml", text=text)
    assert refused.code == "FL_EEXHAUSTED"
    assert "no free slot for 2 services" in str(refused)
    assert "1 slot rests in quarantine" in str(refused) and " until 20" in str(refused)
    assert "idle" in str(refused) and "rollout cut" not in str(refused)

    def applied():
        for name in BACKENDS:
            running.report(name)
        return running.apply(text)
    wait_for(applied, "two slots to come out of quarantine", 30)


def test_connections_are_not_taken_for_idle(running):  # noqa: F811
    """The refusal names the version whose connections hold the slots, and how to end them."""
    held = {}
    for number in range(1, 8):
        running.apply(file_of(["web"], number))
        running.wait_versions("web", {number: "serving"})
        held |= {f"198.51.100.{number}": 3}
        running.report("web1", held)
        running.report("web2")
    running.report("web1", held)
    refused = running.refused("apply", file="fabric.yaml", text=file_of(["web"], 8))
    assert refused.code == "FL_EEXHAUSTED"
    assert "version 1 of web drains, with 3 connections" in str(refused)
    assert "`fairlead rollout cut web/1`" in str(refused)


def pools(node):
    return {pool["prefix"]: pool for pool in node.ask("get", kind="pools")}


def test_a_pool_is_used_in_the_files_order_and_leaves(running):  # noqa: F811
    """A small pool is grown out of, under a connection that stays where it is until it ends."""
    names = "api", "web"
    larger = "203.0.113.0/26"
    running.apply(file_of(names, 1))
    for name in names:
        running.wait_versions(name, {1: "serving"}, BACKENDS)
    held = {running.ask("describe", thing="version/web/1")["addresses"][0]: 5}

    def report():
        running.report("web1", held)
        running.report("web2")

    # Behind the first, the larger one is not used; before it, it is.
    both = f"{SMALL}, site_bits: 1}}\n  - {{prefix: {larger}"
    running.apply(file_of(names, 1, both))
    assert pools(running)[larger]["used"] == 0
    report()
    plan = running.plan(file_of(names, 1, larger))
    assert "of a pool that leaves" in plan["text"]
    assert f"pool {SMALL} leaves when its last flow has ended: 2 slots left, of api/1, web/1" in (
        " ".join(plan["plan"]["notes"]))
    running.apply(file_of(names, 1, larger))

    def moved():
        report()
        running.force()
        return running.resolve("web")[0].startswith("203.0.113.")
    wait_for(moved, "the name to lead into the larger pool", 10)
    assert running.plan(running.ask("get")["file"])["empty"]

    def only_web_is_left():
        report()
        return pools(running)[SMALL]["leaving"] == "1 slot left, of web/1"
    wait_for(only_web_is_left, "the slot of api to be freed", 40)
    # Its addresses are still its own.
    overlapping = running.refused("apply", file="f", text=file_of(names, 1, "198.51.100.0/24"))
    assert f"overlaps pool {SMALL}, which is leaving: version 1 of web holds slot" in (
        str(overlapping))
    [address] = held
    assert running.ask("describe", thing=f"address/{address}")["connections"] == 5
    assert running.versions("web")[1] == "draining"

    held.clear()

    def gone():
        report()
        return list(pools(running)) == [larger]
    wait_for(gone, "the pool to be gone", 40)
    assert running.ask("verify")["sound"]
    # It may come back, in another shape.
    running.apply(file_of(names, 2, f"{larger}, site_bits: 1}}\n  - {{prefix: 198.51.100.0/27"))


def test_a_full_pool_is_filled_up_by_the_next(running):  # noqa: F811
    """With a further pool at the end of the file there are slots at once; an alarm came before."""
    tiny = "198.51.100.0/29"
    running.apply(file_of(["web"], 1, tiny))
    running.wait_versions("web", {1: "serving"}, BACKENDS)
    assert "pool.low" not in [alarm["code"] for alarm in running.ask("status")["alarms"]]
    held = {}
    for number in (2, 3):
        held |= {f"198.51.100.{number - 1}": 2}
        running.report("web1", held)
        running.apply(file_of(["web"], number, tiny))
        running.wait_versions("web", {number: "serving"})
    running.report("web1", held)
    [alarm] = [alarm for alarm in running.ask("status")["alarms"] if alarm["code"] == "pool.low"]
    assert alarm["subject"] == f"pool/{tiny}"
    assert "has slots for 0 more rollouts of a service" in alarm["text"]
    refused = running.refused("apply", file="f", text=file_of(["web"], 4, tiny))
    assert "a further pool in the file has room at once" in str(refused)
    both = f"{tiny}, site_bits: 1}}\n  - {{prefix: 203.0.113.0/28"
    running.apply(file_of(["web"], 4, both))
    running.wait_versions("web", {4: "serving"})
    assert pools(running)["203.0.113.0/28"]["used"] == 1


def test_a_removal_tells_of_its_quarantine(running):  # noqa: F811
    running.apply(file_of(["old", "web"], 1))
    running.wait_versions("old", {1: "serving"}, BACKENDS)
    text = file_of(["new", "web"], 1)
    notes = " ".join(running.plan(text)["plan"]["notes"])
    assert f"service old: its 1 slot of pool {SMALL} rests for 7d (settings.quarantine)" in notes
    assert "also one that is only renamed" in notes
    running.apply(text)

    def freed():
        for name in BACKENDS:
            running.report(name)
        return pools(running)[SMALL]["quarantined"] == 1
    wait_for(freed, "the slot to be in quarantine", 30)
    pool = pools(running)[SMALL]
    assert pool["quarantined_until"] > "2026" and pool["used"] == 2 and pool["free"] == 4
