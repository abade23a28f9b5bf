# SPDX-License-Identifier: Apache-2.0
"""What the lab's tests share: a running lab, and its logs when a test fails.

Without root there is no lab, and the tests fail and say so: a lab that silently skips tests
nothing. FAIRLEAD_BUILD names another build directory than build/dev.
"""
import signal
import sys
from pathlib import Path

import pytest

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from faults import end_long_flows, start_job  # noqa: E402  (the path comes first)
from lab.parts import Lab  # noqa: E402


def pytest_configure(config):
    config.addinivalue_line("markers", "soak: takes minutes; runs only with -m soak")
    # A shell has what it starts with `&` ignore these, and with it every daemon, until it holds them.
    for how in (signal.SIGINT, signal.SIGQUIT):
        if signal.getsignal(how) is signal.SIG_IGN:
            signal.signal(how, signal.SIG_DFL)


def pytest_collection_modifyitems(config, items):
    if "soak" in config.option.markexpr:
        return
    long = [item for item in items if item.get_closest_marker("soak")]
    config.hook.pytest_deselected(items=long)
    items[:] = [item for item in items if item not in long]


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    """The logs vanish with the lab, so a failure shows their ends."""
    report = (yield).get_result()
    lab = next((value for value in item.funcargs.values() if isinstance(value, Lab)), None) or (
        getattr(item.funcargs.get("course"), "lab", None))
    if report.failed and lab and lab.capsule.children:
        report.sections.append(("the lab's logs", lab.logs()))


@pytest.fixture
def lab():
    """A lab of one's own."""
    with Lab() as running:
        yield running


@pytest.fixture(scope="module")
def shared_lab():
    """A lab for the tests of one file, which put back what they change. No state is called good in
    it: three kills on a newer one would be three crashes, after which a daemon goes back."""
    with Lab(edge_env={"FAIRLEAD_LAB_GOOD_MS": "3600000"}) as running:
        yield running


@pytest.fixture(scope="module")
def job(shared_lab):
    """What the tests of faults watch: the main job's traffic, on a version that serves."""
    return start_job(shared_lab)


@pytest.fixture(scope="module")
def ended(job):
    """The same, for outages."""
    end_long_flows(job)
    return job
