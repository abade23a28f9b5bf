# SPDX-License-Identifier: Apache-2.0
"""The fuzz runner: time is shared fairly and used up, and nothing that went wrong is overlooked."""

import pathlib

import fuzz
import pytest
import tree


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def make_targets(*names):
    return [fuzz.Target(name, f"fuzz_{name}") for name in names]


def ended(output="stat::number_of_executed_units: 7\n", code=0, fault="", seconds=10.0):
    return tree.Finished(code, output, seconds, fault)


def play(dealer, clock, findings=None):
    """One place, with targets that take exactly their time; who ran, in order, and for how long."""
    turns = []
    while dealt := dealer.deal():
        target, seconds = dealt
        clock.now += seconds
        turns.append((target.name, seconds))
        dealer.take_back(target, ended(seconds=seconds), (findings or {}).get(target.name, []))
    return turns


def test_every_target_gets_the_same_time(clock):
    targets = make_targets("a", "b", "c")
    turns = play(fuzz.Dealer(targets, 180, 1, clock), clock)
    assert [name for name, _ in turns[:3]] == ["a", "b", "c"]
    assert [target.seconds for target in targets] == [60, 60, 60]
    assert clock.now == 280


def test_short_shares_are_one_turn_each(clock):
    turns = play(fuzz.Dealer(make_targets("a", "b", "c"), 36, 1, clock), clock)
    assert turns == [("a", 12), ("b", 12), ("c", 12)]


def test_the_time_of_one_that_found_something_goes_to_the_others(clock):
    targets = make_targets("a", "b")
    play(fuzz.Dealer(targets, 120, 1, clock), clock, {"a": ["crash-1"]})
    assert [target.seconds for target in targets] == [15, 105]
    assert clock.now == 220


def test_nobody_is_left(clock):
    targets = make_targets("a")
    turns = play(fuzz.Dealer(targets, 120, 1, clock), clock, {"a": ["crash-1"]})
    assert len(turns) == 1


def test_places_run_different_targets_first(clock):
    dealer = fuzz.Dealer(make_targets("a", "b"), 60, 2, clock)
    assert [dealer.deal()[0].name for _ in range(3)] == ["a", "b", "a"]


def test_findings():
    target = fuzz.Target("dns", "fuzz_dns")
    artifact = tree.ROOT / "tests/fuzz/corpus/dns/crash-1"
    written = f"artifact_prefix='x'; Test unit written to {artifact}\n"
    assert fuzz.findings_of(target, ended(written, 77)) == ["tests/fuzz/corpus/dns/crash-1"]
    assert fuzz.findings_of(target, ended()) == []
    assert fuzz.findings_of(target, ended(code=1)) == ["dns ended with 1"]
    assert fuzz.findings_of(target, ended("")) == ["dns ran no input"]
    assert fuzz.findings_of(target, ended(fault="left processes running")) == [
        "dns left processes running"]


def test_summary(monkeypatch):
    monkeypatch.setattr(fuzz.Target, "new_entries", lambda _: 3)
    targets = make_targets("dns", "edge")
    for target in targets:
        target.inputs, target.seconds = 1200, 60.0
    lines = fuzz.summary(targets, 2)
    assert lines[1].split() == ["dns", "60", "1200", "inputs", "20", "3", "0"]
    assert lines[-1] == "fuzz: 1200 inputs and 1200 packets in 2 minutes, nothing found"
    targets[0].findings = ["tests/fuzz/corpus/dns/crash-1"]
    assert fuzz.summary(targets, 2)[-1].endswith(
        "in 2 minutes, found: tests/fuzz/corpus/dns/crash-1")


def test_packet_targets_exist():
    declared = (pathlib.Path(fuzz.__file__).parents[1] / "tests/fuzz/meson.build").read_text()
    assert all(f"  '{name}': [" in declared for name in fuzz.PACKET_TARGETS)
