# SPDX-License-Identifier: Apache-2.0
"""Landing beside the real systemd-networkd: when an interface appears that one of its files matches,
it deletes all rules that it did not make."""
import contextlib

import pytest

from lab.host import REPOSITORY, Capsule, wait_for
from test_landing import APPLY, BACKEND4, POOL4, POOL6, TOPOLOGY, Driver

NETWORKD = "/lib/systemd/systemd-networkd"
DROP_IN = REPOSITORY / "packaging/systemd-networkd/fairlead.conf"
FILE = """
[Match]
Name=leg

[Network]
Address=10.9.0.1/24
IPv6AcceptRA=no
"""

# Mounts of its own: no udev (a /sys that cannot be written), its folders, and the files.
SCRIPT = f"""
mount -t sysfs -o ro sysfs /sys
mkdir -p /run/systemd
mount -t tmpfs tmpfs /run/systemd
mkdir -p /run/systemd/network /run/systemd/networkd.conf.d /run/systemd/netif
chown systemd-network: /run/systemd/netif
cp "$1"/*.network /run/systemd/network/
if [ -n "$2" ]; then cp "$2" /run/systemd/networkd.conf.d/; fi
exec {NETWORKD}
"""


@pytest.fixture
def capsule():
    with Capsule(TOPOLOGY) as room:
        (room.root / "leg.network").write_text(FILE)
        yield room


@contextlib.contextmanager
def networkd(capsule, drop_in="", machine="backend"):
    """It runs, has seen what is there, and has then set up an interface."""
    child = capsule.spawn("networkd", ["unshare", "-m", "sh", "-ec", SCRIPT, "sh", capsule.root,
                                       drop_in], machine,
                          env={"SYSTEMD_LOG_TARGET": "console", "SYSTEMD_LOG_LEVEL": "debug"})
    try:
        wait_for(lambda: "Enumeration completed" in child.tail(5000), "networkd to be ready")
        capsule.run(["ip", "link", "add", "leg", "type", "veth", "peer", "name", "far"], machine)
        capsule.run(["ip", "link", "set", "far", "up"], machine)
        wait_for(lambda: "leg: State changed: configuring -> configured" in child.tail(5000),
                 "networkd to set the interface up")
        yield child
    finally:
        child.stop()
        capsule.run(["ip", "link", "del", "leg"], machine, check=False)


def rules(capsule, family):
    words = capsule.run(["ip", family, "rule"], "backend").stdout.split("\n")
    return [line.split(":")[0] for line in words if line]


@pytest.fixture
def driver(capsule):
    process = Driver(capsule)
    process("open")
    process(APPLY)
    yield process
    process("close undo")
    process.end()


@pytest.fixture
def before(capsule, driver):
    return {family: rules(capsule, family) for family in ("-4", "-6")}


def test_what_networkd_deletes_is_back_at_once_and_addresses_stay(capsule, driver, before):
    with networkd(capsule):
        for family in before:
            assert "50" not in rules(capsule, family), "networkd deletes what it did not make"
            kept = capsule.run(["ip", family, "rule", "show", "pref", "100"], "backend").stdout
            assert "lookup local" in kept, "this machine has lost its own addresses"
        assert capsule.run(["ip", "route", "get", BACKEND4], "backend").stdout.startswith("local")
        driver("watch 2")
        told = driver("check")
        assert {family: rules(capsule, family) for family in before} == before
        for family, pool in (("-4", POOL4), ("-6", POOL6)):
            assert capsule.run(["ip", family, "route", "show", "table", "local", pool],
                               "backend").stdout
        for family in ("IPv4", "IPv6"):
            words = f"deleted the {family} rule with preference 50; added again"
            assert any(line.startswith("repaired systemd-network") and words in line
                       for line in told), told
        assert driver("check") == []


def test_with_the_drop_in_it_leaves_them_alone(capsule, driver, before):
    with networkd(capsule, DROP_IN):
        assert {family: rules(capsule, family) for family in before} == before
        assert not any("deleted" in line for line in driver("check"))
