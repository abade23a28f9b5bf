# SPDX-License-Identifier: Apache-2.0
"""The main job, step by step, with every assertion under a name of its own.

The steps run once, in order, in one lab; a test asks for the step it is about (`reach`) and looks
at what was there right after it. So one test can be run alone, and the steps before it run too.
"""
import copy
import re

import pytest

from lab.job import FIRST, SECOND, MainJob
from lab.traffic_job import FLOWS, FLOWS_WANTED, GAP_LIMIT_MS, LATE_REQUESTS
from lab.parts import Lab

FAMILIES = (4, 6)
# Steps at which something is done to the fabric while flows are open, and what it is called.
EVENTS = ("change", "SIGKILL", "upgrade", "retire", "roll back", "back again")


class Course:
    """The job on its way, and what was seen after each step."""

    def __init__(self, lab):
        self.lab, self.job = lab, MainJob(lab)
        self.todo = list(enumerate(self.job.steps(), start=1))
        self.flows, self.status, self.returned = {}, {}, {}  # by step
        self.failure = None

    def reach(self, step):
        """Run up to this step, unless that was done; a step that failed fails all later ones."""
        while not self.failure and self.todo and self.todo[0][0] <= step:
            number, run = self.todo.pop(0)
            try:
                self.returned[number] = run()
                self.status[number] = copy.deepcopy(self.job.fresh_status())
                self.flows[number] = copy.deepcopy(self.job.counts())
            except Exception as failure:
                self.failure = failure
        if self.failure:
            raise self.failure
        return self.flows[step], self.status[step]

    def finish(self):
        """All steps, and every flow to its end."""
        self.reach(8)
        if self.job.client.child.expected:
            self.job.finish()
        return self.job

    def web(self, step, number):
        return self.status[step].services["web"].versions[number]

    def event(self, title):
        return next(event for event in self.job.events if event.title == title)


@pytest.fixture(scope="module")
def course():
    with Lab() as lab:
        yield Course(lab)


# 1, 2: version 1 serves


@pytest.mark.parametrize("family", FAMILIES)
def test_the_name_means_version_1(course, family):
    course.reach(1)
    address = course.web(1, 1).address(family)
    said = course.lab.capsule.run(
        ["kdig", f"@{'10.0.0.2' if family == 4 else 'fd00::2'}", "+short", "web.svc.example.net",
         "A" if family == 4 else "AAAA"], "client").stdout
    # The name server itself now; through unbound, the client's requests went there.
    assert said.split() == [course.job.status.services["web"].serving.address(family)]
    assert address in course.flows[1]["answered"]


def test_native_xdp_on_both_interfaces(course):
    _, status = course.reach(1)
    assert status.interfaces == {"up0": "native", "fab0": "native"}


def test_every_backend_of_version_1_has_flows(course):
    flows, _ = course.reach(2)
    assert set(flows["backends"]["on 1"]) == set(FIRST[0])
    assert flows["kinds"] == {f"{kind}{family}": FLOWS // 4
                              for kind in ("download", "keepalive") for family in FAMILIES}


def test_landing_counts_what_the_client_opened(course):
    """Short requests may be open in the moment of the count, so the sum can be a little more."""
    flows, _ = course.reach(2)
    version = course.web(2, 1)
    assert FLOWS <= version.connections <= FLOWS + 40
    for name, count in flows["backends"]["on 1"].items():
        assert count <= version.per_backend[name] <= count + 40


# 3: version 2


def test_plan_says_what_stays(course):
    course.reach(3)
    said = re.search(r"(\d+) connections stay on version 1; 0 move", course.returned[3])
    assert said, course.returned[3]
    assert FLOWS <= int(said[1]) <= FLOWS + 40


def test_old_flows_stay_where_they_began(course):
    before, _ = course.reach(2)
    after, status = course.reach(3)
    assert after["backends"]["on 1"] == before["backends"]["on 1"]
    assert status.services["web"].state(1) == "draining"


@pytest.mark.parametrize("family", FAMILIES)
def test_new_requests_go_to_version_2(course, family):
    course.reach(3)
    old, new = course.web(3, 1).address(family), course.web(3, 2).address(family)
    assert old != new
    assert course.flows[3]["latest"][str(family)][0] == new
    later, _ = course.reach(5)
    assert later["answered"][old] == course.flows[3]["answered"][old]
    assert sum(later["answered"][new].values()) > 20


@pytest.mark.parametrize("family", FAMILIES)
def test_weights_decide_who_answers(course, family):
    """web4 has 20 of 35; over hundreds of requests it has clearly more than any other."""
    course.reach(5)
    later, _ = course.reach(6)
    answered = later["answered"][course.web(5, 2).address(family)]
    assert set(answered) == set(SECOND[0])
    assert answered["web4"] > answered["web3"] > answered["web2"] / 2


# 4, 5: the daemon and its programs go and come


def test_a_killed_daemon_comes_back_as_it_was(course):
    course.reach(4)
    assert course.event("SIGKILL").notes  # the step compares states and addresses itself
    assert course.flows[4]["backends"]["on 1"] == course.flows[2]["backends"]["on 1"]


def test_another_layout_takes_over(course):
    course.reach(5)
    before, after = course.status[4], course.status[5]
    assert before.build_id != after.build_id
    assert before.layout != after.layout
    assert course.flows[5]["backends"]["on 1"] == course.flows[2]["backends"]["on 1"]


def test_the_old_layout_leaves_no_pins(course):
    course.reach(5)
    folders = {path.name for path in (course.lab.capsule.bpffs / "edge").rglob("*")
               if path.is_dir() and course.status[4].layout[:8] in path.name}
    assert not folders


# 6: version 1 ends


def test_version_1_walks_through_the_closing_barrier(course):
    course.reach(6)
    walked = [state for state in course.job.history[1] if state not in ("staged", "ready")]
    assert walked == ["serving", "draining", "closing", "retired"]


def test_version_1_is_not_freed_while_flows_use_it(course):
    course.reach(5)
    assert course.web(5, 1).state == "draining"
    assert course.web(5, 1).connections >= FLOWS


def test_late_requests_reach_version_2_and_are_counted(course):
    flows, status = course.reach(6)
    late = course.web(6, 2).late_addresses
    assert set(late) == set(course.web(5, 1).addresses)
    assert flows["totals"]["late ended"] == LATE_REQUESTS
    # A SYN that is sent again on a busy machine counts again.
    assert LATE_REQUESTS <= course.web(6, 2).late <= LATE_REQUESTS + 10
    for address in late:
        came = (set(flows["answered"][address])
                - set(course.flows[5]["answered"].get(address, ())))
        assert came <= set(SECOND[0])
    assert "web1" not in status.services["web"].serving.per_backend


# 7: back


def test_rollback_to_a_retired_version_makes_a_new_one(course):
    course.reach(7)
    contents = course.lab.cli.json("describe", "version/web/3")
    assert sorted(backend["name"] for backend in contents["backends"]) == sorted(FIRST[0])
    assert course.job.history[3][-1] in ("draining", "closing", "retired")


def test_rollback_to_a_draining_version_renames_it(course):
    course.reach(7)
    web = course.status[7].services["web"]
    assert web.serving.number == 2
    assert 4 not in course.job.history
    assert course.flows[7]["backends"]["on 2"] == course.flows[6]["backends"]["on 2"]


# 8: the ledger


def test_verify_names_the_changed_entry(course):
    course.reach(8)  # which compares the number
    assert "verify" in course.event("verify").notes[-1]


# All along


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("title", EVENTS)
def test_the_probe_goes_on(course, title, family, record_property):
    """The goals, 0 lost and 50 ms, are shown; on a shared machine only more than 1 s fails."""
    course.finish()
    window = course.event(title).probe[str(family)]
    record_property("lost", window["lost"])
    record_property("gap_ms", window["gap_ms"])
    print(f"{title}, IPv{family}: {window}")
    assert window["sent"] > 1000
    assert window["gap_ms"] <= GAP_LIMIT_MS
    assert window["lost"] <= GAP_LIMIT_MS
    assert window["moved"] == 0


@pytest.mark.parametrize("title", EVENTS)
def test_enough_flows_were_open(course, title):
    course.finish()
    assert course.event(title).flows >= FLOWS_WANTED


def test_no_flow_broke(course):
    job = course.finish()
    assert job.verdict() == []
    totals = job.counts()["totals"]
    for kind in ("download", "keepalive", "request", "late"):
        assert totals[f"{kind} ended"] == totals[kind] > 0


def test_every_name_was_answered(course):
    """unbound bridges the daemon's absence with what it knew (RFC 8767)."""
    assert course.finish().counts()["unresolved"] == 0


def test_nothing_was_dropped_but_by_the_closing(course):
    job = course.finish()
    unexpected = {reason: count for reason, count in job.status.drops.items()
                  if "clos" not in reason and "refus" not in reason}
    assert unexpected == {}
