# SPDX-License-Identifier: Apache-2.0
"""What runs in the lab: nginx and a UDP echo on the backends, unbound, and Fairlead.

All of them are the real programs. A `Lab` starts them in the order in which an operator would,
and hands out the processes, so that tests can kill, stop and restart them.

nginx serves `/sequence`, in which each 8-byte word is its own offset, and `/page`, its first
kilobyte: so a client can check every byte it gets, wherever it is in the stream. Every answer
names its backend in the header X-Backend.
"""
import signal
import socket
import struct
from pathlib import Path

from lab import topology
from lab.host import BUILD, Capsule, LabError, wait_for
from lab.product import Cli, fabric_file

SEQUENCE_BYTES, PAGE_BYTES = 1 << 20, 1024
PROBE_PORT = 7000
DATAGRAM, DATAGRAM_MAGIC = struct.Struct("=IIQ16s"), 0x666c7072  # lab/traffic/datagram.h

NGINX = """
daemon off;
user root;
worker_processes 1;
pid {directory}/pid;
error_log stderr warn;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    client_max_body_size 16m;
    keepalive_timeout 600s;
    keepalive_requests 1000000;
    default_type application/octet-stream;
    server {{
        # The small send buffer keeps a slow download slow: what was sent is soon at the client.
        listen {listen} sndbuf=16k backlog=2048;
        root {root};
        add_header X-Backend {name} always;
        location = /upload {{ dav_methods PUT; alias {directory}/upload; }}
    }}
}}
"""

UNBOUND = """
server:
    interface: {v4}
    interface: {v6}
    access-control: 0.0.0.0/0 allow
    access-control: ::/0 allow
    do-daemonize: no
    chroot: ""
    username: ""
    directory: "{directory}"
    pidfile: ""
    use-syslog: no
    logfile: ""
    num-threads: 1
    module-config: "iterator"
    # RFC 8767: while no name server answers, an old answer is better than none.
    serve-expired: yes
    serve-expired-client-timeout: 1800
    serve-expired-reply-ttl: 1
    # A name server that was away is asked again soon.
    infra-host-ttl: 1
    infra-keep-probing: yes
{names}
stub-zone:
    name: "{zone}"
{stubs}
"""


def sequence(size):
    """The bytes that every backend serves."""
    return b"".join(struct.pack(">Q", offset) for offset in range(0, size, 8))


class Lab:
    """The whole lab, as a context manager: everything runs, no service is configured yet.

    `backends` are the machines that get a landing and an nginx; `build` is meson's directory;
    `names` are what the resolver knows by itself, {name: addresses}; `network` is a topology file
    with the machines and addresses of the rack's, or more.
    """

    def __init__(self, build=BUILD, backends=topology.BACKENDS, edge_env=None,
                 names=None, network=topology.RACK_FILE):
        self.build = Path(build)
        self.backends = tuple(backends)
        self.edge_env = dict(edge_env or {})
        self.names = dict(names or {})
        self.program = self.build / "src/fairlead"
        self.next_program = self.build / "src/fairlead-next"
        self.capsule = Capsule(network, self.program)
        self.root = self.capsule.root
        self.socket = self.root / "edge/run/fairlead.sock"
        self.cli = Cli(self.capsule, self.program, self.socket)
        self.landings = {}

    def __enter__(self):
        for program in (self.program, self.next_program, *map(self.tool, ("echo", "probe"))):
            if not program.exists():
                raise LabError(f"{program} is not built: run ./dev build")
        self.capsule.__enter__()
        try:
            self._start()
        except BaseException as failure:
            self.__exit__(None, failure, None)
            raise
        return self

    def __exit__(self, _, failure, __):
        if isinstance(failure, LabError):
            failure.add_note(self.logs())
        self.capsule.__exit__()

    def logs(self):
        """The ends of all logs that are not empty; they vanish with the lab."""
        return "\n".join(f"── {child.name}\n{text}" for child in self.capsule.children
                         if (text := child.tail()))

    def tool(self, name):
        return self.build / f"lab/traffic/lab-{name}"

    def start_content(self):
        """What every backend serves."""
        content = self.root / "content"
        content.mkdir()
        (content / "sequence").write_bytes(sequence(SEQUENCE_BYTES))
        (content / "page").write_bytes(sequence(PAGE_BYTES))

    def _start(self):
        self.start_content()
        for name in self.backends:
            self.start_nginx(name)
            self.capsule.spawn(f"echo-{name}", [self.tool("echo"), PROBE_PORT, name], name)
        self.resolver = self.start_unbound((topology.UPLINK.v4, topology.UPLINK.v6))
        self.edge = self.capsule.spawn("edge", self.edge_command(self.program), "edge",
                                       env=self.edge_env)
        self.wait_edge()
        for name in self.backends:
            self.landings[name] = self.start_landing(name)

    def directory(self, name):
        path = self.root / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    def start_nginx(self, machine, listen="[::]:80 ipv6only=off", name=None):
        """`name` is what it calls itself in X-Backend; the machine's name unless given."""
        name = name or machine
        directory = self.directory(f"{machine}/nginx-{name}")
        (directory / "conf").write_text(NGINX.format(
            directory=directory, listen=listen, name=name, root=self.root / "content"))
        return self.capsule.spawn(f"nginx-{name}", [
            "nginx", "-p", directory, "-e", "stderr", "-c", directory / "conf"], machine,
            death_signal=signal.SIGTERM)  # by which its master ends its worker too

    def start_unbound(self, nameservers):
        """The resolver; it asks these addresses for the fabric's zone."""
        directory = self.directory("resolver")
        own = topology.RESOLVER
        (directory / "conf").write_text(UNBOUND.format(
            directory=directory, v4=own.v4, v6=own.v6, zone=topology.ZONE,
            names="".join(
                f'    local-data: "{name}. 1 {"AAAA" if ":" in address else "A"} {address}"\n'
                for name, addresses in self.names.items() for address in addresses),
            stubs="\n".join(f"    stub-addr: {address}" for address in nameservers)))
        return self.capsule.spawn("unbound", ["unbound", "-d", "-c", directory / "conf"],
                                  "resolver")

    def edge_command(self, program):
        directory = self.directory("edge")
        up, rack = topology.UPLINK, topology.FABRIC
        return [program, "run", "--node", "edge1", "--site", "fra", "--role", "edge,names",
                "--state", directory / "state", "--run-dir", self.socket.parent,
                "--pins", self.capsule.bpffs / "edge",
                "--interface", up.interface, "--interface", rack.interface,
                "--source", rack.v4, "--source", rack.v6, "--dns", up.v4, "--dns", up.v6]

    def landing_command(self, name, node=None):
        directory = self.directory(f"{name}/fairlead")
        return [self.program, "run", "--role", "backend", "--node", node or name,
                "--state", directory / "state", "--run-dir", directory / "run",
                "--pins", self.capsule.bpffs / name,
                "--underlay", topology.RACK[name].interface, "--join", f"unix:{self.socket}"]

    def start_landing(self, name, node=None):
        """On the machine `name`, as the backend `node`: the machine's own name unless given."""
        return self.capsule.spawn(f"landing-{name}" + (f"-as-{node}" if node else ""),
                                  self.landing_command(name, node), name)

    def wait_edge(self, seconds=10):
        """Until the edge's daemon answers on its socket."""
        def answers():
            self.capsule.check()
            return self.cli.status()
        return wait_for(answers, "the edge's daemon to answer", seconds)

    def wait_landings(self):
        """Until every landing has its first configuration. It comes in answer to a report, so up
        to an interval after the fabric was applied; later changes need none."""
        def configured():
            return all(pool in self.capsule.run(
                ["ip", "-n", name, "-6" if ":" in pool else "-4", "rule"]).stdout
                for name in self.backends for pool in topology.POOLS)
        wait_for(configured, "the landings to be configured")

    def apply(self, text, *options, name="fabric.yaml"):
        """`fairlead apply` of a file with this text; returns what it printed."""
        return self.cli("apply", self.write(text, name), *options)

    def write(self, text, name="fabric.yaml"):
        path = self.root / name
        path.write_text(text)
        return path

    def wait_states(self, service, states, seconds=15, idle=None):
        """Until the service's versions are in these states, {number: state}; the status then."""
        def reached():
            status = self.cli.status()
            found = {number: status.services[service].state(number) for number in states}
            if found == states:
                return status
            raise LabError(f"the states are {found}")
        return wait_for(reached, f"{service} to reach {states}", seconds, idle)

    def fetch(self, address, path="/page", namespace="client", port=80, timeout=3.0, body=None):
        """One HTTP request: (name of the backend that answered, body). A body is sent by PUT."""
        head = (f"{'PUT' if body is not None else 'GET'} {path} HTTP/1.1\r\nHost: lab\r\n"
                f"Connection: close\r\nContent-Length: {len(body or b'')}\r\n\r\n")
        with self.capsule.inside(namespace):
            stream = socket.create_connection((address, port), timeout)
        with stream:
            stream.sendall(head.encode() + (body or b""))
            answer = b""
            while chunk := stream.recv(65536):
                answer += chunk
        headers, _, content = answer.partition(b"\r\n\r\n")
        fields = dict(line.split(": ", 1) for line in headers.decode().split("\r\n")[1:])
        return fields["X-Backend"], content

    def fabric(self, web, weights=None, **changes):
        """The lab's fabric file with these backends of `web`; see product.fabric_file."""
        return fabric_file(web, weights or {}, self.backends, **changes)
