# SPDX-License-Identifier: Apache-2.0
"""What somebody else does to the program, the maps and the pins of a running edge, and what a
daemon that is killed in the middle of publishing leaves behind."""
import contextlib
import json
import os
import random
import signal
import subprocess

import pytest

import bpf
from faults import (PAST, alarms, edge_stopped, everything_comes_back, forwarding_goes_on, ip,
                    wait_alarm, window)
from lab import topology
from lab.host import LabError, wait_for
from lab.product import fabric_file
from published import Published

UP = topology.UPLINK
TICK_MS = 250  # between two looks at the program and the pins
GAP_MS = TICK_MS + 750  # to be seen and put back, on a machine that has other things to do
SEED = 20261125
WEB = ("web1", "web2", "web3")
SOON = {"quiet": "1s", "stale": "1s", "settings": ", quarantine: 1s"}


@pytest.fixture(autouse=True)
def back(job):
    with everything_comes_back(job):
        yield
    Published(job.lab).check()


def pins(lab):
    return lab.capsule.bpffs / "edge/edge"


def layout(lab):
    return pins(lab) / lab.cli.json("status")["layout"]


def link_id(lab, interface):
    path = pins(lab) / "links" / interface
    return json.loads(lab.capsule.run(["bpftool", "-j", "link", "show", "pinned", path]).stdout)["id"]


def test_xdp_off_is_refused(job):
    """The kernel protects what a link attached."""
    with forwarding_goes_on(job, "xdp off"):
        for interface in (UP.interface, topology.FABRIC.interface):
            done = job.lab.capsule.run(["ip", "-n", "edge", "link", "set", "dev", interface, "xdp",
                                        "off"], check=False)
            assert done.returncode != 0 and "active BPF XDP link" in done.stderr
    assert not alarms(job)


@pytest.fixture(scope="module")
def other_program(job):
    """Somebody's XDP program that lets everything pass."""
    program = job.lab.capsule.bpffs / "other"
    bpf.pin_pass_program(program)
    return program


def test_another_program_takes_the_place(job, other_program):
    """It stays until somebody removes it: it may be there for a reason."""
    lab, fabric = job.lab, topology.FABRIC.interface
    with forwarding_goes_on(job, "another program"):
        # On the leg to the backends nothing comes in that the program would forward.
        lab.capsule.run(["sh", "-c", f"bpftool link detach id {link_id(lab, fabric)} && "
                         f"ip link set dev {fabric} xdp pinned {other_program}"], "edge")
        said = wait_alarm(job, fabric, "another XDP program is on it")
        assert f"ip link set {fabric} xdp off" in said
    done = lab.capsule.run(["bpftool", "-j", "net", "show", "dev", fabric], "edge")
    assert fabric in done.stdout
    ip(lab, "edge", "link", "set", "dev", fabric, "xdp", "off")
    wait_for(lambda: lab.cli.status().interfaces[fabric] == "native", "the interface to be taken")


def test_another_program_is_there_at_the_start(job, other_program):
    """The error names it, the other leg goes on forwarding, and the next try succeeds."""
    lab, fabric = job.lab, topology.FABRIC.interface
    with edge_stopped(lab, signal.SIGKILL), forwarding_goes_on(job, "another at the start"):
        lab.capsule.run(["bpftool", "link", "detach", "id", link_id(lab, fabric)], "edge")
        ip(lab, "edge", "link", "set", "dev", fabric, "xdp", "pinned", other_program)
        done = lab.capsule.run(lab.edge_command(lab.program), "edge", check=False, timeout=10)
        assert done.returncode == 1
        assert f"ip link set {fabric} xdp off" in done.stderr
        ip(lab, "edge", "link", "set", "dev", fabric, "xdp", "off")


def test_the_pins_are_removed(job):
    """Forwarding needs none; the next daemon does, and finds them again."""
    lab = job.lab
    folder = pins(lab)
    before = sorted(folder.rglob("*"))
    with forwarding_goes_on(job, "pins removed"):
        lab.capsule.run(["sh", "-c", f"rm -r {folder}/links {layout(lab)}"])
        wait_alarm(job, PAST, "pin ", "had been removed")
        wait_for(lambda: set(before) <= {*folder.rglob("*"), folder / "sysctls"},
                 "the pins to be made again")
    with forwarding_goes_on(job, "daemon killed on the new pins"), edge_stopped(lab, signal.SIGKILL):
        pass


def test_some_pins_are_removed_under_a_dead_daemon(job):
    """The next one does not need them."""
    lab = job.lab
    with forwarding_goes_on(job, "some pins removed"):
        folder = layout(lab)
        with edge_stopped(lab, signal.SIGKILL):
            (folder / "addresses").unlink()


def test_without_a_bpf_file_system_there_is_no_start(job):
    lab = job.lab
    command = lab.edge_command(lab.program)
    command[command.index("--pins") + 1] = lab.root / "no-bpffs"
    with edge_stopped(lab, signal.SIGKILL), forwarding_goes_on(job, "start without bpffs"):
        done = lab.capsule.run(command, "edge", check=False, timeout=10)
        assert done.returncode == 1
        assert "mount -t bpf" in done.stderr


def contents(rounds, seed):
    """Files one after the other, each of which changes rings, weights, descriptors and words."""
    choice = random.Random(seed)
    for _ in range(rounds):
        names = choice.sample(topology.BACKENDS, choice.randint(1, 3))
        yield choice, fabric_file(WEB, {}, topology.BACKENDS, **SOON, services="".join(
            f"  more{number}:\n    ports: [tcp/{8000 + number}]\n    backends:\n" + "".join(
                f"      - {{name: {name}, site: fra, address: {topology.RACK[name].v4}, "
                f"weight: {choice.randint(1, 9)}}}\n" for name in sorted(names))
            for number in range(choice.randint(1, 3))))


def maps_are_right(lab):
    """What the store says is what the maps say; False if the store moved on meanwhile."""
    sequence = lab.cli.json("status")["sequence"]
    try:
        Published(lab).check()
    except (AssertionError, LabError):
        if lab.cli.json("status")["sequence"] == sequence:
            raise
        return False
    return True


def killed_while_publishing(job, rounds, seed):
    """The daemon dies at a random moment of each apply. What it acknowledged is there afterwards,
    and the maps say what the store says."""
    lab = job.lab
    for choice, text in contents(rounds, seed):
        before = lab.cli.json("status")["sequence"]
        applying = lab.capsule.popen(
            [lab.program, "--socket", lab.socket, "apply", "--yes", lab.write(text, "killed.yaml"), "-o",
             "json"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            text=True)
        with contextlib.suppress(subprocess.TimeoutExpired):
            applying.wait(choice.uniform(0, 0.12))
        lab.edge.stop(signal.SIGKILL)
        said, _ = applying.communicate(timeout=60)
        lab.edge.start()
        lab.wait_edge()
        sequence = lab.cli.json("status")["sequence"]
        acknowledged = json.loads(said)["sequence"] if applying.returncode == 0 else before
        assert sequence >= acknowledged, f"seed {seed}: {said}"
        wait_for(lambda: lab.cli.json("status")["applied"] >= sequence, "the store to be published")
        wait_for(lambda: maps_are_right(lab), "a look at maps and store that stand still")
        assert lab.cli.json("verify")["sound"]
        lab.apply(text, "--yes", name="killed.yaml")


def after_kills(job):
    """A version whose closing a kill interrupted was reopened, and rests for a minute."""
    job.lab.apply(job.lab.fabric(WEB, **SOON), "--yes")
    wait_for(lambda: not any(name.startswith("more") for name in job.lab.cli.status().services),
             "the other services to end", 90, job.refresh)
    job.lab.apply(job.lab.fabric(WEB))


def test_killed_while_publishing(job):
    print(f"seed {SEED}")
    with forwarding_goes_on(job, "killed while publishing"):
        killed_while_publishing(job, 4, SEED)
    after_kills(job)


@pytest.mark.soak
@pytest.mark.parametrize("part", range(25))
def test_killed_while_publishing_often(job, part):
    """200 kills, in parts, after each of which the services are removed, since the pool holds 31
    addresses a site."""
    seed = int(os.environ.get("FAIRLEAD_SEED", random.randrange(1 << 32)))
    print(f"seed {seed}")
    with forwarding_goes_on(job, f"killed often, {part}", GAP_MS):
        killed_while_publishing(job, 8, seed)
        after_kills(job)


# Outages, from here on

def test_the_program_is_detached(ended):
    """Until it is back, packets meet a kernel that knows nothing of service addresses."""
    with forwarding_goes_on(ended, "program detached", GAP_MS):
        ended.lab.capsule.run(["bpftool", "link", "detach", "id", link_id(ended.lab, UP.interface)],
                            "edge")
        said = wait_alarm(ended, PAST, f"taken off interface {UP.interface}")
        assert "set back" in said and "bpftool" in said


def test_the_bpf_file_system_is_unmounted(ended):
    """Maps and links live on in the daemon; it says that they would not outlive it, and how to help.
    The landings of this lab share the file system; they need a start to pin again, and say so."""
    lab, mount = ended.lab, ended.lab.capsule.bpffs
    with forwarding_goes_on(ended, "bpffs unmounted"):
        lab.capsule.run(["umount", "--lazy", mount])
        # The lab's first process has it, too, and the pins would live as long as one mount does.
        lab.capsule.lab("exec", "edge", "--", "umount", "--lazy", mount)
        said = wait_alarm(ended, PAST, "cannot be made again", "mount -t bpf")
        assert "forwarding ends with this daemon" in said
        lab.capsule.run(["mount", "-t", "bpf", "-o", "mode=0700", "bpf", mount])
        wait_for(lambda: (pins(lab) / "links" / UP.interface).exists(), "the pins to be made again")
    with forwarding_goes_on(ended, "killed on the new bpffs"), edge_stopped(lab, signal.SIGKILL):
        pass
    for landing in lab.landings.values():
        landing.stop()
        landing.start()


def test_the_past_is_told_no_more_after_a_restart(job):
    """Last, since it wants every test before: what was set back is told for a minute at most."""
    with window(job, "restart"), edge_stopped(job.lab, signal.SIGTERM):
        pass
    assert not job.lab.cli.status().alarms or not any(
        PAST in text for text in job.lab.cli.status().alarms)
