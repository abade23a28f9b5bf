# SPDX-License-Identifier: Apache-2.0
"""What tests and demo know of lab/topologies/rack.yaml, which draws the network and says why it is
as it is: the pools, the machines that are backends, and the legs by which machines stand in it.
tests/lab/test_lab.py compares the two.
"""
from dataclasses import dataclass
from pathlib import Path

RACK_FILE = Path(__file__).resolve().parent / "topologies/rack.yaml"
POOLS = ("198.51.100.0/26", "2001:db8:f::/108")
BACKENDS = ("web1", "web2", "web3", "web4")
ZONE = "svc.example.net"


@dataclass(frozen=True)
class Leg:
    """One end of a link: a machine's interface and its addresses. The far end is in `net`."""
    link: str
    machine: str
    interface: str
    v4: str
    v6: str

    @property
    def far(self):
        return f"{self.machine}-{self.interface}"

    def address(self, family):
        return self.v4 if family == 4 else self.v6


CLIENT = Leg("client", "client", "eth0", "192.0.2.10", "2001:db8:c::10")
RESOLVER = Leg("resolver", "resolver", "eth0", "10.0.53.53", "fd00:53::53")
UPLINK = Leg("uplink", "edge", "up0", "10.0.0.2", "fd00::2")
FABRIC = Leg("fabric", "edge", "fab0", "10.0.1.2", "fd00:1::2")
RACK = {name: Leg(name, name, "eth0", f"10.0.1.{number}", f"fd00:1::{number}")
        for number, name in enumerate(BACKENDS, start=11)}
LEGS = (CLIENT, RESOLVER, UPLINK, FABRIC, *RACK.values())


def set_sysctls(capsule, machine, values):
    with capsule.inside(machine):
        for key, value in values.items():
            with open(f"/proc/sys/net/{key}", "w", encoding="ascii") as file:
                file.write(str(value))


def plug(capsule, leg):
    """Join a machine to the network by one leg again, after the link was deleted."""
    capsule.lab("plug", leg.link)
