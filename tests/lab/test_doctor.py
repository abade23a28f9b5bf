# SPDX-License-Identifier: Apache-2.0
"""`fairlead doctor` on a fabric of three nodes: nothing is found where nothing is wrong, and each
drift that is planted is found by its own code, with a command that mends it.

    client ── net ── rack ──┬── a  10.0.1.2  the voter, edge, name server, backend
                            ├── b  10.0.1.3  edge, name server, backend
                            └── c  10.0.1.4  edge, name server, backend; drifts are planted here

The rack carries 40 bytes more than the client's link, as NETWORK asks for.
"""
import contextlib
import json
import os
import shutil
import signal
import struct

import pytest

from lab.host import BUILD, LabError, wait_for
from test_fabric import NODES, PROGRAM, SERVER, TOPOLOGY, Capsule, Fabric
from test_networkd import DROP_IN, FILE, networkd

WIDE = TOPOLOGY.replace("bridge: rack, xdp: pass}", "bridge: rack, xdp: pass}\n    mtu: 1540")
NFT = "table inet planted {{\nchain {chain} {{\ntype {kind} hook {hook} priority {priority}; policy {policy};\n{rules}\n}}\n}}\n"

# A machine's process table is the lab's; a test's own /proc shows those around it.
OWN_PROC = ["unshare", "-m", "sh", "-ec", 'mount -t proc proc /proc; exec "$@"', "sh"]


class Patient(Fabric):
    """A fabric whose nodes are looked over."""

    def __init__(self, capsule):
        super().__init__(capsule)
        self.clock = capsule.root / "clock"
        self.set_clock(0)
        self.program = capsule.root / "fairlead-c"

    def set_clock(self, seconds):
        self.clock.write_bytes(struct.pack("=q", seconds))

    def clock_environment(self, kept="yes"):
        return {"LD_PRELOAD": str(BUILD / "tests/lab/fake-clock.so"), "FAKE_CLOCK": str(self.clock),
                "FAKE_CLOCK_KEPT": kept}

    def state(self, name):
        return self.capsule.root / name / "state"

    def doctor(self, name="c", *words, machine=None, kept="yes", before=(), state=None):
        """The answer, and the exit code."""
        done = self.capsule.run(
            [*(before or OWN_PROC), PROGRAM, "doctor", "-o", "json", "--state",
             state or self.state(name), *words],
            machine or name, check=False, env=self.clock_environment(kept))
        assert done.returncode in (0, 1) and done.stdout, done.stderr
        answer = json.loads(done.stdout)
        errors = [one for one in answer["findings"] if one["severity"] == "error"]
        assert done.returncode == bool(errors), done
        assert all(one["text"] and one["code"] for one in answer["findings"])
        return answer

    def codes(self, *words, **options):
        return {one["code"] for one in self.doctor(*words, **options)["findings"]}

    def finding(self, code, *words, **options):
        answer = self.doctor(*words, **options)
        found = [one for one in answer["findings"] if one["code"] == code]
        assert found, answer
        return found[0]

    def sh(self, command, machine="c", **options):
        return self.capsule.run(["sh", "-ec", command], machine, **options)

    @contextlib.contextmanager
    def nft(self, rules, chain="in", kind="filter", hook="input", priority=0, policy="accept"):
        self.capsule.run(["nft", "-f", "-"], "c", input=NFT.format(
            chain=chain, kind=kind, hook=hook, priority=priority, policy=policy, rules=rules))
        try:
            yield
        finally:
            self.capsule.run(["nft", "delete", "table", "inet", "planted"], "c")

    @contextlib.contextmanager
    def stopped(self):
        self.nodes["c"].stop()
        try:
            yield
        finally:
            self.again("c")

    def wait_well(self):
        for name in NODES:
            wait_for(lambda name=name: self.is_well(name), f"{name} to be well", 10)

    def is_well(self, name):
        answer = self.doctor(name)
        if answer["findings"] or answer["unknown"]:
            raise LabError(json.dumps(answer))
        return True


@pytest.fixture(scope="module")
def fabric():
    with Capsule(WIDE, PROGRAM) as capsule:
        running = Patient(capsule)
        for name in NODES:
            capsule.spawn(f"http-{name}", ["python3", "-c", SERVER, name], name)
        token = running.init()
        running.start("a")
        for name in "b", "c":
            done = running.join(name, token)
            assert done.returncode == 0, done.stderr
            running.start(name)
            token = running.token()
        running.apply("a", "b", "c")
        running.wait_well()
        yield running


@pytest.fixture(autouse=True)
def well_again(fabric):
    yield
    # What somebody deleted is told of for a minute.
    wait_for(lambda: fabric.is_well("c"), "c to be well", 20)


def test_where_nothing_is_wrong_nothing_is_found(fabric):
    for name in NODES:
        answer = fabric.doctor(name)
        assert answer["findings"] == [] and answer["unknown"] == [], answer
        assert answer["daemon"] is True and answer["looked_at"] > 30
    done = fabric.types("c", "doctor", "--state", fabric.state("c"))
    assert "nothing found" in done.stdout or "clock.unsynchronised" in done.stdout, done


# What is planted while the daemon runs: a command, and the code and words of the finding. What mends
# it is typed as it is told, and then it is gone.
PLANTED = {
    "an interface answers ARP by its own setting": (
        "sysctl -qw net.ipv4.conf.eth0.arp_ignore=4", "sysctl.arp-ignore", "arp_ignore is 4"),
    "checksums are left to a card": ("ethtool -K eth0 tx on", "offload.checksum", "eth0"),
    "the rack carries no tunnel": ("ip link set eth0 mtu 1500", "mtu.small", "of 1500 needs 1540"),
    "a key that all may read": (
        "chmod 644 /run/lab/c/state/node.key", "key.permissions", "mode 0644"),
    "the key of the channel": (
        "chmod 640 /run/lab/c/state/channel/key.pem", "key.permissions", "channel/key.pem"),
    "maps of another layout": (
        "mkdir /run/lab/bpf/c/edge/0123456789abcdef", "pins.stale", "0123456789abcdef"),
}


def plant_and_mend(fabric, plant, code, words=""):
    fabric.sh(plant)
    found = fabric.finding(code)
    assert words in found["text"], found
    fabric.sh(found["mend"])
    assert code not in fabric.codes(), found


@pytest.mark.parametrize("name", PLANTED)
def test_what_is_planted_is_found_and_mended(fabric, name):
    plant_and_mend(fabric, *PLANTED[name])


# The same while no daemon runs, which would set it back at once.
ALONE = {
    "rp_filter": ("sysctl -qw net.ipv4.conf.eth0.rp_filter=1", "sysctl.rp-filter"),
    "accept_local": ("sysctl -qw net.ipv4.conf.eth0.accept_local=0", "sysctl.accept-local"),
    "arp_announce": ("sysctl -qw net.ipv4.conf.all.arp_announce=0", "sysctl.arp-announce"),
    "ip_nonlocal_bind": ("sysctl -qw net.ipv6.ip_nonlocal_bind=0", "sysctl.nonlocal-bind"),
    "tcp_mtu_probing": ("sysctl -qw net.ipv4.tcp_mtu_probing=0", "sysctl.mtu-probing"),
    "forwarding": ("sysctl -qw net.ipv4.conf.eth0.forwarding=0", "sysctl.forwarding"),
    "forwarding of IPv6": ("sysctl -qw net.ipv6.conf.all.forwarding=0", "sysctl.forwarding"),
    "the local table": ("ip rule del pref 100", "rule.local"),
    "a local route": ("ip route del local 198.51.100.0/26 table local", "route.missing"),
}
# And what a start mends.
ALONE_UNTIL_A_START = {
    "a rule of ours": ("ip rule del pref 61", "rule.missing"),
    "its programs": ("rm -r /run/lab/bpf/c/edge /run/lab/bpf/c/landing", "xdp.detached"),
}


def test_without_a_daemon(fabric):
    with fabric.stopped():
        assert fabric.codes() == {"daemon.down"}
        for plant, code in ALONE.values():
            plant_and_mend(fabric, plant, code)
        assert fabric.codes() == {"daemon.down"}
        for plant, code in ALONE_UNTIL_A_START.values():
            fabric.sh(plant)
            assert code in fabric.codes()


def test_a_rule_in_the_way(fabric):
    fabric.sh("ip rule add pref 40 fwmark 0x4000 lookup main")
    try:
        found = fabric.finding("rule.in-the-way")
        assert "preference 40" in found["text"]
    finally:
        fabric.sh("ip rule del pref 40")


def test_a_port_that_is_taken(fabric):
    with fabric.stopped():
        other = fabric.capsule.popen(
            ["python3", "-c", "import socket, time; s = socket.socket(type=socket.SOCK_DGRAM); "
             "s.bind(('10.0.1.4', 53)); time.sleep(600)"], "c")
        try:
            found = wait_for(lambda: fabric.finding("dns.port-taken"), "the port to be taken")
            assert "python3" in found["text"]
        finally:
            other.kill()
            other.wait()


def test_a_way_that_carries_less_than_its_ends(fabric):
    """The switch between drops, and says nothing."""
    fabric.sh("ip link set b-eth0 mtu 1400", "net")
    try:
        found = fabric.finding("mtu.path")
        assert "10.0.1.3" in found["text"] and "1540" in found["text"]
    finally:
        fabric.sh("ip link set b-eth0 mtu 1540", "net")


def test_who_answers_no_echo_is_not_known(fabric):
    fabric.sh("sysctl -qw net.ipv4.icmp_echo_ignore_all=1", "b")
    try:
        answer = fabric.doctor()
        assert not answer["findings"] and any("10.0.1.3" in one for one in answer["unknown"])
    finally:
        fabric.sh("sysctl -qw net.ipv4.icmp_echo_ignore_all=0", "b")


def test_a_program_outside_its_driver(fabric):
    fabric.nodes["c"].stop()
    argv = fabric.nodes["c"].argv
    fabric.nodes["c"].start(argv=[*argv, "--generic"])
    fabric.wait("c")
    try:
        wait_for(lambda: "--generic" in fabric.finding("xdp.generic")["text"], "it to be seen")
    finally:
        fabric.nodes["c"].stop()
        fabric.nodes["c"].start(argv=argv)
        fabric.wait("c")


def test_another_program_on_disk(fabric):
    shutil.copy(PROGRAM, fabric.program)
    fabric.nodes["c"].stop()
    argv = fabric.nodes["c"].argv
    fabric.nodes["c"].start(argv=[fabric.program, *argv[1:]])
    fabric.wait("c")
    try:
        assert "build.replaced" not in fabric.codes()
        shutil.copy(PROGRAM, f"{fabric.program}.new")
        os.replace(f"{fabric.program}.new", fabric.program)
        assert str(fabric.program) in fabric.finding("build.replaced")["text"]
    finally:
        fabric.nodes["c"].stop()
        fabric.nodes["c"].start(argv=argv)
        fabric.wait("c")


@pytest.mark.parametrize("seconds, word", [(90, "ahead of"), (-90, "behind")])
def test_a_clock_that_is_off(fabric, seconds, word):
    fabric.set_clock(seconds)
    try:
        assert word in fabric.finding("clock.offset")["text"]
    finally:
        fabric.set_clock(0)


def test_a_clock_that_nothing_keeps(fabric):
    found = fabric.finding("clock.unsynchronised", kept="no")
    assert found["severity"] == "note"


def test_a_full_disk(fabric):
    small = fabric.capsule.root / "small"
    small.mkdir()
    fabric.capsule.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", small])
    try:
        shutil.copy(fabric.state("c") / "node.json", small)
        found = {one["code"] for one in fabric.doctor(state=small)["findings"]}
        assert found == {"disk.space"}
    finally:
        fabric.capsule.run(["umount", small])


@pytest.mark.parametrize("rule", ["tcp dport 7122 drop", "ip saddr 10.0.1.0/24 tcp dport 7000-8000 reject",
                                  "ip saddr { 10.0.1.2, 10.0.1.9 } drop"])
def test_a_rule_that_shuts_the_channel(fabric, rule):
    # It is looked at, not felt: the session that is up goes on by the rule before.
    with fabric.nft(f"ct state established accept\nip saddr 10.0.1.0/24 tcp sport 7122 accept\n{rule}"):
        found = fabric.finding("firewall.channel")
        assert "inet planted in" in found["text"] + found["mend"] and "7122" in found["text"]


def test_a_policy_that_shuts_all(fabric):
    with fabric.nft("ct state established,related accept\nmeta l4proto { icmp, ipv6-icmp } accept\n"
                    "tcp sport 7122 accept", policy="drop"):
        assert {"firewall.channel", "firewall.dns", "firewall.service"} <= fabric.codes()


def test_rules_that_let_through_what_must_come_in(fabric):
    with fabric.nft("ct state established,related accept\nmeta l4proto { icmp, ipv6-icmp } accept\n"
                    "tcp sport 7122 accept\nip saddr 10.0.1.0/24 tcp dport 7122 accept\n"
                    "meta l4proto { tcp, udp } th dport 53 accept\n"
                    "ip daddr 198.51.100.0/26 tcp dport 80 accept\n"
                    "ip6 daddr 2001:db8:f::/108 tcp dport { 80, 443 } accept", policy="drop"):
        answer = fabric.doctor()
        assert answer["findings"] == [] and answer["unknown"] == [], answer


def test_a_rule_that_is_not_understood_is_not_called_fine(fabric):
    with fabric.nft("tcp dport 7122 ct mark 7 drop"):
        answer = fabric.doctor()
        assert answer["findings"] == []
        assert any("7122" in one for one in answer["unknown"]), answer


def test_queries_that_are_dropped(fabric):
    with fabric.nft("udp dport 53 drop"):
        assert "UDP port 53" in fabric.finding("firewall.dns")["text"]


def test_clients_that_are_dropped(fabric):
    with fabric.nft("iifname eth0 tcp dport 80 drop"):
        assert "service web" in fabric.finding("firewall.service")["text"]


def test_a_container_that_takes_the_services_port(fabric):
    with fabric.nft("tcp dport 80 dnat ip to 172.17.0.2:80", chain="pre", kind="nat",
                    hook="prerouting", priority=-100):
        assert "port 80" in fabric.finding("nat.pool")["text"]


def test_nothing_is_forwarded_as_docker_has_it(fabric):
    with fabric.nft("", chain="forward", hook="forward", policy="drop"):
        assert "policy of chain inet planted forward" in fabric.finding("firewall.forward")["text"]


def test_a_reverse_path_filter_of_the_firewall(fabric):
    """It matters where clients are elsewhere than the edges: with a second leg."""
    rules = "fib saddr . iif oif missing drop"
    with fabric.nft(rules, chain="raw", hook="prerouting", priority=-300):
        assert "firewall.rpfilter" not in fabric.codes()
        fabric.sh("ip link add out type veth peer name far && ip addr add 10.77.0.1/24 dev out && "
                  "ip link set far up && ip link set out up && "
                  "ip route add default via 10.77.0.2 dev out metric 1 onlink || "
                  "ip route add 0.0.0.0/1 via 10.77.0.2 dev out && "
                  "ip route add 128.0.0.0/1 via 10.77.0.2 dev out")
        try:
            assert "firewall.rpfilter" in fabric.codes()
        finally:
            fabric.sh("ip link del out")


def test_systemd_networkd_without_its_drop_in(fabric):
    """The real one, in mounts of its own, which the doctor shares."""
    (fabric.capsule.root / "leg.network").write_text(FILE)
    for drop_in, is_found in (DROP_IN, False), ("", True):
        with networkd(fabric.capsule, drop_in, "c") as child:
            codes = fabric.codes(before=["nsenter", "-m", "-t", str(child.process.pid), *OWN_PROC])
            assert ("networkd.foreign" in codes) == is_found


def test_network_manager(fabric):
    fake = fabric.capsule.root / "NetworkManager"
    shutil.copy("/bin/sleep", fake)
    other = fabric.capsule.popen([fake, "600"], "c")
    try:
        found = fabric.finding("networkmanager.manages")
        assert "nmcli device set eth0 managed no" in found["mend"]
    finally:
        other.kill()
        other.wait()


def test_a_landing_that_does_not_report(fabric):
    """Told on any machine: the voter knows."""
    fabric.nodes["b"].stop(signal.SIGKILL)
    try:
        for name in "a", "c":
            wait_for(lambda name=name: "backend.silent" in fabric.codes(name), "b to be missed")
    finally:
        fabric.again("b")


def test_few_files(fabric):
    fabric.nodes["c"].stop()
    argv = fabric.nodes["c"].argv
    fabric.nodes["c"].start(argv=["sh", "-c", 'ulimit -n 300; exec "$@"', "sh", *argv])
    fabric.wait("c")
    try:
        assert "files.few" in fabric.codes()
    finally:
        fabric.nodes["c"].stop()
        fabric.nodes["c"].start(argv=argv)
        fabric.wait("c")


def test_a_certificate_near_its_end(fabric):
    """Of thirty days six are left, and no voter is reached to renew it."""
    fabric.nodes["c"].stop()
    fabric.unplug("c")
    fabric.set_clock(24 * 86400)
    plain = fabric.nodes["c"].options
    fabric.nodes["c"].options = {**plain, "env": fabric.clock_environment()}
    fabric.nodes["c"].start()
    fabric.wait("c")
    try:
        found = fabric.finding("certificate.end")
        assert "144 h" in found["text"] or "143 h" in found["text"], found
        assert "voter.unreached" in fabric.codes()
    finally:
        fabric.set_clock(0)
        fabric.plug("c")
        fabric.nodes["c"].stop()
        fabric.nodes["c"].options = plain
        fabric.again("c")


def test_a_command_in_another_network(fabric):
    assert "daemon.elsewhere" in fabric.codes(machine="client")


def test_a_machine_that_is_no_node(fabric):
    done = fabric.types("client", "doctor", "--state", "/run/lab/nowhere", "--run-dir", "/run/lab/nowhere")
    assert done.returncode == 1 and "no node" in done.stderr
    done = fabric.types("c", "doctor", "feet")
    assert done.returncode == 2 and "return-path" in done.stderr


# --- the way back --------------------------------------------------------------------------------

def return_path(fabric, on, *words):
    done = fabric.capsule.run([PROGRAM, "doctor", "return-path", "-o", "json", "--socket",
                               fabric.capsule.root / on / "run/fairlead.sock", *words], on,
                              check=False)
    assert done.returncode in (0, 1) and done.stdout, done.stderr
    answer = json.loads(done.stdout)
    assert answer["well"] == (done.returncode == 0)
    return {one["name"]: one["state"] for one in answer["backends"]}


@pytest.mark.parametrize("to", ["192.0.2.10", "2001:db8:c::10"])
def test_answers_come_back_to_each_backend(fabric, to):
    """The client refuses: a reset is an answer as well. Also an open port, and on any node."""
    everybody = dict.fromkeys("abc", "returns")
    assert return_path(fabric, "c", "--to", to) == everybody
    server = fabric.capsule.popen(["python3", "-m", "http.server", "--bind", to, "8080"], "client")
    try:
        wait_for(lambda: fabric.sh(f"nc -z {to} 8080 || python3 -c \"import socket; "
                                   f"socket.create_connection(('{to}', 8080)).close()\"", "client"),
                 "the server")
        assert return_path(fabric, "a", "--to", to, "--port", "8080") == everybody
    finally:
        server.kill()
        server.wait()


def test_a_network_that_takes_one_backend_for_a_forger(fabric):
    """Port security at one port of the switch: only its own address may come in there."""
    fabric.capsule.run(["nft", "-f", "-"], "net", input=(
        "table bridge guard {\nchain pre {\ntype filter hook prerouting priority 0\n"
        "iifname \"b-eth0\" ip saddr != 10.0.1.3 drop\n}\n}\n"))
    try:
        states = return_path(fabric, "c", "--to", "192.0.2.10")
    finally:
        fabric.capsule.run(["nft", "delete", "table", "bridge", "guard"], "net")
    assert states == {"a": "returns", "b": "silent", "c": "returns"}


def test_a_target_that_is_deaf(fabric):
    assert return_path(fabric, "c", "--to", "192.0.2.77") == dict.fromkeys("abc", "silent")


def test_a_backend_that_is_not_reached_is_not_known(fabric):
    fabric.nodes["b"].stop(signal.SIGKILL)
    try:
        states = wait_for(lambda: return_path(fabric, "a", "--to", "192.0.2.10"), "an answer")
    finally:
        fabric.again("b")
    assert states["b"] == "not_known", states


def test_wrong_words_of_return_path(fabric):
    socket = fabric.capsule.root / "c/run/fairlead.sock"
    for words, told in (([], "--to"), (["--to", "client"], "no IP address"),
                        (["--to", "192.0.2.10", "--service", "nothing"], "is no service")):
        done = fabric.types("c", "doctor", "return-path", "--socket", socket, *words)
        assert done.returncode in (1, 2) and told in done.stderr, done


def test_nothing_is_found_in_the_end(fabric):
    fabric.wait_well()
