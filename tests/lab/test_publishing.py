# SPDX-License-Identifier: Apache-2.0
"""Invariant 1: DNS never answers an address that the edge does not hold."""
from lab import topology
from lab.host import wait_for
from lab.product import fabric_file

NAME = f"web.{topology.ZONE}"


def without_v6_source(command):
    """An edge that can build no tunnel to a backend that is reached over IPv6."""
    at = command.index(topology.FABRIC.v6) - 1
    assert command[at] == "--source"
    return command[:at] + command[at + 2:]


def answers(lab, family):
    return lab.capsule.run(["kdig", f"@{topology.UPLINK.v4}", "+short", NAME,
                            "A" if family == 4 else "AAAA"], "client").stdout.split()


def test_dns_waits_for_an_edge_that_cannot_take_a_version(lab):
    """web2 is reached over IPv6. Until the edge can do that, version 2 stays staged, names and
    packets mean version 1, and an alarm says what is missing."""
    lab.edge.stop()
    lab.edge.start(argv=without_v6_source(lab.edge_command(lab.program)))
    lab.wait_edge()
    lab.apply(fabric_file(("web1",), {}, probe=("web1",)))
    first = lab.wait_states("web", {1: "serving"}).services["web"].versions[1]

    lab.apply(fabric_file(("web2",), {}, probe=("web1",)))
    # One more change goes its whole way: what the daemon would do with version 2, it has done.
    lab.apply(fabric_file(("web2",), {}, probe=("web1",), quiet="4s"))
    assert lab.cli.status().services["web"].state(2) == "staged"
    for family in (4, 6):
        assert answers(lab, family) == [first.address(family)]
        assert lab.fetch(first.address(family))[0] == "web1"
    wait_for(lambda: any("no IPv6 source address" in alarm for alarm in lab.cli.status().alarms),
             "the edge to say that it cannot")

    lab.edge.stop()
    lab.edge.start(argv=lab.edge_command(lab.program))
    lab.wait_edge()
    second = lab.wait_states("web", {2: "serving"}).services["web"].versions[2]
    for family in (4, 6):
        assert answers(lab, family) == [second.address(family)]
        assert lab.fetch(second.address(family))[0] == "web2"
