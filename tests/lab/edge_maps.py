# SPDX-License-Identifier: Apache-2.0
"""What an edge's pinned maps say, whoever answers on its machine."""
import json
import re
from pathlib import Path

DROPS = {label: int(number) for number, label in re.findall(
    r'X\(\w+, (\d+), "(\w+)"',
    (Path(__file__).parents[2] / "abi/drop.h").read_text(encoding="utf-8"))}


class EdgeMaps:
    """The maps that one node has in force."""

    def __init__(self, capsule, machine, pins):
        self.capsule, self.machine, self.pins = capsule, machine, Path(pins) / "edge"

    def _dump(self, name):
        """A map's entries, with their members' names."""
        (path,) = [path for path in self.pins.glob(f"*/{name}")
                   if re.fullmatch("[0-9a-f]{16}", path.parent.name)]
        done = self.capsule.run(["/usr/sbin/bpftool", "--json", "map", "dump", "pinned", path],
                                self.machine)
        return [entry["formatted"] for entry in json.loads(done.stdout)]

    def passes(self, member):
        """Packets that were "passed", or "taken"."""
        (entry,) = self._dump("passes_of_cpu")
        return sum(cpu["value"][member] for cpu in entry["values"])

    def drops(self, label):
        entry = self._dump("drops")[DROPS[label]]
        assert entry["key"] == DROPS[label]
        return sum(cpu["value"] for cpu in entry["values"])

    def is_behind(self):
        (entry,) = self._dump("settings")
        (settings,) = entry["value"][".data.settings"]
        return bool(settings["settings"]["passing"]["now"] & 1)
