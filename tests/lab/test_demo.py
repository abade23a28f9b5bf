# SPDX-License-Identifier: Apache-2.0
"""`./dev demo` from the outside: its last line, its exit code, and that it leaves nothing behind."""
import contextlib
import json
import os
import re
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from lab.host import BUILD, PATIENCE, REPOSITORY, inside_network, wait_for

SO_NETNS_COOKIE = 71  # <asm-generic/socket.h>
LAST_LINE = re.compile(r"^demo: flows=(\d+) versions=(\d+) late=(\d+) killed=(\d+) removed=(\d+) "
                       r"added=(\d+) broken=(\d+)$")


@contextlib.contextmanager
def demo(*options, folder=None):
    """The demo as a process; `folder` is where it would put temporary files."""
    with subprocess.Popen(
            ["/usr/bin/python3", "-B", REPOSITORY / "lab/demo.py", "--build", BUILD, *options],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            start_new_session=True,
            env={**os.environ, "TMPDIR": str(folder or "/tmp")}) as process:
        try:
            yield process
        finally:
            process.kill()


def descendants(of):
    """All processes below one, in whatever namespace."""
    children = {}
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit():
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                children.setdefault(parent, []).append(int(entry.name))
    found, todo = [], [of]
    while todo:
        todo += children.get(todo.pop(), [])
        found = found + [pid for pid in todo if pid not in found]
    return found


def network_namespaces(pids):
    """The namespaces that these processes are in, by their cookies. Their numbers in /proc would
    not do: one that is free is given to the next namespace, which may be another lab's."""
    paths, found = {}, set()
    for pid in pids:
        with contextlib.suppress(OSError):
            paths.setdefault(os.readlink(f"/proc/{pid}/ns/net"), f"/proc/{pid}/ns/net")
    for path in paths.values():
        with contextlib.suppress(OSError), inside_network(path), socket.socket() as one:
            found.add(one.getsockopt(socket.SOL_SOCKET, SO_NETNS_COOKIE, 8))
    return found


def bpf_ids(pids):
    """{"prog": …, "map": …, "link": …} of what these processes hold; ids are never used again."""
    held = {"prog": set(), "map": set(), "link": set()}
    for pid in pids:
        with contextlib.suppress(OSError):
            for info in Path(f"/proc/{pid}/fdinfo").iterdir():
                for line in info.read_text().splitlines():
                    key, _, value = line.partition(":\t")
                    if key.endswith("_id") and key[:-3] in held:
                        held[key[:-3]].add(int(value))
    return held


def still_there(ids):
    """What is left, but for the landings' clamp and its maps. A filter of tc goes with its namespace,
    and if that was killed with flows open, the kernel first has to give up every connection in it,
    which takes minutes."""
    left, excused = set(), set()
    for kind, numbers in ids.items():
        for number in numbers:
            shown = subprocess.run(["bpftool", "-j", kind, "show", "id", str(number)],
                                   capture_output=True, check=False)
            if shown.returncode != 0:
                continue
            left.add((kind, number))
            what = json.loads(shown.stdout)
            if what["type"] == "sched_cls":
                excused |= {(kind, number), *(("map", one) for one in what["map_ids"])}
    return left - excused


def shared_names():
    """What a lab could have left where the whole machine sees it."""
    return {path for folder in ("/run", "/run/netns", "/sys/fs/bpf")
            for path in Path(folder).glob("*")}


def wait_line(process, pattern):
    for line in process.stdout:
        if re.search(pattern, line):
            return
    pytest.fail(f"the demo ended before it said {pattern}: {process.stderr.read()}")


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_demo_leaves_nothing(how, tmp_path):
    """In the middle, with flows open and programs attached. Not even SIGKILL leaves a trace."""
    own = network_namespaces([os.getpid()])
    before = shared_names()
    with demo(folder=tmp_path) as process:
        wait_line(process, "new requests go to version 2")
        pids = descendants(process.pid)
        namespaces, ids = network_namespaces(pids) - own, bpf_ids(pids)
        assert len(pids) > 25 and len(namespaces) == 10 and ids["prog"] and ids["map"]
        process.send_signal(how)
        process.communicate(timeout=PATIENCE * 20)
    assert process.returncode == {signal.SIGINT: 130, signal.SIGTERM: 143,
                                  signal.SIGKILL: -9}[how]
    wait_for(lambda: not [pid for pid in pids if os.path.exists(f"/proc/{pid}")],
             "its processes to end")
    everyone = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    assert not namespaces & network_namespaces(everyone)
    wait_for(lambda: not still_there(ids), "its BPF objects to be freed")
    assert not shared_names() - before
    assert not list(tmp_path.iterdir())


def last_line(out):
    found = LAST_LINE.match(out.rstrip().splitlines()[-1])
    assert found, out
    return tuple(map(int, found.groups()))


def test_the_demo_ends_well():
    with demo() as process:
        out, err = process.communicate(timeout=PATIENCE * 120)
    assert process.returncode == 0, out + err
    flows, versions, late, killed, removed, added, broken = last_line(out)
    assert flows >= 424 and versions == 3 and late > 0 and broken == 0
    assert killed == 3 and removed == added == 1


def test_the_demo_can_see_a_broken_flow():
    with demo("--break") as process:
        out, err = process.communicate(timeout=PATIENCE * 120)
    assert process.returncode == 1, out + err
    assert last_line(out)[-1] > 0
    assert "as intended" in out


def test_versus_haproxy_shows_what_each_side_breaks():
    """A change breaks nothing on either side; a killed process breaks HAProxy's flows only."""
    with demo("--versus", "haproxy", "--blows", "2") as process:
        shown, complaints = process.communicate(timeout=PATIENCE * 120)
    assert process.returncode == 0, complaints
    lines = shown.splitlines()
    table = {line[:20].strip(): list(map(int, line[20:].split())) for line in lines
             if line.startswith(("backends change   ", "process killed   "))}
    assert table["backends change"] == [0, 0]
    haproxy, fairlead = table["process killed"]
    assert haproxy >= 128 and fairlead == 0
    last = re.fullmatch(r"versus: haproxy flows=\d+ broken=(\d+) fairlead flows=(\d+) broken=0",
                        lines[-1])
    assert int(last[1]) == haproxy and int(last[2]) >= 256
