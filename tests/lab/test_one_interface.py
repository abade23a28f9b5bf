# SPDX-License-Identifier: Apache-2.0
"""A machine that is edge, name server and backend at once, by its only interface.

    client ── net ── rack ──┬── node  10.0.1.2   fd00:1::2   all roles
                            └── web2  10.0.1.12  fd00:1::12  a backend that reports to node

`net` routes between its legs and leads both pools to the node. What an edge sends back out of the
link that it came by arrives only where the far end has an XDP program (docs/design/lab.md).
"""
import http.client
import signal
import socket
import struct
import urllib.request

import pytest

from lab.host import BUILD, Capsule, LabError, wait_for
from lab.parts import DATAGRAM, DATAGRAM_MAGIC
from lab.product import Cli

PROGRAM = BUILD / "src/fairlead"
ECHO = BUILD / "lab/traffic/lab-echo"
NODE4, NODE6 = "10.0.1.2", "fd00:1::2"
CLIENT4 = "192.0.2.10"

TOPOLOGY = """
machines:
  net:
    forwards: true
    bridges: {rack: [10.0.1.1/24, "fd00:1::1/64"]}
    routes: [{to: 198.51.100.0/26, via: 10.0.1.2}, {to: "2001:db8:f::/108", via: "fd00:1::2"}]
  client: {routes: [{to: default, via: 192.0.2.1}, {to: default, via: "2001:db8:c::1"}]}
  node: {routes: [{to: default, via: 10.0.1.1}, {to: default, via: "fd00:1::1"}]}
  web2: {routes: [{to: default, via: 10.0.1.1}, {to: default, via: "fd00:1::1"}]}
links:
  client:
    from: {machine: client, interface: eth0, addresses: [192.0.2.10/24, "2001:db8:c::10/64"]}
    to: {machine: net, interface: client-eth0, addresses: [192.0.2.1/24, "2001:db8:c::1/64"]}
  node:
    from: {machine: node, interface: eth0, addresses: [10.0.1.2/24, "fd00:1::2/64"]}
    to: {machine: net, interface: node-eth0, bridge: rack, xdp: pass}
  web2:
    from: {machine: web2, interface: eth0, addresses: [10.0.1.12/24, "fd00:1::12/64"]}
    to: {machine: net, interface: web2-eth0, bridge: rack, xdp: pass}
"""

FABRIC = """
fabric: example
zone: svc.example.net
pools: [{{prefix: 198.51.100.0/26}}, {{prefix: "2001:db8:f::/108"}}]
sites: {{fra: {{}}}}
settings: {{report_interval: 200ms, quiet: 2s, stale: 2s}}
services:
  web:
    ports: [tcp/80, udp/7000]
    ttl: 1s
    backends:
{backends}
"""
HERE = ("node", NODE4)
THERE = ("web2", "fd00:1::12")


def fabric(*backends):
    return FABRIC.format(backends="\n".join(
        f'      - {{name: {name}, site: fra, address: "{address}"}}' for name, address in backends))


SERVER = """
import http.server, socket, sys
class Server(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        body = sys.argv[1].encode() * (200000 if self.path == "/long" else 1)
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def do_PUT(self):
        length = len(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.send_header("Content-Length", str(len(str(length))))
        self.end_headers()
        self.wfile.write(str(length).encode())
    def log_message(self, *words):
        pass
Server(("::", 80), Handler).serve_forever()
"""


class One:
    """The node, its neighbour, and what a client gets."""

    def __init__(self, capsule):
        self.capsule = capsule
        self.folder = capsule.root / "node"
        self.cli = Cli(capsule, PROGRAM, self.folder / "run/fairlead.sock")
        self.daemon = self.landing = None

    def start(self):
        for name in ("node", "web2"):
            self.capsule.spawn(f"http-{name}", ["python3", "-c", SERVER, name], name)
            self.capsule.spawn(f"echo-{name}", [ECHO, "7000", name], name)
        self.daemon = self.capsule.spawn("node", [
            PROGRAM, "run", "--node", "node", "--site", "fra", "--role", "edge,names,backend",
            "--interface", "eth0", "--underlay", "eth0", "--source", NODE4, "--source", NODE6,
            "--dns", NODE4, "--state", self.folder / "state", "--run-dir", self.folder / "run",
            "--pins", self.capsule.bpffs / "node"], "node")
        self.wait()
        folder = self.capsule.root / "web2"
        self.landing = self.capsule.spawn("landing-web2", [
            PROGRAM, "run", "--role", "backend", "--node", "web2", "--underlay", "eth0",
            "--join", f"unix:{self.folder}/run/fairlead.sock", "--state", folder / "state",
            "--run-dir", folder / "run", "--pins", self.capsule.bpffs / "web2"], "web2")

    def wait(self):
        wait_for(lambda: self.capsule.check() or self.cli.status(), "the daemon to answer")

    def apply(self, *backends):
        path = self.capsule.root / "fabric.yaml"
        path.write_text(fabric(*backends))
        self.cli("apply", str(path))
        service = self.cli.status().services["web"]
        number = max(service.versions)
        try:
            wait_for(lambda: self.cli.status().services["web"].state(number) == "serving",
                 f"version {number} to serve", 3)
        except LabError:
            print(self.cli("status")); print(self.daemon.tail(60)); raise
        return number

    def addresses(self, number):
        version = self.cli.status().services["web"].versions[number]
        return version.address(4), version.address(6)

    def get(self, address, path="/"):
        host = f"[{address}]" if ":" in address else address
        with self.capsule.inside("client"):
            with urllib.request.urlopen(f"http://{host}{path}", timeout=5) as answer:
                return answer.read().decode()

    def upload(self, address, size):
        host = f"[{address}]" if ":" in address else address
        with self.capsule.inside("client"):
            request = urllib.request.Request(f"http://{host}/", data=b"x" * size, method="PUT")
            with urllib.request.urlopen(request, timeout=10) as answer:
                return int(answer.read())


@pytest.fixture(scope="module")
def one():
    with Capsule(TOPOLOGY, PROGRAM) as capsule:
        running = One(capsule)
        running.start()
        yield running


def test_it_is_its_own_backend(one):
    for address in one.addresses(one.apply(HERE)):
        assert one.get(address) == "node"
        assert one.get(address, "/long") == "node" * 200000
        assert one.upload(address, 1 << 20) == 1 << 20


def test_connections_of_its_own_are_counted(one):
    number = one.apply(HERE)
    with one.capsule.inside("client"):
        stream = socket.create_connection((one.addresses(number)[0], 80))
    with stream:
        wait_for(lambda: one.cli.status().services["web"].versions[number].connections == 1,
                 "the connection to be counted")


def test_backends_here_and_there(one):
    number = one.apply(HERE, THERE)
    for address in one.addresses(number):
        answers = {one.get(address) for _ in range(40)}
        assert answers == {"node", "web2"}


def inner_udp(source, target, ports, payload):
    """An IPv4 packet with a UDP datagram without a checksum."""
    udp = struct.pack("!HHHH", *ports, 8 + len(payload), 0) + payload
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0,
                       socket.inet_aton(source), socket.inet_aton(target))
    total = sum(struct.unpack("!10H", head))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return head[:10] + struct.pack("!H", ~total & 0xffff) + head[12:] + udp


def test_tunnels_land_where_clients_come_in_too(one):
    """As an edge elsewhere would send them; here one that stands for the node itself."""
    service = one.addresses(one.apply(HERE))[0]
    with one.capsule.inside("client"):
        client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        client.bind((CLIENT4, 5555))
        client.settimeout(5)
    with one.capsule.inside("net"):
        tunnel = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
    packet = inner_udp(CLIENT4, service, (5555, 7000),
                       DATAGRAM.pack(DATAGRAM_MAGIC, 0, 1, b""))
    outer = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(packet), 0, 0x4000, 64, 4, 0,
                        socket.inet_aton(NODE4), socket.inet_aton(NODE4))
    with client, tunnel:
        tunnel.sendto(outer + packet, (NODE4, 0))
        answer, source = client.recvfrom(4096)
    assert source == (service, 7000) and answer


def connect(one, number, count):
    """`count` connections to each address of a version; each of them is asked again and again."""
    connections = []
    with one.capsule.inside("client"):
        for address in one.addresses(number) * count:
            connections.append(http.client.HTTPConnection(address, 80, timeout=5))
            connections[-1].connect()
    return connections


def answers(connections):
    """Who answers, by the connections that are open: none of them is opened anew."""
    names = set()
    for connection in connections:
        assert connection.sock
        connection.request("GET", "/")
        names.add(connection.getresponse().read().decode())
    return names


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_restart_breaks_no_flow(one, how):
    connections = connect(one, one.apply(HERE, THERE), 10)
    one.daemon.stop(how)
    assert answers(connections) == {"node", "web2"}
    one.daemon.start()
    one.wait()
    assert answers(connections) == {"node", "web2"}
    wait_for(lambda: one.cli.status().well, "nothing to be wrong")
    for connection in connections:
        connection.close()


def test_who_was_only_a_backend_becomes_an_edge_too(one):
    """What lands there goes on landing, before the new edge has anything to forward and after."""
    connections = connect(one, one.apply(THERE), 4)
    folder = one.capsule.root / "web2"
    cli = Cli(one.capsule, PROGRAM, folder / "run/fairlead.sock")
    assert answers(connections) == {"web2"}
    one.landing.stop()
    edge = one.capsule.spawn("edge-web2", [
        PROGRAM, "run", "--node", "web2", "--site", "fra", "--role", "edge,names,backend",
        "--interface", "eth0", "--underlay", "eth0", "--source", "10.0.1.12", "--dns", "10.0.1.12",
        "--state", folder / "state", "--run-dir", folder / "run",
        "--pins", one.capsule.bpffs / "web2"], "web2")
    wait_for(lambda: one.capsule.check() or cli.status(), "the new edge to answer")
    assert answers(connections) == {"web2"}
    path = one.capsule.root / "another.yaml"
    path.write_text(fabric(("elsewhere", "10.0.1.1")).replace("198.51.100.0/26", "192.0.2.192/26")
                    .replace('"2001:db8:f::/108"', '"2001:db8:e::/108"'))
    cli("apply", str(path))
    wait_for(lambda: list(cli.status().interfaces.values()) == ["native"], "the edge's program")
    assert answers(connections) == {"web2"}
    edge.stop(signal.SIGKILL)
    assert answers(connections) == {"web2"}
    for connection in connections:
        connection.close()
