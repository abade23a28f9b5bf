# SPDX-License-Identifier: Apache-2.0
"""The lab's network, dual stack throughout.

    client ── access ──┐                         ┌── web1  10.0.1.11  fd00:1::11
                       net ── uplink ── edge ────┤   web2  10.0.1.12  fd00:1::12
    resolver ── names ─┘ └──────── rack ─────────┘   web3, web4 …

`net` is the provider's network: it routes between the four links and sends both pools to the edge.
The edge has a leg in the uplink and one in the rack, so a packet that it forwards is redirected
from one interface to the other. The rack is a bridge: edge and backends are neighbours there, and
replies leave the rack through `net`, not through the edge (direct return). Every link has an MTU
of 1500, so the tunnel's 20 or 40 bytes must be found by whoever adds them.

veth pairs need two things under XDP: NAPI on the far end (GRO turns it on) or redirected packets
vanish there, and no offloads, since nobody computes a checksum or cuts a segment after XDP.
"""
from dataclasses import dataclass

POOLS = ("198.51.100.0/26", "2001:db8:f::/108")
BACKENDS = ("web1", "web2", "web3", "web4")
ZONE = "svc.example.net"


@dataclass(frozen=True)
class Leg:
    """One end of a link: a machine's interface and its addresses. The far end is in `net`."""
    machine: str
    interface: str
    v4: str
    v6: str
    gateway4: str
    gateway6: str
    bridge: str = ""  # in `net`; empty: the far end has the gateway's address itself
    default: bool = True  # the machine's default route leaves here

    @property
    def far(self):
        return f"{self.machine}-{self.interface}"

    def address(self, family):
        return self.v4 if family == 4 else self.v6


CLIENT = Leg("client", "eth0", "192.0.2.10", "2001:db8:c::10", "192.0.2.1", "2001:db8:c::1")
RESOLVER = Leg("resolver", "eth0", "10.0.53.53", "fd00:53::53", "10.0.53.1", "fd00:53::1")
UPLINK = Leg("edge", "up0", "10.0.0.2", "fd00::2", "10.0.0.1", "fd00::1")
FABRIC = Leg("edge", "fab0", "10.0.1.2", "fd00:1::2", "10.0.1.1", "fd00:1::1", "rack", False)
RACK = {name: Leg(name, "eth0", f"10.0.1.{number}", f"fd00:1::{number}",
                  "10.0.1.1", "fd00:1::1", "rack")
        for number, name in enumerate(BACKENDS, start=11)}
LEGS = (CLIENT, RESOLVER, UPLINK, FABRIC, *RACK.values())

# In every namespace, before a link is up. Duplicate address detection would cost a second.
SYSCTLS = {
    "ipv4/conf/all/rp_filter": 0, "ipv4/conf/default/rp_filter": 0,
    "ipv6/conf/all/disable_ipv6": 0, "ipv6/conf/default/disable_ipv6": 0,
    "ipv6/conf/all/accept_dad": 0, "ipv6/conf/default/accept_dad": 0,
    "ipv6/conf/default/accept_ra": 0,
}
ROUTER_SYSCTLS = {"ipv4/ip_forward": 1, "ipv6/conf/all/forwarding": 1,
                  # Tests provoke errors on purpose; the kernel must not ration them.
                  "ipv4/icmp_ratelimit": 0, "ipv6/icmp/ratelimit": 0}


def set_sysctls(capsule, machine, values):
    with capsule.inside(machine):
        for key, value in values.items():
            # Absent ones belong to what this kernel was built without.
            with open(f"/proc/sys/net/{key}", "w", encoding="ascii") as file:
                file.write(str(value))


def build(capsule):
    """Make the namespaces and the links, and wait for nothing: veth links are up at once."""
    machines = ["net", *dict.fromkeys(leg.machine for leg in LEGS)]
    capsule.run(["ip", "-batch", "-"], input="".join(f"netns add {name}\n" for name in machines))
    for machine in machines:
        set_sysctls(capsule, machine, SYSCTLS | (ROUTER_SYSCTLS if machine == "net" else {}))
        _configure(capsule, machine, ["link set lo up"])
    for bridge, leg in {leg.bridge: leg for leg in LEGS if leg.bridge}.items():
        # With an address of its own: a bridge without one takes the lowest of its ports', and would
        # change it whenever a link is joined again, while the machines still know the old one.
        _configure(capsule, "net", [
            f"link add {bridge} address 02:00:00:00:00:01 type bridge mcast_snooping 0 "
            "forward_delay 0",
            f"link set {bridge} up", *_gateway(leg, bridge)])
    for leg in LEGS:
        plug(capsule, leg)
    _configure(capsule, "net", [f"route add {pool} via {UPLINK.address(6 if ':' in pool else 4)}"
                                for pool in POOLS])


def plug(capsule, leg):
    """Join a machine to the network by one leg; also again, after the link was deleted."""
    _configure(capsule, "net", [
        f"link add {leg.far} type veth peer name {leg.interface} netns {leg.machine}",
        f"link set {leg.far} {f'master {leg.bridge}' if leg.bridge else ''} up",
        *([] if leg.bridge else _gateway(leg, leg.far))])
    for machine, interface in ((leg.machine, leg.interface), ("net", leg.far)):
        capsule.run(["ethtool", "-K", interface, "tx", "off", "tso", "off", "gso", "off",
                     "gro", "on"], machine)
    _configure(capsule, leg.machine, [
        f"address add {leg.v4}/24 dev {leg.interface}",
        f"address add {leg.v6}/64 dev {leg.interface} nodad",
        f"link set {leg.interface} up",
        *([f"route add default via {gateway}" for gateway in (leg.gateway4, leg.gateway6)]
          if leg.default else ())])


def _gateway(leg, holder):
    return (f"address add {leg.gateway4}/24 dev {holder}",
            f"address add {leg.gateway6}/64 dev {holder} nodad")


def _configure(capsule, machine, commands):
    capsule.run(["ip", "-n", machine, "-batch", "-"], input="\n".join(commands) + "\n")
