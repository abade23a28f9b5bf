# SPDX-License-Identifier: Apache-2.0
"""The edge of the lab, and who forwards on it in turn: Fairlead, nftables, HAProxy, a bare redirect.

One edge for all, with the same interfaces, addresses and backends; what one contender sets up it
takes away again before the next one comes, so that nobody pays for another's hooks. The service
address is the one that Fairlead gave the service.

Where what runs. The edge's core does all that arrives at the edge's interfaces, whose NAPI
threads are bound to it, and runs the contender's process if there is one. The other core does the
rest: clients, the network, backends. The threads have a real-time priority, since what they do is
otherwise a softirq's work, which no process can delay either. While the benchmark runs, a CPU with
nothing to do waits by polling (PM QoS), for waking a halted virtual CPU costs more than forwarding.
"""
import contextlib
import json
import os
import random
import socket
import string
import struct
import subprocess
from pathlib import Path

from lab import topology
from lab.host import LabError, wait_for
from lab.parts import DATAGRAM, DATAGRAM_MAGIC
from lab.product import backend_lines

HERE = Path(__file__).resolve().parent
PORT = 9000
OPERATOR = """while read -r file; do
    "$0" --socket "$1" apply "$file" >/dev/null 2>&1
    echo $?
done"""
CHECKS = 64  # connections, and datagrams, by which a contender is checked
REQUEST, NAME = 64, slice(8, 24)  # forwarding_request.h: bytes, and where the backend's name is
NETLINK_NETFILTER, NLM_F_REQUEST, NLM_F_ACK = 12, 1, 4
NFNL_SUBSYS_CTNETLINK, IPCTNL_MSG_CT_DELETE = 1, 2
BACKENDS = topology.BACKENDS
UPLINK, RACK = topology.UPLINK, topology.FABRIC
CLIENTS = f"{topology.CLIENT.v4.rpartition('.')[0]}.0/24"


def service_lines(weights):
    """YAML of the service that is measured; every backend serves it."""
    return f"""\
  bench:
    ports: [tcp/{PORT}, udp/{PORT}]
    ttl: 1s
    rollout: {{shares: [100%]}}
    backends:
{backend_lines(BACKENDS, weights)}"""


class Room:
    """The lab, made ready: who runs on which core, what listens, and what a contender must know."""

    def __init__(self, lab, edge_cpu, world_cpu):
        self.lab, self.capsule = lab, lab.capsule
        self.edge_cpu, self.world_cpu = edge_cpu, world_cpu
        self.rolled_out = 0
        # The operator shares the edge's core, as a real one may, and leaves the other one to those
        # who are timed; a shell, because making a process out of this one takes long.
        self.operator = self.capsule.popen(
            ["taskset", "--cpu-list", edge_cpu, "sh", "-c", OPERATOR, lab.program, lab.socket],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for name in BACKENDS:
            self.capsule.spawn(f"responder-{name}", [self.tool("responder"), PORT, name], name)
            self.capsule.spawn(f"datagrams-{name}", [self.lab.tool("echo"), PORT, name], name)
        lab.apply(self.fabric({}))
        self.lab.wait_landings()
        status = self.lab.wait_states("bench", {1: "serving"})
        self.service = status.services["bench"].versions[1].address(4)
        self.edge_mac = self.mac("edge", UPLINK.interface)
        self.rack_mac = self.mac("edge", RACK.interface)
        self.backend_macs = [self.mac(name, topology.RACK[name].interface) for name in BACKENDS]
        for machine, interface in (("edge", UPLINK.interface), ("edge", RACK.interface),
                                   ("net", UPLINK.far), ("net", RACK.far)):
            # `ip netns exec` for its sysfs, which shows the namespace's own interfaces.
            self.capsule.run(["ip", "netns", "exec", machine, "sh", "-c",
                              f"echo 1 > /sys/class/net/{interface}/threaded"])
        self.stop_fairlead()

    def stop_fairlead(self):
        lab = self.lab
        lab.edge.stop()
        command = lab.edge_command(lab.program)
        self.in_edge(lab.program, "detach", *(
            word for name in ("--state", "--pins")
            for word in (name, command[command.index(name) + 1])))

    def tool(self, name):
        return self.lab.build / f"bench/bench-{name}"

    def mac(self, machine, interface):
        shown = self.capsule.run(["ip", "-j", "-n", machine, "link", "show", interface]).stdout
        return json.loads(shown)[0]["address"]

    def fabric(self, weights):
        return self.lab.fabric(BACKENDS, quiet="1s", stale="1s",
                               services=service_lines(weights))

    def roll_out(self):
        """Apply other weights than last time; whether that was taken."""
        file = self.lab.write(self.fabric({BACKENDS[self.rolled_out % 2]: 20}))
        self.operator.stdin.write(f"{file}\n")
        self.operator.stdin.flush()
        taken = self.operator.stdout.readline() == "0\n"
        self.rolled_out += taken
        return taken

    def wait_retired(self):
        """Until the slots of versions that are through are free again, since IPv4 has few of them.
        Where one is pinned by a connection, rollouts do with fewer, and say how many were taken."""
        def retired():
            return len(self.lab.cli.status().services["bench"].versions) == 1
        with contextlib.suppress(LabError):
            wait_for(retired, "old versions to retire", 8)

    def place(self):
        """Bind the NAPI threads; anew in each turn, for a thread may be made again with its
        interface's programs."""
        own = {f"napi/{leg.interface}-": self.edge_cpu for leg in (UPLINK, RACK)}
        far = {f"napi/{leg.far}-": self.world_cpu for leg in (UPLINK, RACK)}
        found = set()
        for comm in Path("/proc").glob("[0-9]*/comm"):
            with contextlib.suppress(OSError):
                name = comm.read_text(encoding="utf-8").strip()
                for prefix, cpu in (own | far).items():
                    if name.startswith(prefix):
                        found.add(prefix)
                        self.bind(int(comm.parent.name), cpu)
                        os.sched_setscheduler(int(comm.parent.name), os.SCHED_FIFO,
                                              os.sched_param(1))
        if missing := (own | far).keys() - found:
            raise LabError(f"there is no thread {', '.join(sorted(missing))}…")

    @staticmethod
    def bind(pid, cpu):
        """A process with all its threads."""
        for thread in os.listdir(f"/proc/{pid}/task"):
            os.sched_setaffinity(int(thread), {cpu})

    def in_edge(self, *argv, **options):
        return self.capsule.run(argv, "edge", **options)

    def template(self, name, **words):
        text = (HERE / name).read_text(encoding="utf-8")
        return string.Template(text).substitute(SERVICE=self.service, PORT=PORT, **words)

    def check(self, address, wanted, datagrams):
        """Raise a LabError unless exactly the `wanted` backends answer, with the right bytes."""
        kinds = [self._ask_tcp, self._ask_udp] if datagrams else [self._ask_tcp]
        for ask in kinds:
            with self.capsule.inside("client"):
                found = {ask(address) for _ in range(CHECKS)}
            if found != set(wanted):
                raise LabError(f"{address} leads to {sorted(found)}, not {sorted(wanted)}")

    @staticmethod
    def _ask_tcp(address):
        request = bytearray(random.randbytes(REQUEST))
        request[NAME] = bytes(16)
        with socket.create_connection((address, PORT), 2) as stream:
            stream.sendall(request)
            answer = bytearray(stream.recv(REQUEST, socket.MSG_WAITALL))
        name = bytes(answer[NAME]).rstrip(b"\0").decode()
        answer[NAME] = bytes(16)
        if answer != request:
            raise LabError(f"{address} answers with other bytes")
        return name

    @staticmethod
    def _ask_udp(address):
        request = DATAGRAM_MAGIC, random.getrandbits(32), random.getrandbits(64)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as flow:
            flow.settimeout(2)
            flow.connect((address, PORT))
            flow.send(DATAGRAM.pack(*request, b""))
            *answer, name = DATAGRAM.unpack(flow.recv(DATAGRAM.size))
        if tuple(answer) != request:
            raise LabError(f"{address} answers with other bytes")
        return name.rstrip(b"\0").decode()


class Contender:
    """Who forwards. As a context manager it does so, proven by a check, until it is left.

    `modes` are what forwarding_world.bpf.c can ask of it."""
    modes, backends = ("udp", "requests", "connections"), BACKENDS

    def __init__(self, room):
        self.room = room

    @property
    def address(self):
        """Where clients find the service."""
        return self.room.service

    def __enter__(self):
        self._undo = contextlib.ExitStack()
        try:
            self.begin(self._undo)
            self.room.place()
            wait_for(lambda: self.room.check(self.address, self.backends, "udp" in self.modes)
                     or True, f"{type(self).__name__} to forward")
        except BaseException:
            self._undo.close()
            raise
        return self

    def __exit__(self, *_):
        self._undo.close()


class Direct(Contender):
    """No balancer: clients know the address of a backend."""
    modes, backends = (), BACKENDS[:1]

    @property
    def address(self):
        return topology.RACK[self.backends[0]].v4

    def begin(self, undo):
        pass


class Floor(Contender):
    """A bare redirect from interface to interface, by forwarding_redirect.bpf.c."""
    backends = BACKENDS[:1]

    def begin(self, undo):
        room = self.room
        child = room.capsule.spawn("redirect", [
            room.tool("redirect"), UPLINK.interface, RACK.interface, room.service,
            room.backend_macs[0], room.rack_mac], "edge")
        undo.callback(child.stop)


class Fairlead(Contender):
    """The daemon is stopped and its programs are detached while others forward."""

    def begin(self, undo):
        edge = self.room.lab.edge
        edge.start()
        undo.callback(self.room.stop_fairlead)
        self.room.lab.wait_edge()
        self.room.bind(edge.process.pid, self.room.edge_cpu)


class Nftables(Contender):
    """DNAT, and the backends' way back to the clients through the edge."""
    SYSCTLS = {"ipv4/ip_forward": (1, 0), "netfilter/nf_conntrack_checksum": (0, 1),
               "netfilter/nf_conntrack_tcp_timeout_time_wait": (1, 120),
               "netfilter/nf_conntrack_tcp_timeout_close": (1, 10)}

    def begin(self, undo):
        room = self.room
        backends = ", ".join(f"{number} : {topology.RACK[name].v4}"
                             for number, name in enumerate(BACKENDS))
        rules = room.template("nftables.conf.in", COUNT=len(BACKENDS), BACKENDS=backends)
        undo.callback(topology.set_sysctls, room.capsule, "edge",
                      {key: old for key, (_, old) in self.SYSCTLS.items()})
        topology.set_sysctls(room.capsule, "edge",
                             {key: new for key, (new, _) in self.SYSCTLS.items()})
        with room.capsule.inside("edge"):
            forget_connections()
        room.in_edge("nft", "-f", "-", input=rules)
        undo.callback(room.in_edge, "nft", "delete", "table", "ip", "bench")
        for name in BACKENDS:
            route = [CLIENTS, "via", RACK.v4]
            room.capsule.run(["ip", "-n", name, "route", "add", *route])
            undo.callback(room.capsule.run, ["ip", "-n", name, "route", "delete", *route])


def forget_connections():
    """Empty the connection tracker of this namespace, as `conntrack -F` does: what has timed out
    would be counted until the kernel comes by, which can take a minute."""
    request = struct.pack("=IHHIIBBH", 20, NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_DELETE,
                          NLM_F_REQUEST | NLM_F_ACK, 1, 0, socket.AF_UNSPEC, 0, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER) as kernel:
        kernel.send(request)
        error = -struct.unpack_from("=i", kernel.recv(4096), 16)[0]
    if error:
        raise LabError(f"the connection tracker cannot be emptied: {os.strerror(error)}")


class Haproxy(Contender):
    """A proxy in user space; it knows no UDP."""
    modes = ("requests", "connections")

    def begin(self, undo):
        room = self.room
        servers = "\n".join(f"    server {name} {topology.RACK[name].v4}:{PORT}"
                            for name in BACKENDS)
        file = room.lab.write(room.template("haproxy.cfg.in", CPU=room.edge_cpu, SERVERS=servers),
                              "haproxy.cfg")
        address = ["address", f"{room.service}/32", "dev", "lo"]
        room.in_edge("ip", *address[:1], "add", *address[1:])
        undo.callback(room.in_edge, "ip", *address[:1], "delete", *address[1:])
        child = room.capsule.spawn("haproxy", ["haproxy", "-db", "-f", file], "edge")
        undo.callback(child.stop)
