# SPDX-License-Identifier: Apache-2.0
"""The runner takes nothing for passed that did not say so itself."""

import pathlib
import re
import signal
import socket
import subprocess
import sys

import pytest
import run_tests
import soak
import tree

PASSED, FAILED, SKIPPED = run_tests.PASSED, run_tests.FAILED, run_tests.SKIPPED


def outcomes(output, code=0, fault=""):
    cases = run_tests.cases_of_tap("unit.a", tree.Finished(code, output, 0.0, fault))
    return [case.outcome for case in cases]


@pytest.mark.parametrize("output, code, fault, expected", [
    ("1..2\nok 1 - a\nok 2 - b\n", 0, "", [PASSED, PASSED]),
    ("1..2\nok 1 - a\nnot ok 2 - b\n# 1 != 2\n# not ok - group\n", 1, "", [PASSED, FAILED]),
    ("1..1\nnot ok 1 # SKIP a\n", 0, "", [SKIPPED]),
    ("1..1\nok 1 - a\n1..1\nok 1 - b\n", 0, "", [PASSED, PASSED]),
    # no test, an early end, a leak found at exit, a crash at exit, a time-out
    ("", 0, "", [FAILED]),
    ("1..0\n", 0, "", [FAILED]),
    ("1..3\nok 1 - a\n", 0, "", [PASSED, FAILED]),
    ("1..1\nok 1 - a\n", 23, "", [PASSED, FAILED]),
    ("1..1\nok 1 - a\n", -11, "", [PASSED, FAILED]),
    ("1..1\nok 1 - a\n", -9, "did not end within 1 s", [PASSED, FAILED]),
])
def test_tap(output, code, fault, expected):
    assert outcomes(output, code, fault) == expected


def test_failure_shows_the_output():
    finished = tree.Finished(1, "1..1\nnot ok 1 - a\n# 1 != 2\n", 0.0, "")
    assert "1 != 2" in run_tests.cases_of_tap("unit.a", finished)[0].detail


def test_measure_is_kept():
    finished = tree.Finished(0, "1..1\nsim: nodes=5 seeds=2 steps=9 violations=0\nok 1 - a\n",
                             0.0, "")
    assert [case.measure for case in run_tests.cases_of_tap("sim.a", finished)] \
        == ["sim: nodes=5 seeds=2 steps=9 violations=0"]


def test_junit(write):
    path = write("a.xml", """<testsuites><testsuite>
        <testcase classname="c" name="good"/>
        <testcase classname="c" name="bad"><failure>because</failure></testcase>
        <testcase classname="c" name="broken"><error>fixture</error></testcase>
        <testcase classname="c" name="left"><skipped message="no root"/></testcase>
        </testsuite></testsuites>""")
    cases = list(run_tests.cases_of_junit(path))
    assert [case.outcome for case in cases] == [PASSED, FAILED, FAILED, SKIPPED]
    assert [case.detail for case in cases] == ["", "because", "fixture", "no root"]


def run_python(monkeypatch, tmp_path, program, timeout_s):
    monkeypatch.setattr(tree, "LOGS", tmp_path)
    return tree.run([sys.executable, "-c", program], "a.log", timeout_s)


def test_run_ends_what_hangs(monkeypatch, tmp_path):
    finished = run_python(monkeypatch, tmp_path, "import time; time.sleep(60)", 0.3)
    assert finished.fault == "did not end within 0.3 s"
    assert finished.seconds < 30


def test_run_sees_what_is_left_behind(monkeypatch, tmp_path):
    finished = run_python(monkeypatch, tmp_path,
                          "import subprocess; subprocess.Popen(['sleep', '60'])", 30)
    assert finished.code == 0
    assert finished.fault == "left processes running"


def test_run_keeps_output_and_code(monkeypatch, tmp_path):
    finished = run_python(monkeypatch, tmp_path, "print('out'); raise SystemExit(7)", 30)
    assert (finished.code, finished.output, finished.fault) == (7, "out\n", "")


TAKES_A_NAME_AND_A_PORT = """
import socket, sys
with socket.socket(socket.AF_UNIX) as name, socket.socket() as port:
    name.bind("\\0fairlead-house")
    port.bind(("127.0.0.1", int(sys.argv[1])))
    print("taken", flush=True)
    sys.stdin.read()
"""


def test_a_test_meets_no_other_checkout(monkeypatch, tmp_path):
    """What stands in the other checkout is this one here, and it has the name and the port."""
    monkeypatch.setattr(tree, "LOGS", tmp_path)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    command = [sys.executable, "-c", TAKES_A_NAME_AND_A_PORT, port]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          text=True) as other:
        assert other.stdout.readline() == "taken\n"
        assert tree.run(command, "met.log", 30).code == 1
        finished = tree.run_apart(command, "apart.log", 30)
        other.communicate()
    assert (finished.code, finished.output, finished.fault) == (0, "taken\n", "")


RUNS_LONG = """
import pathlib, sys
sys.path.insert(0, sys.argv[1])
import tree
tree.LOGS = pathlib.Path(sys.argv[2])
tree.run_main(lambda: tree.run(["sh", "-c", "echo $$; exec sleep 60"], "a.log", 60).code)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_who_interrupts_a_tool_ends_what_it_runs(tmp_path, number):
    log = tmp_path / "a.log"
    with subprocess.Popen([sys.executable, "-B", "-c", RUNS_LONG, tree.ROOT / "tools", tmp_path],
                          stderr=subprocess.PIPE, text=True) as tool:
        while not (log.exists() and log.read_text().endswith("\n")):
            assert tool.poll() is None
        tool.send_signal(number)
        assert tool.communicate()[1] == "interrupted\n"
    assert tool.returncode == 1
    assert not pathlib.Path("/proc", log.read_text().strip()).exists()


def test_last_line_and_empty_group(monkeypatch, capsys):
    monkeypatch.setattr(run_tests, "GROUPS", {
        "full": (lambda words: [run_tests.Case("a", PASSED), run_tests.Case("b", SKIPPED)], []),
        "empty": (lambda words: [], []),
    })
    monkeypatch.setattr(sys, "argv", ["run_tests.py", "full"])
    assert run_tests.main() == 0
    assert capsys.readouterr().out.splitlines()[-1] == "1 passed, 0 failed, 1 skipped"
    monkeypatch.setattr(sys, "argv", ["run_tests.py"])
    assert run_tests.main() == 1
    output = capsys.readouterr().out
    assert output.splitlines()[-1] == "1 passed, 1 failed, 1 skipped"
    assert "there is no test in this group" in output


def test_groups_are_those_of_the_help():
    help_text = re.search(r"Groups, in the order.*?-k selects", (tree.ROOT / "dev").read_text(),
                          re.DOTALL)[0]
    assert re.findall(r"^    ([a-z]+)  ", help_text, re.MULTILINE) == list(run_tests.GROUPS)


def test_soaks_are_those_of_the_help():
    help_text = re.search(r"Runs each soak.*?One that finds", (tree.ROOT / "dev").read_text(),
                          re.DOTALL)[0]
    assert re.findall(r"^    ([a-z]+)  ", help_text, re.MULTILINE) == list(soak.SOAKS)
