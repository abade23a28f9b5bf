# SPDX-License-Identifier: Apache-2.0
"""What the tests of faults share.

Each fault is watched by traffic that knows nothing of it: long flows and short requests of the main
job, and its probe, in both families. Three things are asked of each: what a kernel alone can do
goes on; nothing acknowledged is lost; `status` says what is wrong and what to do, and is clean
after.
"""
import contextlib

from lab.host import LabError, wait_for
from lab.job import MainJob

FAMILIES = (4, 6)
NEW_FLOWS = 20
STEP = 4  # of the main job: the only one that takes something away
# What was found and set back is told for a minute, so that somebody sees it.
PAST = "somebody else changed this edge"


def start_job(lab):
    """Version 1 of web serves, and long flows are open on it."""
    job = MainJob(lab, window=100)
    job.step_1_create()
    job.step_2_open()
    job.remembered = job.status.services["web"].serving.addresses
    job.wait(lambda: job.fresh_status().well, "every alarm of the start to end")
    return job


def end_long_flows(job):
    """Before outages. A slow reader whose window update is lost waits for the server's persist
    timer, which may have backed off to many times the outage: that is TCP's doing, and would be
    counted as broken. What an outage does to packets, the probe says."""
    job.tell("requests", rate=0)
    job.tell("finish", group="on 1")
    job.wait(lambda: job.open_flows() == 0, "the long flows to end")


def known(job):
    """What was acknowledged, as the daemon tells it."""
    return {name: (version.number, version.state, tuple(version.addresses))
            for name, service in job.fresh_status().services.items()
            for version in service.versions.values()}


def open_new_flows(job):
    """New connections, to addresses that the client remembers, since names and status may be gone."""
    def counts():
        return job.counts()["totals"].get("late ended", 0), job.counts()["broken"]
    ended, broken = counts()
    job.tell("late", addresses=job.remembered, count=NEW_FLOWS)
    job.wait(lambda: counts()[0] == ended + NEW_FLOWS or counts()[1] > broken,
             "the new flows to end")
    assert counts() == (ended + NEW_FLOWS, broken), job.counts()["reasons"]


@contextlib.contextmanager
def window(job, what):
    """An event of which, once the body has ended, `probe` tells the last word."""
    with job.event(STEP, what) as event:
        yield event
    job.probe.tell("mark between")
    job.wait(lambda: event.probe.get("final"), "the probe to settle")


@contextlib.contextmanager
def unbroken(job):
    """No long flow breaks, nor ends, nor moves."""
    before, broken = job.counts()["backends"], job.counts()["broken"]
    yield
    assert job.counts()["broken"] == broken, job.counts()["reasons"][broken:]
    assert job.counts()["backends"].get("on 1") == before.get("on 1")


@contextlib.contextmanager
def forwarding_goes_on(job, what, gap_ms=None):
    """While the body does something, and after it: not one datagram is lost, or, with `gap_ms`, no
    flow waits longer than that; new flows are served; no flow breaks or moves."""
    with unbroken(job):
        with window(job, what) as event:
            yield event
            open_new_flows(job)
        for family in FAMILIES:
            seen = event.probe[str(family)]
            assert seen["sent"] > 0 and seen["moved"] == 0, event.probe
            assert seen["lost"] == 0 if gap_ms is None else seen["gap_ms"] <= gap_ms, event.probe


def alarms(job):
    """The present alarms; what is past is left out."""
    return [text for text in job.lab.cli.status().alarms if PAST not in text]


def wait_alarm(job, *words, seconds=10):
    """Until one alarm has all the words; its text."""
    def told():
        texts = job.lab.cli.status().alarms
        found = [text for text in texts if all(word in text for word in words)]
        if not found:
            raise LabError(f"the alarms are {texts}")
        return found[0]
    return wait_for(told, f"an alarm with {words}", seconds, job.refresh)


def wait_clean(job, seconds=10):
    def clean():
        if texts := alarms(job):
            raise LabError(f"the alarms are {texts}")
        if silent := job.lab.cli.status().silent:
            raise LabError(f"{silent} have not reported")
        return True
    wait_for(clean, "every alarm to end and every backend to report", seconds, job.refresh)


@contextlib.contextmanager
def everything_comes_back(job):
    """After the body, what was acknowledged before it is there, and nothing is amiss."""
    before = known(job)
    with unbroken(job):
        yield
        wait_clean(job, 15)
        assert known(job) == before


@contextlib.contextmanager
def edge_stopped(lab, how, **changes):
    """The daemon is away in the body, and started after it, with these changes."""
    lab.edge.stop(how)
    try:
        yield
    finally:
        lab.edge.start(**changes)
        lab.wait_edge()


def ip(lab, machine, *words):
    return lab.capsule.run(["ip", "-n", machine, *map(str, words)]).stdout


def dig(lab, server, name="web.svc.example.net", kind="A", *options):
    return lab.capsule.run(["kdig", f"@{server}", "+short", "+time=1", "+retry=0", *options, name,
                            kind], "client", check=False).stdout.split()
