# SPDX-License-Identifier: Apache-2.0
"""The name servers of the naming benchmark: Fairlead, gdnsd and Knot, each as steered well as it
can be, and what each must answer.

They serve the same names with the same addresses, TTL and clients, from one thread each (it is
their cost that is compared, not how it is spread), on an address of their own machine (so that no
answer needs to be told where to leave from), and know the EDNS client subnet. They differ in what
they do for an answer:

  fairlead     the real daemon with an applied fabric. Each service is in a rollout between two
               versions, half of the clients each; the client's prefix is hashed (SipHash-2-4), for
               each service with another salt, and the answer is counted for its version. The
               zone has records besides, and the load's network a rate that it never reaches
  *.geoip      the clients' prefixes are configured, half of them with the newest version's address
               and half with the older one's, one map for all names; an answer looks its client up.
               gdnsd asks its monitors' table, too, whether the address is up (all are)
  *.static     every client gets the older version's address; there is nothing to look up but the
               name. The floor, and what an address that is not steered would cost
"""
import contextlib
import functools
import ipaddress
import random
import struct
from dataclasses import dataclass
from pathlib import Path

from lab.host import BUILD, LabError, wait_for
from lab.product import Cli

PROGRAM = BUILD / "src/fairlead"
MACHINE, ADDRESS = "names", "10.0.0.2"
# The queries go over the loopback; the edge must have an interface, too.
TOPOLOGY = f"""
machines: {{{MACHINE}: {{}}, net: {{}}}}
links:
  up:
    from: {{machine: {MACHINE}, interface: up0, addresses: [{ADDRESS}/24]}}
    to: {{machine: net, interface: {MACHINE}-up0, addresses: [10.0.0.1/24]}}
"""
ZONE = "svc.example.net"
TTL_SECONDS = 30
SERVICES = tuple(f"service{number:02}" for number in range(1, 17))
CLIENTS = 4096
CLIENT_BITS = 24
SEED = 7
SERVER_CORE = 0

FABRIC = """
fabric: bench
zone: {zone}
nameservers: {{ns1: [{address}]}}
dns: {{rate_limit: 1000000, records: {{"@": {{txt: here, mx: 10 mail}}, "*.wild": {{txt: here}}}}}}
pools: [{{prefix: 198.51.100.0/24, site_bits: 1}}]
sites: {{here: {{}}}}
services:
"""

SERVICE = """\
  {name}:
    ports: [tcp/80]
    ttl: {ttl}s
    rollout: {{shares: [50%, 100%], pause: 1h}}
    backends: [{{name: {backend}, site: here, address: {backend_address}, weight: 1}}]
"""

GDNSD = """
options => {{
    listen => {address}, dns_port => {port},
    udp_threads => 1, tcp_threads => 1, udp_rcvbuf => 1048576,
    run_dir => {directory}/run, state_dir => {directory}/state,
    zones_default_ttl => {ttl},
}}
plugins => {{ geoip => {{
    maps => {{ clients => {{ datacenters => [older, newest], nets => {directory}/nets }} }}
    resources => {{ {resources} }}
}} }}
"""

GDNSD_RESOURCE = """
    {name} => {{
        map => clients, service_types => up,
        dcmap => {{ older => {older}, newest => {newest} }}
    }}"""

KNOT = """
server:
    rundir: "{directory}"
    listen: {address}@{port}
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
    edns-client-subnet: on
    udp-max-payload: 1232
log:
  - target: stderr
    any: warning
database:
    storage: "{directory}"
{module}
zone:
  - domain: {zone}
    storage: "{directory}"
    file: zone
    zonefile-load: whole
    {use}
"""

KNOT_GEOIP = """
mod-geoip:
  - id: clients
    config-file: "{directory}/geoip"
    mode: subnet
    ttl: {ttl}
"""


@dataclass(frozen=True)
class Addresses:
    """The two addresses of a service."""
    older: str
    newest: str


def client_prefixes():
    """{prefix: whether it is to get the newest version}; of ordinary unicast space, scattered."""
    draw = random.Random(SEED)
    found = {}
    while len(found) < CLIENTS:
        prefix = ipaddress.IPv4Network((draw.randrange(1 << 32), CLIENT_BITS), strict=False)
        if prefix.is_global:
            found[prefix] = len(found) % 2 == 0
    return found


def zone_file(addresses, line):
    """A master file; `line(name, addresses)` is the type and data of a service's record."""
    return "\n".join([f"@ 300 SOA ns1.{ZONE}. host.{ZONE}. 1 3600 600 604800 5",
                      f"@ 300 NS ns1.{ZONE}.", f"ns1 300 A {ADDRESS}",
                      *(f"{name} {TTL_SECONDS} {line(name, both)}"
                        for name, both in addresses.items()), ""])


def static_zone(addresses):
    return zone_file(addresses, lambda _, both: f"A {both.older}")


@functools.cache
def softirq_process():
    for path in Path("/proc").glob("[0-9]*/comm"):
        with contextlib.suppress(OSError):  # ended meanwhile
            if path.read_text().strip() == f"ksoftirqd/{SERVER_CORE}":
                return int(path.parent.name)
    raise LabError(f"there is no ksoftirqd/{SERVER_CORE}")


class Server:
    """A name server that runs; `scope` is what it must state for a client it steers."""

    def __init__(self, name, port, scope):
        self.name, self.port, self.scope = name, port, scope
        self.child = None

    def start(self, capsule, argv):
        self.child = capsule.spawn(self.name, ["taskset", "--cpu-list", SERVER_CORE, *argv],
                                   MACHINE)

    def cpu_ns(self):
        """What all its threads have spent so far, in user space and in the kernel, and what was
        left to the thread that helps the server's core out with its soft interrupts."""
        return sum(int((task / "schedstat").read_text().split()[0])
                   for process in (self.child.process.pid, softirq_process())
                   for task in Path(f"/proc/{process}/task").iterdir())

    def wrong(self, name, prefix, address):
        """Why this answer to a client of this prefix is not what it must be, or None."""
        wanted = self.expected(name, prefix)
        return None if address in wanted else f"{address} instead of {' or '.join(wanted)}"


class Fairlead(Server):
    """A fabric of one node. It chooses the addresses, which the others are then given."""

    def __init__(self, capsule, port):
        super().__init__("fairlead", port, CLIENT_BITS)
        directory = capsule.root / self.name
        directory.mkdir()
        self.file = directory / "fabric.yaml"
        self.cli = Cli(capsule, PROGRAM, directory / "run/fairlead.sock")
        self.start(capsule, [
            PROGRAM, "run", "--node", "node", "--site", "here", "--role", "edge,names",
            "--state", directory / "state", "--run-dir", directory / "run",
            "--pins", capsule.bpffs / self.name, "--interface", "up0", "--source", ADDRESS,
            "--dns", f"{ADDRESS}@{port}", "--dns-threads", 1])
        wait_for(self.cli.status, "the daemon to answer")
        self.apply(1, shares={1: 1.0})
        self.apply(2, shares={1: 0.5, 2: 0.5})
        self.addresses = {
            name: Addresses(*(self.services()[name].versions[number].address(4)
                              for number in (1, 2))) for name in SERVICES}

    def services(self):
        return self.cli.status().services

    def apply(self, number, shares):
        """Make this version of every service, by a backend of its own, and wait for DNS."""
        self.file.write_text(FABRIC.format(zone=ZONE, address=ADDRESS) + "".join(
            SERVICE.format(name=name, ttl=TTL_SECONDS, backend=f"backend{number}",
                           backend_address=f"10.0.0.{10 + number}") for name in SERVICES))
        self.cli("apply", self.file)

        def answered():
            found = self.services()
            return all({one.number: one.share for one in found[name].versions.values()} == shares
                       for name in SERVICES)
        wait_for(answered, f"version {number} to have its share of the clients")

    def expected(self, name, _):
        """Which of the two is the hash's business; that both occur is checked beside this."""
        return self.addresses[name].older, self.addresses[name].newest


class Peer(Server):
    """gdnsd or Knot, steered or not."""

    def __init__(self, kind, port, fairlead, clients, steered):
        super().__init__(f"{kind}.{'geoip' if steered else 'static'}", port,
                         CLIENT_BITS if steered else 0)
        self.addresses, self.clients, self.steered = fairlead.addresses, clients, steered

    def expected(self, name, prefix):
        newest = self.steered and self.clients[prefix]
        return (self.addresses[name].newest if newest else self.addresses[name].older),


class Gdnsd(Peer):
    def __init__(self, capsule, port, fairlead, clients, steered):
        super().__init__("gdnsd", port, fairlead, clients, steered)
        directory = capsule.root / self.name
        (directory / "zones").mkdir(parents=True)
        (directory / "config").write_text(GDNSD.format(
            address=ADDRESS, port=port, directory=directory, ttl=TTL_SECONDS,
            resources="".join(GDNSD_RESOURCE.format(name=name, **vars(both))
                              for name, both in self.addresses.items())))
        (directory / "nets").write_text("".join(
            f"{prefix} => [{'newest' if newest else 'older'}]\n"
            for prefix, newest in clients.items()))
        (directory / "zones" / ZONE).write_text(
            zone_file(self.addresses, lambda name, _: f"DYNA geoip!{name}") if steered
            else static_zone(self.addresses))
        self.start(capsule, ["gdnsd", "-c", directory, "start"])


class Knot(Peer):
    def __init__(self, capsule, port, fairlead, clients, steered):
        super().__init__("knot", port, fairlead, clients, steered)
        directory = capsule.root / self.name
        directory.mkdir()
        (directory / "conf").write_text(KNOT.format(
            directory=directory, address=ADDRESS, port=port, zone=ZONE,
            module=KNOT_GEOIP.format(directory=directory, ttl=TTL_SECONDS) if steered else "",
            use="module: mod-geoip/clients" if steered else ""))
        (directory / "zone").write_text(static_zone(self.addresses))
        (directory / "geoip").write_text("".join(
            f"{name}.{ZONE}:\n" + "".join(
                f"  - net: {prefix}\n    A: {both.newest if newest else both.older}\n"
                for prefix, newest in clients.items())
            for name, both in self.addresses.items()))
        self.start(capsule, ["knotd", "-c", directory / "conf"])


def start_all(capsule):
    """All of them, on one machine of TOPOLOGY; returns ({name: Server}, the clients)."""
    clients = client_prefixes()
    fairlead = Fairlead(capsule, 5301)
    servers = [fairlead, *(kind(capsule, port, fairlead, clients, steered)
                           for kind, port, steered in ((Gdnsd, 5302, False), (Gdnsd, 5303, True),
                                                       (Knot, 5304, False), (Knot, 5305, True)))]
    return {server.name: server for server in servers}, clients


def query(name, prefix):
    """A question for a service's A records with the client's subnet; the identifier is zero."""
    labels = f"{name}.{ZONE}".split(".")
    address = prefix.network_address.packed[:CLIENT_BITS // 8]
    option = struct.pack(">HHHBB", 8, 4 + len(address), 1, CLIENT_BITS, 0) + address
    return (struct.pack(">6H", 0, 0, 1, 0, 0, 1)
            + b"".join(bytes([len(label)]) + label.encode() for label in labels) + b"\0"
            + struct.pack(">HH", 1, 1)
            + b"\0" + struct.pack(">HHIH", 41, 1232, 0, len(option)) + option)


def read_answer(question, answer):
    """(address, scope) of an answer with one A record and a client subnet; a LabError if it is
    anything else. No pointers are followed: the question is echoed, and names are not looked at."""
    _, flags, *counts = struct.unpack_from(">6H", answer)
    if flags & 0x800f != 0x8000 or counts != [1, 1, 0, 1]:
        raise LabError(f"flags {flags:#06x}, counts {counts}")
    at = 12 + question[12:].index(b"\0") + 5
    found = {}
    while at < len(answer):
        at += 2 if answer[at] & 0xc0 else 1
        kind, _, _, length = struct.unpack_from(">HHIH", answer, at)
        found[kind] = answer[at + 10:at + 10 + length]
        at += 10 + length
    code, _, _, _, scope = struct.unpack_from(">HHHBB", found[41])
    if code != 8:
        raise LabError("no client subnet")
    return str(ipaddress.IPv4Address(found[1])), scope
