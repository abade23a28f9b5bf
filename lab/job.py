# SPDX-License-Identifier: Apache-2.0
"""The main job: a service changes versions under traffic, and no flow breaks.

`MainJob` does it step by step in a running `Lab`. The demo runs the steps and shows them; the lab
test runs the same steps and asserts more after each. A step raises LabError when the product does
not do what the step is about; what happens to the flows is not judged there but counted all along,
by clients that know nothing of Fairlead, and judged at the end by `verdict`.
"""
import contextlib
import signal
import sqlite3
import time

from lab.host import LabError
from lab.product import TTL_SECONDS
from lab.traffic_job import FLOWS, LATE_REQUESTS, NAME, REQUEST_RATE, TrafficJob

FIRST = ("web1", "web2", "web3"), {}
SECOND = ("web2", "web3", "web4"), {"web2": 5, "web4": 20}

TITLES = {
    1: "apply a file: service web, version 1, on web1, web2, web3",
    2: f"open {FLOWS} long flows; short requests by name go on all the time",
    3: "web4 in, web1 out, other weights: plan, then apply version 2",
    4: "kill -9 the daemon, start it again",
    5: "replace daemon and BPF programs by a build with another map layout",
    6: "let version 1 end: draining, closing, retired; then come late",
    7: "roll back, to a retired version and to one that still drains",
    8: "verify the ledger, change one byte of it, verify again",
}


class MainJob(TrafficJob):
    """The eight steps."""

    TITLES = TITLES

    def step_1_create(self):
        with self.event(1, "create"):
            self.lab.apply(self.fabric(FIRST))
            self.contents[1] = FIRST[0]
            self.wait_state(1, "serving")
            self.lab.wait_landings()
            self.wait(lambda: "probe" in self.status.services and
                      self.status.services["probe"].serving, "the service probe", 10)
            self.start_traffic()
            self.fresh_status()
            self.tell("requests", rate=REQUEST_RATE)
            self.wait_moved(1)
            v4, v6 = (self._version(1).address(family) for family in (4, 6))
            self.note(f"{NAME} is {v4} and {v6}; pages come by name")

    def step_2_open(self):
        with self.event(2, "open"):
            self.open_group("on 1")
            kinds = self.counts()["kinds"]
            self.note(", ".join(f"{number} {kind[:-1]}s over IPv{kind[-1]}"
                                for kind, number in sorted(kinds.items())))
            self.wait(lambda: (self._version(1).connections or 0) >= FLOWS,
                      "landing to count the flows")

    def step_3_change(self):
        file = self.lab.write(self.fabric(SECOND))
        plan = self.lab.cli("plan", file)
        with self.event(3, "change"):
            for line in plan.splitlines():
                if "stay on version" in line:
                    self.note(line.strip())
            self.contents[2] = SECOND[0]
            self.lab.cli("apply", file)
            self.wait_state(2, "serving")
            self.wait_state(1, "draining")
            self.wait_moved(2)
            self.note(f"new requests go to version 2; {self.open_flows('on 1')} flows go on "
                      "where they began")
        return plan

    def step_4_kill(self):
        before = self._durable(self.fresh_status())
        with self.event(4, "SIGKILL") as event:
            self.lab.edge.stop(signal.SIGKILL)
            # A third of the window passes while nobody is there to look after the packets.
            self.wait(lambda: event.probe and event.probe["4"]["sent"] > self.window // 3,
                      "the probe to see no daemon")
            self.lab.edge.start()
            self.lab.wait_edge()
            after = self._durable(self.fresh_status())
            if after != before:
                raise LabError(f"the daemon came back with {after}, not with {before}")
            self.note("the daemon came back with the same versions, states and addresses")

    @staticmethod
    def _durable(status):
        """What must survive the daemon: everything but counts."""
        return {(service.name, version.number): (version.state, tuple(version.addresses))
                for service in status.services.values() for version in service.versions.values()}

    def step_5_replace(self):
        before = self.fresh_status()
        with self.event(5, "upgrade"):
            self.lab.edge.stop(signal.SIGTERM)
            self.lab.edge.start(argv=self.lab.edge_command(self.lab.next_program))
            self.lab.wait_edge()
            after = self.fresh_status()
            if after.build_id == before.build_id or after.layout == before.layout:
                raise LabError(f"build {after.build_id} with layout {after.layout} is no other "
                               f"than {before.build_id} with {before.layout}")
            self.note(f"build {before.build_id[:12]} → {after.build_id[:12]}, "
                      f"map layout {before.layout[:8]} → {after.layout[:8]}")

    def step_6_retire(self):
        self.open_group("on 2")
        with self.event(6, "retire"):
            remembered = self._version(1).addresses
            self.see_retired()
            self.come_late(remembered)

    def step_7_roll_back(self):
        with self.event(7, "roll back", "roll back to version 1, which is retired"):
            self.contents[3] = self.contents[1]
            self.lab.cli("rollback", "web")
            self.wait_state(3, "serving")
            self.wait_state(2, "draining")
            self.wait_moved(3)
            self.note("version 1 was retired: its content came back as version 3")
        with self.event(7, "back again", "roll back to version 2, which still drains"):
            began = time.monotonic()
            self.lab.cli("rollback", "web", "--to", "2")
            self.wait_state(2, "serving")
            self.wait_moved(2)
            took = time.monotonic() - began
            if took > TTL_SECONDS + 2:  # the daemon's, the client's and this program's own time
                raise LabError(f"DNS took {took:.1f} s to name version 2 again")
            self.note(f"version 2 still drained: the name means it again after {took:.1f} s "
                      f"(TTL {TTL_SECONDS} s)")

    def step_8_verify(self):
        with self.event(8, "verify"):
            self.lab.cli("verify")
            entry = self.damage_ledger()
            done = self.lab.cli.try_("verify")
            said = (done.stdout + done.stderr).strip()
            if done.returncode != 1 or str(entry) not in said:
                raise LabError(f"verify said {done.returncode}, {said!r} of damaged entry {entry}")
            self.note(f"one byte of entry {entry} changed; verify: {said.splitlines()[0]}")

    def damage_ledger(self):
        """Change one byte in the middle of the ledger; returns the number of that entry."""
        path, = (self.lab.root / "edge/state").rglob("store.db")
        with contextlib.closing(sqlite3.connect(path, timeout=5)) as store, store:
            rows = store.execute("SELECT number, key, value FROM record WHERE key GLOB "
                                 "'ledger/[0-9]*' ORDER BY key").fetchall()
            number, key, value = rows[len(rows) // 2]
            damaged = bytearray(value)
            damaged[len(damaged) // 2] ^= 1
            store.execute("UPDATE record SET value = ? WHERE number = ?", (bytes(damaged), number))
        return int(key.rpartition("/")[2])

    def steps(self):
        return (self.step_1_create, self.step_2_open, self.step_3_change, self.step_4_kill,
                self.step_5_replace, self.step_6_retire, self.step_7_roll_back,
                self.step_8_verify)
