# SPDX-License-Identifier: Apache-2.0
"""Faults of the network around one edge: links, neighbours, routes, addresses, and port 53."""
import signal
import socket

import pytest

import bpf
from faults import (alarms, dig, edge_stopped, everything_comes_back, forwarding_goes_on, ip,
                    start_job, wait_alarm)
from lab import topology
from lab.host import wait_for

UP, RACK = topology.UPLINK, topology.FABRIC
WEB1, WEB2 = topology.RACK["web1"], topology.RACK["web2"]  # tunnels to them are IPv4, IPv6
LINK_MS = 3000  # in which the kernel tells of a link that is up, and a neighbour is asked twice
REPORT_MS = 5000  # in which a landing has looked twice and reported what it saw
GAP_MS = 1000  # in which the daemon must have found another way, or the same again


@pytest.fixture(scope="module")
def job(shared_lab):
    # As network managers do: addresses outlive their link's rest.
    topology.set_sysctls(shared_lab.capsule, "edge",
                         {f"ipv6/conf/{RACK.interface}/keep_addr_on_down": 1})
    # A packet that turns round at the uplink must be heard by the far end of the veth pair.
    program = shared_lab.capsule.bpffs / "pass"
    bpf.pin_pass_program(program)
    ip(shared_lab, "net", "link", "set", "dev", UP.far, "xdp", "pinned", program)
    return start_job(shared_lab)


@pytest.fixture(autouse=True)
def back(job):
    with everything_comes_back(job):
        yield


def link_address(lab, leg):
    return ip(lab, leg.machine, "-o", "link", "show", leg.interface).split("link/ether ")[1].split()[0]


def test_a_backend_gets_another_link_address(job):
    """It announces it, as a fail-over of its network card does, and the edge follows."""
    before = link_address(job.lab, WEB1)
    topology.set_sysctls(job.lab.capsule, "web1", {"ipv4/conf/all/arp_notify": 1,
                                                   "ipv6/conf/all/ndisc_notify": 1})
    for address in ("02:00:00:00:77:01", before):
        with forwarding_goes_on(job, f"web1 is {address}", GAP_MS):
            ip(job.lab, "web1", "link", "set", WEB1.interface, "address", address)


def test_the_rack_is_reached_another_way(job):
    """The route through the rack is taken away: the default route leads there too."""
    with forwarding_goes_on(job, "no route to the rack", GAP_MS):
        ip(job.lab, "edge", "route", "del", "10.0.1.0/24", "dev", RACK.interface)
    with forwarding_goes_on(job, "rack again", GAP_MS):
        ip(job.lab, "edge", "route", "add", "10.0.1.0/24", "dev", RACK.interface, "scope", "link",
           "src", RACK.v4)


def test_the_source_is_taken_away(job):
    """Tunnels do not ask whether their source is there; who answers to it would."""
    address = f"{RACK.v6}/64"
    with forwarding_goes_on(job, "source gone", GAP_MS):
        ip(job.lab, "edge", "address", "del", address, "dev", RACK.interface)
        said = wait_alarm(job, f"source {RACK.v6} is not on this machine any more")
        assert "add it back" in said
    with forwarding_goes_on(job, "source back", GAP_MS):
        ip(job.lab, "edge", "address", "add", address, "dev", RACK.interface, "nodad")


def test_the_dns_address_is_taken_away(job):
    """Names are answered on the others, and there again when it comes back."""
    lab, extra = job.lab, "10.0.0.99"
    command = lab.edge_command(lab.program)
    for change in (["add"], ["del"]):
        ip(lab, "edge", "address", *change, f"{extra}/32", "dev", UP.interface)
        if change == ["add"]:
            ip(lab, "net", "route", "add", extra, "dev", UP.far)
            with edge_stopped(lab, signal.SIGTERM, argv=[*command, "--dns", extra]):
                pass
            assert wait_for(lambda: dig(lab, extra), "an answer")
    with forwarding_goes_on(job, "DNS address gone"):
        said = wait_alarm(job, f"{extra} is not on this machine")
        assert "add it back" in said
        assert dig(lab, UP.v4) and not dig(lab, extra)
    ip(lab, "edge", "address", "add", f"{extra}/32", "dev", UP.interface)
    assert wait_for(lambda: dig(lab, extra), "an answer")
    assert not [text for text in alarms(job) if extra in text]
    with edge_stopped(lab, signal.SIGTERM, argv=command):
        ip(lab, "edge", "address", "del", f"{extra}/32", "dev", UP.interface)


def test_port_53_is_taken_at_a_restart(job):
    """The daemon forwards, says who has the port, and takes it as soon as it is free."""
    lab = job.lab
    with lab.capsule.inside("edge"):
        thief = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with thief, forwarding_goes_on(job, "port 53 taken"):
        with edge_stopped(lab, signal.SIGKILL):
            thief.bind((UP.v4, 53))
        said = wait_alarm(job, f"{UP.v4} port 53", "has it", "tried again")
        assert "stop that" in said
        assert not lab.cli.json("status")["dns"]["answering"]
        assert not dig(lab, UP.v6)
        # What is changed meanwhile is forwarded, and answered later.
        lab.apply(lab.fabric(("web1", "web2", "web3"), quiet="4s"))
    assert wait_for(lambda: dig(lab, UP.v4), "the port to be taken again")
    assert dig(lab, UP.v6)
    lab.apply(lab.fabric(("web1", "web2", "web3")))


# Outages, from here on

def test_an_interface_is_down(ended):
    """The routes lead round by the uplink meanwhile: not only the kernel's, but the program's."""
    with forwarding_goes_on(ended, "interface down", GAP_MS):
        ip(ended.lab, "edge", "link", "set", RACK.interface, "down")
        said = wait_alarm(ended, RACK.interface, "is down")
        assert f"ip link set {RACK.interface} up" in said
    with forwarding_goes_on(ended, "interface up", LINK_MS):
        ip(ended.lab, "edge", "link", "set", RACK.interface, "up")


def test_a_carrier_flaps(ended):
    """Nothing gets through without a carrier; with it, everything does at once."""
    job = ended
    with forwarding_goes_on(job, "carrier flaps", LINK_MS):
        ip(job.lab, "net", "link", "set", RACK.far, "down")
        wait_alarm(job, RACK.interface, "no carrier", "cable")
        for _ in range(3):
            ip(job.lab, "net", "link", "set", RACK.far, "up")
            ip(job.lab, "net", "link", "set", RACK.far, "down")
        ip(job.lab, "net", "link", "set", RACK.far, "up")


@pytest.mark.parametrize("family", [4, 6])
def test_no_route_to_a_backend(ended, family):
    """Its own flows wait; those of the others do not notice."""
    job = ended
    backend = next(leg for name, leg in topology.RACK.items()
                   if (topology.BACKENDS.index(name) % 2 == 0) == (family == 4))
    route = ["-4" if family == 4 else "-6", "route", "add", "unreachable", backend.address(family)]
    with forwarding_goes_on(job, f"no route {family}", GAP_MS):
        ip(job.lab, "edge", *route)
        said = wait_alarm(job, backend.address(family), "no route")
        assert "ip route get" in said
        route[2] = "del"
        ip(job.lab, "edge", *route)


def test_a_backends_interface_is_down(ended):
    """Its own flows wait, and its landing, which can still report here, says why, and what the
    kernel forgot with the link."""
    job = ended
    with forwarding_goes_on(job, "web2 is down", REPORT_MS):
        ip(job.lab, "web2", "link", "set", WEB2.interface, "down")
        said = wait_alarm(job, "backend web2", f"interface {WEB2.interface} is down")
        assert f"ip link set {WEB2.interface} up" in said
        assert not [text for text in alarms(job) if "backend web1" in text]
        ip(job.lab, "web2", "link", "set", WEB2.interface, "up")
        wait_alarm(job, "backend web2", WEB2.v6, "is no address of this machine")
        wait_alarm(job, "backend web2", "no IPv4 route leads beyond this machine's own links")
        ip(job.lab, "web2", "address", "add", f"{WEB2.v6}/64", "dev", WEB2.interface, "nodad")
        for gateway in ("10.0.1.1", "fd00:1::1"):
            ip(job.lab, "web2", "route", "add", "default", "via", gateway)
