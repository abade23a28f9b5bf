# SPDX-License-Identifier: Apache-2.0
"""Invariant 3: an address keeps its meaning for as long as one connection uses it.

Three services change versions at once. A connection over IPv4 stays open on the first version of
`four`, one over IPv6 on that of `six`, none on that of `calm`; when calm's has walked through the
closing barrier, the others have had every opportunity to follow, and must not have.
"""
import contextlib
import socket

import pytest

from lab.host import wait_for
from lab.product import backend_lines

BACKENDS = ("web1", "web2")
FAMILY_OF = {"four": 4, "six": 6}
SERVICES = (*FAMILY_OF, "calm")


def fabric(lab, weight, web="web3"):
    services = "".join(f"""\
  {name}:
    ports: [tcp/80]
    ttl: 1s
    rollout: {{shares: [100%]}}
    backends:
{backend_lines(BACKENDS, {"web1": weight})}""" for name in SERVICES)
    # `quiet` is longer than the way of a count: before a version looks unused, its flows are known.
    return lab.fabric((web,), quiet="2s", stale="1s", services=services)


def ask(stream):
    """One request on a connection that stays; returns who answered."""
    stream.sendall(b"GET /page HTTP/1.1\r\nHost: lab\r\n\r\n")
    answer = b""
    while b"\r\n\r\n" not in answer:
        chunk = stream.recv(65536)
        assert chunk, "the connection was closed"
        answer += chunk
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    assert status == "HTTP/1.1 200 OK"
    fields = dict(line.split(": ", 1) for line in lines)
    while len(body) < int(fields["Content-Length"]):
        body += stream.recv(65536)
    return fields["X-Backend"]


def keep_connections(lab, weight):
    """A change of all services: those with an open connection keep their version until it ends."""
    first = {name: lab.cli.status().services[name].serving for name in SERVICES}
    old = {name: version.number for name, version in first.items()}
    with contextlib.ExitStack() as open_connections:
        answered = {}
        for name, family in FAMILY_OF.items():
            with lab.capsule.inside("client"):
                stream = open_connections.enter_context(
                    socket.create_connection((first[name].address(family), 80), 3))
            answered[name] = stream, ask(stream)
        lab.apply(fabric(lab, weight))
        calm = old["calm"]
        status = lab.wait_states("calm", {calm: "retired", calm + 1: "serving"}, seconds=25)

        for name, family in FAMILY_OF.items():
            assert status.services[name].state(old[name]) == "draining"
            assert status.services[name].versions[old[name]].connections == 1
            stream, backend = answered[name]
            assert ask(stream) == backend
            assert lab.fetch(first[name].address(family))[0].removeprefix("box-") in BACKENDS

    for name in FAMILY_OF:
        number = old[name]
        # What has ended is over for conntrack too, within a minute at most.
        status = lab.wait_states(name, {number: "retired", number + 1: "serving"}, seconds=40)
        late = status.services[name].versions[number + 1].late_addresses
        assert set(first[name].addresses) <= set(late)
    return {backend for _, backend in answered.values()}


@pytest.fixture(scope="module")
def lab(shared_lab):
    shared_lab.apply(fabric(shared_lab, 10))
    for name in SERVICES:
        shared_lab.wait_states(name, {1: "serving"})
    return shared_lab


def test_an_open_connection_keeps_its_version(lab):
    """Not even closing: its address takes new flows as before. Its end is the version's end."""
    assert keep_connections(lab, 20) <= set(BACKENDS)


PUBLISHED = """
table inet published {
    chain way-in {
        type nat hook prerouting priority dstnat
        ip daddr 198.51.100.0/26 tcp dport 80 dnat ip to 172.17.0.2:8080
        ip6 daddr 2001:db8:f::/108 tcp dport 80 dnat ip6 to [fd17::2]:8080
    }
    chain way-out {
        type nat hook postrouting priority srcnat
        ip saddr 172.17.0.0/24 oifname eth0 masquerade
        ip6 saddr fd17::/64 oifname eth0 masquerade
    }
}
"""


def publish(lab, machine):
    """As a container engine publishes a port: the server is in a namespace of its own, under another
    address and port, and the machine translates to it."""
    def run(*words, namespace=machine, **options):
        return lab.capsule.run(words, namespace, **options)

    box = f"box-{machine}"
    run("ip", "netns", "add", box)
    run("ip", "link", "add", "docker0", "type", "veth", "peer", "name", "eth0", "netns", box)
    run("ip", "-batch", "-", input=("address add 172.17.0.1/24 dev docker0\n"
                                    "address add fd17::1/64 dev docker0 nodad\n"
                                    "link set docker0 up\n"))
    run("ip", "-n", box, "-batch", "-", input=(
        "link set lo up\nlink set eth0 up\naddress add 172.17.0.2/24 dev eth0\n"
        "address add fd17::2/64 dev eth0 nodad\nroute add default via 172.17.0.1\n"
        "route add default via fd17::1\n"))
    run("sysctl", "-q", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
    lab.start_nginx(box, "[::]:8080 ipv6only=off")
    run("nft", "-f", "-", input=PUBLISHED)

    def serves():
        lab.capsule.check()
        return lab.fetch("172.17.0.2", namespace=machine, port=8080)
    wait_for(serves, "the server in the container")


def test_a_connection_into_a_container_keeps_its_version(lab):
    """No socket of the backend's own has the service's address."""
    for machine in BACKENDS:
        publish(lab, machine)
    assert keep_connections(lab, 30) <= {f"box-{machine}" for machine in BACKENDS}


def test_an_order_to_cut_forgets_what_is_translated(lab):
    """The tracked connection is gone, and with it what held the version."""
    web = lab.cli.status().services["four"].serving
    with lab.capsule.inside("client"):
        stream = socket.create_connection((web.address(4), 80), 3)
    with stream:
        ask(stream)
        wait_for(lambda: lab.cli.status().services["four"].versions[web.number].connections == 1,
                 "the flow to be counted")
        lab.apply(fabric(lab, 40))
        lab.wait_states("four", {web.number: "draining"})
        lab.cli("rollout", "cut", f"four/{web.number}")
        lab.wait_states("four", {web.number: "retired"}, seconds=40)


def test_syn_cookies_keep_a_version(lab):
    """Their last ACK may come when nobody counts any more."""
    old = lab.cli.status().services["four"].serving
    for machine in BACKENDS:
        lab.capsule.run(["nft", "delete", "table", "inet", "published"], machine)
        lab.capsule.run(["sysctl", "-q", "net.ipv4.tcp_syncookies=2"], machine)
    for _ in range(8):
        assert lab.fetch(old.address(4))[0] in BACKENDS
    lab.apply(fabric(lab, 50))

    def is_told():
        four = next(one for one in lab.cli.status().raw["services"] if one["name"] == "four")
        version = next(one for one in four["versions"] if one["number"] == old.number)
        return version["cookie_backend"] in BACKENDS
    wait_for(is_told, "the status to say who sent cookies")
    web = lab.cli.status().services["web"].serving.number
    lab.apply(fabric(lab, 50, web="web4"))
    lab.wait_states("web", {web: "retired"}, seconds=25)
    assert lab.cli.status().services["four"].state(old.number) == "draining"
