#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Which folder may include and link which: the table of ARCHITECTURE.md, and the check of it.

Run alone it prints each violation and fails if there is one; `./dev test house` runs it too, and
tests/house/test_layers.py shows that it can fail.
"""

import pathlib
import re
import sys

import tree

# folder → the folders whose headers it may include, besides its own
MAY_INCLUDE = {
    "abi": set(),
    "base": set(),
    "wire": {"base", "abi"},
    "peer": {"wire", "base"},
    "kernel": {"base", "abi"},
    "model": {"base", "abi"},
    "yaml": {"base", "abi"},
    "control": {"base", "abi"},
    "store": {"wire", "base", "abi"},
    "config": {"yaml", "model", "wire", "base"},
    "plan": {"config", "model", "base"},
    "ledger": {"store", "base"},
    "state": {"ledger", "store", "config", "plan", "model", "base"},
    "fabric": {"state", "ledger", "wire", "model", "base"},
    "naming": {"wire", "kernel", "base", "abi"},
    "dataplane": {"wire", "kernel", "base", "abi"},
    "landing": {"wire", "kernel", "base", "abi"},
    "routing": {"wire", "kernel", "base", "abi"},
    "api": {"control", "fabric", "state", "ledger", "plan", "config", "model", "base"},
    "daemon": {"api", "control", "peer", "routing", "landing", "dataplane", "naming", "fabric", "state",
               "ledger", "store", "plan", "config", "yaml", "model", "wire", "kernel", "base", "abi"},
    "cli": {"control", "config", "yaml", "base"},
    "doctor": {"cli", "control", "landing", "kernel", "base", "abi"},
    "lab": {"cli", "control", "yaml", "base"},
    "bpf": {"abi"},
}

# headers of libraries → the only folders, or modules of a folder, that may include them
OWNED_HEADERS = {
    re.compile(r"uv\.h"): {"daemon", "api/http", "api/unix", "peer"},
    re.compile(r"openssl/ssl\.h"): {"peer"},
    re.compile(r"bpf/.*"): {"kernel", "dataplane", "landing", "bpf"},
    re.compile(r"sqlite3\.h"): {"store"},
    re.compile(r"curl/.*"): {"store"},
    re.compile(r".*\.skel\.h"): {"dataplane", "landing"},
}

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]', re.MULTILINE)
LINKED = re.compile(r"\b([a-z]+)_(?:dep|lib)\b")


def folder_of(name):
    """The layer a file belongs to, or None: src/naming/wire.c → naming, abi/edge.h → abi."""
    parts = pathlib.PurePath(name).parts
    if parts[0] == "src" and len(parts) > 2:
        return parts[1]
    if parts[0] in ("abi", "bpf"):
        return parts[0]
    return None


def included_folder(folder, header):
    """The layer of a quoted header, or None when it belongs to no layer."""
    first, _, rest = header.partition("/")
    if rest:
        return first
    # bpf/ has one folder of headers and includes them by name alone; elsewhere only generated
    # skeletons have no folder.
    return folder if folder == "bpf" or header.endswith(".skel.h") else None


def check_include(folder, module, quote, header):
    """What is wrong with one #include in that folder's module, or ''."""
    for pattern, owners in OWNED_HEADERS.items():
        if pattern.fullmatch(header) and not {folder, f"{folder}/{module}"} & owners:
            return f"only {' and '.join(sorted(owners))} may include {header}"
    if quote == "<":
        return ""
    target = included_folder(folder, header)
    if target is None or target not in MAY_INCLUDE:
        return f'"{header}" is not written from src/ or from the root'
    if target != folder and target not in MAY_INCLUDE[folder]:
        return f"{folder} may not include {target}"
    return ""


def check_source(folder, module, text):
    """Yield (line, complaint) for a C source or header."""
    for match in INCLUDE.finditer(text):
        complaint = check_include(folder, module, *match.groups())
        if complaint:
            yield text.count("\n", 0, match.start()) + 1, complaint


def check_build_file(folder, text):
    """Yield (line, complaint) for a meson.build: linking obeys the table as including does."""
    for number, line in enumerate(text.splitlines(), 1):
        for other in LINKED.findall(line.partition("#")[0]):
            if other in MAY_INCLUDE and other != folder and other not in MAY_INCLUDE[folder]:
                yield number, f"{folder} may not link {other}"


def check(root=tree.ROOT):
    """Every violation in the tree, as 'file:line: sentence'."""
    complaints = []
    for name in tree.files(root):
        folder = folder_of(name)
        if folder is None:
            continue
        if folder not in MAY_INCLUDE:
            complaints.append(f"{name}:1: the folder {folder} is not in the table of {__file__}")
            continue
        text = (root / name).read_text(errors="replace")
        if name.endswith((".c", ".h")):
            found = check_source(folder, pathlib.PurePath(name).stem, text)
        elif name.endswith("meson.build"):
            found = check_build_file(folder, text)
        else:
            continue
        complaints += [f"{name}:{line}: {complaint}" for line, complaint in found]
    return complaints


def main():
    complaints = check()
    print("\n".join(complaints) or "layers: every include and link obeys the table")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
