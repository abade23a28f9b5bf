# SPDX-License-Identifier: Apache-2.0
"""What the number of versions costs: starts, changes, memory.

In the lab, with real landings on real backends, but with the state on the disk of the repository,
so that every commit waits for a true fsync. `SERVICES` services of one version each are the first
size; each is then published nine times more, and as no old version may end, that is ten versions
of each for the second. Each size is measured by

- ending the daemon and starting it again. The maps are pinned, so packets go on all the
  while, which a stream of probes checks; `forwarding` is when the daemon says that it has filled
  maps of its own and taken charge of the interfaces.
  `answering` is the first right answer from DNS;
- the same after `fairlead detach`, as after a reboot: `forwarding` is then the first probe that comes
  back from a backend;
- changing one service of the file and applying that: from the start of the command until DNS answers
  the new address;
- the resident memory of the daemon, and the memory of its maps as the kernel accounts for it.
"""
import contextlib
import json
import select
import shutil
import socket
import struct
import subprocess
import time
from pathlib import Path

from bench import measure as common
from lab import topology
from lab.host import REPOSITORY, LabError, wait_for
from lab.parts import DATAGRAM, DATAGRAM_MAGIC, PROBE_PORT, Lab
from lab.product import SITE, UNDERLAY_FAMILY

SERVICES, GENERATIONS = 1000, 10
ROUNDS = 5
# The lab's IPv4 pool is too small; this prefix is for benchmarks (RFC 2544).
POOLS = ("198.18.0.0/16", topology.POOLS[1])
STATE = REPOSITORY / "build/bench/state"
# By number of versions; what a further version takes of the maps is measured between the two.
TARGETS = {SERVICES: {"forwarding_s": 0.3, "answering_s": 1.0, "apply_s": 0.04, "resident_mb": 50.0},
           SERVICES * GENERATIONS: {"apply_s": 0.12, "map_bytes_per_version": 9728}}


def service_name(number):
    return f"s{number:04}"


def fabric_file(weights):
    """A fabric in which service i has weights[i] for its first backend. A changed weight is a new
    version of that service."""
    backends = [(name, topology.RACK[name].address(UNDERLAY_FAMILY[name]))
                for name in topology.BACKENDS[:2]]
    services = "".join(
        f"  {service_name(number)}:\n    ports: [udp/{PROBE_PORT}]\n    ttl: 1s\n"
        "    rollout: {shares: [100%]}\n    backends:\n" + "".join(
            f'      - {{name: {name}, site: {SITE}, address: "{address}", '
            f"weight: {weight if place == 0 else 100}}}\n"
            for place, (name, address) in enumerate(backends))
        for number, weight in enumerate(weights))
    return (f"fabric: lab\nzone: {topology.ZONE}\n"
            "settings: {quiet: 1h, stale: 24h, report_interval: 1s}\n"
            f'nameservers:\n  ns1: ["{topology.UPLINK.v4}", "{topology.UPLINK.v6}"]\n'
            f'pools:\n  - {{prefix: "{POOLS[1]}", site_bits: 4}}\n'
            f"  - {{prefix: {POOLS[0]}, site_bits: 1}}\n"
            f"sites:\n  {SITE}: {{location: [50.11, 8.68]}}\nservices:\n{services}")


def question(service):
    """The question for a service's IPv4 address, as it is in a DNS message."""
    labels = f"{service_name(service)}.{topology.ZONE}".split(".")
    return b"".join(bytes([len(label)]) + label.encode() for label in labels) + b"\0\0\1\0\1"


class StateLab(Lab):
    """The lab, with the edge's store on a disk and the large pool routed to the edge."""

    def edge_command(self, program):
        command = super().edge_command(program)
        command[command.index("--state") + 1] = STATE
        return command

    def _start(self):
        super()._start()
        self.capsule.run(["ip", "-n", "net", "route", "add", POOLS[0], "via", topology.UPLINK.v4])


class Client:
    """Asks DNS and the services from the client's place, without ever waiting."""

    def __init__(self, capsule):
        with capsule.inside("client"):
            self.names = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self.probes = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.names.connect((topology.UPLINK.v4, 53))
        for one in (self.names, self.probes):
            one.setblocking(False)
        self.sequence = 0

    def close(self):
        self.names.close()
        self.probes.close()

    def ask(self, service):
        self.sequence = (self.sequence + 1) % 65536
        with contextlib.suppress(OSError):  # nobody listens yet
            self.names.send(struct.pack(">HHHHHH", self.sequence, 0, 1, 0, 0, 0) +
                            question(service))

    def answers(self, service):
        """The IPv4 addresses in the answers for this service that have come since."""
        wanted = question(service)
        while True:
            try:
                message = self.names.recv(4096)
            except BlockingIOError:
                return
            except OSError:
                continue  # the port was closed
            end = 12 + len(wanted)
            # One answer, whose name points to the question: 12 bytes, then the address.
            if message[12:end] == wanted and message[6:8] == b"\0\1":
                yield socket.inet_ntoa(message[end + 12:end + 16])

    def probe(self, address, number):
        self.probes.sendto(DATAGRAM.pack(DATAGRAM_MAGIC, 0, number, b""), (address, PROBE_PORT))

    def echoes(self):
        """The numbers of the probes that have come back since."""
        while True:
            try:
                yield DATAGRAM.unpack(self.probes.recv(4096))[2]
            except BlockingIOError:
                return

    def idle(self, seconds=0.0005):
        select.select([self.names, self.probes], [], [], seconds)

    def address(self, service, other_than=None, seconds=30.0):
        """What DNS answers, once that is something, and not `other_than`."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.ask(service)
            self.idle()
            for address in self.answers(service):
                if address != other_than:
                    return address
        raise LabError(f"DNS did not answer {service_name(service)} anew in {seconds:g} s")


class Bench:
    def __init__(self, lab, client):
        self.lab, self.client = lab, client
        self.weights = [100] * SERVICES
        self.changed = 0

    def publish(self, weight):
        """A new version of every service. Returns how long the command took, and how long until
        every service had moved on to it."""
        self.weights = [weight] * SERVICES
        path = self.lab.write(fabric_file(self.weights))
        begin = time.monotonic()
        self.lab.cli("apply", path, timeout=120)
        committed = time.monotonic() - begin
        wait_for(self.all_serve, "the services' new versions to serve", 120)
        return committed, time.monotonic() - begin

    def all_serve(self):
        return all(len([one for one in service.versions.values() if one.state == "serving"]) == 1
                   and service.serving.number == max(service.versions)
                   for service in self.lab.cli.status().services.values())

    def apply_one(self):
        """Change one service among all; seconds from the command's start to the new answer."""
        number = self.changed = (self.changed + 1) % SERVICES
        self.weights[number] += 1
        path = self.lab.write(fabric_file(self.weights))
        before = self.client.address(number)
        begin = time.monotonic()
        with self.lab.capsule.popen([self.lab.program, "--socket", self.lab.socket, "apply", path],
                                    stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                    text=True) as command:
            self.client.address(number, other_than=before)
            taken = time.monotonic() - begin
            if command.wait(30) != 0:
                raise LabError(f"the change was refused: {command.stderr.read()}")
        return taken

    def start(self, cold):
        """End the daemon in order, or a few starts would count as crashes, and start it again."""
        edge, client = self.lab.edge, self.client
        expected = client.address(0)
        edge.stop(seconds=30)
        if cold:
            self.lab.capsule.run([self.lab.program, "detach", "--pins",
                                  self.lab.capsule.bpffs / "edge"], "edge")
        list(client.echoes())
        list(client.answers(0))
        offset = edge.log.stat().st_size
        found, sent, received = {}, 0, 0
        begin = time.monotonic()
        edge.start()
        while len(found) < 2:
            now = time.monotonic() - begin
            if now > 60:
                raise LabError(f"the daemon did not start within a minute: {found}")
            client.ask(0)
            client.probe(expected, sent)
            sent += 1
            client.idle(0.001)
            back = len(list(client.echoes()))
            received += back
            now = time.monotonic() - begin
            if expected in client.answers(0):
                found.setdefault("answering_s", now)
            if back if cold else "edge.forwarding" in read_from(edge.log, offset):
                found.setdefault("forwarding_s", now)
        if not cold:
            found["lost"] = sent - received - self.late_echoes(sent - received)
        self.lab.wait_edge()
        return found

    def late_echoes(self, missing):
        deadline = time.monotonic() + 0.5
        count = 0
        while count < missing and time.monotonic() < deadline:
            self.client.idle(0.01)
            count += len(list(self.client.echoes()))
        return count

    def resident(self):
        """The daemon's memory in MB at rest, which it reaches some ticks after a change, and after
        the snapshot that follows it; and what of it is neither program nor map."""
        return min((self.memory_after(0.2) for _ in range(25)), key=lambda one: one["resident_mb"])

    def memory_after(self, seconds):
        self.client.idle(seconds)
        text = Path(f"/proc/{self.lab.edge.process.pid}/status").read_text()
        kilobytes = {line.split(":")[0]: int(line.split()[1]) for line in text.splitlines()
                     if line.startswith(("VmRSS", "RssAnon"))}
        return {"resident_mb": kilobytes["VmRSS"] / 1024,
                "anonymous_mb": kilobytes["RssAnon"] / 1024}

    def maps(self):
        """The bytes of all maps, as the kernel accounts for them."""
        layout = self.lab.cli.status().layout
        folder = self.lab.capsule.bpffs / "edge/edge" / layout
        return sum(json.loads(self.lab.capsule.run(
            ["bpftool", "-j", "map", "show", "pinned", pin]).stdout)["bytes_memlock"]
            for pin in folder.iterdir())

    def size(self, rounds):
        """All figures of one size."""
        contenders = {"pinned": lambda: self.start(cold=False), "cold": lambda: self.start(cold=True)}
        found = common.interleave(contenders, rounds, "starts: round")
        applies = common.Sample(tuple(self.apply_one() for _ in range(2 * rounds)))
        return {"pinned": summaries(found["pinned"]), "cold": summaries(found["cold"]),
                "apply_s": summary(applies), **self.resident(), "map_bytes": self.maps()}


def read_from(path, offset):
    with open(path, encoding="utf-8", errors="replace") as file:
        file.seek(offset)
        return file.read()


def summary(sample):
    return {"median": sample.median, "min": sample.least, "max": sample.greatest}


def summaries(samples):
    return {key: summary(sample) for key, sample in samples.items()}


def measure_in(lab, rounds):
    client = Client(lab.capsule)
    bench = Bench(lab, client)
    empty = bench.maps()
    sizes, published = {}, {}
    for generation in range(1, GENERATIONS + 1):
        committed, served = bench.publish(100 + 20 * generation)
        common.progress(f"{generation * SERVICES} versions: applied in {committed:.1f} s, "
                         f"all served after {served:.1f} s")
        if generation in (1, GENERATIONS):
            published[generation] = {"committed_s": committed, "served_s": served}
            sizes[generation * SERVICES] = bench.size(rounds)
    client.close()
    small, large = sizes[SERVICES], sizes[SERVICES * GENERATIONS]
    return {"versions": {str(count): size for count, size in sizes.items()},
            "publish": {str(generation * SERVICES): one for generation, one in published.items()},
            "map_bytes": {"empty": empty, "per_version": (large["map_bytes"] - small["map_bytes"]) /
                          (SERVICES * (GENERATIONS - 1)),
                          "per_version_of_first": (small["map_bytes"] - empty) / SERVICES},
            "targets": TARGETS}


def measure(options):
    shutil.rmtree(STATE, ignore_errors=True)
    try:
        with StateLab(backends=topology.BACKENDS[:2]) as lab:
            return measure_in(lab, options.rounds or ROUNDS)
    finally:
        shutil.rmtree(STATE, ignore_errors=True)


def milliseconds(figures):
    return f"{figures['median'] * 1000:.0f} ({figures['min'] * 1000:.0f}–{figures['max'] * 1000:.0f})"


def show(result):
    sizes = result["versions"].items()
    common.print_table(
        "Starts: milliseconds from the process's start, median (least–greatest)",
        ["versions", "pinned: forwarding", "answering", "lost probes", "cold: forwarding",
         "answering"],
        [[count, milliseconds(size["pinned"]["forwarding_s"]),
          milliseconds(size["pinned"]["answering_s"]), f"{size['pinned']['lost']['max']:.0f}",
          milliseconds(size["cold"]["forwarding_s"]), milliseconds(size["cold"]["answering_s"])]
         for count, size in sizes])
    common.print_table(
        f"Changes and memory, with {SERVICES} services",
        ["versions", "one changed → DNS, ms", "all changed, s", "resident MB", "without files",
         "maps MB"],
        [[count, milliseconds(size["apply_s"]), f"{result['publish'][count]['served_s']:.1f}",
          f"{size['resident_mb']:.0f}", f"{size['anonymous_mb']:.0f}",
          f"{size['map_bytes'] / 1e6:.1f}"] for count, size in sizes])
    names = {"forwarding_s": "start, pinned: forwarding, s", "answering_s": "start, pinned: "
             "answering, s", "apply_s": "one changed → DNS, s", "resident_mb": "resident, MB",
             "map_bytes_per_version": "maps, bytes of a further version"}
    common.print_table("Targets", ["", "versions", "measured", "at most"],
                       [[names[key], f"{count:,}", figure(measured(result, count)[key]),
                         figure(target)]
                        for count, targets in TARGETS.items() for key, target in targets.items()])


def measured(result, count):
    """What is set against the targets."""
    size = result["versions"][str(count)]
    return {"forwarding_s": size["pinned"]["forwarding_s"]["median"],
            "answering_s": size["pinned"]["answering_s"]["median"],
            "apply_s": size["apply_s"]["median"], "resident_mb": size["resident_mb"],
            "map_bytes_per_version": result["map_bytes"]["per_version"]}


def figure(value):
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"
