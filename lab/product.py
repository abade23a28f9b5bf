# SPDX-License-Identifier: Apache-2.0
"""Fairlead as the lab sees it: the file an operator writes, its command line, its status.

Everything that knows the shape of Fairlead's YAML or JSON is here, and nowhere else in the lab.
"""
import json
import subprocess
import time
from dataclasses import dataclass, field

from lab import topology
from lab.host import LabError

SITE = "fra"
TTL_SECONDS = 1
# Backends are reached over IPv4 and IPv6 in turn, so that all four tunnels are used: each carries
# both families of service addresses.
UNDERLAY_FAMILY = {name: 4 if number % 2 == 0 else 6
                   for number, name in enumerate(topology.BACKENDS)}


def backend_lines(names, weights, site=SITE):
    """YAML for a list of backends; a weight not given is 10."""
    return "".join(
        f"      - {{name: {name}, site: {site}, "
        f'address: "{topology.RACK[name].address(UNDERLAY_FAMILY[name])}", '
        f"weight: {weights.get(name, 10)}}}\n" for name in names)


def fabric_file(web, weights, probe, rollout="shares: [100%]", quiet="3s", stale="3s",
                settings="", services="", site=SITE, nameservers=(topology.UPLINK,)):
    """The fabric of design section 7, with seconds where it has hours.

    `web` and `probe` name the backends of the two services; `settings` and `services` are YAML for
    more.
    """
    v4, v6 = topology.POOLS
    named = "".join(f'  ns{number}: ["{leg.v4}", "{leg.v6}"]\n'
                    for number, leg in enumerate(nameservers, start=1))
    return f"""\
fabric: lab
zone: {topology.ZONE}
settings: {{quiet: {quiet}, stale: {stale}, report_interval: 500ms{settings}}}
nameservers:
{named}pools:
  - {{prefix: "{v6}", site_bits: 4, slots_per_service: 256}}
  - {{prefix: {v4}, site_bits: 1}}
sites:
  {site}: {{location: [50.11, 8.68], clients: [192.0.2.0/25, "2001:db8:c::/64"]}}
services:
  web:
    ports: [tcp/80]
    ttl: {TTL_SECONDS}s
    rollout: {{{rollout}}}
    backends:
{backend_lines(web, weights, site)}\
  probe:
    ports: [udp/7000]
    ttl: {TTL_SECONDS}s
    rollout: {{shares: [100%]}}
    backends:
{backend_lines(probe, {}, site)}\
{services}"""


@dataclass
class Version:
    number: int
    state: str
    addresses: list  # its own
    late_addresses: list  # of retired versions, which mean this one now
    connections: object  # None while some backend's count is unknown
    late: int  # new flows to late addresses
    share: float  # of the clients, 0 to 1
    per_backend: dict = field(default_factory=dict)  # name: connections

    def address(self, family):
        return next(address for address in self.addresses if (":" in address) == (family == 6))


@dataclass
class Service:
    name: str
    versions: dict  # number: Version; without the retired ones

    def state(self, number):
        """A version's state. One that is not in a status is retired, or was never there."""
        return self.versions[number].state if number in self.versions else "retired"

    @property
    def serving(self):
        """The newest version that DNS answers; None when there is none."""
        return max((version for version in self.versions.values() if version.state == "serving"),
                   key=lambda version: version.number, default=None)


@dataclass
class Status:
    node: str
    build_id: str
    layout: str
    interfaces: dict  # name: mode
    services: dict
    silent: list  # names of backends whose count is not known
    alarms: list
    drops: dict  # reason: packets
    raw: dict

    @property
    def well(self):
        """Nothing needs somebody, and every backend has reported."""
        return not self.alarms and not self.silent


def sentences(alarms):
    """What each of a status's alarms or notes says, and what to do about it."""
    return ["; ".join(filter(None, (alarm["text"], alarm.get("advice")))) for alarm in alarms]


def parse_status(raw):
    services = {}
    for service in raw["services"]:
        versions = {}
        for one in service["versions"]:
            versions[one["number"]] = Version(
                one["number"], one["state"], one["addresses"], one["late_addresses"],
                one["connections"], one["late"], one["share"],
                {backend["name"]: backend["connections"] for backend in one.get("backends", ())})
        services[service["name"]] = Service(service["name"], versions)
    # Who is no edge has no build, no interfaces and no drops to tell of.
    return Status(raw["node"], raw.get("build_id", ""), raw.get("layout", ""),
                  {i["name"]: i["mode"] for i in raw.get("interfaces", ())}, services,
                  [b["name"] for b in raw["backends"] if b["silent"]], sentences(raw["alarms"]),
                  raw.get("drops", {}), raw)


class Cli:
    """The command line, run as an operator would: `cli("rollback", "web")` returns its output.
    `parse` reads the program's status; another release's may look otherwise."""

    def __init__(self, capsule, program, socket):
        self.capsule, self.program, self.socket = capsule, program, socket
        self.parse = parse_status

    def try_(self, *words, **options):
        """Run and return a CompletedProcess, whatever the exit code."""
        return self.capsule.run([self.program, "--socket", self.socket, *words], check=False,
                                **options)

    def __call__(self, *words, **options):
        done = self.try_(*words, **options)
        if done.returncode != 0:
            raise LabError(f"fairlead {' '.join(map(str, words))}: exit code {done.returncode}: "
                           f"{done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def json(self, *words):
        return json.loads(self(*words, "-o", "json"))

    def status(self):
        return self.parse(self.json("status"))

    def start_status(self):
        """Begin `status` without waiting for it; see StatusPoll."""
        return self.capsule.popen([self.program, "--socket", self.socket, "status", "-o", "json"],
                                  stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                  stderr=subprocess.DEVNULL, text=True)


class StatusPoll:
    """`status` without waiting for it: for a screen that must not stand still, and for times when
    the daemon is dead on purpose."""

    SECONDS = 0.25

    def __init__(self, cli):
        self._cli, self._asked, self._asked_at, self._is_news = cli, None, 0.0, False

    def latest(self):
        """A status that came in since the last call, or None; asks for the next one."""
        status = None
        if self._asked and self._asked.poll() is not None:
            done, self._asked = self._asked, None
            with done:
                text = done.stdout.read()
            if done.returncode == 0 and self._is_news:
                status = self._cli.parse(json.loads(text))
        if not self._asked and time.monotonic() - self._asked_at > self.SECONDS:
            self._asked_at, self._is_news = time.monotonic(), True
            self._asked = self._cli.start_status()
        return status

    def disregard(self):
        """What is on its way is older than what is known by now."""
        self._is_news = False
