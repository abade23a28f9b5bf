# SPDX-License-Identifier: Apache-2.0
"""The lab with an earlier release's daemons in it, built from this repository's history.

What an operator said to the release, and what it says, is written down here as it was then: today's
files, flags and answers may differ, and those of then must still be understood where a machine keeps
them.
"""
import signal
import sys
from contextlib import contextmanager

from lab import topology
from lab.host import REPOSITORY
from lab.parts import Lab
from lab.product import Service, Status, Version, parse_status

sys.path.insert(0, str(REPOSITORY / "tools"))
import against  # noqa: E402  (the path comes first)

RELEASE = "2bea0c5"

FABRIC = """\
fabric: lab
zone: svc.example.net
settings: {{quiet: 3s, stale: 3s, report_interval: 500ms}}
nameservers:
  ns1: ["10.0.0.2", "fd00::2"]
pools:
  - {{prefix: "2001:db8:f::/108", site_bits: 4, slots_per_service: 256}}
  - {{prefix: 198.51.100.0/26, site_bits: 1}}
sites:
  fra: {{location: [50.11, 8.68], clients: [192.0.2.0/25, "2001:db8:c::/64"]}}
services:
  web:
    ports: [tcp/80]
    ttl: 1s
    rollout: {{shares: [100%]}}
    backends:
{web}\
  probe:
    ports: [udp/7000]
    ttl: 1s
    rollout: {{shares: [100%]}}
    backends:
{probe}"""
# Over IPv4 and IPv6 in turn, so that each tunnel is used.
ADDRESSES = {"web1": "10.0.1.11", "web2": "fd00:1::12", "web3": "10.0.1.13", "web4": "fd00:1::14"}


def backend_lines(names, weights):
    return "".join(f'      - {{name: {name}, site: fra, address: "{ADDRESSES[name]}", '
                   f"weight: {weights.get(name, 10)}}}\n" for name in names)


def parse(raw):
    """The release's status."""
    services = {}
    for service in raw["services"]:
        versions = {
            one["number"]: Version(one["number"], one["state"], one["addresses"],
                                   one["late_addresses"], one["connections"], one["late"],
                                   one["share"], {backend["name"]: backend["connections"]
                                                  for backend in one.get("backends", ())})
            for one in service["versions"]}
        services[service["name"]] = Service(service["name"], versions)
    return Status(raw["node"], raw["build_id"], raw["layout"],
                  {one["name"]: one["mode"] for one in raw["interfaces"]}, services,
                  [one["name"] for one in raw["backends"] if one["silent"]], raw["alarms"],
                  raw["drops"], raw)


class ReleaseLab(Lab):
    """The lab, with the release's daemons in it until upgrade()."""

    def __init__(self):
        super().__init__()
        self.release = against.build(RELEASE, "src/fairlead") / "src/fairlead"
        self.is_upgraded = False
        self.cli.program, self.cli.parse = self.release, parse

    def edge_command(self, program):
        if self.is_upgraded:
            return super().edge_command(program)
        up, rack = topology.UPLINK, topology.FABRIC
        directory = self.directory("edge")
        return [self.release, "run", "--node", "edge1", "--site", "fra", "--role", "edge,names",
                "--state", directory / "state", "--run-dir", self.socket.parent,
                "--pins", self.capsule.bpffs / "edge",
                "--interface", up.interface, "--interface", rack.interface,
                "--source", rack.v4, "--source", rack.v6, "--dns", up.v4, "--dns", up.v6]

    def landing_command(self, name, node=None):
        if self.is_upgraded:
            return super().landing_command(name, node)
        directory = self.directory(f"{name}/fairlead")
        return [self.release, "run", "--role", "backend", "--node", node or name,
                "--state", directory / "state", "--run-dir", directory / "run",
                "--pins", self.capsule.bpffs / name,
                "--underlay", topology.RACK[name].interface, "--join", f"unix:{self.socket}"]

    def fabric(self, web, weights=None, **_):
        return FABRIC.format(web=backend_lines(web, weights or {}),
                             probe=backend_lines(self.backends, {}))

    @contextmanager
    def upgrade(self):
        """No daemon runs in the body; after it, today's do, over the same folders and pins."""
        landings = {name: self.landings[name] for name in self.backends}
        for child in (self.edge, *landings.values()):
            assert child.stop(signal.SIGTERM) == 0
        yield
        self.is_upgraded = True
        self.cli.program, self.cli.parse = self.program, parse_status
        self.edge.start(argv=self.edge_command(self.program))
        self.wait_edge()
        for name, landing in landings.items():
            landing.start(argv=self.landing_command(name))
