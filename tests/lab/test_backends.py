# SPDX-License-Identifier: Apache-2.0
"""Backends: what a landing makes of a machine, and what a machine that does not answer means.

One lab for all; each test leaves every landing running, and `web` on web1 to web3.
"""
import contextlib
import signal
import socket
import time

import pytest

from lab import topology
from lab.host import LabError, wait_for
from lab.product import SITE, UNDERLAY_FAMILY, backend_lines

FAMILIES = (4, 6)
WEB = ("web1", "web2", "web3")
OTHER = f"""\
  other:
    ports: [tcp/80]
    ttl: 1s
    rollout: {{shares: [100%]}}
    backends:
{backend_lines(["web4"], {})}"""
BOUND = f"""\
  bound:
    ports: [tcp/80]
    ttl: 1s
    rollout: {{shares: [100%]}}
    backends:
      - name: web4
        site: {SITE}
        address: "{topology.RACK['web4'].address(UNDERLAY_FAMILY['web4'])}"
        listen: {{tcp/80: ["127.0.0.1:8080", "[::1]:8080"]}}
"""


@pytest.fixture(scope="module")
def lab(shared_lab):
    shared_lab.start_nginx("web4", "127.0.0.1:8080", "bound4")
    shared_lab.start_nginx("web4", "[::1]:8080", "bound6")
    shared_lab.apply(shared_lab.fabric(WEB, services=OTHER + BOUND))
    for service in ("web", "other", "bound", "probe"):
        shared_lab.wait_states(service, {1: "serving"})
    shared_lab.wait_landings()
    return shared_lab


def address_of(lab, service, family):
    return lab.cli.status().services[service].serving.address(family)


@contextlib.contextmanager
def held_open(lab, address, count):
    """Connections that are established and say nothing."""
    with contextlib.ExitStack() as stack, lab.capsule.inside("client"):
        for _ in range(count):
            stack.enter_context(socket.create_connection((address, 80), 3))
        yield


def wait_connections(lab, service, count):
    def counted():
        found = lab.cli.status().services[service].serving.connections
        if found != count:
            raise LabError(f"{found} are counted")
        return True
    wait_for(counted, f"landing to count {count} connections of {service}")


@pytest.mark.parametrize("family", FAMILIES)
def test_dual_stack_listener_serves_and_is_counted(lab, family):
    """nginx has one socket, [::]:80, where IPv4 connections are ::ffff:a.b.c.d to sock_diag."""
    listeners = lab.capsule.run(["ss", "-Hltn", "sport = :80"], "web4").stdout.splitlines()
    assert len(listeners) == 1
    wait_connections(lab, "other", 0)
    with held_open(lab, address_of(lab, "other", family), 5):
        wait_connections(lab, "other", 5)
    wait_connections(lab, "other", 0)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("caller", WEB)
def test_backend_calls_another_service(lab, caller, family):
    """The pool is local to web1, yet `other` runs on web4 only; nginx on web1 must not answer."""
    answered, _ = lab.fetch(address_of(lab, "other", family), namespace=caller)
    assert answered == "web4"


@pytest.mark.parametrize("family", FAMILIES)
def test_backend_calls_its_own_service_like_any_client(lab, family):
    """Through the edge and spread by the ring, not short-cut to its own listener."""
    address = address_of(lab, "web", family)
    answered = {lab.fetch(address, namespace="web1")[0] for _ in range(40)}
    assert answered == set(WEB)


@pytest.mark.parametrize("family", FAMILIES)
def test_listener_bound_to_one_address(lab, family):
    """sk_lookup hands flows to 127.0.0.1:8080 and [::1]:8080, though they go to port 80 of the
    service address, where another nginx listens."""
    address = address_of(lab, "bound", family)
    # The landing looks for a listener that is not there yet again and again.
    wait_for(lambda: lab.fetch(address)[0] == f"bound{family}", "the bound listener's answer")
    with held_open(lab, address, 3):
        wait_connections(lab, "bound", 3)


@pytest.mark.parametrize("family", FAMILIES)
def test_full_segments_fit_the_tunnel(lab, family):
    """Every link carries 1500 bytes, so a client that were told so would send what no tunnel can
    carry: the SYN-ACK must say less. All three backends, over both underlay families."""
    address = address_of(lab, "web", family)
    body = bytes(range(256)) * 2048
    waiting = set(WEB)
    for _ in range(60):
        name, _ = lab.fetch(address, "/upload", body=body)
        assert (lab.root / name / f"nginx-{name}/upload").read_bytes() == body
        waiting.discard(name)
        if not waiting:
            break
    assert not waiting
    assert "too_big" not in lab.cli.status().drops


def test_flows_do_not_need_the_landing_daemon(lab):
    """SIGKILL it: its programs, routes and rules stay, and it takes them over again."""
    for name in WEB:
        lab.landings[name].stop(signal.SIGKILL)
    for family in FAMILIES:
        address = address_of(lab, "web", family)
        assert {lab.fetch(address)[0] for _ in range(30)} == set(WEB)
    for name in WEB:
        lab.landings[name].start()
    wait_for(lambda: not lab.cli.status().silent, "all backends to report again")
    assert {lab.fetch(address_of(lab, "web", 4))[0] for _ in range(30)} == set(WEB)


def test_a_landing_outlives_its_node(lab):
    """It is stopped until its next report is overdue, and the node ends meanwhile: so that the
    report goes to a socket that is closed."""
    landing = lab.landings["web1"]
    landing.process.send_signal(signal.SIGSTOP)
    wait_for(lambda: "web1" in lab.cli.status().silent, "the landing to be late")
    lab.edge.stop()
    landing.process.send_signal(signal.SIGCONT)
    wait_for(lambda: "node.unreachable" in landing.tail(3) or landing.process.poll() is not None,
             "the landing to notice")
    lab.edge.start()
    lab.wait_edge()
    wait_for(lambda: not lab.cli.status().silent, "all backends to report again")
    lab.capsule.check()


def test_changed_settings_are_named_and_put_back(lab):
    path = "ipv4/conf/all/arp_ignore"

    def value():
        with lab.capsule.inside("web1"), open(f"/proc/sys/net/{path}", encoding="ascii") as file:
            return int(file.read())
    assert value() == 1
    topology.set_sysctls(lab.capsule, "web1", {path: 0})
    wait_for(lambda: any("arp_ignore" in str(alarm) for alarm in lab.cli.status().alarms)
             or value() == 1, "the landing to notice")
    wait_for(lambda: value() == 1, "the landing to set arp_ignore again")


def test_backends_stay_silent_to_arp_for_the_pool(lab):
    """Each backend has every service address; none may say so to the rack."""
    address = address_of(lab, "web", 4)
    code = f"""
import socket, struct
raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0806))
raw.bind(("fab0", 0x0806))
mac = raw.getsockname()[4]
def ask(address):
    raw.send(b"\\xff" * 6 + mac + struct.pack(">HHHBBH", 0x0806, 1, 0x0800, 6, 4, 1) + mac
             + socket.inet_aton("{topology.FABRIC.v4}") + bytes(6) + socket.inet_aton(address))
    answers = set()
    raw.settimeout(0.5)
    try:
        while True:
            frame = raw.recv(100)
            if frame[20:22] == b"\\0\\2" and frame[28:32] == socket.inet_aton(address):
                answers.add(frame[6:12])
    except TimeoutError:
        return len(answers)
print(ask("{topology.RACK['web1'].v4}"), ask("{address}"))
"""
    assert lab.capsule.run(["/usr/bin/python3", "-c", code], "edge").stdout.split() == ["1", "0"]


def test_silence_is_never_zero_and_forget_is_the_way_out(lab):
    """A version whose backend does not report is in use, however long; status names the backend,
    and the operator's word ends it."""
    before = lab.cli.status().services["web"].serving.number
    lab.landings["web1"].stop(signal.SIGKILL)
    wait_for(lambda: "web1" in lab.cli.status().silent, "status to name the silent backend")
    lab.apply(lab.fabric(("web2", "web3"), services=OTHER + BOUND))
    status = lab.wait_states("web", {before: "draining", before + 1: "serving"})
    assert status.services["web"].versions[before].connections is None
    assert any("web1" in str(alarm) for alarm in status.alarms)

    drained = time.monotonic()
    # `quiet` and `stale` are 3 s, and the landings that do report count zero.
    wait_for(lambda: time.monotonic() - drained > 9, "three times quiet to pass", 20)
    assert lab.cli.status().services["web"].state(before) == "draining"

    lab.cli("backend", "forget", "web1", "--message", "the lab took it away")
    lab.wait_states("web", {before: "retired"}, seconds=25)
    assert "the lab took it away" in lab.cli("log", "-o", "json")

    # It was said of what there was: who names the backend again expects its reports again, and may
    # take it away, which waits for them.
    lab.apply(lab.fabric(WEB, services=OTHER + BOUND))
    lab.wait_states("web", {before + 2: "ready"})
    lab.cli("rollout", "resume", "web", "--force")
    status = lab.wait_states("web", {before + 2: "serving"})
    assert status.services["web"].versions[before + 2].connections is None
    wait_for(lambda: any("web1 has not reported" in alarm or "web1 is silent" in alarm
                         for alarm in lab.cli.status().alarms), "the alarm for web1")
    lab.landings["web1"].start()
    wait_for(lambda: lab.cli.status().services["web"].versions[before + 2].connections
             is not None, "the version to be counted")
    wait_for(lambda: "web1" not in lab.cli.status().silent, "web1 to count again")


def test_a_rollback_expects_the_reports_of_a_forgotten_backend(lab):
    """Clients are led to its backends again, so that their silence counts again."""
    status = lab.cli.status().services["web"]
    before = status.serving.number
    lab.landings["web1"].stop(signal.SIGKILL)
    lab.apply(lab.fabric(("web2", "web3"), services=OTHER + BOUND))
    lab.wait_states("web", {before: "draining", before + 1: "serving"})
    wait_for(lambda: "web1" in lab.cli.status().silent, "status to name the silent backend")
    lab.cli("backend", "forget", "web1", "--message", "the lab took it away")
    assert lab.cli.status().services["web"].versions[before].connections is not None
    lab.cli("rollback", "web")
    status = lab.wait_states("web", {before: "serving"})
    assert status.services["web"].versions[before].connections is None
    assert "web1" in status.silent
    lab.landings["web1"].start()
    wait_for(lambda: not lab.cli.status().silent, "web1 to count again")


def network_state(lab, name):
    """Everything that a landing may change: rules, routes, settings, programs."""
    commands = [["ip", f"-{family}", *what] for family in FAMILIES
                for what in (["rule"], ["route", "show", "table", "all"])]
    said = [lab.capsule.run(command, name).stdout for command in commands]
    # Neighbours and link-local routes come and go by themselves.
    lines = {line.strip() for text in said for line in text.splitlines() if "fe80" not in line}
    settings = lab.capsule.run(
        ["sysctl", "net.ipv4.conf.all.arp_ignore", "net.ipv4.conf.all.arp_announce",
         "net.ipv6.ip_nonlocal_bind"], name).stdout
    link = lab.capsule.run(["ip", "link", "show", "eth0"], name).stdout
    return lines, settings, "xdp" in link


def test_detach_undoes_everything(lab):
    """web3's machine is as web4's twin would be without Fairlead: what the topology made."""
    with_landing = network_state(lab, "web3")
    lab.landings["web3"].stop()
    lab.capsule.run([lab.program, "detach", "--pins", lab.capsule.bpffs / "web3",
                     "--state", lab.root / "web3/fairlead/state"], "web3")
    lines, settings, has_program = network_state(lab, "web3")
    assert not has_program and with_landing[2]
    assert not [line for line in lines for pool in topology.POOLS if pool in line]
    assert settings == ("net.ipv4.conf.all.arp_ignore = 0\nnet.ipv4.conf.all.arp_announce = 0\n"
                        "net.ipv6.ip_nonlocal_bind = 0\n")
    assert {line.split(":")[0] for line in lines if "lookup local" in line} == {"0"}
    assert not list((lab.capsule.bpffs / "web3").glob("*"))
    lab.landings["web3"].start()
    wait_for(lambda: network_state(lab, "web3") == with_landing, "the landing to be back")


def test_clients_are_offered_what_the_edges_way_carries(lab):
    """A link of the edge's that is smaller than any of the backends' own."""
    address = lab.cli.status().services["web"].serving.address(4)

    def largest():
        sizes = []
        for _ in range(12):
            with lab.capsule.inside("client"):
                stream = socket.create_connection((address, 80), 3)
            with stream:
                sizes.append(stream.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG))
        return max(sizes)

    before = largest()
    way = topology.FABRIC.interface
    lab.capsule.run(["ip", "link", "set", way, "mtu", "1400"], "edge")
    try:
        wait_for(lambda: largest() == before - 100, "smaller segments to be offered")
        assert len(lab.fetch(address)[1]) > 0
    finally:
        lab.capsule.run(["ip", "link", "set", way, "mtu", "1500"], "edge")
    wait_for(lambda: largest() == before, "the former size")
