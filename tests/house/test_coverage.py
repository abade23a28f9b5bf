# SPDX-License-Identifier: Apache-2.0
"""Counting lines: copies of a header's line are one line, and a goal is missed by not being above
it, or by not being measured."""

import coverage


def counted(name, *counts):
    return {"file": f"../../{name}",
            "lines": [{"line_number": number, "count": count}
                      for number, count in enumerate(counts, 1)]}


def test_a_line_that_ran_in_one_copy_ran():
    counts = coverage.merge([counted("abi/pick.h", 0, 3), counted("abi/pick.h", 1, 0),
                             counted("tests/unit/test_pick.c", 1, 1)])
    assert counts == {"abi/pick.h": {1: 1, 2: 3}}


def test_only_sources_of_the_product_count():
    assert coverage.tree_name("../../src/model/ring.c") == "src/model/ring.c"
    assert coverage.tree_name("../../src/model/../base/error.h") == "src/base/error.h"
    assert coverage.tree_name("src/daemon/skeleton.h") is None
    assert coverage.tree_name("/usr/include/stdio.h") is None


def test_folders():
    counts = coverage.merge([counted("src/model/ring.c", 1, 1), counted("src/model/ring.h", 0),
                             counted("src/main.c", 0), counted("abi/pick.h", 1)])
    assert coverage.by_folder(counts) == {"src/model": [1, 1, 0], "src": [0], "abi": [1]}


def test_a_goal_is_to_be_exceeded():
    full = {folder: [1] for folder in coverage.GOALS}
    assert coverage.missed(full) == []
    assert coverage.missed({**full, "src/wire": [1] * 9 + [0]}) == ["src/wire"]
    assert coverage.missed({**full, "src/wire": [1] * 10 + [0]}) == []
    assert coverage.missed({**full, "src/cli": [0]}) == []
    assert coverage.missed({folder: [1] for folder in coverage.GOALS[1:]}) == coverage.GOALS[:1]


def test_ranges():
    assert coverage.ranges([7, 1, 3, 2]) == "1-3, 7"
    assert coverage.ranges([]) == ""
