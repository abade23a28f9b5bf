# SPDX-License-Identifier: Apache-2.0
"""Faults of the daemon's process and of its machine: stopped, without files or memory, on a clock
that jumps, beside a second daemon, among what an earlier one left behind."""
import contextlib
import resource
import signal
import socket
import struct

import pytest

from faults import (dig, edge_stopped, everything_comes_back, forwarding_goes_on, wait_alarm,
                    wait_clean)
from lab import topology
from lab.host import wait_for

UP = topology.UPLINK
HOUR = 3600
PADDING = ("#" * 80 + "\n") * 50000  # nearly as much as a file may have: it needs memory


@pytest.fixture(autouse=True)
def back(job):
    with everything_comes_back(job):
        yield


@contextlib.contextmanager
def signalled(child):
    """It stands still in the body, as for a debugger, or on a machine that is out of everything."""
    child.process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        child.process.send_signal(signal.SIGCONT)


def asked_fib(lab):
    return sum(one["asked_fib"] for one in lab.cli.json("get", "versions"))


def stopped(job, datagrams):
    """The kernel's routes are asked instead of the daemon's, once its heartbeat is 3 s old; who asks
    it is told that it is silent, and who orders is not left in silence."""
    lab = job.lab
    before = asked_fib(lab)
    with forwarding_goes_on(job, f"stopped for {datagrams} ms") as event:
        with signalled(lab.edge):
            asking = lab.capsule.popen([lab.program, "--socket", lab.socket, "status"],
                                       stdout=-1, stderr=-1, text=True)
            # An order, which somebody must hear the end of; this one is refused.
            ordering = lab.capsule.popen([lab.program, "--socket", lab.socket, "rollout", "pause",
                                          "web"], stdout=-1, stderr=-1, text=True)
            job.wait(lambda: event.probe and event.probe["4"]["sent"] >= datagrams,
                     "the probe to go on", 2 * datagrams / 1000)
            out, err = asking.communicate(timeout=60)
            assert (asking.returncode, out) == (1, "")
            assert "has said nothing for 10 s" in err and "'ps' shows T" in err
            assert "said nothing for 10 s, and is waited for" in ordering.stderr.readline()
        _, err = ordering.communicate(timeout=60)
        assert ordering.returncode == 1 and "no rollout of web is under way" in err
    assert asked_fib(lab) > before
    assert "stood_still" in lab.edge.tail(40)


def test_the_daemon_is_stopped(job):
    """Ten seconds are three times what the heartbeat may be old, and twenty times what a landing
    waits between two reports: no limit that a whole minute would reach lies beyond."""
    stopped(job, 9000)


@pytest.mark.soak
def test_the_daemon_is_stopped_for_a_minute(job):
    stopped(job, 60000)


def test_a_landing_is_stopped(job):
    """What it set up is the kernel's. Its connections count as in use while it is silent."""
    with forwarding_goes_on(job, "landing stopped"), signalled(job.lab.landings["web2"]):
        said = wait_alarm(job, "web2 is silent", "in use")
        assert "bring its landing back" in said


def test_every_landing_is_killed(job):
    with forwarding_goes_on(job, "landings killed"):
        for landing in job.lab.landings.values():
            landing.stop(signal.SIGKILL)
        wait_alarm(job, "web3 is silent")
        for landing in job.lab.landings.values():
            landing.start()


def test_a_landing_gets_signals(job):
    """Those that mean nothing to it leave it as it is, at its start too; the others end it in order,
    and it can be started again at once."""
    landing = job.lab.landings["web1"]
    with forwarding_goes_on(job, "signals"):
        landing.stop(signal.SIGINT)
        for how in (signal.SIGTERM, signal.SIGQUIT):
            landing.start()
            wait_clean(job)
            for nothing in (signal.SIGHUP, signal.SIGUSR1, signal.SIGPIPE, signal.SIGALRM):
                landing.process.send_signal(nothing)
            wait_clean(job)
            assert landing.stop(how) == 0
        landing.start()


def start_with(job, *prefix, **changes):
    """The edge's daemon again, by another command in front."""
    command = [*prefix, *job.lab.edge_command(job.lab.program)]
    with edge_stopped(job.lab, signal.SIGKILL, argv=command, **changes):
        pass


def waits_for_an_answer(process):
    with open(f"/proc/{process.pid}/wchan", encoding="ascii") as file:
        return "poll" in file.read()


def test_clients_take_all_files(job):
    """They get their share of what the process may open. Names are answered over UDP, those who are
    connected keep what they have, and an operator is heard."""
    lab = job.lab
    start_with(job, "prlimit", "--nofile=100:100")
    with forwarding_goes_on(job, "out of files"), contextlib.ExitStack() as held:
        said = wait_alarm(job, "only 100 files", "LimitNOFILE")
        assert "DNS" in said
        with lab.capsule.inside("client"):
            for _ in range(150):
                one = held.enter_context(socket.socket())
                one.setblocking(False)
                one.connect_ex((UP.v4, 53))
        for _ in range(5):
            assert dig(lab, UP.v4) and dig(lab, UP.v4, "web.svc.example.net", "A", "+tcp")
        with signalled(lab.edge):  # so that they come all at once, the operator last
            for _ in range(60):
                one = held.enter_context(socket.socket(socket.AF_UNIX))
                one.setblocking(False)
                one.connect_ex(str(lab.socket))
            asking = lab.capsule.popen([lab.program, "--socket", lab.socket, "status"],
                                       stdout=-1, stderr=-1, text=True)
            job.wait(lambda: waits_for_an_answer(asking), "the operator to ask")
        _, err = asking.communicate(timeout=60)
        assert asking.returncode == 1
        assert "clients are connected already" in err
    # All of them are gone, and the store was never in want of a file.
    wait_for(lambda: lab.cli.try_("status").returncode == 0, "the operator to be heard")
    assert lab.cli.json("verify")["sound"]
    start_with(job)


def size_of(process):
    with open(f"/proc/{process.pid}/statm", encoding="ascii") as file:
        return int(file.read().split()[0]) * resource.getpagesize()


def settled_size(process):
    """Its size once it gives nothing back any more of what it needed to start."""
    sizes = [size_of(process)]

    def stays():
        sizes.append(size_of(process))
        return len(sizes) > 10 and len(set(sizes[-10:])) == 1
    wait_for(stays, "the daemon to keep its size")
    return sizes[-1]


@contextlib.contextmanager
def no_more_memory(process, spare):
    """It may allocate `spare` bytes more than it has, and what it holds in reserve."""
    held = settled_size(process)
    resource.prlimit(process.pid, resource.RLIMIT_AS, (held + spare, resource.RLIM_INFINITY))
    try:
        yield
    finally:
        resource.prlimit(process.pid, resource.RLIMIT_AS, (resource.RLIM_INFINITY,) * 2)


def test_out_of_memory(job):
    """Nothing more can be allocated for a while, wherever that strikes. A request that needs more
    than there is is refused with a sentence; or the daemon ends with one, and the next one has all
    that was acknowledged."""
    lab = job.lab
    file = lab.write(lab.fabric(("web1",)) + PADDING, "large.yaml")
    ended = 0
    with forwarding_goes_on(job, "out of memory"):
        before = lab.cli.json("status")["sequence"]
        for spare in (0, 256 << 10, 1 << 20, 2 << 20):
            process, lab.edge.expected = lab.edge.process, False
            with contextlib.suppress(ProcessLookupError), no_more_memory(process, spare):
                done = lab.cli.try_("apply", file)
                assert done.returncode == 1, done.stdout
                if "memory" not in done.stderr:
                    assert process.wait(10) == 1, done.stderr
            if process.poll() is not None:
                assert "out of memory" in lab.edge.tail(3)
                ended += 1
                lab.edge.start()
                lab.wait_edge()
            lab.edge.expected = True
            assert dig(lab, UP.v4)
            assert lab.cli.json("status")["sequence"] == before
    assert ended > 0 and lab.cli.json("verify")["sound"]


@pytest.fixture(scope="module")
def clock(job):
    """Sets the wall clock of the edge's daemon, its name server's threads and all, by seconds."""
    path = job.lab.root / "clock"
    path.write_bytes(bytes(8))
    library = job.lab.build / "tests/lab/fake-clock.so"
    job.clock_environment = {"LD_PRELOAD": str(library), "FAKE_CLOCK": str(path)}

    def set_by(seconds):
        with open(path, "r+b") as file:
            file.write(struct.pack("=q", seconds))
    start_with(job, env=job.clock_environment)
    yield set_by
    start_with(job)


@pytest.mark.parametrize("seconds", [HOUR, -HOUR], ids=["forward", "back"])
def test_the_clock_jumps(job, clock, seconds):
    """While a version drains: it is neither cut short nor kept for ever, and every change that was
    acknowledged stays, in its order."""
    lab = job.lab
    first = lab.cli.status().services["probe"].serving.number
    with forwarding_goes_on(job, f"clock jumps {seconds}"):
        clock(seconds)
        said = wait_alarm(job, "clock was set", f"{HOUR} s" if seconds > 0 else "back by 3")
        assert "timedatectl" in said
        assert dig(lab, UP.v4)
        # A daemon that starts on the wrong clock goes by it, and by what was stamped before.
        start_with(job, env=job.clock_environment)
        assert dig(lab, UP.v4)
        assert lab.cli.json("verify")["sound"]
        clock(0)
        wait_alarm(job, "clock was set", "back" if seconds > 0 else "forward")
        start_with(job, env=job.clock_environment)
        assert lab.cli.status().services["probe"].serving.number == first
        assert lab.cli.json("verify")["sound"]


def test_the_clock_jumps_while_a_version_drains(job, clock):
    """Version 2 of a service gets the clients, and version 1 ends, though the clock is moved both
    ways between any two steps; its end is none too early, since nobody uses it."""
    lab, settings = job.lab, {"quiet": "1s", "stale": "1s"}

    def publish(weight):
        lab.apply(lab.fabric(("web1", "web2", "web3"), **settings, services=(
            "  clocked:\n    ports: [tcp/81]\n    backends:\n"
            f"      - {{name: web1, site: fra, address: {topology.RACK['web1'].v4}, "
            f"weight: {weight}}}\n"
            f"      - {{name: web3, site: fra, address: {topology.RACK['web3'].v4}}}\n")))
    with forwarding_goes_on(job, "clock jumps, a version drains"):
        publish(1)
        lab.wait_states("clocked", {1: "serving"}, idle=job.refresh)
        clock(HOUR)
        publish(2)
        lab.wait_states("clocked", {2: "serving"}, idle=job.refresh)
        clock(-HOUR)
        lab.wait_states("clocked", {1: "retired", 2: "serving"}, 25, idle=job.refresh)
        clock(0)
        assert lab.cli.json("verify")["sound"]
    lab.apply(lab.fabric(("web1", "web2", "web3"), **settings), "--yes")
    wait_for(lambda: "clocked" not in lab.cli.status().services, "the service to end", 25,
             job.refresh)
    lab.apply(lab.fabric(("web1", "web2", "web3")))


def test_what_a_killed_daemon_leaves_is_in_nobodys_way(job):
    lab = job.lab
    with forwarding_goes_on(job, "left behind"):
        for _ in range(3):
            lab.edge.stop(signal.SIGKILL)
            assert lab.socket.exists()
            lab.edge.start()
            lab.wait_edge()


def test_a_file_lies_where_the_socket_should(job):
    """It may be somebody's: the error says so, and nothing is removed."""
    lab = job.lab
    with edge_stopped(lab, signal.SIGKILL), forwarding_goes_on(job, "file for a socket"):
        lab.socket.unlink()
        lab.socket.write_text("precious")
        done = lab.capsule.run(lab.edge_command(lab.program), "edge", check=False, timeout=10)
        assert done.returncode == 1
        assert f"{lab.socket} is in the way" in done.stderr and "move it" in done.stderr
        assert lab.socket.read_text() == "precious"
        lab.socket.unlink()


def test_a_second_daemon(job):
    """On the same folders, or only on the same pins: it names the first, which notices nothing."""
    lab = job.lab
    command = lab.edge_command(lab.program)
    other = list(command)
    for option in ("--state", "--run-dir"):
        other[command.index(option) + 1] = lab.directory(f"second{option}")
    with forwarding_goes_on(job, "second daemon"):
        for arguments in (command, other):
            done = lab.capsule.run(arguments, "edge", check=False, timeout=10)
            assert done.returncode == 1
            assert "fairlead" in done.stderr and any(
                word in done.stderr for word in ("has it", "uses this state")), done.stderr
        assert dig(lab, UP.v4)


def test_the_host_gets_another_name(job):
    """Without --node, the host's name is the node's: a store of another node is not taken over."""
    lab = job.lab
    command = lab.edge_command(lab.program)
    at = command.index("--node")
    del command[at:at + 2]
    with edge_stopped(lab, signal.SIGTERM), forwarding_goes_on(job, "another host name"):
        done = lab.capsule.run(["unshare", "--uts", "sh", "-c", 'hostname edge2; exec "$@"', "sh",
                                *command], "edge", check=False, timeout=10)
        assert done.returncode == 1
        assert "the state of node edge1, not of edge2" in done.stderr
        assert "--node edge1" in done.stderr


def test_a_backend_boots(job):
    """Another boot id: its kernel has none of the connections that the one before had, and its
    landing sets everything up again."""
    lab, landing = job.lab, job.lab.landings["web1"]
    boot = lab.root / "boot_id"
    boot.write_text("11111111-2222-3333-4444-555555555555\n")
    before = {one["name"]: one["boot_id"] for one in lab.cli.json("status")["backends"]}["web1"]

    def reported():
        return {one["name"]: one["boot_id"] for one in lab.cli.json("status")["backends"]}["web1"]
    with forwarding_goes_on(job, "web1 boots"):
        landing.stop(signal.SIGKILL)
        wait_alarm(job, "web1 is silent")
        landing.start(argv=["unshare", "--mount", "sh", "-c", f"mount --bind {boot} "
                            '/proc/sys/kernel/random/boot_id; exec "$@"', "sh",
                            *lab.landing_command("web1")])
        wait_for(lambda: reported() == boot.read_text().strip(), "the new boot to be reported")
        wait_clean(job)
    landing.stop(signal.SIGTERM)
    landing.start(argv=lab.landing_command("web1"))
    wait_for(lambda: reported() == before, "the old boot to be reported")
