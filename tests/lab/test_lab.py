# SPDX-License-Identifier: Apache-2.0
"""`fairlead lab …` as a person uses it, and what its links really do to packets.

Labs get names of their own, so that they meet nobody else's on the same computer.
"""
import contextlib
import ipaddress
import json
import os
import secrets
import signal
import subprocess
from pathlib import Path

import pytest

from lab import topology
from lab.described import fields, undescribed
from lab.host import BUILD, REPOSITORY, Capsule, wait_for
from lab.parts import Lab
from test_demo import bpf_ids, descendants, network_namespaces, shared_names, still_there

PROGRAM = BUILD / "src/fairlead"
TOPOLOGIES = REPOSITORY / "lab/topologies"
PYTHON = "/usr/bin/python3"

PAIR = """
machines: {{left: , right: {{{right}}}}}
links:
  line:
    from: {{machine: left, interface: eth0, addresses: [192.0.2.1/24]}}
    to: {{machine: right, interface: eth0, addresses: [192.0.2.2/24]}}
{shape}"""

# Says the seconds from the question to its answer, of one datagram after the other.
ASK = """
import socket, sys, time
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
    s.settimeout(20)
    for _ in range(int(sys.argv[1])):
        began = time.monotonic()
        s.sendto(b"x", ("192.0.2.2", 7))
        s.recv(10)
        print(time.monotonic() - began)
"""
ECHO = """
import socket
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
    s.bind(("", 7))
    print("ready", flush=True)
    while True:
        s.sendto(*s.recvfrom(2000))
"""
# Sends numbered datagrams: how many, of how many bytes. Says when it began.
SEND = """
import socket, sys, time
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
    s.setsockopt(socket.IPPROTO_IP, 10, 2)  # IP_MTU_DISCOVER: never fragment
    count, size = map(int, sys.argv[1:])
    print(time.monotonic())
    for number in range(count):
        s.sendto(number.to_bytes(4, "big") + bytes(size - 4), ("192.0.2.2", 9))
"""
# Says the time and number of each one that comes.
SINK = """
import socket, time
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
    s.setsockopt(socket.SOL_SOCKET, 33, 8 << 20)  # SO_RCVBUFFORCE
    s.bind(("", 9))
    print("ready", flush=True)
    while True:
        number = int.from_bytes(s.recv(9000)[:4], "big")
        print(time.monotonic(), number, flush=True)
"""


def lab(*words, check=True, **options):
    done = subprocess.run([PROGRAM, "lab", *map(str, words)], capture_output=True, text=True,
                          timeout=60, check=False, **options)
    if check:
        assert done.returncode == 0, done.stderr
    return done


class User:
    """One lab, and what its user says about it."""

    def __init__(self, name):
        self.name = name

    def __call__(self, verb, *words, **options):
        return lab(verb, self.name, *words, **options).stdout

    def status(self):
        return json.loads(self("status", "-o", "json"))

    def way(self, side=0, link="line"):
        """One direction of a link; 0 is from `from` to `to`."""
        return next(one for one in self.status()["links"] if one["name"] == link)["ways"][side]

    def python(self, machine, code, *words):
        return self("exec", machine, "--", PYTHON, "-c", code, *words)


@pytest.fixture
def up():
    """up(file or text): a lab that is taken down at the end, whatever the test did."""
    users = []

    def make(what, *options):
        users.append(User(f"test-{secrets.token_hex(4)}"))
        text = None if isinstance(what, Path) else what
        lab("up", what if text is None else "-", "--name", users[-1].name, *options, input=text)
        return users[-1]

    yield make
    for user in users:
        user("down")


@pytest.fixture
def pair(up):
    """pair(what the link does): two machines; pair.listen(code) starts a program on the right."""
    with contextlib.ExitStack() as stack:
        def make(*shape, right=""):
            user = up(PAIR.format(shape="".join(f"    {one}\n" for one in shape), right=right))
            return user

        def listen(user, code):
            process = stack.enter_context(subprocess.Popen(
                [PROGRAM, "lab", "exec", user.name, "right", PYTHON, "-c", code],
                stdout=subprocess.PIPE, text=True))
            stack.callback(process.terminate)
            assert process.stdout.readline() == "ready\n"
            return process

        make.listen = listen
        yield make


def labs_up():
    return [one["lab"] for one in json.loads(lab("status", "-o", "json").stdout)]


def holder_of(user):
    return user.status()["pid"]


# --- the user's way ---

def test_up_look_around_and_down(up):
    before = shared_names()
    rack = up(TOPOLOGIES / "rack.yaml")
    status = rack.status()
    assert [machine["name"] for machine in status["machines"]][:3] == ["net", "client", "resolver"]
    assert all(process["alive"] for process in status["processes"])
    assert all(way["there"] for link in status["links"] for way in link["ways"])
    table = rack("status")
    assert f"{rack.name} is up: 8 machines, 8 links, 10 processes, for" in table
    assert "edge:up0 → net:edge-up0" in table and "running" in table
    assert rack.name in labs_up()

    pids = descendants(holder_of(rack))
    ids = bpf_ids(pids)
    assert len(pids) > 10 and ids["prog"] and not shared_names() - before
    assert rack("down") == f"{rack.name} is down.\n"
    assert rack.name not in labs_up()
    assert not [pid for pid in pids if os.path.exists(f"/proc/{pid}")]
    wait_for(lambda: not still_there(ids), "its BPF objects to be freed")
    assert not shared_names() - before
    assert rack("down") == f"{rack.name} was not up.\n"


FETCH = "import urllib.request; print(urllib.request.urlopen('http://web.svc.example.net/', " \
        "timeout=5).read().decode())"


def fabric_serves(user, client, name, node="edge"):
    """Apply the fabric beside the topology, and fetch by name until it answers."""
    user("exec", node, "--", "fairlead", "apply", TOPOLOGIES / f"{name}-fabric.yaml")

    def answer():
        return lab("exec", user.name, client, PYTHON, "-c", FETCH, check=False).stdout
    return wait_for(answer, "the service to answer by its name", 20)


def test_the_rack_is_a_working_fabric(up):
    rack = up(TOPOLOGIES / "rack.yaml")
    assert fabric_serves(rack, "client", "rack").split()[0] in ("web1", "web2", "web3")
    wait_for(lambda: "notes\n  web4 reports, but is no backend of any service" in
             rack("exec", "edge", "--", "fairlead", "status"), "status to name the spare")


def test_the_fabric_is_one(up):
    """Nodes that joined, and a router that shares every address among both edges."""
    fabric = up(TOPOLOGIES / "fabric.yaml")
    assert fabric_serves(fabric, "client", "fabric", "edge2").split()[0] in ("web1", "web2", "web3")

    def ways():
        shown = fabric("exec", "router", "ip", "route", "show", "198.51.100.0/27")
        return all(f"via 10.0.1.{edge} " in shown for edge in (21, 22))
    wait_for(ways, "both edges to announce the pool", 20)
    assert fabric_serves(fabric, "client", "fabric", "edge1")


def test_distance_is_a_working_fabric(up):
    """XDP runs natively on shaped links, and what it sends back or redirects arrives."""
    distance = up(TOPOLOGIES / "distance.yaml")
    fabric_serves(distance, "office", "distance")
    seen = set()

    def both():
        done = lab("exec", distance.name, "office", PYTHON, "-c", FETCH, check=False)
        seen.update(done.stdout.split()[:1])
        return seen == {"near", "far"}
    wait_for(both, "both backends to answer", 30)
    assert "xdp " in distance("exec", "far", "ip", "link", "show", "eth0")
    assert distance.way(1, "ocean")["passed"] > 0
    assert fabric_serves(distance, "phone", "distance")


def test_what_is_shown_is_what_the_help_describes():
    """Of a plain link and a shaped one, a bridge, a process, and a machine on its own."""
    name = f"test-{secrets.token_hex(4)}"
    file = """
machines: {left: {bridges: {br0: [10.0.0.1/24]}}, right: {run: {keeper: sleep 1000}}, alone: }
links:
  line:
    from: {machine: left, interface: eth0, addresses: [192.0.2.1/24]}
    to: {machine: right, interface: eth0, addresses: [192.0.2.2/24]}
    rate: 1mbit
    delay: 1ms
  plain: {from: {machine: left, interface: eth1}, to: {machine: right, interface: eth1}}
try: [ls]
"""

    def check(verb, *words, **options):
        answer = json.loads(lab(verb, *words, "-o", "json", **options).stdout)
        assert answer and not undescribed(answer, fields(PROGRAM, "lab", verb))
        return answer
    try:
        assert check("up", "-", "--name", name, input=file)["try"] == ["ls"]
        check("status")
        check("unplug", name, "line")
        assert not check("status", name)["links"][0]["ways"][0]["there"]
        check("plug", name, "line")
    finally:
        assert check("down", name)["was_up"]


def test_exec_gives_what_the_command_gives(up):
    pair = up(PAIR.format(shape="", right=""))

    def run(*words, **options):
        return lab("exec", pair.name, "left", *words, check=False, **options)
    assert run("sh", "-c", "exit 7").returncode == 7
    assert run("sh", "-c", "kill -9 $$").returncode == 128 + signal.SIGKILL
    assert run("no-such-program").returncode == 127
    assert run("/etc").returncode == 126
    assert run("cat", input="through\n").stdout == "through\n"
    assert run("hostname").stdout == "left\n"
    assert run("pwd", cwd="/usr/lib").stdout == "/usr/lib\n"
    assert run("--", "sh", "-c", "echo $0", "--help").stdout == "--help\n"
    assert run("sh", "-c", "echo $LAB $MACHINE $DIR").stdout == f"{pair.name} left /run/lab/left\n"
    assert run("cat", "/proc/1/comm").stdout == "fairlead-lab\n"
    assert "192.0.2.1/24" in run("ip", "address", "show", "eth0").stdout


def test_exec_passes_signals_on(pair):
    user = pair()
    process = pair.listen(user, ECHO)
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 128 + signal.SIGTERM


def test_two_labs_of_one_file(up):
    one, two = (up(TOPOLOGIES / "rack.yaml", "--bare") for _ in range(2))
    assert {one.name, two.name} <= set(labs_up())
    one("exec", "client", "ip", "link", "delete", "eth0")
    assert [way["there"] for way in (one.way(0, "client"), two.way(0, "client"))] == [False, True]
    assert one.status()["processes"] == []
    one("down")
    assert two("exec", "client", "hostname") == "client\n"


def test_the_name_is_the_files(tmp_path):
    name = f"test-{secrets.token_hex(4)}"
    file = tmp_path / f"{name}.yaml"
    file.write_text("machines: {here: {run: {one: sleep 1000, two: cat beside}}}\n")
    (tmp_path / "beside").write_text("found\n")
    lab("up", file)
    try:
        assert name in labs_up()
        again = lab("up", file, check=False)
        assert again.returncode == 1
        assert again.stderr == (
            f"fairlead: the lab {name} is up already; `fairlead lab down {name}` takes it down, "
            "--name gives a second one another name\n")
        assert lab("exec", file, "here", "cat", "/run/lab/log/two.log").stdout == "found\n"
    finally:
        assert lab("down", file).stdout == f"{name} is down.\n"


@pytest.mark.parametrize("whom", ["holder", "command"])
def test_a_killed_lab_leaves_nothing(whom):
    """Neither when its first process is killed, nor when the command that holds it is."""
    name, before = f"test-{secrets.token_hex(4)}", shared_names()
    own = network_namespaces([os.getpid()])
    with subprocess.Popen([PROGRAM, "lab", "up", TOPOLOGIES / "rack.yaml", "--name", name,
                           "--hold", "-o", "jsonl"], stdout=subprocess.PIPE, text=True) as process:
        status = json.loads(process.stdout.readline())
        pids = descendants(process.pid)
        namespaces, ids = network_namespaces(pids) - own, bpf_ids(pids)
        assert len(namespaces) == 6 and ids["prog"]
        os.kill(status["pid"] if whom == "holder" else process.pid, signal.SIGKILL)
    assert process.returncode == (0 if whom == "holder" else -signal.SIGKILL)
    wait_for(lambda: not [pid for pid in pids if os.path.exists(f"/proc/{pid}")],
             "its processes to end")
    everyone = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    assert not namespaces & network_namespaces(everyone)
    wait_for(lambda: not still_there(ids), "its BPF objects to be freed")
    assert not shared_names() - before and name not in labs_up()


def test_what_ends_is_told(pair):
    user = pair(right="run: {keeper: sleep 1000}")
    keeper, = user.status()["processes"]
    assert keeper["alive"] and keeper["state"] == "running"
    user("exec", "right", "kill", "-KILL", str(keeper["pid"]))

    def ended():
        one, = user.status()["processes"]
        return not one["alive"] and one["state"] == "killed by signal 9"
    wait_for(ended, "status to tell of the end")


# --- links ---

def test_delay_is_at_least_what_was_asked_for(pair):
    user = pair("delay: 30ms", "back: {delay: 50ms}")
    pair.listen(user, ECHO)
    took = [float(word) for word in user.python("left", ASK, "5").split()]
    assert len(took) == 5 and min(took) >= 0.080


def settled(user):
    """The way's counts once nothing is under way."""
    def all_accounted():
        way = user.way()
        return way if way["sent"] == sum(
            way[key] for key in ("passed", "lost", "full", "too_big")) else None
    return wait_for(all_accounted, "every frame to be accounted for")


def received(user):
    """Frames that the right end's interface got, as its kernel counts."""
    line = next(line for line in user("exec", "right", "cat", "/proc/net/dev").splitlines()
                if "eth0:" in line)
    return int(line.split()[2])


def settled_and_received(user):
    """The same, and what the right end got by then: machines speak also unasked."""
    def undisturbed():
        way, count = settled(user), received(user)
        return (way, count) if user.way()["sent"] == way["sent"] else None
    return wait_for(undisturbed, "the link to be silent for a moment")


def test_losses_are_those_that_are_counted(pair):
    user = pair("loss: 25%", "back: {loss: 0%}")
    sink = pair.listen(user, SINK)
    # Warm the neighbour entry up: the sender's own queue for it is short.
    wait_for(lambda: user.python("left", SEND, "1", "100") and "lladdr" in
             user("exec", "left", "ip", "neigh", "show", "192.0.2.2"), "the neighbour to be found")
    # The link carried its first frames before the right end was up to take them.
    first, before = settled_and_received(user)
    user.python("left", SEND, "400", "100")
    way, count = settled_and_received(user)
    assert way["lost"] > first["lost"] and way["sent"] >= first["sent"] + 400
    assert count - before == way["passed"] - first["passed"]
    sink.terminate()
    numbers = {int(line.split()[1]) for line in sink.stdout}
    assert 400 - way["lost"] <= len(numbers) < 400
    assert user.way(1)["lost"] == 0


def test_a_rate_takes_its_time_and_its_queue_is_bounded(pair):
    user = pair("rate: 1mbit", "queue: 100ms")
    sink = pair.listen(user, SINK)
    began = float(user.python("left", SEND, "100", "986"))  # 1028 bytes with their headers
    way = settled(user)
    assert way["full"] > 0 and way["lost"] == 0
    sink.terminate()
    times = [float(line.split()[0]) for line in sink.stdout]
    assert 0 < len(times) < 100
    assert times[-1] - began >= len(times) * 1028 * 8 / 1e6
    # The queue holds 100 ms of the rate, and one frame is on the line.
    assert len(times) >= 0.1 / (1028 * 8 / 1e6)


@pytest.mark.parametrize("shape", [(), ("delay: 1ms",)], ids=["veth", "relay"])
def test_what_exceeds_the_mtu_does_not_pass(pair, shape):
    user = pair("mtu: 1400", *shape)
    sink = pair.listen(user, SINK)
    assert "mtu 1400" in user("exec", "left", "ip", "link", "show", "eth0")
    user("exec", "left", "ip", "link", "set", "eth0", "mtu", "3000")
    user.python("left", SEND, "1", "1372")  # with IP and UDP just the MTU
    assert sink.stdout.readline().split()[1] == "0"
    before = user.way()
    user.python("left", SEND, "3", "1500")
    user.python("left", SEND, "1", "1372")
    assert sink.stdout.readline().split()[1] == "0"
    sink.terminate()
    assert sink.stdout.read() == ""
    if shape:
        assert user.way()["too_big"] - before["too_big"] == 3


@pytest.mark.parametrize("shape", [(), ("delay: 1ms",)], ids=["veth", "relay"])
def test_a_link_is_cut_and_joined_again(pair, shape):
    user = pair(*shape)
    pair.listen(user, ECHO)
    assert user.python("left", ASK, "1")
    assert user("unplug", "line") == "The link line is cut.\n"
    assert not user.way()["there"] and "cut" in user("status")
    assert user("unplug", "line") == "The link line is cut already.\n"
    assert user("plug", "line") == "The link line is there again.\n"
    assert user.way()["there"] and user.python("left", ASK, "1")
    assert user("plug", "line") == "The link line is in place already.\n"
    assert user.way()["there"] and user.python("left", ASK, "1")


def test_half_a_link_is_taken_away_before_it_is_joined(pair):
    """Somebody gave the interface of one end another name."""
    user = pair()
    user("exec", "left", "ip", "link", "set", "eth0", "down")
    user("exec", "left", "ip", "link", "set", "eth0", "name", "other")
    done = lab("plug", user.name, "line", check=False)
    assert (done.returncode, done.stderr) == (
        1, "fairlead: the link line is there by half: right has its interface eth0; unplug it "
           "first\n")
    assert user("unplug", "line") == "The link line is cut.\n"
    assert user("plug", "line") == "The link line is there again.\n"


def test_a_relay_that_is_killed_cuts_its_link(pair):
    """And only what it held: `plug` brings the link back."""
    user = pair("delay: 1ms")
    relay = next(pid for pid in descendants(holder_of(user))
                 if Path(f"/proc/{pid}/comm").read_text() == "lab-link\n")
    os.kill(relay, signal.SIGKILL)
    wait_for(lambda: not user.way()["there"], "the link to be cut")
    user("plug", "line")
    pair.listen(user, ECHO)
    assert user.python("left", ASK, "1")


def test_routes_come_back_with_their_link(up):
    rack = up(TOPOLOGIES / "rack.yaml", "--bare")
    routes = rack("exec", "client", "ip", "route"), rack("exec", "net", "ip", "-6", "route")
    for link in ("client", "uplink"):
        rack("unplug", link)
        rack("plug", link)
    assert rack("exec", "client", "ip", "route") == routes[0]
    assert sorted(rack("exec", "net", "ip", "-6", "route").splitlines()) == sorted(
        routes[1].splitlines())


# --- what goes wrong ---

def refused(text, *options, **more):
    name = f"test-{secrets.token_hex(4)}"
    done = lab("up", "-", "--name", name, *options, check=False, input=text, **more)
    lab("down", name)
    assert done.returncode == 1 and done.stdout == ""
    return done.stderr


@pytest.mark.parametrize("words, sentence", [
    (["exec", "NAME", "nobody", "ls"], "the lab NAME has no machine nobody; it has: "),
    (["exec", "NAME", "../root", "ls"], "the lab NAME has no machine ../root; it has: "),
    (["unplug", "NAME", "rope"], "the lab NAME has no link rope; it has: line\n"),
    (["plug", "NAME", "rope"], "the lab NAME has no link rope; it has: line\n"),
    (["status", "no-such-lab"],
     "the lab no-such-lab is not up; `fairlead lab status` lists those that are"),
    (["exec", "no-such-lab", "left", "ls"],
     "the lab no-such-lab is not up; `fairlead lab status` lists those that are"),
    (["up", "/no/such/file.yaml"], "/no/such/file.yaml: cannot open: No such file or directory"),
])
def test_what_is_not_there_is_named(pair, words, sentence):
    name = pair().name
    done = lab(*(word.replace("NAME", name) for word in words), check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("fairlead: " + sentence.replace("NAME", name))


def test_a_process_that_dies_at_its_start_is_shown():
    said = refused("machines: {here: {run: {web: {command: \"sh -c 'echo no luck; exit 3'\", "
                   "ready: 'false'}}}}")
    assert said == ("fairlead: web on here ended at its start: exit code 3; the command is\n"
                    "  sh -c 'echo no luck; exit 3'\nand the end of what it printed\nno luck\n")


def test_a_process_that_is_never_ready_is_shown():
    """Also when the question itself has no end. It takes the 15 s that a process may."""
    said = refused("machines: {here: {run: {web: {command: echo up; sleep 1000, "
                   "ready: sleep 1000}}}}")
    assert said == ("fairlead: web on here is not ready after 15 s; the command is\n"
                    "  echo up; sleep 1000\nand the end of what it printed\nup\n")


def test_a_lab_that_is_killed_on_its_way_up_says_so():
    name = f"test-{secrets.token_hex(4)}"
    text = "machines: {here: {run: {web: {command: sleep 1000, ready: 'false'}}}}"
    with subprocess.Popen([PROGRAM, "lab", "up", "-", "--name", name], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdin.write(text)
        process.stdin.close()
        process.stdin = None
        holder = wait_for(lambda: next((pid for pid in descendants(process.pid) if
                                        Path(f"/proc/{pid}/comm").read_text() == "fairlead-lab\n"),
                                       None), "the lab's first process")
        os.kill(holder, signal.SIGKILL)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (
        1, "", "fairlead: the lab's first process was killed before the lab was up\n")


def test_a_command_that_cannot_be_run_is_shown():
    """Also without `ready`: the lab is not up before the command runs."""
    said = refused("machines: {here: {run: {fine: sleep 1000, web: no-such-program -v}}}")
    assert said.startswith("fairlead: web on here ended at its start: exit code 127; the command "
                           "is\n  no-such-program -v\nand the end of what it printed\n")
    assert "no-such-program: not found" in said


def test_a_process_without_ready_may_have_done_its_work(up):
    user = up("machines: {here: {run: {once: 'true', piped: sleep 1000 | cat}}}")
    wait_for(lambda: user.status()["processes"][0]["state"] == "exit code 0", "the end of it")
    assert user.status()["processes"][1]["alive"]


def test_a_fault_of_the_file_is_shown_where_it_is():
    said = refused("machines: {here: }\nlinks: {line: {from: {machine: there}}}\n")
    assert "standard input:2:" in said and "^" in said and "the file is not valid" in said


def test_a_setting_that_the_kernel_lacks_is_named():
    assert refused("machines: {here: {sysctls: {net.ipv4.nonsense: 1}}}") == (
        "fairlead: here: cannot set net/ipv4/nonsense to 1: this kernel has no such setting\n")


def test_without_iproute2_it_says_what_to_install(tmp_path):
    assert refused(PAIR.format(shape="", right=""), env={"PATH": str(tmp_path)}) == (
        "fairlead: there is no program `ip`: install the package iproute2\n")


def test_what_ip_refuses_is_shown_with_its_command():
    """A route via a broadcast address passes the check of the file, and not the kernel's."""
    said = refused("machines: {here: {bridges: {br: [192.0.2.1/24]}, "
                   "routes: [{to: default, via: 192.0.2.255}]}}")
    assert said.startswith(
        "fairlead: here: `ip route replace 0.0.0.0/0 via 192.0.2.255` failed: ")


def test_only_root_makes_a_lab():
    done = subprocess.run(["unshare", "--user", PROGRAM, "lab", "up", "-", "--name", "nobodys"],
                          text=True, input="machines: {here: }", capture_output=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("fairlead: a lab makes network namespaces")


def test_nothing_is_left_of_a_lab_that_did_not_come_up():
    before, labs = shared_names(), set(labs_up())
    refused("machines: {here: {run: {fine: sleep 1000, web: {command: 'false', ready: 'false'}}}}")
    assert not shared_names() - before and not set(labs_up()) - labs


# --- for Python ---

def test_python_knows_the_rack_as_it_is():
    with Capsule(topology.RACK_FILE) as capsule:
        found = {}
        for machine in capsule.net["machines"]:
            for interface in machine["interfaces"]:
                found[machine["name"], interface["name"]] = interface
        for leg in topology.LEGS:
            interface = found[leg.machine, leg.interface]
            assert interface["link"] == leg.link
            assert {str(ipaddress.ip_interface(one).ip) for one in interface["addresses"]} == {
                leg.v4, leg.v6}
            assert found["net", leg.far]["link"] == leg.link


def test_a_lab_stands_on_any_network():
    """The rack's machines with other links between them: a client that is far away."""
    text = (TOPOLOGIES / "rack.yaml").read_text()
    marker = 'addresses: [192.0.2.1/24, "2001:db8:c::1/64"]}\n'
    assert marker in text
    with Lab(backends=["web1"],
             network=text.replace(marker, marker + "    delay: 25ms\n")) as far:
        far.apply(far.fabric(["web1"]))
        far.wait_landings()
        status = far.wait_states("web", {1: "serving"})
        assert far.fetch(status.services["web"].serving.address(6))[0] == "web1"
        assert json.loads(far.capsule.lab("status", "-o", "json"))["links"][0]["ways"][0][
            "delay_ms"] == 25


def test_what_to_try_names_the_lab_as_it_is_called(tmp_path):
    name, file = f"test-{secrets.token_hex(4)}", tmp_path / "rack.yaml"
    file.write_text("machines: {here: }\ntry:\n  - fairlead lab exec rack here hostname\n"
                    "  - fairlead lab status rack\n  - fairlead lab exec racket here true\n")
    shown = lab("up", file, "--name", name, "--bare").stdout
    lab("down", name)
    assert f"fairlead lab exec {name} here hostname\n" in shown
    assert f"fairlead lab status {name}\n" in shown
    assert "fairlead lab exec racket here true\n" in shown
