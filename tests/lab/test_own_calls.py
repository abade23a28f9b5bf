# SPDX-License-Identifier: Apache-2.0
"""A machine that is an edge calls services of its own pools (NETWORK.md rules 2 to 5).

The machines are those of test_one_interface.py, and `side`, which hangs on an interface of the node
that carries no program of ours.
"""
import http.client
import json
import signal
import socket

import pytest

from lab.host import Capsule, wait_for
from lab.product import Cli
from test_one_interface import HERE, PROGRAM, THERE, TOPOLOGY, One

SIZE = 1 << 20
SIDE = TOPOLOGY.replace("links:\n", """  side: {routes: [{to: default, via: 10.0.9.1}]}
links:
  side:
    from: {machine: side, interface: eth0, addresses: [10.0.9.2/24]}
    to: {machine: node, interface: eth1, addresses: [10.0.9.1/24]}
""")


def ask(connection, verb, path, body=None):
    connection.request(verb, path, body)
    return connection.getresponse().read().decode()


class Caller(One):
    """The node, as a client of its own services."""

    def node(self, *words, check=True):
        return self.capsule.run(words, "node", check=check)

    def asks(self, address):
        """Who answers the node, by one connection; with bodies that take many segments each way."""
        with self.capsule.inside("node"):
            connection = http.client.HTTPConnection(address, 80, timeout=10)
            connection.connect()
        try:
            name = ask(connection, "GET", "/")
            assert ask(connection, "GET", "/long") == name * 200000
            assert int(ask(connection, "PUT", "/", b"x" * SIZE)) == SIZE
        finally:
            connection.close()
        return name

    def rules(self):
        return [(rule["priority"], rule.get("dst"), rule.get("table")) for family in ("-4", "-6")
                for rule in json.loads(self.node("ip", "-json", family, "rule").stdout)
                if rule["priority"] == 49]

    def packets(self, number):
        """Of a version: how many, and how many bytes in them."""
        (service,) = [service for service in self.cli.json("status")["services"]
                      if service["name"] == "web"]
        (version,) = [version for version in service["versions"] if version["number"] == number]
        return version["packets"], version["bytes"]


@pytest.fixture(scope="module")
def one():
    with Capsule(SIDE, PROGRAM) as capsule:
        running = Caller(capsule)
        running.start()
        yield running


@pytest.mark.parametrize("rp_filter", [0, 1, 2])
@pytest.mark.parametrize("where", [HERE, THERE])
def test_it_calls_its_own_service(one, where, rp_filter):
    one.node("sysctl", "-qw", f"net.ipv4.conf.all.rp_filter={rp_filter}",
             f"net.ipv4.conf.default.rp_filter={rp_filter}")
    number = one.apply(where)
    for address in one.addresses(number):
        wait_for(lambda address=address: one.asks(address) == where[0], f"{address} to answer", 15)


def test_its_segments_are_full(one):
    number = one.apply(THERE)
    for address in one.addresses(number):
        before = one.packets(number)
        assert one.asks(address) == "web2"
        after = one.packets(number)
        packets, size = (new - old for new, old in zip(after, before))
        # Of the long answer there are acknowledgements too, of which each tells of many segments.
        assert size > SIZE and size / packets > 1000, (packets, size)


def test_a_call_is_a_flow_like_any_other(one):
    """Counted, and refused where the version has no such port."""
    number = one.apply(HERE, THERE)
    for address in one.addresses(number):
        assert {one.asks(address) for _ in range(20)} == {"node", "web2"}
        with one.capsule.inside("node"):
            with pytest.raises(OSError):
                socket.create_connection((address, 81), timeout=1).close()
    assert one.cli.json("status")["drops"].get("port", 0) > 0


def test_what_is_taken_away_comes_back(one):
    number = one.apply(THERE)
    addresses = one.addresses(number)
    wait_for(lambda: len(one.rules()) == 2, "both rules")
    takings = (["ip", "rule", "del", "pref", "49"], ["ip", "-6", "rule", "del", "pref", "49"],
               ["ip", "route", "flush", "table", "26220"],
               ["ip", "-6", "route", "flush", "table", "26220"],
               ["ip", "link", "del", "fairlead-call"])
    for words in takings:
        one.node(*words)
        for address in addresses:
            wait_for(lambda address=address: calls(one, address) == "web2", f"{words}", 10)
        wait_for(lambda: len(one.rules()) == 2, "both rules", 10)
    assert any("own calls" in alarm or "fairlead-" in alarm for alarm in one.cli.status().alarms)


def calls(one, address):
    """As asks(), or None."""
    try:
        return one.asks(address)
    except OSError:
        return None


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_without_a_daemon_calls_go_on(one, how):
    addresses = one.addresses(one.apply(HERE, THERE))
    one.daemon.stop(how)
    for address in addresses:
        assert {one.asks(address) for _ in range(20)} == {"node", "web2"}
    one.daemon.start()
    one.wait()
    for address in addresses:
        assert {one.asks(address) for _ in range(20)} == {"node", "web2"}


def test_what_comes_past_the_programs_reaches_no_listener(one):
    """`side` sends to the pool by an interface that carries no program."""
    number = one.apply(HERE)
    (address, _) = one.addresses(number)
    assert one.asks(address) == "node"
    with one.capsule.inside("side"):
        with socket.create_connection(("10.0.9.1", 80), timeout=5):
            pass
        with pytest.raises(OSError):
            socket.create_connection((address, 80), timeout=2).close()


def test_nothing_of_it_is_left(one):
    one.daemon.stop()
    done = one.node(PROGRAM, "detach", "--pins", one.capsule.bpffs / "node")
    assert done.returncode == 0
    assert not one.rules()
    links = json.loads(one.node("ip", "-json", "link").stdout)
    assert {link["ifname"] for link in links} == {"lo", "eth0", "eth1"}
    assert "26220" not in one.node("ip", "route", "show", "table", "all").stdout
