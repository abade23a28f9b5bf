# SPDX-License-Identifier: Apache-2.0
"""docs/operations.md and the README's "Use it", typed as they stand, on bare machines of a lab.

Each machine has folders of its own where a machine has them (/var/lib, /run/fairlead, /sys/fs/bpf,
/root), so nothing that is typed needs an option for the lab's sake. `systemctl` is what a unit would
do: it starts and stops `fairlead run`. What a page shows of an output is compared: numbers may
differ, `…` stands for anything, a line of it for any lines.
"""
import http.client
import re
import signal
import subprocess
import time

import pytest

from lab.host import REPOSITORY, Capsule, LabError, wait_for
from test_fabric import PROGRAM, SERVER, TOPOLOGY

MACHINES = {"a": 2, "b": 3, "c": 4, "d": 5}
BARE = """
machines:
  net:
    forwards: true
    bridges: {rack: [10.0.0.1/24, "fd00::1/64"]}
    routes: [{to: 198.51.100.0/26, via: 10.0.0.2}, {to: "2001:db8:f::/108", via: "fd00::2"}]
  client: {routes: [{to: default, via: 192.0.2.1}, {to: default, via: "2001:db8:c::1"}]}
""" + "".join(f"""  {name}: {{routes: [{{to: default, via: 10.0.0.1}}, {{to: default, via: "fd00::1"}}]}}
""" for name in MACHINES) + """
links:
  client:
    from: {machine: client, interface: eth0, addresses: [192.0.2.10/24, "2001:db8:c::10/64"]}
    to: {machine: net, interface: client-eth0, addresses: [192.0.2.1/24, "2001:db8:c::1/64"]}
""" + "".join(f"""
  {name}:
    from: {{machine: {name}, interface: eth0, addresses: [10.0.0.{n}/24, "fd00::{n}/64"]}}
    to: {{machine: net, interface: {name}-eth0, bridge: rack, xdp: pass}}
    mtu: 1540
""" for name, n in MACHINES.items())

FOLDERS = """
hostname "$1"
mount -t proc proc /proc
mount -t bpf bpf /sys/fs/bpf
mkdir -p /run/fairlead
for folder in /var/lib /run/fairlead /root; do mount -t tmpfs tmpfs $folder; done
exec sleep 100000
"""


class Machine:
    """One with folders and a unit of its own."""

    def __init__(self, capsule, name):
        self.capsule, self.name = capsule, name
        self.holder = capsule.spawn(f"folders-{name}", ["unshare", "-m", "-u", "sh", "-ec", FOLDERS,
                                                         "sh", name], name)
        self.enter = ["nsenter", "-m", "-u", "-t", str(self.holder.process.pid)]
        wait_for(lambda: self.run("mountpoint -q /root").returncode == 0, f"{name}'s folders")
        self.unit = None

    def run(self, command):
        return self.capsule.run([*self.enter, "sh", "-c", f"cd /root\n{command}"], self.name, check=False,
                                timeout=150, env={"PATH": f"{PROGRAM.parent}:/usr/sbin:/usr/bin:/sbin:/bin"})

    def write(self, name, text):
        self.capsule.run([*self.enter, "sh", "-c", 'cat > "$1"', "sh", f"/root/{name}"], self.name,
                         input=text)

    def systemctl(self, verb):
        if verb in ("stop", "restart", "kill") and self.unit:
            self.unit.stop(signal.SIGKILL if verb == "kill" else signal.SIGTERM)
        if verb in ("start", "restart"):
            argv = [*self.enter, PROGRAM, "run"]
            if self.unit:
                self.unit.start()
            else:
                self.unit = self.capsule.spawn(f"fairlead-{self.name}", argv, self.name)
            wait_for(lambda: self.run("fairlead status").returncode == 0, f"{self.name} to answer", 20)


class Walk:
    """What somebody types who reads a page from its beginning."""

    def __init__(self, capsule):
        self.capsule = capsule
        self.machines = {name: Machine(capsule, name) for name in [*MACHINES, "client"]}
        self.token = None
        self.status = 0
        for name in MACHINES:
            capsule.spawn(f"http-{name}", ["python3", "-c", SERVER, name], name)

    def types(self, machine, command):
        """Standard output and error as a terminal shows them."""
        unit = re.fullmatch(r"systemctl (\w+)(?: -s KILL)? fairlead", command)
        if unit:
            self.machines[machine].systemctl(unit[1])
            self.status = 0
            return ""
        if "fl1…" in command:
            assert self.token, "no token was printed before"
            command = command.replace("fl1…", self.token)
        done = self.machines[machine].run(command)
        text, self.status = done.stdout + done.stderr, done.returncode
        found = re.search(r"--token (fl1\w+)", text)
        self.token = found[1] if found else self.token
        return text


def pattern_of(line):
    """A line of a page as a regular expression."""
    parts = re.split(r"(…|\d+|\s+)", line.strip())
    return "".join(r".*" if part == "…" else r"[\d.]*\d" if part.isdigit()
                   else r"\s+" if part.isspace() else re.escape(part) for part in parts)


def matches(shown, text):
    """Is the output of the shape that the page shows?"""
    wanted = [None if line.strip() == "…" else re.compile(pattern_of(line)) for line in shown
              if line.strip()]
    lines = [line.strip() for line in text.splitlines() if line.strip()]

    def fits(i, k):
        if i == len(wanted):
            return k == len(lines)
        if wanted[i] is None:
            return any(fits(i + 1, rest) for rest in range(k, len(lines) + 1))
        return k < len(lines) and bool(wanted[i].fullmatch(lines[k])) and fits(i + 1, k + 1)

    return fits(0, 0)


def blocks(text):
    """(language, words after it, content) of each fenced block."""
    return re.findall(r"^```(\w+) ?(\S*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def commands(block):
    """(machine, command, what it shows) of a console block."""
    found = []
    for line in block.splitlines():
        prompt = re.match(r"(\w+)# (.*)", line)
        if prompt:
            found.append((prompt[1], prompt[2], []))
        else:
            assert found, line
            found[-1][2].append(line)
    return found


@pytest.fixture
def walk():
    with Capsule(BARE, PROGRAM) as capsule:
        yield Walk(capsule)


def type_and_compare(walk, machine, command, shown):
    """What is on its way may take a moment until it is so: what only shows something is asked
    again."""
    text = walk.types(machine, command)
    asks = re.search(r"fairlead (status|get|doctor|log|verify)|curl", command)
    deadline = time.monotonic() + (60 if asks else 0)
    fails = any(line.startswith("fairlead: ") for line in shown)
    while not matches(shown, text) or (walk.status != 0) != fails:
        if time.monotonic() > deadline:
            raise AssertionError(f"{machine}# {command}\n{text}\n--- the page shows\n" +
                                 "\n".join(shown))
        time.sleep(0.5)
        text = walk.types(machine, command)


def test_the_page_of_operations(walk):
    page = (REPOSITORY / "docs/operations.md").read_text()
    files = {}
    typed = 0
    for language, name, content in blocks(page):
        if language == "yaml":
            files[name] = content
            for machine in walk.machines.values():
                machine.write(name, content)
            continue
        assert language == "console", language
        for machine, command, shown in commands(content):
            type_and_compare(walk, machine, command, shown)
            typed += 1
    assert typed > 40


def test_the_page_shows_no_command_outside_its_blocks():
    """All that is to be typed is typed by the test above: an indented block would not be."""
    page = (REPOSITORY / "docs/operations.md").read_text()
    outside = re.sub(r"^```.*?^```$", "", page, flags=re.MULTILINE | re.DOTALL)
    assert not [line for line in outside.splitlines() if line.startswith("    ")]


@pytest.mark.parametrize("shown, text, is_same", [
    (["a at …: up for 3 s"], "a at main: x, up for 17 s", False),
    (["a at …: up for 3 s"], "a at main: up for 17 s", True),
    (["one", "…", "two"], "one\nthree\nfour\ntwo\n", True),
    (["one", "…", "two"], "one\nthree\nfour\n", False),
    (["one"], "one\nmore", False),
    ([], "", True),
])
def test_shapes(shown, text, is_same):
    assert matches(shown, text) == is_same


# --- the README ----------------------------------------------------------------------------------

def test_the_readmes_use_it(walk):
    """The words of the section, in their order; comments are the shell's."""
    readme = (REPOSITORY / "README.md").read_text()
    section = readme.partition("\n## Use it\n")[2].partition("\n## ")[0]
    groups = re.findall(r"(?:^    .*\n)+", section, re.MULTILINE)
    install, first, further, then = (
        [line.partition("  #")[0].strip() for line in group.splitlines()] for group in groups[:4])
    assert install == ["./dev install"]
    assert first == ["fairlead init"]
    assert further == ["fairlead join 10.0.0.2 --token fl1…"]
    walk.types("a", first[0])
    walk.machines["a"].systemctl("start")
    for name in "b", "c":
        text = walk.types(name, further[0])
        assert "fairlead run" in text, text
        walk.machines[name].systemctl("start")
        walk.types("a", "fairlead token")
    page = (REPOSITORY / "docs/operations.md").read_text()
    example = [content for language, _, content in blocks(page) if language == "yaml"]
    for text in example[:2]:
        for name in MACHINES:
            walk.machines[name].write("fairlead.yaml", text)
        for command in then:
            if re.match(r"fairlead (rollback|undo|doctor)", command):
                continue  # there is nothing to go back to yet, and all is under way
            done = walk.machines["c"].run(command)
            assert done.returncode == 0, (command, done)
    wait_for(lambda: "serving" in walk.types("c", "fairlead rollout status web") or
             "serving" in walk.types("c", "fairlead status"), "web to serve")
    (entry,) = re.findall(r"^\s*(\d+)\b.*\bapply\b", walk.types("c", "fairlead log"), re.MULTILINE)[-1:]
    for command in then:
        if command == "fairlead doctor":
            wait_for(lambda: walk.machines["b"].run(command).returncode == 0, "b to be well", 20)
        elif re.match(r"fairlead (rollback|undo)", command):
            done = walk.machines["b"].run(command.replace("17", entry) + " --yes"
                                          if "undo" in command else command)
            assert done.returncode == 0, (command, done)
