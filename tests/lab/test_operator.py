# SPDX-License-Identifier: Apache-2.0
"""What an operator types, and what he is told. The daemon is alone; see test_daemon_alone.py."""
from test_daemon_alone import TROUBLE, fabric, node, running, service  # noqa: F401

from lab.host import wait_for


def test_services_are_named_with_and_without_their_kind(running):  # noqa: F811
    slow = service("web").replace("shares: [100%]", "shares: [5%, 100%], pause: 1h")
    running.apply(fabric(slow))
    running.wait_versions("web", {1: "serving"})
    running.apply(fabric(slow.replace("web1", "web3")))
    running.wait_versions("web", {1: "serving", 2: "serving"})
    whole = running.ask("describe", thing="service/web")
    assert running.ask("describe", thing="web")["name"] == whole["name"] == "web"
    assert [one["service"] for one in running.ask("rollout status", service="service/web")] == [
        "web"]
    # A share is what was written, and not the nearest of 65,536 parts.
    assert running.ask("rollout status", service="web")[0]["share"] == 0.05
    for name in "service/web", "web":
        assert running.ask("rollout pause", service=name)["changed"] == (name != "web")
    for name in "web", "service/web":
        assert running.ask("rollout resume", service=name)["changed"] == (name == "web")
    assert running.ask("rollback", service="service/web")["to"] == 1
    assert running.ask("rollout cut", version="version/web/2")["changed"]
    assert not running.ask("rollout cut", version="web/2")["changed"]


def test_retired_versions_are_shown_on_demand(running):  # noqa: F811
    running.apply(fabric(service("web")))
    running.wait_versions("web", {1: "serving"})
    running.apply(fabric(service("web", (("web1", 11, 3), ("web2", 12)))))
    running.wait_versions("web", {1: "retired", 2: "serving"}, ("web1", "web2"))
    for all_of, numbers in (False, [2]), (True, [1, 2]):
        found = running.ask("get", kind="versions", **({"all": True} if all_of else {}))
        assert [version["number"] for version in found] == numbers
        found = running.ask("describe", thing="web", **({"all": True} if all_of else {}))
        assert [version["number"] for version in found["versions"]] == numbers


def test_an_alarm_ends_with_what_it_tells_of(running):  # noqa: F811
    """A landing that goes on reporting after its backend left the file is a spare; what it says of
    itself needs nobody."""
    running.apply(fabric(service("web")))
    running.wait_versions("web", {1: "serving"})
    for name in "web1", "web2":
        running.report_until_told(name)
    running.report("web2", alarms=[TROUBLE])
    told = [alarm for alarm in running.ask("status")["alarms"]
            if alarm["code"] == TROUBLE["code"]]
    assert [alarm["subject"] for alarm in told] == ["backend/web2"]
    running.apply(fabric(service("web", (("web1", 11),))))

    def quiet():
        running.report("web1")
        running.report("web2", alarms=[TROUBLE])
        status = running.ask("status")
        return (running.versions("web")[1] == "retired"
                and "backend/web2" not in [alarm["subject"] for alarm in status["alarms"]])
    wait_for(quiet, "the alarm to end with its backend", 20)
