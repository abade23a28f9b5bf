# SPDX-License-Identifier: Apache-2.0
"""Invariant 3: an address keeps its meaning for as long as one connection uses it.

Three services change versions at once. A connection over IPv4 stays open on the first version of
`four`, one over IPv6 on that of `six`, none on that of `calm`; when calm's has walked through the
closing barrier, the others have had every opportunity to follow, and must not have.
"""
import contextlib
import socket

from lab.product import backend_lines

BACKENDS = ("web1", "web2")
FAMILY_OF = {"four": 4, "six": 6}
SERVICES = (*FAMILY_OF, "calm")


def fabric(lab, weight):
    services = "".join(f"""\
  {name}:
    ports: [tcp/80]
    ttl: 1s
    rollout: {{shares: [100%]}}
    backends:
{backend_lines(BACKENDS, {"web1": weight})}""" for name in SERVICES)
    # `quiet` is longer than the way of a count: before a version looks unused, its flows are known.
    return lab.fabric(("web3",), quiet="2s", stale="1s", services=services)


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


def test_an_open_connection_keeps_its_version(shared_lab):
    """Not even closing: its address takes new flows as before. Its end is the version's end."""
    lab = shared_lab
    lab.apply(fabric(lab, 10))
    for name in SERVICES:
        lab.wait_states(name, {1: "serving"})
    first = {name: lab.cli.status().services[name].serving for name in SERVICES}
    with contextlib.ExitStack() as open_connections:
        answered = {}
        for name, family in FAMILY_OF.items():
            with lab.capsule.inside("client"):
                stream = open_connections.enter_context(
                    socket.create_connection((first[name].address(family), 80), 3))
            answered[name] = stream, ask(stream)
        lab.apply(fabric(lab, 20))
        status = lab.wait_states("calm", {1: "retired", 2: "serving"}, seconds=25)

        for name, family in FAMILY_OF.items():
            assert status.services[name].state(1) == "draining"
            assert status.services[name].versions[1].connections == 1
            stream, backend = answered[name]
            assert ask(stream) == backend
            assert lab.fetch(first[name].address(family))[0] in BACKENDS

    for name in FAMILY_OF:
        status = lab.wait_states(name, {1: "retired", 2: "serving"}, seconds=25)
        late = status.services[name].versions[2].late_addresses
        assert set(late) == set(first[name].addresses)
