# SPDX-License-Identifier: Apache-2.0
"""Why a version is not at its end: who has its connections, what is waited for, and until when."""
import contextlib
import datetime
import socket

import pytest

from lab import topology
from lab.host import LabError, wait_for
from lab.product import fabric_file

WEB = ("web1", "web2")
QUIET_S = 20


@pytest.fixture(scope="module")
def lab(shared_lab):
    shared_lab.apply(shared_lab.fabric(WEB))
    shared_lab.wait_states("web", {1: "serving"})
    shared_lab.wait_landings()
    return shared_lab


def older(lab, service, number):
    """The version as `rollout status` tells of it; None when it neither drains nor closes."""
    found = lab.cli.json("rollout", "status", service)[0]["older"]
    return next((version for version in found if version["number"] == number), None)


def wait_reason(lab, service, number, reason, **options):
    def waits():
        version = older(lab, service, number)
        if not version or not version["waits"] or version["waits"][0]["reason"] != reason:
            raise LabError(f"it is {version and (version['state'], version['waits'])}")
        return version
    return wait_for(waits, f"{service}/{number} to wait for {reason}", **options)


def established(lab, machine, address):
    done = lab.capsule.run(["ss", "-Htn", "state", "established", "src", address], machine)
    return len(done.stdout.splitlines())


def holds(version):
    return {one["name"]: one["connections"] for one in version["backends"]}


def test_a_draining_version_says_who_holds_it_and_until_when(lab):
    web = lab.cli.status().services["web"].serving
    with contextlib.ExitStack() as stack:
        with lab.capsule.inside("client"):
            for _ in range(9):
                stack.enter_context(socket.create_connection((web.address(4), 80), 3))
        true = {name: established(lab, name, web.address(4)) for name in WEB}
        assert sum(true.values()) == 9
        said = lab.cli.try_("apply", lab.write(lab.fabric(WEB, weights={"web1": 3})), "--wait",
                            "--timeout", "1m")
        assert said.returncode == 0, said.stderr
        assert said.stderr.endswith(
            f"fairlead: version {web.number + 1} of web has all clients\n")
        wait_reason(lab, "web", web.number, "connections")
        wait_for(lambda: holds(older(lab, "web", web.number)) == true, f"{true} to be told")
        version = older(lab, "web", web.number)
        assert version["connections"] == 9 and "until" not in version["waits"][0]
        first = next(name for name in WEB if true[name])
        sentence = (f"web/{web.number} drains until its connections have ended; {first} has "
                    f"{true[first]}")
        for words in ["status"], ["rollout", "status", "web"], ["describe", "service/web"]:
            assert sentence in lab.cli(*words), words

        # It does not end before that, and who waits for it is told the same.
        done = lab.cli.try_("rollout", "status", "web", "--retired", "--timeout", "2s")
        assert done.returncode == 3 and sentence in done.stderr

        lab.landings["web2"].stop()
        wait_for(lambda: holds(older(lab, "web", web.number))["web2"] is None,
                 "web2's connections to be unknown")
        version = older(lab, "web", web.number)
        assert [one["reason"] for one in version["waits"]][:2] == ["connections", "counts"] or (
            not true["web1"] and version["waits"][0]["reason"] == "counts")
        assert "web2 is not known: it does not report" in lab.cli("status")
        lab.landings["web2"].start()
        wait_for(lambda: holds(older(lab, "web", web.number)) == true, f"{true} to be told again")
    seen = {}

    def look():
        version = older(lab, "web", web.number)
        for wait in version["waits"] if version else ():
            seen[wait["reason"]] = wait
        return not version
    wait_for(look, "it to retire", 40)
    # What a clock ends has its time, and nothing is waited for that the table does not have.
    timed = [seen[reason] for reason in ("stale", "quiet", "settle") if reason in seen]
    assert timed
    for wait in timed:
        datetime.datetime.fromisoformat(wait["until"])
        assert 0 < wait["left_ms"] <= 3000
    assert lab.cli.try_("rollout", "status", "web", "--retired").returncode == 0


def test_udp_says_when_the_last_packet_came(lab):
    """The only sign of use there is; the version ends when none has come for `quiet`."""
    probe = lab.cli.status().services["probe"].serving
    sender = lab.capsule.popen(
        ["bash", "-c", f"while sleep 0.2; do echo x > /dev/udp/{probe.address(4)}/7000; done"],
        "client")
    try:
        lab.apply(fabric_file(WEB, {}, topology.BACKENDS[:1], quiet=f"{QUIET_S}s"))
        lab.wait_states("probe", {probe.number: "draining", probe.number + 1: "serving"})
        version = wait_reason(lab, "probe", probe.number, "udp", seconds=20)
        assert version["last_packet_ms"] < 5000
        assert QUIET_S * 1000 - 5000 < version["waits"][0]["left_ms"] <= QUIET_S * 1000
        assert "the last packet came" in lab.cli("rollout", "status", "probe")
    finally:
        sender.kill()
        sender.wait()
    wait_for(lambda: older(lab, "probe", probe.number)["last_packet_ms"] > 5000,
             "the last packet to be long ago", 20)
    assert older(lab, "probe", probe.number)["waits"][0]["left_ms"] < QUIET_S * 1000 - 5000
