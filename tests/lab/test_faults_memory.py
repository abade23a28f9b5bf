# SPDX-License-Identifier: Apache-2.0
"""Every allocation of the running daemons fails once, by each way that leads to it, under traffic
that knows nothing of it. An order is given again and again until it meets no failure any more: each
of them is refused with a sentence, or done, or the connection is closed; and the daemon lives, or
ends with a sentence and is started again."""
import contextlib
import signal
import time

import pytest

from faults import dig, edge_stopped, forwarding_goes_on, wait_clean
from lab import topology
from lab.host import LabError, wait_for
from memory import FailingMemory
from test_daemon_alone import Client, Refused

UP = topology.UPLINK
MOST_ATTEMPTS = 1000
WEB = ("web1", "web2", "web3")
# So that an order, and a report, meets one failure: two could hide what one of them does.
EDGE_GAP_MS, LANDING_GAP_MS = 4, 40
REPORT_S = 0.5
KINDS = "services", "versions", "backends", "bindings", "pools", "sites"
SOON = {"quiet": "1s", "stale": "1s"}


class Daemon:
    """A daemon without memory. Who ends is started again, as by a supervisor, and must have said
    why: no failure may be the end of a process by a signal."""

    def __init__(self, lab, child, memory, ready=lambda: None):
        self.lab, self.child, self.memory, self.ready = lab, child, memory, ready
        self.ends = []

    @property
    def where(self):
        return self.memory.last(self.lab.program)

    def has_ended(self, seconds=0.0):
        deadline = time.monotonic() + seconds
        while self.child.process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.005)
        return self.child.process.poll() is not None

    def again(self):
        code, where = self.child.process.wait(), self.where
        assert code == 1 and "memory" in self.child.tail(3), (code, where, self.child.tail(5))
        self.ends.append(where)
        with self.memory.resting():
            self.child.start()
            self.ready()
        self.child.expected = False


class Edge(Daemon):
    """And what an operator says to it."""

    def __init__(self, job):
        super().__init__(job.lab, job.lab.edge,
                         FailingMemory(job.lab.build, job.lab.root / "edge-memory"),
                         job.lab.wait_edge)
        self.job, self.client = job, None
        self.acknowledged = 0

    def again(self):
        # It may have ended right after an answer, and with it the connection that gave it.
        self.client = None
        super().again()

    def _attempt(self, verb, parameters):
        try:
            if not self.client:
                self.client = Client(self.lab.socket)
                self.client.socket.settimeout(5)
            return self.client.ask(verb, **parameters)
        except Refused as refused:
            return refused
        except TimeoutError as failure:
            raise AssertionError(f"{verb} is never answered; {self.where}") from failure
        except (LabError, OSError):
            self.client = None
            return None

    def ask(self, verb, **parameters):
        """The answer that no failure was met on the way to. Any other refusal is for want of
        memory, or the same, where what failed was not on the way."""
        others = set()
        for _ in range(MOST_ATTEMPTS):
            while not self.memory.rested():
                time.sleep(0.001)
            before = self.memory.failures
            answer = self._attempt(verb, parameters)
            self.job.refresh()
            # Without a failure on its way, a missing answer can only be the daemon's end.
            slow_end = 5 if self.memory.failures == before else 0.05
            if self.has_ended(slow_end if answer is None else 0):
                self.again()
                continue
            if isinstance(answer, dict) and answer.get("changed"):
                self.acknowledged = max(self.acknowledged, answer["sequence"])
            if self.memory.failures == before:
                assert answer is not None, f"{verb}: no answer, and no failure; {self.where}"
                assert others <= {str(answer)}, (verb, others, answer)
                return answer
            if isinstance(answer, Refused) and not any(
                    words in str(answer) for words in ("memory", "the daemon is stopping")):
                others.add(str(answer))
            self.client = None  # it may have been told that it is closed
        raise AssertionError(f"{verb} meets failures without an end: {self.where}")

    def wait_states(self, service, states, seconds=90):
        """Each step of the versions by themselves may fail as well, and is tried again, four times a
        second."""
        def reached():
            if self.has_ended():
                self.again()
            found = {one["number"]: one["state"] for one in
                     self.ask("describe", thing=f"service/{service}")["versions"]}
            if any(found.get(number, "retired") != state for number, state in states.items()):
                raise LabError(f"the states are {found}")
            return True
        wait_for(reached, f"{service} to be {states}", seconds, self.job.refresh)


def refused(answer, *words):
    assert isinstance(answer, Refused) and all(word in str(answer) for word in words), answer


def with_other(lab, weight):
    """The file with one more service, whose version goes by this weight."""
    return lab.fabric(WEB, **SOON, services=(
        "  other:\n    ports: [tcp/81]\n    ttl: 1s\n    backends:\n"
        f"      - {{name: web1, site: fra, address: {topology.RACK['web1'].v4}, weight: {weight}}}\n"
        f"      - {{name: web2, site: fra, address: \"{topology.RACK['web2'].v6}\"}}\n"))


def orders(edge, job):
    """Everything that an operator may say, and what follows of it: a service comes, changes, goes
    back and leaves, and each of its versions comes to its end."""
    lab = edge.lab
    first, second = with_other(lab, 1), with_other(lab, 2)
    address = job.status.services["web"].serving.address(4)
    edge.ask("status")
    for kind in KINDS:
        assert isinstance(edge.ask("get", kind=kind), list)
    assert "web1" in edge.ask("get")["file"]
    for thing in ("service/web", "version/web/1", "backend/web1", f"address/{address}"):
        assert isinstance(edge.ask("describe", thing=thing), dict)
    refused(edge.ask("describe", thing="service/none"), "there is no")
    refused(edge.ask("plan", file="f", text="fabric: ["), "not YAML")
    assert not edge.ask("plan", file="f", text=first)["empty"]
    assert edge.ask("apply", file="f", text=first, dry_run=True)["dry_run"]
    assert isinstance(edge.ask("apply", file="f", text=first), dict)
    edge.wait_states("other", {1: "serving"})
    assert isinstance(edge.ask("apply", file="f", text=second), dict)
    edge.wait_states("other", {2: "serving"})
    assert edge.ask("rollout status")
    for verb in ("rollback", "rollout pause", "rollout resume"):
        edge.ask(verb, service="other")
    edge.ask("rollout cut", version="other/1")
    refused(edge.ask("backend forget", backend="web1"), "nothing to forget")
    assert edge.ask("log") and edge.ask("verify")["sound"]
    edge.ask("apply", file="f", text=lab.fabric(WEB, **SOON))
    wait_for(lambda: "other" not in [one["name"] for one in edge.ask("get", kind="services")],
             "the service to end", 90, job.refresh)


def assert_kept(edge, job):
    """Without failures: all is there that was acknowledged, and nothing is amiss."""
    lab = job.lab
    wait_clean(job, 20)
    status = lab.cli.json("status")
    assert status["sequence"] >= edge.acknowledged > 0
    assert lab.cli.json("verify")["sound"]
    assert dig(lab, UP.v4) and dig(lab, UP.v4, "web.svc.example.net", "A", "+tcp")
    kinds = {one["sequence"]: one["kind"] for one in lab.cli.json("log", "--limit", "1000")}
    assert kinds[edge.acknowledged] in ("apply", "rollback"), kinds


def edge_without_memory(job, skip):
    """How many failures it met."""
    edge = Edge(job)
    with edge_stopped(job.lab, signal.SIGTERM, env=edge.memory.environment):
        pass
    edge.child.expected = False  # it may end, with a sentence
    with forwarding_goes_on(job, f"edge without memory, {skip}"):
        with edge.memory.armed(skip, EDGE_GAP_MS):
            orders(edge, job)
        assert_kept(edge, job)
    print(f"{edge.memory.failures} failures; ended at {edge.ends}")
    with edge_stopped(job.lab, signal.SIGTERM, env={}):
        pass
    return edge.memory.failures


def test_each_allocation_of_the_edge_fails(job):
    assert edge_without_memory(job, 0) > 600


@pytest.mark.soak
@pytest.mark.parametrize("skip", range(1, 6))
def test_each_allocation_of_the_edge_fails_later(job, skip):
    assert edge_without_memory(job, skip) > 300


class Landings:
    """All landings without memory: each allocation fails in the first of them that comes to it."""

    def __init__(self, job):
        self.job, self.lab = job, job.lab
        self.memory = FailingMemory(job.lab.build, job.lab.root / "landing-memory")
        self.daemons = [Daemon(job.lab, child, self.memory) for child in job.lab.landings.values()]
        self.held = job.counts()["backends"]["on 1"]
        self._restart(self.memory.environment)

    def _restart(self, environment):
        for daemon in self.daemons:
            daemon.child.stop()
            daemon.child.start(env=environment)
            daemon.child.expected = not environment

    def look(self):
        """None has ended by a signal; and none says that an address is used by fewer connections
        than are held open on it, since it would then be closed under them."""
        for daemon in self.daemons:
            if daemon.has_ended():
                daemon.again()
        self.job.refresh()
        counted = self.lab.cli.status().services["web"].versions[1].per_backend
        for name, count in self.held.items():
            assert counted[name] is None or counted[name] >= count, (name, counted, self.held)
        return True

    def stop(self):
        self._restart({})

    def report(self):
        """Until three reports of each met no failure; each of them is looked at."""
        failures, since = -1, 0

        def without_failure():
            nonlocal failures, since
            if failures != self.memory.failures:
                failures, since = self.memory.failures, time.monotonic()
            return time.monotonic() - since > 3 * REPORT_S
        self.wait(without_failure, "reports without a failure")

    def wait(self, condition, what, seconds=60):
        wait_for(condition, what, seconds, self.look)


def a_service_comes_and_goes(landings):
    lab = landings.lab
    for weight in (1, 2):
        lab.apply(with_other(lab, weight))
        landings.wait(lambda: lab.cli.status().services["other"].state(weight) == "serving",
                      "the version to serve")
    lab.cli("rollout", "cut", "other/1")
    lab.apply(lab.fabric(WEB, **SOON))
    landings.wait(lambda: "other" not in lab.cli.status().services, "the service to end", 90)


def landings_without_memory(job, skip):
    landings = Landings(job)
    with forwarding_goes_on(job, f"landings without memory, {skip}"):
        before = None
        wait_clean(job)
        with landings.memory.armed(skip, LANDING_GAP_MS):
            landings.report()
            while before != landings.memory.failures:
                before = landings.memory.failures
                a_service_comes_and_goes(landings)
        wait_clean(job, 20)
    print(f"{before} failures; ended at {[daemon.ends for daemon in landings.daemons]}")
    landings.stop()
    return before


def test_each_allocation_of_the_landings_fails(job):
    assert landings_without_memory(job, 0) > 30


@pytest.mark.soak
@pytest.mark.parametrize("skip", range(1, 6))
def test_each_allocation_of_the_landings_fails_later(job, skip):
    assert landings_without_memory(job, skip) > 10


def assert_told(child, where):
    """An end with a sentence; but for glibc's first look-up of a user, which crashes by itself."""
    code = child.process.returncode
    told = any(word in child.tail(2) for word in ("memory", "Resource temporarily unavailable"))
    assert (code == 1 and told) or "prepare_who" in where, (code, child.tail(5), where)


def start_without_memory(job, child, has_started):
    """Each start fails at the next allocation, with a sentence and without a trace, until one meets
    no failure any more."""
    memory = FailingMemory(job.lab.build, job.lab.root / f"{child.name}-start")
    daemon = Daemon(job.lab, child, memory)
    with forwarding_goes_on(job, f"{child.name} starts"):
        child.stop(signal.SIGTERM)
        with memory.armed():
            for _ in range(MOST_ATTEMPTS):
                before = memory.failures
                log = child.log.stat().st_size
                child.start(env=memory.environment)
                child.expected = False
                # What says that it started may be what there was no memory for.
                with contextlib.suppress(LabError):
                    wait_for(lambda: daemon.has_ended() or has_started(child, log), "the start", 2,
                             job.refresh)
                if daemon.has_ended():
                    assert_told(child, daemon.where)
                    continue
                if before == memory.failures:
                    break
                child.stop(signal.SIGTERM)
    print(f"{memory.failures} failures of the start of {child.name}")
    child.stop(signal.SIGTERM)
    child.start(env={})
    wait_clean(job, 20)
    return memory.failures


def log_says(words):
    return lambda child, since: words in child.log.read_bytes()[since:].decode(errors="replace")


@pytest.mark.soak
def test_each_allocation_of_a_start_of_the_edge_fails(job):
    assert start_without_memory(job, job.lab.edge, log_says("daemon.started")) > 200


@pytest.mark.soak
def test_each_allocation_of_a_start_of_a_landing_fails(job):
    assert start_without_memory(job, job.lab.landings["web1"], log_says("landing.started")) > 30
