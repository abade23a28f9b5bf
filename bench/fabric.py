# SPDX-License-Identifier: Apache-2.0
"""What the size of a fabric costs: changes, joins, restarts, memory.

*A change* is one `fairlead apply` of a file in which one service is another, timed from the
command's start until every edge holds the new version, by its own account.

- Three edges are three daemons in machines of a lab, and the command is run on one that is no voter.
  An edge holds an entry when its mark says so: the maps were written and read back, and the mark is
  durable. Beside it: until all three name servers answer the new address.
- A hundred and a thousand edges are one process that speaks the node channel for so many members
  towards a real voter (fabric_edges.c): each with its own key, certificate and address, by a real
  join. An edge there holds an entry when it has taken the frame out of TLS, found that the entry
  continues its chain, and queued the acknowledgement; it has no disk and no maps, which every real
  edge writes for itself, at the same time. Beside it: the processor's time that each of the voter's
  two processes spends on one change, and the program's own.

The next change begins when the one before has come to rest. *The floor* are the same bytes by TLS
alone to so many, and an answer from each, between two processes that do nothing else.

*A join* is timed from the start of `fairlead join` until the daemon that is started next holds all
that the voter holds; *a restart* from the start of the process until the first answer from DNS.
*Memory* is VmRSS: of an edge that joined a fabric with a thousand versions, and of a voter with a
thousand members whose sessions are up, each of the daemon and of the process that it keeps for the
channel.
"""
import math
import shutil
import statistics
import time

from bench import measure as common
from bench.fabric_rig import STATES, Edges, Fabric, Names, address, floor_ms
from lab.host import LabError

CHANGES = 100
EDGES = (100, 1000)
VERSIONS = 1000
LATER = ("d", "e", "f")  # machines that join when there are a thousand versions
RESTARTS = 5
FLOOR_ROUNDS = 20
TARGETS = {"3_edges": 150, "100_edges": 500, "1000_edges": 3000}  # p99, milliseconds
JOIN_S, EDGE_MB, VOTER_MB = 5, 50, 150


def percentile(values, part):
    """By nearest rank."""
    return sorted(values)[math.ceil(part * len(values)) - 1]


def percentiles(values):
    return {"p50": percentile(values, 0.5), "p99": percentile(values, 0.99),
            "changes": len(values)}


# --- three daemons ------------------------------------------------------------------------------


def wait_marks(nodes, sequence, seconds=60):
    """When the last of them held the entry, each of which says so in its own state folder."""
    behind = list(nodes)
    deadline = time.monotonic() + seconds
    while behind:
        behind = [node for node in behind if node.mark() < sequence]
        now = time.monotonic()
        if now > deadline:
            raise LabError(f"{', '.join(node.name for node in behind)}: entry {sequence} is not "
                           f"held after {seconds} s")
        if behind:
            time.sleep(0.0005)
    return now


def rest(nodes, seconds=0.6):
    """Until nothing moved for so long; the newest entry, which all hold."""
    seen, since = None, time.monotonic()
    while True:
        marks = {node.mark() for node in nodes}
        if marks != seen:
            seen, since = marks, time.monotonic()
        elif len(marks) == 1 and time.monotonic() - since > seconds:
            return marks.pop()
        time.sleep(0.02)


class Few:
    """Three real nodes, and those that come later."""

    def __init__(self, fabric):
        self.fabric = fabric
        self.nodes = []
        self.backends = {name: address(fabric.names.index(name)) for name in ("b", "c")}
        self.weights = [100]
        self.names = self.address = None

    def join(self, name, token):
        """Seconds from the command until the node holds all that the voter holds."""
        node = self.fabric.nodes[name]
        begin = time.monotonic()
        node.join(token)
        node.run()
        taken = wait_marks([node], self.fabric.voter.mark()) - begin
        node.wait()
        self.nodes.append(node)
        return taken

    def apply(self, on):
        """One service changes: milliseconds until all hold it, and until all answer it."""
        before = rest(self.nodes)
        self.weights[0] += 1
        path = self.fabric.write(self.weights, self.backends)
        process, begin = self.fabric.start_apply(self.fabric.nodes[on], path)
        with process:
            held = wait_marks(self.nodes, before + 1) - begin
            (address_now,) = {self.names.wait(node.name, 0, other_than=self.address)
                              for node in self.nodes}
            answered = time.monotonic() - begin
            if process.wait(30) != 0:
                raise LabError(f"the change was refused: {process.stderr.read()}")
        self.address = address_now
        return held * 1e3, answered * 1e3

    def grow(self):
        """Many services at once; seconds until all hold them and nothing moves any more."""
        before = rest(self.nodes)
        self.weights += [100] * (VERSIONS - len(self.weights))
        path = self.fabric.write(self.weights, self.backends)
        begin = time.monotonic()
        self.fabric.voter.cli("apply", path, timeout=120)
        wait_marks(self.nodes, before + 1)
        settled = time.monotonic() - begin
        rest(self.nodes, 3)
        return settled

    def restart(self, name):
        """Milliseconds from the process's start to the first answer."""
        node = self.fabric.nodes[name]
        node.daemon.stop(seconds=30)
        while self.names.answer(name, 0):
            pass
        begin = time.monotonic()
        node.run()
        self.names.wait(name, 0)
        taken = time.monotonic() - begin
        node.wait()
        return taken * 1e3


def measure_few(changes):
    with Fabric(("a", "b", "c", *LATER)) as fabric:
        few = Few(fabric)
        token = fabric.start_voter()
        few.nodes.append(fabric.voter)
        joins = [few.join("b", token), few.join("c", fabric.voter.cli.json("token")["token"])]
        few.names = Names(fabric, ("a", "b", "c"))
        few.apply("b")
        rest(few.nodes)
        held, answered = [], []
        for number in range(changes):
            if number % 20 == 0:
                common.progress(f"3 edges: change {number} of {changes}")
            one = few.apply("b")
            held.append(one[0])
            answered.append(one[1])
        restarts = [few.restart("c") for _ in range(RESTARTS)]
        common.progress(f"{VERSIONS} versions")
        many_s = few.grow()
        late = [few.join(name, fabric.voter.cli.json("token")["token"]) for name in LATER]
        rest(few.nodes, 3)
        full = [few.restart("c") for _ in range(RESTARTS)]
        time.sleep(5)  # memory comes to rest some ticks after the last change
        resident = [fabric.nodes[name].resident_mb() for name in LATER]
        few.names.close()
        return {"held": held, "answered": answered, "joins": joins, "late_joins": late,
                "restarts": restarts, "full_restarts": full, "resident": resident,
                "many_s": many_s}


# --- many edges ---------------------------------------------------------------------------------


class Many:
    """A voter, and edges in one process."""

    def __init__(self, fabric):
        self.fabric = fabric
        self.edges = Edges(fabric)
        self.weights = [100]
        self.backends = {"a": address(0)}

    def apply(self):
        """One service changes: what became of it at all edges, in milliseconds from the command's
        start, and its entry's bytes."""
        self.weights[0] += 1
        path = self.fabric.write(self.weights, self.backends)
        process, begin = self.fabric.start_apply(self.fabric.voter, path)
        with process:
            event = self.edges.held()
            if process.wait(60) != 0:
                raise LabError(f"the change was refused: {process.stderr.read()}")
        # The next step of the version: the voter has heard of all of them that they hold it.
        ready = self.edges.held("transition")
        return {"held": (event["last_s"] - begin) * 1e3, "first": (event["first_s"] - begin) * 1e3,
                "ready": (ready["first_s"] - begin) * 1e3, "bytes": event["bytes"]}

    def processor_s(self):
        return {**self.fabric.voter.processor_s(), "edges": self.edges.processor_s()}

    def used(self, call):
        """What `call` returns, and what each process spent meanwhile, in seconds."""
        before = self.processor_s()
        result = call()
        return result, {name: now - before[name] for name, now in self.processor_s().items()}

    def size(self, count, changes):
        """All figures with so many edges."""
        begin = time.monotonic()
        self.edges.join(count)
        joined_s = time.monotonic() - begin
        begin = time.monotonic()
        self.edges.up(count)
        up_s = time.monotonic() - begin
        common.progress(f"{count} edges: joined in {joined_s:.1f} s, up in {up_s:.1f} s")
        for _ in range(3):
            self.edges.settle()
            self.apply()
        self.edges.settle(2)
        _, idle = self.used(lambda: time.sleep(5))
        rounds, spent = [], []
        for number in range(changes):
            if number % 20 == 0:
                common.progress(f"{count} edges: change {number} of {changes}")
            self.edges.settle()
            one, used = self.used(self.apply)
            rounds.append(one)
            spent.append(used)
        down = round(statistics.median(one["bytes"] for one in rounds))
        up = round(self.said_bytes())
        common.progress(f"{count} edges: the floor, {down} bytes and {up} back")
        floor = floor_ms(count, down, up, FLOOR_ROUNDS)
        lost = self.edges.traffic()["lost"]
        return {"joined_s": joined_s, "up_s": up_s, "rounds": rounds, "spent": spent,
                "idle": {name: used / 5 for name, used in idle.items()}, "floor": floor,
                "bytes": {"down": down, "up": up}, "lost": lost, "resident": self.fabric.voter.resident_mb()}

    def said_bytes(self):
        """Of an acknowledgement: the least that an edge says at once."""
        return self.edges.traffic()["acknowledgement"]


def measure_many(changes):
    with Fabric(("a",)) as fabric:
        fabric.start_voter()
        many = Many(fabric)
        sizes = {count: many.size(count, changes) for count in EDGES}
        many.edges.close()
        return sizes


# --- the whole ----------------------------------------------------------------------------------


def measure(options):
    changes = options.rounds or CHANGES
    shutil.rmtree(STATES, ignore_errors=True)
    few = measure_few(changes)
    sizes = measure_many(changes)
    small, large = (sizes[count] for count in EDGES)
    held = {count: [one["held"] for one in size["rounds"]] for count, size in sizes.items()}
    return {
        "apply_ms": {"3_edges": percentiles(few["held"]),
                     **{f"{count}_edges": percentiles(held[count]) for count in EDGES}},
        "further_edge_us": (statistics.median(held[EDGES[1]]) - statistics.median(held[EDGES[0]])) *
        1e3 / (EDGES[1] - EDGES[0]),
        "answered_ms": percentiles(few["answered"]),
        "ready_ms": {f"{count}_edges": percentiles([one["ready"] for one in size["rounds"]])
                     for count, size in sizes.items()},
        "join_s": max(few["joins"] + few["late_joins"]),
        "restart_dns_ms": statistics.median(few["restarts"]),
        "rss_mb": {"edge_1000_versions": total(few["resident"][-1]),
                   "voter_1000_nodes": total(large["resident"])},
        "detail": {
            "joins_s": {"few_versions": few["joins"], "1000_versions": few["late_joins"]},
            "restart_dns_ms": {"few_versions": few["restarts"],
                               "1000_versions": few["full_restarts"]},
            "versions_1000_s": few["many_s"],
            "resident_mb": {"edge_1000_versions": few["resident"][-1],
                            "voter_100_nodes": small["resident"],
                            "voter_1000_nodes": large["resident"]},
            "sizes": {str(count): {
                "joined_s": size["joined_s"], "up_s": size["up_s"], "bytes": size["bytes"],
                "sessions_lost": size["lost"],
                "floor_ms": statistics.median(size["floor"]),
                "over_floor": statistics.median(held[count]) / statistics.median(size["floor"]),
                "idle_processors": size["idle"],
                "processor_ms": {name: statistics.median(one[name] for one in size["spent"]) * 1e3
                                 for name in size["spent"][0]}} for count, size in sizes.items()},
        },
        "targets": {"apply_p99_ms": TARGETS, "join_s": JOIN_S,
                    "rss_mb": {"edge_1000_versions": EDGE_MB, "voter_1000_nodes": VOTER_MB}},
    }


def total(resident):
    return resident["daemon"] + resident["channel"]


def show(result):
    detail = result["detail"]
    common.print_table(
        "A change, milliseconds from the command until all edges hold it",
        ["edges", "p50", "p99", "p99 at most", "until the voter goes on, p50", "floor",
         "p50 over floor"],
        [["3", f"{result['apply_ms']['3_edges']['p50']:.0f}",
          f"{result['apply_ms']['3_edges']['p99']:.0f}", TARGETS["3_edges"],
          f"DNS: {result['answered_ms']['p50']:.0f}", "", ""]] +
        [[count, f"{result['apply_ms'][f'{count}_edges']['p50']:.0f}",
          f"{result['apply_ms'][f'{count}_edges']['p99']:.0f}", TARGETS[f"{count}_edges"],
          f"{result['ready_ms'][f'{count}_edges']['p50']:.0f}", f"{size['floor_ms']:.1f}",
          f"{size['over_floor']:.1f}"] for count, size in detail["sizes"].items()])
    print(f"  a further edge: {result['further_edge_us']:.0f} µs")
    common.print_table(
        "What the processors do, per change (ms) and at rest (of one)",
        ["edges", "daemon", "channel", "the edges", "daemon", "channel", "the edges", "joined, s",
         "up, s", "sessions lost"],
        [[count, *(f"{size['processor_ms'][name]:.1f}" for name in ("daemon", "channel", "edges")),
          *(f"{size['idle_processors'][name]:.1%}" for name in ("daemon", "channel", "edges")),
          f"{size['joined_s']:.1f}", f"{size['up_s']:.1f}", size["sessions_lost"]]
         for count, size in detail["sizes"].items()])
    mb = detail["resident_mb"]
    common.print_table(
        "Joins, restarts, memory", ["", "measured", "at most"],
        [["a join until it holds everything, s, the longest", f"{result['join_s']:.2f}", JOIN_S],
         ["a restart until DNS answers, ms", f"{result['restart_dns_ms']:.0f}", ""],
         ["… with 1,000 versions",
          f"{statistics.median(detail['restart_dns_ms']['1000_versions']):.0f}", ""],
         ["1,000 versions at once until three edges hold them, s",
          f"{detail['versions_1000_s']:.1f}", ""],
         *[[f"{what}, MB: daemon + channel", f"{total(mb[name]):.0f} ({mb[name]['daemon']:.0f} + "
            f"{mb[name]['channel']:.0f})", most]
           for what, name, most in (("an edge with 1,000 versions", "edge_1000_versions", EDGE_MB),
                                    ("a voter with 100 edges", "voter_100_nodes", ""),
                                    ("a voter with 1,000 edges", "voter_1000_nodes", VOTER_MB))]])
