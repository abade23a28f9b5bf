# SPDX-License-Identifier: Apache-2.0
"""A fabric in the lab: lab/topologies/fabric.yaml, which draws it, with every node made as an
operator makes it.

A `FabricLab` has a voter, edges that share all addresses by BGP (BIRD on them and on the router),
and four backends on other machines. `cli` is the voter's command line and `clis` everyone's.
Machines join, are stopped, lose their power and come back by calls of it.
"""
import contextlib
import re
import shutil
import signal
from pathlib import Path

from lab import topology
from lab.host import BUILD, LabError, wait_for
from lab.parts import PROBE_PORT, Lab
from lab.product import Cli, fabric_file
from lab.topology import Leg, set_sysctls

FABRIC_FILE = Path(__file__).resolve().parent / "topologies/fabric.yaml"
VOTER, EDGES = "voter", ("edge1", "edge2", "edge3")
SITE = "main"
NODES = {VOTER: Leg(VOTER, VOTER, "eth0", "10.0.1.2", "fd00:1::2"), **topology.RACK,
         **{name: Leg(name, name, "eth0", f"10.0.1.{number}", f"fd00:1::{number}")
            for number, name in enumerate(EDGES, start=21)}}
NAMESERVERS = VOTER, "edge1", "edge2"
PREFIXES = "198.51.100.0/27", "2001:db8:f::/112"  # the site's slices of the pools
ANNOUNCE_WAIT = 1  # seconds that an edge waits for the router, when it is stopped
ROUTER_AS, EDGE_AS = 64512, 64513


class FabricLab(Lab):
    """All of it runs, with `edges` of the three; no service is configured yet, so that BIRD on the
    edges is started by announce(), when there are prefixes."""

    def __init__(self, build=BUILD, edges=EDGES[:2], voter_env=None):
        super().__init__(build, network=FABRIC_FILE)
        self.first_edges = edges
        self.voter_env = dict(voter_env or {})
        self.clis = {name: Cli(self.capsule, self.program, self.directory_of(name) / "run/fairlead.sock")
                     for name in NODES}
        self.cli = self.clis[VOTER]
        self.nodes, self.birds = {}, {}

    def directory_of(self, name):
        return self.root / name / "node"

    def _start(self):
        self.start_content()
        for name in self.backends:
            self.bound_backoff(name)
            self.start_nginx(name)
            self.capsule.spawn(f"echo-{name}", [self.tool("echo"), PROBE_PORT, name], name)
        self.resolver = self.start_unbound(NODES[name].v4 for name in NAMESERVERS)
        self.start_router()
        self.init()
        for name in self.backends:
            self.join(name, "--role", "backend")
        for name in self.first_edges:
            self.join_edge(name)

    def bound_backoff(self, name):
        """A slow reader's connection waits with its window closed, and its server asks whether it is
        open at intervals that double. After 300 ms without a way these may be 4 s, in which no byte
        comes: that is TCP's doing, and would be counted as broken. From Linux 6.15 on it can be
        told to wait no longer than a second."""
        with contextlib.suppress(FileNotFoundError):
            set_sysctls(self.capsule, name, {"ipv4/tcp_rto_max_ms": 1000})

    # Nodes

    def own(self, name):
        """What tells a machine's files from others', since the lab's machines share /run."""
        folder = self.directory_of(name)
        return ["--node", name, "--state", folder / "state", "--run-dir", folder / "run",
                "--pins", self.capsule.bpffs / name]

    def run_on(self, name, *words):
        return self.capsule.run([self.program, *words], name).stdout

    def init(self):
        self.run_on(VOTER, "init", "--role", "names", *self.own(VOTER))
        self.start(VOTER, env=self.voter_env)

    def join(self, name, *words):
        """A machine becomes a node of the fabric, and runs."""
        token = self.cli.json("token")["token"]
        self.run_on(name, "join", NODES[VOTER].v4, "--token", token, *self.own(name), *words)
        self.start(name)

    def join_edge(self, name):
        self.join(name, "--role", "edge,names", "--announce", "bgp",
                  "--announce-wait", str(ANNOUNCE_WAIT))

    def start(self, name, program=None, **options):
        """Also again; a process that ended is started with the program that it had."""
        argv = [program or self.program, "run", "--state", self.directory_of(name) / "state"]
        if name not in self.nodes:
            self.nodes[name] = self.capsule.spawn(f"node-{name}", argv, name, **options)
        elif program:
            self.nodes[name].start(argv=argv)
        else:
            self.nodes[name].start()
        self.wait_node(name)

    def wait_node(self, name, seconds=10):
        def answers():
            self.capsule.check()
            return self.clis[name]("routing", "status")
        return wait_for(answers, f"{name} to answer", seconds)

    def stop(self, name, how=signal.SIGTERM):
        return self.nodes[name].stop(how)

    def power_off(self, name):
        """Without a word: neither the programs nor the kernel of the machine say goodbye."""
        self.capsule.lab("unplug", NODES[name].link)
        for child in (self.nodes[name], self.birds[name]):
            child.stop(signal.SIGKILL)

    def power_on(self, name):
        """What lay in its memory is gone: routes, programs and maps. Its disk is as it was."""
        shutil.rmtree(self.capsule.bpffs / name, ignore_errors=True)
        for family in ("-4", "-6"):
            self.capsule.run(["ip", family, "route", "flush", "table", "122"], name, check=False)
        self.capsule.lab("plug", NODES[name].link)
        self.start(name)
        self.birds[name].start()

    def apply_on(self, name, text):
        return self.clis[name]("apply", self.write(text))

    def fabric(self, web, weights=None, **changes):
        return fabric_file(web, weights or {}, self.backends, site=SITE,
                           nameservers=[NODES[name] for name in NAMESERVERS], **changes)

    def wait_landings(self):
        """Until every landing has its first configuration."""
        def configured():
            return all(pool in self.capsule.run(
                ["ip", "-n", name, "-6" if ":" in pool else "-4", "rule"]).stdout
                for name in self.backends for pool in topology.POOLS)
        wait_for(configured, "the landings to be configured")

    # Routes

    def start_router(self):
        folder = self.directory("router")
        self.capsule.spawn("router", ["sh", "fabric-router.sh"], "router",
                           cwd=FABRIC_FILE.parent, env={"DIR": str(folder)})

    def start_bird(self, name):
        """BIRD on an edge, by what the edge itself writes for it."""
        folder = self.directory(f"{name}/bird")
        written = wait_for(lambda: self.clis[name](
            "routing", "config", "bird", "--neighbor", "10.0.1.1", "--neighbor", "fd00:1::1",
            "--as", str(ROUTER_AS), "--local-as", str(EDGE_AS)), f"{name} to know of pools")
        (folder / "fairlead.conf").write_text(written)
        (folder / "bird.conf").write_text(f"router id {NODES[name].v4};\nprotocol device {{}}\n"
                                          f'include "{folder}/fairlead.conf";\n')
        self.birds[name] = self.capsule.spawn(f"bird-{name}", [
            "bird", "-f", "-c", folder / "bird.conf", "-s", folder / "ctl", "-P", folder / "pid"],
            name)

    def paths(self):
        """Per prefix, how many edges the router sends to."""
        def count(prefix):
            shown = self.capsule.run(["ip", "-6" if ":" in prefix else "-4", "route", "show",
                                      "exact", prefix], "router").stdout
            return len(re.findall(r"\bvia\b", shown))
        return tuple(map(count, PREFIXES))

    def wait_paths(self, number, seconds=10, idle=None):
        """Until the router shares all prefixes among so many edges."""
        def shared():
            self.capsule.check()
            found = self.paths()
            if found == (number,) * len(PREFIXES):
                return True
            raise LabError(f"there are {found}")
        wait_for(shared, f"the router to have {number} ways", seconds, idle)

    def announced(self, name):
        return self.clis[name].json("routing", "status")["prefixes"]

    def announced_without_daemon(self, name):
        """What lies in the table, whoever put it there."""
        return "".join(self.capsule.run(["ip", family, "route", "show", "table", "122"], name,
                                        check=False).stdout for family in ("-4", "-6"))

    def deal_anew(self, seed):
        """Every flow may take another way from now on: the router hashes with another seed."""
        set_sysctls(self.capsule, "router", {"ipv4/fib_multipath_hash_seed": seed})

    def forwarded(self, name):
        """Frames that the machine sent so far, which for an edge are those that it forwarded."""
        with self.capsule.inside(name):
            with open("/proc/net/dev", encoding="ascii") as file:
                row = next(line for line in file if line.strip().startswith("eth0:"))
        return int(row.split(":")[1].split()[9])

    def cut_channel(self, name):
        """Its node channel is cut; packets and routes go on."""
        self.capsule.run(["nft", "-f", "-"], name, input=(
            "table inet cut {\nchain in {\ntype filter hook input priority 0\n"
            "tcp dport 7122 drop\ntcp sport 7122 drop\n}\n}\n"))

    def join_channel(self, name):
        self.capsule.run(["nft", "delete", "table", "inet", "cut"], name)
