#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The house's checks of itself. Each is a function that returns its complaints, one line each.

    tools/house.py            run all of them
    tools/house.py NAME…      run these
    tools/house.py --list-c   print the C and BPF sources
"""

import re
import subprocess
import sys

import circles
import layers
import mutants
import tree

DUAL = "Apache-2.0 OR GPL-2.0-only"
SPDX = re.compile(r"SPDX-License-Identifier: (.*?)(?: \*/)?$", re.MULTILINE)

# Written so that this file does not match itself.
MARKS = re.compile(r"\b(?:TO" r"DO|FIX" r"ME|XX" r"X)\b")
MACHINE_PATHS = re.compile(r"(?<![\w./-])/(?:work|home|Users)/\w+")

# A fixed name in a folder that all checkouts on a machine share.
SHARED_NAMES = re.compile(r'"/(?:tmp|var/tmp|dev/shm)/(?![^"]*XXXXXX)[^"]*"')

# What the house has a word for, under another name.
SYNONYMS = {
    r"real ?servers?": "backend",
    r"load ?balancers?": "edge",
    r"clusters?": "fabric",
    r"data ?cent(?:er|re)s?": "site",
    r"audit ?logs?": "ledger",
    r"tombstones?": "dead set",
}
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")


def texts(wanted, root=tree.ROOT):
    """(name, text) of the tree's files whose name matches; corpora are bytes, not texts."""
    for name in tree.files(root):
        if re.search(wanted, name) and not name.startswith("tests/fuzz/corpus/"):
            yield name, (root / name).read_text(errors="replace")


def c_sources(root=tree.ROOT):
    return [name for name in tree.files(root) if name.endswith((".c", ".h"))]


def lines_matching(pattern, name, text):
    """(line number, match) for each match."""
    for match in pattern.finditer(text):
        yield text.count("\n", 0, match.start()) + 1, match


def check_format(root=tree.ROOT):
    sources = c_sources(root)
    if not sources:
        return []
    run = subprocess.run(["clang-format-19", "--dry-run", *sources], cwd=root, text=True,
                         capture_output=True, check=False)
    names = dict.fromkeys(re.findall(r"^(\S+?):\d+:\d+: (?:warning|error)", run.stderr,
                                     re.MULTILINE))
    complaints = [f"{name}: not formatted; ./dev format does it" for name in names]
    if run.returncode != 0 and not complaints:
        complaints.append(run.stderr)
    return complaints


def expected_licence(name):
    return DUAL if name.startswith(("bpf/", "abi/")) else "Apache-2.0"


def check_licences(root=tree.ROOT):
    complaints = []
    for name, text in texts(r"\.(c|h|py)$|^dev$|^\.ci/|^tools/setup$", root):
        found = SPDX.search("\n".join(text.splitlines()[:2]))
        if not found:
            complaints.append(f"{name}:1: no SPDX-License-Identifier in the first two lines")
        elif found[1] != expected_licence(name):
            complaints.append(f"{name}:1: the licence here is '{expected_licence(name)}'")
    return complaints


def check_marks(root=tree.ROOT):
    return [f"{name}:{line}: finish it or file an issue: {match[0]}"
            for name, text in texts(r"\.(c|h|py|build|md|txt|yaml)$|^dev$", root)
            for line, match in lines_matching(MARKS, name, text)]


def check_paths(root=tree.ROOT):
    return [f"{name}:{line}: a path of somebody's machine: {match[0]}"
            for name, text in texts(r"", root)
            for line, match in lines_matching(MACHINE_PATHS, name, text)]


def check_names(root=tree.ROOT):
    return [f"{name}:{line}: another checkout's tests use the same name: {match[0]}"
            for name, text in texts(r"^(tests|lab|bench|tools)/.*\.(c|h|py)$", root)
            for line, match in lines_matching(SHARED_NAMES, name, text)]


def check_words(root=tree.ROOT):
    complaints = []
    for pattern, word in SYNONYMS.items():
        expression = re.compile(rf"\b(?:{pattern})\b", re.IGNORECASE)
        complaints += [f"{name}:{line}: '{match[0]}' is called {word} here"
                       for name, text in texts(r"^(src|abi|bpf)/.*\.(c|h)$", root)
                       for line, match in lines_matching(expression, name, text)]
    return complaints


def check_links(root=tree.ROOT):
    complaints = []
    for name, text in texts(r"\.md$", root):
        for line, match in lines_matching(LINK, name, text):
            target = match[1]
            if "://" not in target and not ((root / name).parent / target).exists():
                complaints.append(f"{name}:{line}: there is no {target}")
    return complaints


def check_shell(root=tree.ROOT):
    complaints = []
    for name, text in texts(r"", root):
        if text.startswith(("#!/bin/bash", "#!/bin/sh")):
            shell = subprocess.run([text[2:].split()[0], "-n", name], cwd=root, text=True,
                                   capture_output=True, check=False)
            if shell.returncode != 0:
                complaints.append(shell.stderr.strip())
    return complaints


def check_python(root=tree.ROOT):
    complaints = []
    for name, text in texts(r"\.py$", root):
        try:
            compile(text, name, "exec")
        except SyntaxError as error:
            complaints.append(f"{name}:{error.lineno}: {error.msg}")
    return complaints


CHECKS = {
    "format": check_format,
    "layers": layers.check,
    "circles": circles.check,
    "licences": check_licences,
    "marks": check_marks,
    "paths": check_paths,
    "names": check_names,
    "words": check_words,
    "links": check_links,
    "shell": check_shell,
    "python": check_python,
    "mutants": mutants.check,
}


def main():
    if sys.argv[1:] == ["--list-c"]:
        print("\n".join(c_sources()))
        return 0
    names = sys.argv[1:] or list(CHECKS)
    complaints = [complaint for name in names for complaint in CHECKS[name]()]
    print("\n".join(complaints) or f"{', '.join(names)}: nothing to complain of")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
