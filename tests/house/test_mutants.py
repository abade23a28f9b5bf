# SPDX-License-Identifier: Apache-2.0
"""A mutant counts as killed only by a test that was green and turned red by itself."""

import mutants
import pytest
import run_tests
import tree

PATCH = """Invariant: 2
Test: unit.a

--- a/a.txt
+++ b/a.txt
@@ -1,3 +1,3 @@
 one
-two
+2
 three
"""


@pytest.fixture
def copy(tmp_path, monkeypatch, write):
    """A tree with one mutant, and an empty place for its copy."""
    write("tree/a.txt", "one\ntwo\nthree\n")
    write("tree/tests/mutants/counts.patch", PATCH)
    copy = tmp_path / "copy"
    monkeypatch.setattr(mutants, "COPY", copy)
    refresh = mutants.refresh_copy
    monkeypatch.setattr(mutants, "refresh_copy", lambda: refresh(tmp_path / "tree", copy))
    return copy


def try_with(monkeypatch, copy, mutated, unpatched=mutants.GREEN):
    """What run() says if the test has these colours; the test really reads the copy."""
    def build_and_run(test):
        assert test == "unit.a"
        patched = "2\n" in (copy / "a.txt").read_text()
        return (mutated if patched else unpatched), ""

    monkeypatch.setattr(mutants, "build_and_run", build_and_run)
    return mutants.run(mutants.all_mutants(copy.parent / "tree"))


@pytest.mark.parametrize("mutated, unpatched, killed, verdict", [
    (mutants.RED, mutants.GREEN, True, "killed"),
    (mutants.GREEN, mutants.GREEN, False, "SURVIVED"),
    (mutants.BROKEN, mutants.GREEN, False, "proves nothing"),
    (mutants.RED, mutants.RED, False, "proves nothing: without it the test is red"),
])
def test_verdicts(monkeypatch, capsys, copy, mutated, unpatched, killed, verdict):
    assert try_with(monkeypatch, copy, mutated, unpatched) is killed
    assert capsys.readouterr().out.rstrip().endswith(verdict)
    assert (copy / "a.txt").read_text() == "one\ntwo\nthree\n"


def test_copy_follows_the_tree(copy):
    mutants.refresh_copy()
    (copy / "a.txt").write_text("changed\n")
    (copy / "extra.txt").write_text("left over\n")
    (copy / "build").mkdir()
    (copy / "build/object.o").write_text("kept\n")
    untouched = (copy / "tests/mutants/counts.patch").stat().st_mtime_ns
    mutants.refresh_copy()
    assert (copy / "a.txt").read_text() == "one\ntwo\nthree\n"
    assert not (copy / "extra.txt").exists()
    assert (copy / "build/object.o").exists()
    assert (copy / "tests/mutants/counts.patch").stat().st_mtime_ns == untouched


def test_stale_patch_is_a_complaint(tmp_path, write):
    write("a.txt", "one\nzwei\nthree\n")
    write("tests/mutants/counts.patch", PATCH)
    complaints = mutants.check(tmp_path)
    assert len(complaints) == 1
    assert complaints[0].startswith("tests/mutants/counts.patch: ")


@pytest.mark.parametrize("header, fault", [
    ("Test: unit.a\n", "neither an 'Invariant:' nor a 'Drop:' line"),
    ("Invariant: 3\n", "no 'Test:' line"),
    ("Invariant: 9\nTest: unit.a\n", "there is no invariant 9"),
    ("Drop: not_ip\nTest: bpf.edge\n", ""),
])
def test_headers(write, header, fault):
    path = write("tests/mutants/a.patch", header + "\n--- a/a\n+++ b/a\n")
    assert mutants.Mutant(path).fault() == fault


CASES = [run_tests.Case("bpf.edge: test_ports", run_tests.FAILED, "the output"),
         run_tests.Case("bpf.edge: test_ttl", run_tests.PASSED),
         run_tests.Case("bpf.edge: test_later", run_tests.SKIPPED)]


@pytest.mark.parametrize("cases, wanted, colour", [
    (CASES, "", mutants.RED),
    (CASES, "test_ports", mutants.RED),
    (CASES, "test_ttl", mutants.GREEN),
    (CASES[1:], "", mutants.GREEN),
    (CASES, "test_later", mutants.BROKEN),
    (CASES, "ports", mutants.BROKEN),
    # The set-up failed: no case ran, and the program is what failed.
    ([run_tests.Case("bpf.edge", run_tests.FAILED)], "test_ports", mutants.BROKEN),
])
def test_cases_of_a_meson_test(cases, wanted, colour):
    assert mutants.judge_cases(cases, wanted)[0] == colour


def test_a_case_that_did_not_run_says_what_ended_its_program():
    cases = [run_tests.Case("bpf.edge: test_ttl", run_tests.PASSED),
             run_tests.Case("bpf.edge", run_tests.FAILED, "did not end within 300 s")]
    assert mutants.judge_cases(cases, "test_ports") == (
        mutants.BROKEN, "the case 'test_ports' did not run\ndid not end within 300 s")


@pytest.mark.parametrize("code, output, fault, colour", [
    (0, "=== 1 passed in 0.1s ===", "", mutants.GREEN),
    (0, "=== 1 skipped in 0.1s ===", "", mutants.BROKEN),
    (1, "=== 1 failed in 0.1s ===", "", mutants.RED),
    (1, "=== 1 error in 0.1s ===", "", mutants.BROKEN),
    (4, "ERROR: not found: test_x.py::test_y", "", mutants.BROKEN),
    (-9, "", "did not end within 600 s", mutants.RED),
])
def test_colours_of_pytest(code, output, fault, colour):
    assert mutants.judge_pytest(tree.Finished(code, output, 1.0, fault))[0] == colour
