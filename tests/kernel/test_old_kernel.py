# SPDX-License-Identifier: Apache-2.0
"""Edge and landing under the oldest kernel that is promised, in one lab: see boot.py.

The machine is emulated and slow, so there is little traffic here and nothing is measured. What the
tests of tests/lab show on a newer kernel is not shown again; these go once through everything that
asks something of the kernel: both XDP programs on veth, sk_lookup, managed neighbours, rules,
sock_diag, the clamp behind clsact, links that outlive the daemon.
"""
import contextlib
import http.client
import os
import signal
import socket
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from lab.host import wait_for  # noqa: E402  (the path comes first)
from lab.parts import PAGE_BYTES, Lab, sequence  # noqa: E402

BACKENDS = ("web1", "web2")
PATIENCE_S = 60


@pytest.fixture(scope="module")
def lab():
    with Lab(backends=BACKENDS) as running:
        running.apply(running.fabric(BACKENDS))
        running.wait_states("web", {1: "serving"}, PATIENCE_S)
        running.wait_landings()
        yield running


def addresses(lab, number):
    return lab.cli.status().services["web"].versions[number].addresses


def answered_by(lab, address):
    backend, page = lab.fetch(address, timeout=PATIENCE_S)
    assert page == sequence(PAGE_BYTES)
    return backend


def fetch_until(lab, address, backends):
    """Ask again and again until each of these backends has answered, and nobody else."""
    seen = set()

    def all_answered():
        seen.add(answered_by(lab, address))
        assert seen <= set(backends)
        return seen == set(backends)
    wait_for(all_answered, f"each of {backends} to answer on {address}", PATIENCE_S)


@contextlib.contextmanager
def kept_alive(lab, address):
    """An HTTP connection that stays; yields a function that asks by it who answers."""
    with lab.capsule.inside("client"):
        connection = http.client.HTTPConnection(address, timeout=PATIENCE_S)
        connection.connect()

    def ask():
        connection.request("GET", "/page")
        answer = connection.getresponse()
        assert answer.read() == sequence(PAGE_BYTES)
        return answer.headers["X-Backend"]
    with contextlib.closing(connection):
        yield ask


def test_the_kernel_is_the_oldest_that_is_promised():
    assert os.uname().release.startswith("6.1.")


def test_the_programs_run_natively(lab):
    assert set(lab.cli.status().interfaces.values()) == {"native"}


def test_every_tunnel_reaches_its_backend(lab):
    """The two backends are reached over IPv4 and IPv6; so both families over both."""
    for address in addresses(lab, 1):
        fetch_until(lab, address, BACKENDS)


def test_a_backend_offers_segments_that_fit_the_tunnel(lab):
    for address in addresses(lab, 1):
        with lab.capsule.inside("client"), \
             socket.create_connection((address, 80), PATIENCE_S) as stream:
            size = stream.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG)
        # 1500 less the inner headers, the timestamps in each segment, and the outer header, which is
        # one backend's of IPv4 and the other's of IPv6.
        inner = (40 if ":" in address else 20) + 20 + 12
        assert size in {1500 - inner - 20, 1500 - inner - 40}


def test_a_change_a_crash_and_the_end_of_a_version(lab):
    """One story, in which each step needs the one before."""
    v4 = next(address for address in addresses(lab, 1) if ":" not in address)
    with kept_alive(lab, v4) as ask:
        backend = ask()

        def counted():
            return lab.cli.status().services["web"].versions[1].connections == 1
        wait_for(counted, "sock_diag to show the connection", PATIENCE_S)

        lab.apply(lab.fabric(("web2",)))
        lab.wait_states("web", {1: "draining", 2: "serving"}, PATIENCE_S)
        for address in addresses(lab, 2):
            fetch_until(lab, address, ("web2",))
        assert ask() == backend

        lab.edge.stop(signal.SIGKILL)
        assert ask() == backend
        assert answered_by(lab, v4) in BACKENDS
        lab.edge.start()
        lab.wait_edge(PATIENCE_S)
        assert ask() == backend
    lab.wait_states("web", {1: "retired", 2: "serving"}, PATIENCE_S)
    assert answered_by(lab, v4) == "web2"


def test_nothing_was_dropped_but_by_the_closing(lab):
    assert set(lab.cli.status().drops) <= {"refused"}
