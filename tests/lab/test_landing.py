# SPDX-License-Identifier: Apache-2.0
"""Landing on a backend with real nginx: packets come by tunnel and are answered directly.

    client ── access ── edge ── rack ── backend

`edge` routes, and encapsulate.py in it stands for Fairlead's edge. Each test begins and ends with a
backend whose rules, routes, sysctls and interfaces are as they were: the fixture compares them.
"""
import contextlib
import difflib
import select
import signal
import socket
import struct

import pytest

import bpf
from lab.host import BUILD, REPOSITORY, Capsule, LabError, wait_for

DRIVER = BUILD / "tests/lab/drive-landing"

POOL4, POOL6 = "198.51.100.0/26", "2001:db8:f::/108"
# Even last bytes travel in IPv4, odd ones in IPv6 (encapsulate.py).
SERVICE = {"4in4": "198.51.100.2", "4in6": "198.51.100.3",
           "6in4": "2001:db8:f::2", "6in6": "2001:db8:f::3"}
OTHER4, OTHER6 = "198.51.100.40", "2001:db8:f::40"  # another service, which the edge itself plays
CLIENT4, CLIENT6 = "192.0.2.10", "2001:db8:c::10"
BACKEND4, BACKEND6 = "10.0.1.11", "fd00:1::11"
EDGE4, EDGE6 = "10.0.1.2", "fd00:1::2"
APPLY = (f"apply pool={POOL4} pool={POOL6} address={BACKEND4} address={BACKEND6} "
         f"edge={EDGE4} edge={EDGE6}")

NGINX = """
daemon off;
user root;
worker_processes 1;
pid {root}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 512; }}
http {{
    access_log off;
    keepalive_timeout 600s;
    default_type text/plain;
    server {{
        listen [::]:80 ipv6only=off;
        location / {{ return 200 "wildcard $server_addr $remote_addr"; }}
        location /long {{ alias {root}/long; }}
    }}
    server {{
        listen {v4}:8080;
        listen [{v6}]:8080;
        location / {{ return 200 "one address $server_addr $remote_addr"; }}
    }}
}}
"""


TOPOLOGY = f"""
machines:
  client:
    routes: [{{to: default, via: 192.0.2.1}}, {{to: default, via: "2001:db8:c::1"}}]
    # So that the segment size is what the SYN-ACK allows, exactly.
    sysctls: {{net.ipv4.tcp_timestamps: 0}}
  edge:
    forwards: true
  backend:
    routes: [{{to: default, via: {EDGE4}}}, {{to: default, via: "{EDGE6}"}}]
    # As strict as a machine can be: landing must cope with it.
    sysctls: {{net.ipv4.conf.all.rp_filter: 1, net.ipv4.conf.default.rp_filter: 1}}
links:
  access:
    from: {{machine: client, interface: access, addresses: [{CLIENT4}/24, "{CLIENT6}/64"]}}
    to: {{machine: edge, interface: clients, addresses: [192.0.2.1/24, "2001:db8:c::1/64"]}}
  rack:
    from: {{machine: backend, interface: eth0, addresses: [{BACKEND4}/24, "{BACKEND6}/64"]}}
    to: {{machine: edge, interface: rack, addresses: [{EDGE4}/24, "{EDGE6}/64"]}}
"""


def set_up_edge(capsule):
    """What it plays itself, and the tunnel that encapsulate.py writes into."""
    capsule.run(["ip", "-n", "edge", "-batch", "-"], input=(
        f"address add {OTHER4}/32 dev lo\naddress add {OTHER6}/128 dev lo\n"
        "tuntap add dev tunnel mode tun\nlink set tunnel up\n"
        f"route add {POOL4} dev tunnel\nroute add {POOL6} dev tunnel\n"))


@pytest.fixture(scope="module")
def capsule():
    with Capsule(TOPOLOGY) as room:
        set_up_edge(room)
        (room.root / "long").write_bytes(b"x" * (8 << 20))
        (room.root / "nginx.conf").write_text(
            NGINX.format(root=room.root, v4=BACKEND4, v6=BACKEND6))
        tunnel = room.spawn("tunnel", ["/usr/bin/python3", REPOSITORY / "tests/lab/encapsulate.py",
                                       "tunnel", BACKEND4, BACKEND6], "edge")
        room.nginx = room.spawn("nginx", ["nginx", "-p", room.root, "-e", "stderr",
                                          "-c", room.root / "nginx.conf"], "backend")
        wait_for(lambda: "ready" in tunnel.tail(), "the encapsulation")

        def serves():
            room.check()
            return fetch(room, BACKEND4, namespace="backend")
        wait_for(serves, "nginx")
        yield room


def snapshot(capsule):
    """All that landing may touch on the backend, as text."""
    commands = (["ip", "-4", "-d", "rule"], ["ip", "-6", "-d", "rule"],
                ["ip", "-4", "-d", "route", "show", "table", "all"],
                ["ip", "-6", "-d", "route", "show", "table", "all"],
                ["ip", "-d", "link"], ["sysctl", "-a", "-r", r"^net\.ipv[46]\.(conf|ip_)"],
                ["bpftool", "net"], ["tc", "qdisc"])
    text = "\n".join(capsule.run(command, "backend").stdout for command in commands)
    return text + "\n".join(str(path) for path in sorted(capsule.bpffs.iterdir())
                            if not path.name.endswith(".debug"))


class Driver:
    """The driver's process: `driver("check")` gives the lines of the answer."""

    def __init__(self, capsule, interface="eth0", name="landing"):
        self.process = capsule.popen(
            [DRIVER, capsule.bpffs / name, capsule.root / f"state-{name}", interface], "backend",
            stdin=-1, stdout=-1, text=True)

    def __call__(self, command):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        lines = []
        while line := self.process.stdout.readline():
            line = line.rstrip("\n")
            if line == "ok":
                return lines
            if line.startswith("error "):
                raise LabError(f"{command.split()[0]}: {line[6:]}")
            lines.append(line)
        raise LabError(f"{command}: the driver ended with {self.process.wait()}")

    def numbers(self, command):
        return {name: int(value) for name, value in map(str.split, self(command))}

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.end()

    def end(self):
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


@pytest.fixture
def start(capsule):
    """Starts drivers. Whatever the test did with them, the machine is the same afterwards."""
    before = snapshot(capsule)
    drivers = []

    def start_driver(*arguments, **options):
        drivers.append(Driver(capsule, *arguments, **options))
        return drivers[-1]

    yield start_driver
    for driver in drivers:
        driver.end()
    after = snapshot(capsule)
    if after != before:  # one test's failure is not to be the next one's
        cleaner = Driver(capsule)
        cleaner("open")
        cleaner("close undo")
        cleaner.end()
    difference = difflib.unified_diff(before.splitlines(), after.splitlines(), n=0, lineterm="")
    assert "\n".join(difference) == ""


@pytest.fixture
def driver(start):
    process = start()
    process("open")
    process(APPLY)
    yield process
    process("close undo")


def connect(capsule, address, port=80, namespace="client", timeout=3.0):
    with capsule.inside(namespace):
        return socket.create_connection((address, port), timeout)


def fetch(capsule, address, port=80, namespace="client", path="/"):
    """The body of one HTTP answer; a dual-stack nginx writes IPv4 addresses as v4-mapped."""
    with connect(capsule, address, port, namespace) as stream:
        stream.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
        answer = b""
        while chunk := stream.recv(65536):
            answer += chunk
    return answer.partition(b"\r\n\r\n")[2].decode().replace("::ffff:", "")


def remote(address):
    return CLIENT6 if ":" in address else CLIENT4


@pytest.mark.parametrize("mode", ["native", "generic"])
def test_every_tunnel_reaches_nginx(capsule, start, mode):
    driver = start()
    driver("open" if mode == "native" else "open generic")
    driver(APPLY)
    assert f"eth0 {mode}" in driver("state")
    for address in SERVICE.values():
        assert fetch(capsule, address) == f"wildcard {address} {remote(address)}"
    counters = driver.numbers("counters")
    assert all(counters[tunnel] >= 3 for tunnel in SERVICE), counters
    assert set(counters) == {*SERVICE, "clamped"}, "nothing was dropped"
    assert counters["clamped"] >= len(SERVICE)
    driver("close undo")


def send_long(capsule, address, namespace="client"):
    with connect(capsule, address, namespace=namespace) as stream:
        # nginx reads and throws away a body for a static answer.
        stream.sendall(b"GET / HTTP/1.0\r\nContent-Length: 100000\r\n\r\n" + b"y" * 100000)
        assert b"200 OK" in stream.recv(4096)


def test_a_large_answer_and_request_pass(capsule, driver):
    for address in SERVICE.values():
        assert len(fetch(capsule, address, path="/long")) == 8 << 20
    for address in SERVICE.values():
        send_long(capsule, address)


def segment_size(capsule, address):
    """What the SYN-ACK allows."""
    with connect(capsule, address) as stream:
        return stream.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG)


def test_the_syn_ack_clamps_the_segment_size(capsule, driver):
    # 1500 less the larger outer header (40), the inner IP header and 20 for TCP.
    assert segment_size(capsule, SERVICE["4in4"]) == 1500 - 40 - 20 - 20
    assert segment_size(capsule, SERVICE["6in6"]) == 1500 - 40 - 40 - 20
    assert segment_size(capsule, BACKEND4) == 1460, "only the pool's flows change"
    # The checksum is right also where the client sees it: veth leaves it out unless it is told.
    capsule.run(["ethtool", "-K", "eth0", "tx", "off"], "backend")
    assert segment_size(capsule, SERVICE["4in4"]) == 1420
    assert segment_size(capsule, SERVICE["6in6"]) == 1400
    capsule.run(["ethtool", "-K", "eth0", "tx", "on"], "backend")
    # A link with a smaller MTU.
    capsule.run(["ip", "link", "set", "eth0", "mtu", "1400"], "backend")
    try:
        driver("watch 2")
        driver("check")
        assert segment_size(capsule, SERVICE["4in4"]) == 1400 - 40 - 20 - 20
    finally:
        capsule.run(["ip", "link", "set", "eth0", "mtu", "1500"], "backend")
        driver("check")
    # What a route says is lower still, and stays.
    capsule.run(["ip", "route", "add", "192.0.2.0/24", "via", EDGE4, "advmss", "1000"], "backend")
    assert segment_size(capsule, SERVICE["4in4"]) == 1000
    capsule.run(["ip", "route", "del", "192.0.2.0/24"], "backend")


def test_the_clamp_follows_the_edges_way(capsule, driver):
    """The smallest of the backend's own links and of what the edges know."""
    for path, size in ((1400, 1400 - 40 - 20 - 20), (9000, 1420), (1300, 1300 - 80), (0, 1420)):
        driver(f"path {path}")
        driver("check")
        assert segment_size(capsule, SERVICE["4in4"]) == size


def test_tcp_finds_the_size_that_a_path_carries(capsule, start):
    """Nobody here hears of a smaller link behind the client."""
    def probing():
        return capsule.run(["sysctl", "-n", "net.ipv4.tcp_mtu_probing"], "backend").stdout.strip()

    assert probing() == "0"
    driver = start()
    driver("open")
    driver(APPLY)
    assert probing() == "1"
    capsule.run(["ip", "link", "set", "clients", "mtu", "1300"], "edge")
    try:
        # Routers on the way say so to the service address, and that is all they do.
        capsule.run(["nft", "-f", "-"], "edge", input=(
            "table ip mute {\nchain out {\ntype filter hook output priority 0\n"
            "icmp type destination-unreachable drop\n}\n}\n"))
        with connect(capsule, SERVICE["4in4"], timeout=30) as stream:  # it takes some seconds
            stream.sendall(b"GET /long HTTP/1.0\r\n\r\n")
            answer = b""
            while chunk := stream.recv(65536):
                answer += chunk
        assert len(answer) > 8 << 20
        wait_for(lambda: driver.numbers("count") == {}, "the connection to end before its way does", 30)
    finally:
        capsule.run(["nft", "delete", "table", "ip", "mute"], "edge", check=False)
        capsule.run(["ip", "link", "set", "clients", "mtu", "1500"], "edge")
        driver("close undo")
    assert probing() == "0"


def test_a_connection_from_a_service_address_offers_what_fits(capsule, driver):
    """The client's answers come back by the tunnel, as every packet to a service address does."""
    with capsule.inside("client"):
        server = socket.create_server((CLIENT4, 81))
    with capsule.inside("backend"):
        out = socket.socket()
    with server, out:
        out.bind((SERVICE["4in4"], 0))
        out.settimeout(3)
        out.connect((CLIENT4, 81))
        taken, _ = server.accept()
        with taken:
            assert taken.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG) == 1500 - 40 - 20 - 20


def clamped(capsule):
    """The interfaces of the backend that the clamp is on."""
    words = capsule.run(["bpftool", "net"], "backend").stdout
    return {line.partition("(")[0] for line in words.splitlines() if "landing_clamp" in line}


def test_the_clamp_follows_the_routes(capsule, driver):
    """To every interface that clients may be behind, whichever table leads there."""
    def change(*commands):
        capsule.run(["ip", "-batch", "-"], "backend", input="\n".join(commands))
        driver("watch 2")
        assert driver("check") == []

    assert clamped(capsule) == {"lo", "eth0"}
    change("link add leg type veth peer name far", "link set leg up", "link set far up")
    try:
        assert clamped(capsule) == {"lo", "eth0"}, "link-local addresses are no clients"
        change("route add 203.0.113.0/24 dev leg table 77")
        assert clamped(capsule) == {"lo", "eth0", "leg"}
        change("route del 203.0.113.0/24 dev leg table 77")
        assert clamped(capsule) == {"lo", "eth0"}
        change("route add 203.0.113.0/24 nexthop dev leg nexthop dev far")
        assert clamped(capsule) == {"lo", "eth0", "leg", "far"}
        change("route del 203.0.113.0/24")
        # An object's routes need not say where it leads.
        capsule.run(["sysctl", "-q", "net.ipv4.nexthop_compat_mode=0"], "backend")
        change("nexthop add id 7 dev leg", "route add 203.0.113.0/24 nhid 7")
        assert clamped(capsule) == {"lo", "eth0", "leg"}
    finally:
        capsule.run(["sysctl", "-q", "net.ipv4.nexthop_compat_mode=1"], "backend")
        change("link del leg")
    assert clamped(capsule) == {"lo", "eth0"}


def test_the_clamp_shares_its_hook(capsule, start):
    """Filters of others run behind it and stay, and so does the hook as long as they need it."""
    def tc(*words):
        return capsule.run(["tc", *words], "backend").stdout

    pin = capsule.bpffs / "drop"
    bpf.pin_drop_program(pin)
    tc("qdisc", "add", "dev", "eth0", "clsact")
    for way in ("ingress", "egress"):
        tc("filter", "add", "dev", "eth0", way, "prio", "30", "protocol", "ip", "u32",
           "match", "u32", "0", "0")
    driver = start()
    driver("open")
    driver(APPLY)
    assert segment_size(capsule, SERVICE["4in4"]) == 1420
    tc("filter", "add", "dev", "eth0", "egress", "prio", "31", "bpf", "da", "object-pinned", pin)
    pin.unlink()
    with pytest.raises(TimeoutError):
        connect(capsule, SERVICE["4in4"], timeout=0.2)
    tc("filter", "del", "dev", "eth0", "egress", "prio", "31")
    tc("filter", "del", "dev", "eth0", "egress", "prio", "30")
    driver("close undo")
    assert clamped(capsule) == set()
    assert "clsact" in tc("qdisc", "show", "dev", "eth0"), "there is a filter at the way in"
    tc("qdisc", "del", "dev", "eth0", "clsact")


def test_a_clamp_that_is_lost_is_attached_again(capsule, driver):
    for command in (["qdisc", "del", "dev", "eth0", "clsact"],
                    ["filter", "del", "dev", "lo", "egress"]):
        capsule.run(["tc", *command], "backend")
    assert clamped(capsule) == set()
    driver("watch 2")
    assert sorted(driver("check")) == [
        f"repaired {name} had lost the clamp of the MSS; attached again" for name in ("eth0", "lo")]
    assert driver("check") == []
    assert segment_size(capsule, SERVICE["6in6"]) == 1400


def test_where_the_clamp_cannot_be_attached_that_is_told(capsule, driver):
    capsule.run(["ip", "link", "add", "leg", "type", "veth", "peer", "name", "far"], "backend")
    capsule.run(["tc", "qdisc", "add", "dev", "leg", "ingress"], "backend")  # no clsact beside it
    capsule.run(["ip", "link", "set", "leg", "up"], "backend")
    capsule.run(["ip", "route", "add", "203.0.113.0/24", "dev", "leg"], "backend")
    driver("watch 2")
    said = driver("check")
    assert len(said) == 1 and said[0].startswith(
        "standing answers that leave by leg offer segments that do not fit the tunnel: the clamp "
        "of the MSS cannot be attached: "), said
    assert driver("check") == said
    capsule.run(["tc", "qdisc", "del", "dev", "leg", "ingress"], "backend")
    assert driver("check") == []
    assert clamped(capsule) == {"lo", "eth0", "leg"}
    capsule.run(["ip", "link", "del", "leg"], "backend")
    driver("check")


def test_what_an_earlier_release_left_is_cleared_away(capsule, start):
    """A copy of the main table, the rule that led answers to it, and the rule that leads to the local
    table under landing's own protocol."""
    capsule.run(["ip", "-batch", "-"], "backend", input=(
        "route add 10.0.1.0/24 dev eth0 proto 102 table 26220\n"
        f"route add default via {EDGE4} proto 102 advmss 1420 table 26220\n"
        f"route add default via {EDGE6} proto 102 advmss 1400 table 26220\n"
        f"rule add iif lo from {POOL4} pref 110 proto 102 lookup 26220\n"))
    capsule.run(["ip", "-6", "rule", "add", "iif", "lo", "from", POOL6, "pref", "110", "proto",
                 "102", "lookup", "26220"], "backend")
    for family in ("-4", "-6"):
        capsule.run(["ip", family, "rule", "add", "pref", "100", "proto", "102", "lookup", "local"],
                    "backend")
        capsule.run(["ip", family, "rule", "del", "pref", "0"], "backend")
    driver = start()
    driver("open")
    driver(APPLY)
    for family in ("-4", "-6"):
        rules = capsule.run(["ip", "-d", family, "rule"], "backend").stdout
        assert "26220" not in rules
        assert "100:\tfrom all lookup local proto kernel" in rules
        assert rules.count("from all lookup local") == 1
        routes = capsule.run(["ip", family, "route", "show", "table", "all"], "backend").stdout
        assert "26220" not in routes
    assert segment_size(capsule, SERVICE["6in6"]) == 1400
    driver("close undo")


def test_connections_are_counted_by_service_address(capsule, driver):
    wait_for(lambda: driver.numbers("count") == {}, "earlier connections to end")
    with contextlib.ExitStack() as streams:
        for address, count in ((SERVICE["4in4"], 3), (SERVICE["4in6"], 1), (SERVICE["6in6"], 2)):
            for _ in range(count):
                streams.enter_context(connect(capsule, address))
        streams.enter_context(connect(capsule, BACKEND4))  # not in a pool
        wanted = {SERVICE["4in4"]: 3, SERVICE["4in6"]: 1, SERVICE["6in6"]: 2}
        # v4 connections of the dual-stack nginx show as v4-mapped, and count as v4.
        wait_for(lambda: driver.numbers("count") == wanted, "the count")
    wait_for(lambda: driver.numbers("count") == {}, "the connections to go")


def test_a_cut_ends_the_connections_of_its_addresses_only(capsule, driver):
    wait_for(lambda: driver.numbers("count") == {}, "earlier connections to end")
    with connect(capsule, SERVICE["4in4"]) as first, connect(capsule, SERVICE["6in6"]) as second, \
         connect(capsule, SERVICE["4in6"]) as third:
        wait_for(lambda: len(driver.numbers("count")) == 3, "the connections")
        assert driver(f"destroy {SERVICE['4in4']} {SERVICE['6in6']}") == ["2"]
        for stream in (first, second):
            with pytest.raises(ConnectionResetError):
                stream.recv(1)
        third.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert b"200 OK" in third.recv(4096)
        with pytest.raises(LabError, match="10.0.1.11 is no service address"):
            driver(f"destroy {BACKEND4}")


@pytest.mark.parametrize("other, own", [(OTHER4, BACKEND4), (OTHER6, BACKEND6)])
def test_a_backend_calls_another_service_and_not_itself(capsule, driver, other, own):
    with capsule.inside("edge"):
        server = socket.create_server((other, 80), family=socket.AF_INET6 if ":" in other
                                      else socket.AF_INET)
    with server, connect(capsule, other, namespace="backend") as stream:
        server.settimeout(3)
        taken, peer = server.accept()
        with taken:
            assert peer[0] == own
            taken.sendall(b"outside")
            assert stream.recv(16) == b"outside"


def test_without_a_way_out_a_call_fails_and_never_reaches_its_own_listener(capsule, driver):
    capsule.run(["ip", "route", "del", "default"], "backend")
    try:
        with pytest.raises(OSError):
            connect(capsule, OTHER4, namespace="backend")
    finally:
        capsule.run(["ip", "route", "add", "default", "via", EDGE4], "backend")
        driver("check")


@pytest.mark.parametrize("tunnel", SERVICE)
def test_a_backend_that_is_led_back_to_itself_is_served(capsule, driver, tunnel):
    """By the edge, through the tunnel: its own address comes in from outside (accept_local)."""
    address = SERVICE[tunnel]
    own = BACKEND6 if ":" in address else BACKEND4
    before = driver.numbers("counters")[tunnel]
    assert fetch(capsule, address, namespace="backend") == f"wildcard {address} {own}"
    assert driver.numbers("counters")[tunnel] > before
    send_long(capsule, address, namespace="backend")


HAND = (f" hand=tcp,{POOL4},81,{BACKEND4},8080 hand=tcp,{POOL6},81,{BACKEND6},8080"
        f" hand=tcp,{SERVICE['4in4']}/32,80,{BACKEND4},8080")


def test_listeners_bound_to_one_address_get_their_flows(capsule, driver):
    driver(APPLY + HAND)
    assert "listeners 3/3" in driver("state")
    for address in SERVICE.values():
        own = BACKEND6 if ":" in address else BACKEND4  # what nginx was told to listen on
        assert fetch(capsule, address, 81) == f"one address {own} {remote(address)}"
    assert fetch(capsule, SERVICE["4in4"]).startswith("one address"), "the longest prefix wins"
    assert fetch(capsule, SERVICE["4in6"]).startswith("wildcard")
    driver(APPLY)
    assert fetch(capsule, SERVICE["4in4"]).startswith("wildcard")
    with pytest.raises(ConnectionRefusedError):
        connect(capsule, SERVICE["4in4"], 81)


UDP_LISTENER = """
import socket
listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
listener.bind(("%s", 5300))
print("ready", flush=True)
while True:
    print(listener.recv(16).decode(), flush=True)
""" % BACKEND4


@contextlib.contextmanager
def udp_listener(capsule, address=BACKEND4):
    """A function that waits for the next datagram and returns its text."""
    program = UDP_LISTENER.replace(BACKEND4, address)
    with capsule.popen(["/usr/bin/python3", "-c", program], "backend", stdout=-1,
                       text=True) as process:
        def next_word():
            assert select.select([process.stdout], [], [], 3)[0], "no datagram came"
            return process.stdout.readline().rstrip("\n")

        try:
            assert next_word() == "ready"
            yield next_word
        finally:
            process.kill()


def send_udp(capsule, address, port, word):
    with capsule.inside("client"):
        client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with client:
        client.sendto(word.encode(), (address, port))


def test_a_listener_on_all_addresses_is_no_missing_one(capsule, driver):
    """It would get the flows if the file named its port alone."""
    driver(APPLY + f" hand=udp,{POOL4},53,{BACKEND4},5300")
    with udp_listener(capsule, "0.0.0.0"):
        assert driver("check") == [
            f"standing {POOL4} udp/53: what listens on udp/5300 does so on all addresses, and not "
            f"on {BACKEND4}; new flows take the kernel's own way; write `listen` with the port "
            "alone for it in the file, or have it listen on that address"]


def test_a_restarted_listener_is_found_again(capsule, driver):
    """UDP, bound to one address and to another port."""
    hand = f" hand=udp,{POOL4},53,{BACKEND4},5300"
    missing = (f"standing {POOL4} udp/53: nothing listens on {BACKEND4} udp/5300; new flows take "
               "the kernel's own way")
    driver(APPLY + hand)
    assert driver("check") == [missing]
    for word in ("first", "second"):
        with udp_listener(capsule) as next_word:
            assert driver("check") == []
            assert "listeners 1/1" in driver("state")
            send_udp(capsule, SERVICE["4in4"], 53, word)
            assert next_word() == word
        assert driver("check") == [missing]


def test_a_client_whose_way_back_is_another_link_is_heard(capsule, driver):
    """The backend's rp_filter is strict, and would drop it."""
    for command in ("link add leg type veth peer name far", "link set leg up", "link set far up",
                    f"route add {CLIENT4}/32 dev leg"):
        capsule.run(["ip", *command.split()], "backend")
    try:
        driver(APPLY + f" hand=udp,{POOL4},53,{BACKEND4},5300")
        with udp_listener(capsule) as next_word:
            driver("check")
            send_udp(capsule, SERVICE["4in6"], 53, "heard")
            assert next_word() == "heard"
    finally:
        capsule.run(["ip", "link", "del", "leg"], "backend")


def ask_arp(capsule, address):
    """Whether the backend answers ARP for the address."""
    with capsule.inside("edge"):
        wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0806))
    with wire:
        wire.bind(("rack", 0x0806))
        own = wire.getsockname()[4]
        wire.sendall(b"\xff" * 6 + own + struct.pack("!HHHBBH", 0x0806, 1, 0x0800, 6, 4, 1)
                     + own + socket.inet_aton(EDGE4) + bytes(6) + socket.inet_aton(address))
        # The backend takes packets in order: once it answered this one, it has seen the other.
        wire.sendall(b"\xff" * 6 + own + struct.pack("!HHHBBH", 0x0806, 1, 0x0800, 6, 4, 1)
                     + own + socket.inet_aton(EDGE4) + bytes(6) + socket.inet_aton(BACKEND4))
        wire.settimeout(3)
        while True:
            packet = wire.recv(64)
            if packet[20:22] == b"\0\2":
                if packet[28:32] == socket.inet_aton(BACKEND4):
                    return False
                return packet[28:32] == socket.inet_aton(address)


def test_the_backend_does_not_claim_pool_addresses_on_the_link(capsule, driver):
    assert not ask_arp(capsule, SERVICE["4in4"])
    # Its own question for the next hop, when it answers from a service address.
    capsule.run(["ip", "neigh", "flush", "dev", "eth0"], "backend")
    with capsule.inside("edge"):
        wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0806))
    with wire:
        wire.bind(("rack", 0x0806))
        wire.settimeout(3)
        fetch(capsule, SERVICE["4in4"])
        while (packet := wire.recv(64))[20:22] != b"\0\1":
            pass
        assert packet[28:32] == socket.inet_aton(BACKEND4)
    # The check of the check: without the sysctl it would claim them.
    capsule.run(["sysctl", "-q", "net.ipv4.conf.all.arp_ignore=0"], "backend")
    assert ask_arp(capsule, SERVICE["4in4"])
    assert driver("check") == ["repaired net/ipv4/conf/all/arp_ignore had been changed to 0; "
                               "set back to 1"]
    assert not ask_arp(capsule, SERVICE["4in4"])


def test_a_udp_server_answers_from_an_ipv6_service_address(capsule, driver):
    with capsule.inside("backend"):
        server = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    with server:
        server.bind((SERVICE["6in6"], 5301))  # ip_nonlocal_bind


def test_strangers_and_other_destinations_are_dropped_and_counted(capsule, driver):
    driver(APPLY.replace(f"edge={EDGE4} ", ""))
    with pytest.raises(TimeoutError):
        connect(capsule, SERVICE["4in4"], timeout=0.2)
    assert fetch(capsule, SERVICE["4in6"])
    assert driver.numbers("counters")["landing_not_edge"] > 0
    driver(APPLY)
    assert fetch(capsule, SERVICE["4in4"])


def test_what_somebody_changes_is_repaired_and_told(capsule, driver):
    for command in (["ip", "rule", "del", "pref", "50"],
                    ["ip", "-6", "rule", "del", "pref", "51"],
                    ["ip", "rule", "add", "pref", "0", "lookup", "local"],
                    ["ip", "route", "del", "local", POOL4, "dev", "lo"]):
        capsule.run(command, "backend")
    driver("watch 2")
    gone = "repaired a process that is gone deleted the"
    see = "added again; see 'systemd-networkd' in the README if it was that, else find out why"
    assert sorted(driver("check")) == [
        f"{gone} IPv4 rule with preference 50; {see}",
        f"{gone} IPv6 rule with preference 51; {see}",
        f"{gone} local route of pool {POOL4}; {see}",
        "repaired the IPv4 rule with preference 0 was back and would lead calls to other services "
        "to this machine's own; deleted"]
    assert driver("check") == []
    assert fetch(capsule, SERVICE["4in4"])


def send_bare(capsule, address, link, namespace="edge", interface="rack", damage=0):
    """A SYN for the address in a frame to this link address, without a tunnel."""
    with capsule.inside(namespace):
        wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    own, port = ("10.9.0.2" if interface == "far" else CLIENT4), 40000
    tcp = struct.pack("!HHIIBBHHH", port, 80, 7, 0, 5 << 4, 2, 1000, 0, 0)
    total = sum(struct.unpack("!10H", tcp)) + sum(struct.unpack("!4H", socket.inet_aton(own)
                + socket.inet_aton(address))) + 6 + len(tcp)
    total = (total & 0xffff) + (total >> 16)
    total = (total & 0xffff) + (total >> 16)
    tcp = tcp[:16] + struct.pack("!H", ~total & 0xffff ^ damage) + tcp[18:]
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(tcp), 1, 0, 64, 6, 0,
                     socket.inet_aton(own), socket.inet_aton(address))
    total = sum(struct.unpack("!10H", ip))
    total = (total & 0xffff) + (total >> 16)
    ip = ip[:10] + struct.pack("!H", ~total & 0xffff) + ip[12:]
    with wire:
        wire.bind((interface, 0))
        wire.send(bytes.fromhex(link.replace(":", "")) + wire.getsockname()[4] + b"\x08\x00" + ip + tcp)


def link_address(capsule, interface, namespace="backend"):
    shown = capsule.run(["ip", "-o", "link", "show", interface], namespace).stdout
    return shown.split("link/ether ")[1].split()[0]


def half_open(capsule, address):
    """Whether a listener of the backend has taken a SYN for the address."""
    return address in capsule.run(["ss", "-Htn", "state", "syn-recv"], "backend").stdout


@pytest.mark.parametrize("way", ["an underlay interface", "another interface", "its bridge"])
def test_a_bare_packet_reaches_no_listener(capsule, driver, way):
    """Whoever can send one goes past the edges, which know whether an address takes new flows."""
    address = SERVICE["4in4"]
    if way == "an underlay interface":
        before = driver.numbers("counters").get("landing_bare", 0)
        send_bare(capsule, address, link_address(capsule, "eth0"))
        wait_for(lambda: driver.numbers("counters").get("landing_bare", 0) > before,
                 "the packet to be dropped")
        assert not half_open(capsule, address)
        return
    capsule.run(["ip", "link", "add", "leg", "type", "veth", "peer", "name", "far"], "backend")
    capsule.run(["ip", "link", "set", "far", "netns", "edge"], "backend")
    name = "leg"
    if way == "its bridge":
        name = "rack0"
        capsule.run(["ip", "link", "add", name, "type", "bridge"], "backend")
        capsule.run(["ip", "link", "set", "leg", "master", name, "up"], "backend")
    capsule.run(["ip", "-batch", "-"], "backend", input=(
        f"link set leg up\nlink set {name} up\naddress add 10.9.0.1/24 dev {name}\n"))
    capsule.run(["ip", "link", "set", "far", "up"], "edge")
    try:
        link = link_address(capsule, name)
        # The check of the check: the same packet to another address of this machine is heard.
        send_bare(capsule, "10.9.0.1", link, interface="far")
        wait_for(lambda: half_open(capsule, "10.9.0.1"), "the listener to hear of it")
        send_bare(capsule, address, link, interface="far")
        send_bare(capsule, "10.9.0.1", link, interface="far")
        with pytest.raises(LabError):
            wait_for(lambda: half_open(capsule, address), "nothing", seconds=0.1)
    finally:
        capsule.run(["ip", "link", "del", "leg"], "backend")
        capsule.run(["ip", "link", "del", "rack0"], "backend", check=False)


def test_wrong_checksums_are_told(capsule, driver):
    """As a virtual link hands them over whose far end leaves them to a card."""
    link = link_address(capsule, "eth0")
    assert driver("check") == []
    for _ in range(20):
        send_bare(capsule, BACKEND4, link, damage=1)

    def is_told():
        return any("TCP segments came in with a wrong checksum" in line for line in driver("check"))
    wait_for(is_told, "the alarm")
    wait_for(lambda: driver("check") == [], "the alarm to end", seconds=30)


UDP_SERVER = """
import socket, struct, sys
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.setsockopt(socket.IPPROTO_IP, 8, 1)  # IP_PKTINFO
server.bind(("0.0.0.0", 5302))
print("ready", flush=True)
while True:
    word, ancillary, _, client = server.recvmsg(64, 64)
    asked = ancillary[0][2][8:12]
    info = struct.pack("=i4s4s", 0, asked, bytes(4))
    server.sendmsg([word], [(socket.IPPROTO_IP, 8, info)] if sys.argv[1] == "right" else [], 0, client)
"""


@pytest.mark.parametrize("way", ["right", "wrong"])
def test_a_udp_server_that_answers_from_another_address_is_told(capsule, driver, way):
    address = SERVICE["4in4"]
    assert driver("check") == []
    with capsule.popen(["/usr/bin/python3", "-c", UDP_SERVER, way], "backend", stdout=-1,
                       text=True) as server:
        assert server.stdout.readline() == "ready\n"
        with capsule.inside("client"):
            client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with client:
            client.bind((CLIENT4, 40000))  # of those that are watched
            client.settimeout(5)
            client.sendto(b"asked", (address, 5302))
            word, source = client.recvfrom(64)
        server.kill()
    assert word == b"asked" and source[0] == (address if way == "right" else BACKEND4)
    told = [line for line in driver("check") if "answers from" in line]
    if way == "right":
        assert told == [] and "wrong_source" not in driver.numbers("counters")
    else:
        assert len(told) == 1 and told[0].startswith(
            f"standing a server that was asked at {address} udp/5302 answers from {BACKEND4} "
            "udp/5302: its clients drop that"), told
        assert driver.numbers("counters")["wrong_source"] == 1


def test_an_interface_that_is_a_port_of_a_bridge_still_lands(capsule, start):
    """Packets come in by the bridge then, as far as rules are concerned."""
    driver = start()
    driver("open")
    driver(APPLY)
    def move(*commands):
        capsule.run(["ip", "-batch", "-"], "backend", input="\n".join(commands))
    move("link add rack0 type bridge", "link set rack0 address 02:00:00:00:77:01 up",
         "link set eth0 master rack0", f"address del {BACKEND4}/24 dev eth0",
         f"address del {BACKEND6}/64 dev eth0", f"address add {BACKEND4}/24 dev rack0",
         f"address add {BACKEND6}/64 dev rack0 nodad",
         f"route add default via {EDGE4}", f"route replace default via {EDGE6}")
    try:
        driver("watch 2")
        driver("check")
        capsule.run(["ip", "neigh", "flush", "dev", "rack"], "edge")
        for address in SERVICE.values():
            assert fetch(capsule, address) == f"wildcard {address} {remote(address)}"
    finally:
        move("link del rack0", f"address add {BACKEND4}/24 dev eth0",
             f"address add {BACKEND6}/64 dev eth0 nodad",
             f"route add default via {EDGE4}", f"route replace default via {EDGE6}")
        capsule.run(["ip", "neigh", "flush", "dev", "rack"], "edge")
        driver("check")
        driver("close undo")


def test_a_rule_before_the_local_table_is_refused(capsule, start):
    driver = start()
    driver("open")
    capsule.run(["ip", "rule", "add", "pref", "20", "lookup", "77"], "backend")
    with pytest.raises(LabError, match="FL_ESTATE the IPv4 rule with preference 20 would come"):
        driver(APPLY)
    capsule.run(["ip", "rule", "del", "pref", "20"], "backend")
    driver("close undo")


def test_a_killed_landing_goes_on_and_its_successor_undoes_all(capsule, start):
    first = start()
    first("open")
    first(APPLY + HAND)
    with connect(capsule, SERVICE["6in4"]) as stream:
        first.kill()
        assert fetch(capsule, SERVICE["4in4"], 81)
        # A second life that is killed too, so that its own values are there twice.
        second = start()
        second("open")
        second(APPLY + HAND)
        second.kill()
        third = start()
        third("open")
        assert fetch(capsule, SERVICE["4in4"], 81), "before anything is applied"
        wait_for(lambda: third.numbers("count") == {SERVICE["6in4"]: 1},
                 "the old connection to be counted, before anything is applied")
        third(APPLY + HAND)
        assert third("check") == []
        assert third.numbers("counters")["4in4"] > 0, "the counters went on"
        stream.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert b"200 OK" in stream.recv(4096)
    third("close undo")


def test_an_undo_needs_no_apply(capsule, start):
    first = start()
    first("open")
    first(APPLY + HAND)
    first.kill()
    out = capsule.run([DRIVER, capsule.bpffs / "landing", capsule.root / "state-landing"],
                      "backend", input=f"open\n{APPLY}\n").stdout
    assert "FL_EINVALID landing was told of no underlay interface" in out
    capsule.run([DRIVER, capsule.bpffs / "landing", capsule.root / "state-landing"], "backend",
                input="open\nclose undo\n")  # no interface either: as `fairlead detach` does


def test_a_second_landing_on_the_same_pins_is_refused(capsule, start):
    first = start()
    first("open")
    first(APPLY)
    second = start()
    with pytest.raises(LabError, match=rf"EBUSY .*process {first.process.pid} \(drive-landing\)"):
        second("open")
    assert fetch(capsule, SERVICE["4in4"])
    first.kill()
    second("open")
    second("close undo")


def test_pins_of_others_stay(capsule, start):
    driver = start()
    driver("open")
    folder = capsule.bpffs / "landing"
    others = [folder / "other", folder / "0123456789abcdef" / "other", folder / "link_if9"]
    others[1].parent.mkdir()
    for pin in others:
        capsule.run(["bpftool", "map", "create", pin, "type", "array", "key", "4", "value", "4",
                     "entries", "1", "name", "other"], "backend")
    driver(APPLY)
    driver("close undo")
    for pin in others:
        pin.unlink()
    others[1].parent.rmdir()
    folder.rmdir()


def test_start_and_stop_again_and_again(capsule, start):
    driver = start()
    for _ in range(3):
        driver("open")
        driver(APPLY)
        driver(APPLY)
        driver("close keep")
    assert fetch(capsule, SERVICE["6in6"])
    driver("open")
    driver(APPLY)
    driver("close undo")


def test_a_value_that_somebody_else_set_is_not_taken_back(capsule, start):
    driver = start()
    driver("open")
    driver(APPLY)
    capsule.run(["sysctl", "-q", "net.ipv4.conf.all.arp_ignore=2"], "backend")
    assert driver("check") == [], "2 serves as well"
    driver("close undo")
    assert "= 2" in capsule.run(["sysctl", "net.ipv4.conf.all.arp_ignore"], "backend").stdout
    capsule.run(["sysctl", "-q", "net.ipv4.conf.all.arp_ignore=0"], "backend")


def test_an_interface_that_vanishes_and_comes_back(capsule, start):
    """A second underlay leg, so that the machine stays reachable."""
    def add_leg():
        capsule.run(["ip", "link", "add", "leg", "type", "veth", "peer", "name", "far"], "backend")
        capsule.run(["ip", "link", "set", "leg", "up"], "backend")
        capsule.run(["ip", "link", "set", "far", "up"], "backend")
        wait_for(lambda: "state UP" in capsule.run(["ip", "link", "show", "leg"],
                                                   "backend").stdout, "leg to have a carrier")

    add_leg()
    driver = start("leg")
    driver("open")
    driver(APPLY)
    capsule.run(["ip", "link", "del", "leg"], "backend")
    driver("watch 2")
    gone = ("standing interface leg has vanished: no tunnel can land through it; it is taken up "
            "again when it comes back")
    assert driver("check") == [gone]
    assert driver("check") == [gone]
    assert "leg absent" in driver("state")
    add_leg()
    assert driver("check") == ["repaired leg has come back; landing's program is attached (native)"]
    assert driver("check") == []
    driver("close undo")
    capsule.run(["ip", "link", "del", "leg"], "backend")
    with pytest.raises(LabError, match="FL_ENOTFOUND leg: there is no such interface"):
        driver("open")


def test_what_keeps_packets_away_is_told_and_left_alone(capsule, driver):
    """Links, addresses and routes are the operator's. The kernel forgets the IPv6 ones of a link
    that goes down, so that bringing it up is not enough: the alarms say so one after the other."""
    def lost(address):
        return (f"standing {address}, where edges send this backend's packets, is no address of "
                "this machine: they will soon find no way here; add it again, or correct the "
                "backend's address in the fabric's file")

    def no_way(family):
        return (f"standing no {family} route leads beyond this machine's own links: clients "
                "elsewhere get no answer; give the main table a default route")

    down = ("standing interface eth0 is down: no tunnel can land through it; bring it up with "
            "'ip link set eth0 up'")
    capsule.run(["ip", "link", "set", "eth0", "down"], "backend")
    driver("watch 2")
    assert driver("check") == [down, lost(BACKEND6), no_way("IPv4"), no_way("IPv6")]
    capsule.run(["ip", "link", "set", "eth0", "up"], "backend")
    assert driver("check") == [lost(BACKEND6), no_way("IPv4"), no_way("IPv6")]
    capsule.run(["ip", "-batch", "-"], "backend", input=(
        f"route add default via {EDGE4}\naddress add {BACKEND6}/64 dev eth0 nodad\n"))
    assert driver("check") == [no_way("IPv6")]
    capsule.run(["ip", "route", "add", "default", "via", EDGE6], "backend")
    assert driver("check") == []
    capsule.run(["ip", "address", "del", f"{BACKEND4}/24", "dev", "eth0"], "backend")
    driver("watch 2")
    assert driver("check") == [lost(BACKEND4), no_way("IPv4")]
    capsule.run(["ip", "-batch", "-"], "backend", input=(
        f"address add {BACKEND4}/24 dev eth0\nroute add default via {EDGE4}\n"))
    assert driver("check") == []
    assert fetch(capsule, SERVICE["4in4"]) and fetch(capsule, SERVICE["6in6"])


def test_a_link_without_a_carrier_is_told(capsule, driver):
    sentence = ("standing interface eth0 has no carrier: no tunnel can land through it; look at "
                "the cable and its far end")
    capsule.run(["ip", "link", "set", "rack", "down"], "edge")
    try:
        wait_for(lambda: driver("check") == [sentence], "the carrier to be missed")
    finally:
        capsule.run(["ip", "-batch", "-"], "edge", input=(
            f"link set rack up\naddress replace {EDGE6}/64 dev rack nodad\n"))
    wait_for(lambda: driver("check") == [], "the carrier to be back")
    assert fetch(capsule, SERVICE["4in4"]) and fetch(capsule, SERVICE["6in6"])


def test_what_is_missing_is_said(capsule, start):
    driver = [DRIVER, capsule.bpffs / "landing", capsule.root / "state", "eth0"]
    out = capsule.run([DRIVER, capsule.root / "no-bpffs", capsule.root / "state", "eth0"],
                      "backend", input="open\n").stdout
    assert "FL_EUNAVAILABLE" in out and "mount -t bpf bpf /sys/fs/bpf" in out
    assert not (capsule.root / "no-bpffs").exists()
    out = capsule.run(["setpriv", "--bounding-set", "-net_admin", *driver], "backend",
                      input="open\n").stdout
    assert "FL_EPRIVILEGE landing needs CAP_NET_ADMIN" in out
    out = capsule.run(["setpriv", "--bounding-set", "-net_admin,-bpf,-sys_admin", *driver],
                      "backend", input="open\n").stdout
    assert "FL_EPRIVILEGE landing needs CAP_BPF" in out


def test_a_kernel_without_btf_serves(capsule, start):
    """Landing's programs touch no kernel structure, so they need no BTF of the kernel."""
    script = ("mount --bind /dev/null /sys/kernel/btf/vmlinux && exec \"$@\"")
    out = capsule.run(["unshare", "-m", "sh", "-c", script, "sh", DRIVER,
                       capsule.bpffs / "landing", capsule.root / "state", "eth0"], "backend",
                      input=f"open\n{APPLY}\nstate\nclose undo\n").stdout
    assert "eth0 native" in out and "error" not in out


def test_another_xdp_program_on_the_interface_is_named(capsule, start):
    occupant = start()
    occupant("open")
    occupant(APPLY)
    intruder = start(name="second")
    intruder("open")
    with pytest.raises(LabError, match="FL_ECONFLICT eth0: another XDP program is on it .id [1-9]"):
        intruder(APPLY)
    intruder("close undo")
    occupant("close undo")
