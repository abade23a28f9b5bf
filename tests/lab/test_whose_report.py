# SPDX-License-Identifier: Apache-2.0
"""A report is believed for the machine that it comes from, and not for the name that it bears.

web4's machine plays another one that is called web1: by an operator who moves web1 there, and by
one who mistook the two.
"""
import contextlib
import socket
import time

import pytest

from lab import topology
from lab.host import wait_for
from lab.product import UNDERLAY_FAMILY

HELD = 10


def address_of(machine):
    return topology.RACK[machine].address(UNDERLAY_FAMILY[machine])


@contextlib.contextmanager
def held_at_web1(lab, address):
    """Connections that are established at web1's machine, and stay."""
    with contextlib.ExitStack() as stack:
        streams = []
        for _ in range(30 * HELD):
            with lab.capsule.inside("client"):
                stream = socket.create_connection((address, 80), 3)
            if answers(stream) == "web1":
                streams.append(stack.enter_context(stream))
            else:
                stream.close()
            if len(streams) == HELD:
                break
        assert len(streams) == HELD
        yield streams


def answers(stream):
    """Who answers a request on this connection."""
    stream.sendall(b"GET /page HTTP/1.1\r\nHost: lab\r\n\r\n")
    answer = b""
    while b"\r\n\r\n" not in answer:
        chunk = stream.recv(65536)
        assert chunk, "the connection was closed"
        answer += chunk
    head, _, body = answer.partition(b"\r\n\r\n")
    fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:])
    while len(body) < int(fields["Content-Length"]):
        body += stream.recv(65536)
    return fields["X-Backend"]


@pytest.fixture
def lab(shared_lab):
    """web1 and web2 serve `web`, and web4's machine is free for another part."""
    shared_lab.apply(shared_lab.fabric(("web1", "web2")))
    wait_for(lambda: shared_lab.cli.status().services["web"].serving, "web to serve")
    shared_lab.wait_landings()
    shared_lab.landings["web4"].stop()
    yield shared_lab
    shared_lab.landings["web4"].start()
    wait_for(lambda: not shared_lab.cli.status().silent, "all backends to report again")


def per_backend(lab, number):
    version = lab.cli.status().services["web"].versions[number]
    return version.connections, version.per_backend["web1"]


def test_a_name_that_moves_takes_no_count_along(lab):
    """The new machine's zero is not the old one's, also when the old one does not speak."""
    before = lab.cli.status().services["web"].serving
    fabric = lab.fabric(("web1", "web2"))
    moved = fabric.replace(f'name: web1, site: fra, address: "{address_of("web1")}"',
                           f'name: web1, site: fra, address: "{address_of("web4")}"', 1)
    assert moved != fabric
    path = lab.write(moved)
    plan = lab.cli("plan", path)
    assert address_of("web1") in plan and "keep going to" in plan
    impostor = lab.start_landing("web4", node="web1")
    try:
        with held_at_web1(lab, before.address(4)) as streams:
            lab.apply(moved)
            lab.wait_states("web", {before.number: "draining", before.number + 1: "serving"})
            # Each machine counts for the version that names it.
            wait_for(lambda: per_backend(lab, before.number) == (HELD, HELD), "the old one's count")
            assert not [alarm for alarm in lab.cli.status().alarms if "no address of" in alarm]
            lab.landings["web1"].stop()
            wait_for(lambda: "web1" in lab.cli.status().silent, "the old machine to be silent")
            drained = time.monotonic()
            # `quiet` and `stale` are 3 s, and whoever reports counts zero.
            wait_for(lambda: time.monotonic() - drained > 9, "three times quiet to pass", 20)
            assert lab.cli.status().services["web"].state(before.number) == "draining"
            assert per_backend(lab, before.number) == (None, None)
            assert {answers(stream) for stream in streams} == {"web1"}
            # Which of the two is meant is clear: one of them reports.
            assert "reports its connections" in lab.cli.try_(
                "backend", "forget", "web1", address_of("web4")).stderr
            lab.landings["web1"].start()
            wait_for(lambda: per_backend(lab, before.number) == (HELD, HELD), "it to count again")
        lab.wait_states("web", {before.number: "retired"}, seconds=25)
        # Back again, while the new machine says nothing: the operator's word ends the waiting.
        lab.apply(lab.fabric(("web1", "web2")))
        lab.wait_states("web", {before.number + 2: "serving"})
        impostor.stop()
        wait_for(lambda: "web1" in lab.cli.status().silent, "the machine to be silent")
        lab.cli("backend", "forget", "web1", "--message", "it moved back")
        lab.wait_states("web", {before.number + 1: "retired"}, seconds=25)
    finally:
        impostor.stop()


def test_a_mistaken_name_counts_for_nobody(lab):
    """It comes while the real one restarts, and its zero is nobody's."""
    before = lab.cli.status().services["web"].serving
    with held_at_web1(lab, before.address(4)) as streams:
        lab.landings["web1"].stop()
        impostor = lab.start_landing("web4", node="web1")
        try:
            wait_for(lambda: any("without its address" in alarm
                                 for alarm in lab.cli.status().alarms), "the mistake to be told")
            assert per_backend(lab, before.number)[0] is None
            lab.landings["web1"].start()
            wait_for(lambda: per_backend(lab, before.number) == (HELD, HELD), "the real one's count")
            lab.apply(lab.fabric(("web2", "web3")))
            lab.wait_states("web", {before.number: "draining", before.number + 1: "serving"})
            lab.landings["web1"].stop()
            wait_for(lambda: "web1" in lab.cli.status().silent, "the real one to be silent")
            drained = time.monotonic()
            wait_for(lambda: time.monotonic() - drained > 9, "three times quiet to pass", 20)
            assert lab.cli.status().services["web"].state(before.number) == "draining"
            assert {answers(stream) for stream in streams} == {"web1"}
        finally:
            impostor.stop()
            lab.landings["web1"].start()
    lab.wait_states("web", {before.number: "retired"}, seconds=25)
