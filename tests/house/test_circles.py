# SPDX-License-Identifier: Apache-2.0
"""The check of circles sees one of two files and one of three, and never takes nothing for fine."""

import json
import os
import subprocess

import circles
import pytest


@pytest.fixture
def build(tmp_path, write):
    """Compiles sources (name → text) as ./dev build does, with the list of what it compiled."""
    def build_sources(sources):
        folder = tmp_path / "build" / "dev"
        folder.mkdir(parents=True)
        commands = []
        for name, text in sources.items():
            write(name, text)
            output = name.replace("/", "_") + ".o"
            subprocess.run(["cc", "-c", tmp_path / name, "-o", folder / output], check=True)
            commands.append({"directory": str(folder), "file": f"../../{name}", "output": output})
        write("build/dev/compile_commands.json", json.dumps(commands))

    return build_sources


A_CALLS_B = "void b(void); void a(void) { b(); }\n"
B_CALLS_C = "void c(void); void b(void) { c(); }\n"
B_CALLS_A = "void a(void); void b(void) { a(); }\n"
C_CALLS_A = "void a(void); void c(void) { a(); }\n"
C_CALLS_NONE = "void c(void) { }\n"


def test_an_order_is_fine(tmp_path, build):
    build({"src/base/a.c": A_CALLS_B, "src/base/b.c": B_CALLS_C, "src/base/c.c": C_CALLS_NONE,
           # Of two folders each is judged by itself: who may call whom there is the layers' matter.
           "src/wire/d.c": "void a(void); void d(void) { a(); }\n"})
    assert circles.check(tmp_path) == []


@pytest.mark.parametrize("sources, names", [
    ({"src/base/a.c": A_CALLS_B, "src/base/b.c": B_CALLS_A, "src/base/c.c": C_CALLS_A},
     "a.c, b.c"),
    ({"src/base/a.c": A_CALLS_B, "src/base/b.c": B_CALLS_C, "src/base/c.c": C_CALLS_A},
     "a.c, b.c, c.c"),
    # What one takes of the other may be data, too.
    ({"src/base/a.c": "extern int b; int a(void) { return b; }\n",
      "src/base/b.c": "int a(void); int b = 1; int f(void) { return a(); }\n"}, "a.c, b.c"),
])
def test_a_circle_is_seen(tmp_path, build, sources, names):
    build(sources)
    complaints = circles.check(tmp_path)
    assert len(complaints) == 1
    assert complaints[0].startswith(f"src/base: a circle of {names}: a.c takes b of b.c; ")


def test_nothing_built_is_not_fine(tmp_path, build):
    assert "run ./dev build" in circles.check(tmp_path)[0]
    build({})
    assert "compiles nothing" in circles.check(tmp_path)[0]


@pytest.mark.parametrize("spoil", [
    lambda source, built: built.unlink(),
    lambda source, built: os.utime(source, (built.stat().st_mtime + 1,) * 2),
])
def test_an_old_build_is_not_fine(tmp_path, build, spoil):
    build({"src/base/c.c": C_CALLS_NONE})
    spoil(tmp_path / "src/base/c.c", tmp_path / "build/dev/src_base_c.c.o")
    assert circles.check(tmp_path) == ["build/dev is older than src/base/c.c; run ./dev build"]
