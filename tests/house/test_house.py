# SPDX-License-Identifier: Apache-2.0
"""Each check of the house complains of what it is for, and of nothing else."""

import house
import pytest

LICENCE = "/* SPDX-License-Identifier: Apache-2.0 */\n"
DUAL = "/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */\n"


@pytest.mark.parametrize("check, name, text", [
    ("format", "src/base/a.c", "int a;\n"),
    ("licences", "src/base/a.c", LICENCE),
    ("licences", "bpf/a.bpf.c", DUAL),
    ("licences", "lab/a.py", "#!/usr/bin/python3\n# SPDX-License-Identifier: Apache-2.0\n"),
    ("marks", "src/base/a.c", "/* done */\n"),
    ("paths", "README.md", "/tmp and /var/lib/fairlead and tests/work/x\n"),
    ("names", "tests/unit/a.c", 'mkdtemp("/tmp/a-XXXXXX"), "/tmp", "/run/tmp/a"\n'),
    ("words", "src/naming/a.c", "/* a backend of the fabric */\n"),
    ("links", "README.md", "[a](README.md#a) [b](https://example.net/) [c](#c)\n"),
    ("shell", "dev", "#!/bin/bash\nif true; then :; fi\n"),
    ("python", "lab/a.py", "a = 1\n"),
])
def test_content(tmp_path, write, check, name, text):
    write(name, text)
    assert house.CHECKS[check](tmp_path) == []


@pytest.mark.parametrize("check, name, text, complaint", [
    ("format", "src/base/a.c", "int   a ;\n", "src/base/a.c: not formatted"),
    ("licences", "src/base/a.c", "int a;\n", "no SPDX-License-Identifier"),
    ("licences", "src/base/a.c", DUAL, "the licence here is 'Apache-2.0'"),
    ("licences", "abi/a.h", LICENCE, "the licence here is 'Apache-2.0 OR GPL-2.0-only'"),
    ("marks", "src/base/a.c", "/* TO" "DO later */\n", "src/base/a.c:1:"),
    ("paths", "HACKING.md", "\ncd /ho" "me/me/fairlead\n", "HACKING.md:2:"),
    ("names", "tests/unit/a.c", '\nfopen("/t' 'mp/a", "w")\n', "tests/unit/a.c:2:"),
    ("words", "src/naming/a.c", "/* a real server */\n", "'real server' is called backend here"),
    ("links", "docs/a.md", "[a](../README.md)\n", "docs/a.md:1: there is no ../README.md"),
    ("shell", "dev", "#!/bin/bash\nif true; then\n", "dev:"),
    ("python", "lab/a.py", "a =\n", "lab/a.py:1:"),
    ("mutants", "tests/mutants/a.patch", "Test: unit.a\n--- a/a\n", "neither an 'Invariant:'"),
])
def test_complains(tmp_path, write, check, name, text, complaint):
    write(".clang-format", "BasedOnStyle: LLVM\n")
    write(name, text)
    complaints = house.CHECKS[check](tmp_path)
    assert len(complaints) == 1
    assert complaint in complaints[0]
