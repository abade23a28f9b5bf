# SPDX-License-Identifier: Apache-2.0
"""What an operator types, and what he is told. The daemon is alone; see test_daemon_alone.py."""
import pytest
from test_daemon_alone import (  # noqa: F401
    NAMESPACE, TROUBLE, fabric, node, running, service)

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
        running.force()
        status = running.ask("status")
        return (running.versions("web")[1] == "retired"
                and "backend/web2" not in [alarm["subject"] for alarm in status["alarms"]])
    wait_for(quiet, "the alarm to end with its backend", 20)


def about(running, *words):
    """The alarms that speak of any of these."""
    return [alarm["code"] for alarm in running.ask("status")["alarms"]
            if any(word in alarm["subject"] or word in alarm["text"] for word in words)]


def test_every_alarm_about_a_backend_ends_with_its_version(running):  # noqa: F811
    """Of the landing, of the node and of the edge: at the first look at which the last version that
    names it is retired. What is left is the note that a stranger reports."""
    web = ("web2", "10.0.0.12")
    running.apply(fabric(service("web"), service("api", (("web1", 11), ("web9", 19)))))
    running.wait_versions("web", {1: "serving"})
    running.wait_versions("api", {1: "serving"})

    def troubled():
        """Its landing is in alarm and carries nothing out, and nobody is at its address."""
        running.report("web1")
        running.report("web2", alarms=[TROUBLE], generation="22" * 32)
        return {"disk.on-fire", "backend.late", "backend.no-next-hop"} <= set(about(running, *web))
    wait_for(troubled, "all alarms about web2", 20)
    wait_for(lambda: "backend.silent" in about(running, "web9")
             or "backend.never-reported" in about(running, "web9"), "the silence of web9", 10)

    running.apply(fabric(service("web", (("web1", 11),)),
                         service("api", (("web1", 11),))))

    def retired(name):
        running.report("web1")
        running.report("web2", alarms=[TROUBLE], generation="22" * 32)
        running.force()
        if running.versions(name)[1] == "retired":
            return True
        assert name != "web" or about(running, *web)
        return False
    wait_for(lambda: retired("web"), "web/1 to retire", 30)
    assert not about(running, *web)
    notes = running.ask("status")["notes"]
    assert [note["subject"] for note in notes if note["code"] == "backend.spare"] == [
        "backend/web2"]

    # Silence is in use until somebody says otherwise; then it is told of no more.
    assert running.versions("api")[1] == "draining" and about(running, "web9")
    running.ask("backend forget", backend="web9")
    assert set(about(running, "web9", "10.0.0.19")) <= {"backend.no-next-hop"}
    wait_for(lambda: retired("api"), "api/1 to retire", 30)
    assert not about(running, "web9", "10.0.0.19")


def test_a_program_in_the_way_is_named_with_who_holds_it(running):  # noqa: F811
    """`ip link … xdp off` takes none away that a link holds: another Fairlead's, say."""
    other = running.folder.parent / "other"
    changes = {"state": other / "state", "run-dir": other / "run", "dns": None, "role": "edge",
               "pins": running.capsule.bpffs / "other"}
    said = running.run(**changes)
    assert "another XDP program is on it (id " in said and "xdp off" not in said
    assert "(fairlead" in said and "holds by link" in said
    assert "what it pinned by `fairlead detach`" in said
    # When nobody holds it but a pin, there is one command left.
    running.child.stop()
    said = running.run(**changes)
    assert "'bpftool link detach id " in said and "holds" in said
    running.again()


@pytest.mark.parametrize("message", ["two\nlines", "a bell \a", "left \u202e right", "\u0085"])
def test_a_message_is_one_line_of_text(running, message):  # noqa: F811
    refused = running.refused("apply", file="f", text=fabric(service("web")), message=message)
    assert refused.code == "FL_EUSAGE" and "control character" in str(refused)
    assert len(running.ask("log")) == running.ask("status")["sequence"]
    assert not [entry for entry in running.ask("log") if entry["kind"] == "apply"]


@pytest.mark.parametrize("source, why", [("0.0.0.0", "this network"), ("127.0.0.1", "loopback")])
def test_a_source_is_an_address_that_tunnels_can_come_from(node, source, why):  # noqa: F811
    done = node.capsule.run(node.argv(source=source), NAMESPACE, check=False)
    assert done.returncode == 2 and f"--source {source}: no tunnel can come from there" in (
        done.stderr)
    assert why in done.stderr


WRONGLY = [
    ("get", {"kind": "nope"}),
    ("get", {"kind": "service"}),
    *(("describe", {"thing": thing}) for thing in (
        "/", "nope/web", "service/", "service/web/1", "version/web", "version/web/", "version/web/x",
        "version/web/1x", "version//1", "address/", "address/web", "address/10.0.0", "backend/")),
    *((verb, {"service": name})
      for verb in ("rollback", "rollout pause", "rollout resume", "rollout status")
      for name in ("backend/web1", "version/web/1", "service/web/1")),
    ("rollback", {"service": "web", "to": 0}),
    ("rollback", {"service": "web", "to": 2 ** 32}),
    *(("rollout cut", {"version": version}) for version in (
        "web", "web/", "web/x", "web/0", "web/1x", "service/web", "web/99999999999")),
    ("backend forget", {"backend": "service/web"}),
    ("backend forget", {"backend": "web1", "address": "web1"}),
    ("undo", {"entry": 0}),
    ("log", {"from": 0}),
    ("log", {"limit": 0}),
    ("log", {"limit": 2 ** 40}),
]
NOWHERE = [
    ("describe", {"thing": "nope"}),
    ("describe", {"thing": "version/web/99"}),
    ("describe", {"thing": "address/203.0.113.1"}),
    ("rollback", {"service": "nope"}),
    ("undo", {"entry": 10 ** 9}),
]


def test_what_is_named_wrongly_is_a_usage_error(running):  # noqa: F811
    """Exit status 2, as for what the program itself finds; what is not there is none."""
    running.apply(fabric(service("web")))
    for wanted, cases in (("FL_EUSAGE", WRONGLY), ("FL_ENOTFOUND", NOWHERE)):
        for verb, parameters in cases:
            error = running.refused(verb, **parameters)
            assert error.code == wanted, (verb, parameters, str(error))
