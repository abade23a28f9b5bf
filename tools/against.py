# SPDX-License-Identifier: Apache-2.0
"""Builds of this repository's earlier revisions, for those who compare with one or upgrade from it.

    python3 tools/against.py REV TARGET…

Each lives in build/against/COMMIT: `tree` is the revision as git has it, `tree/build/dev` its build,
configured as ./dev configures this one. It is kept, so that a second run finds its targets built.
The libraries are the machine's own.
"""

import contextlib
import fcntl
import os
import subprocess
import sys

import tree

FOLDER = tree.ROOT / "build" / "against"


class Missing(Exception):
    """What an earlier revision cannot be built from; the text says what to do, for people."""


def _git(*words, **options):
    # The top, because this tree may be a copy below another one's build/.
    return subprocess.run(["git", "-c", "safe.directory=*", *words], cwd=tree.ROOT, check=False,
                          stderr=subprocess.PIPE, **options)


def commit_of(revision):
    """The full name of the commit."""
    found = _git("rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}", text=True,
                 stdout=subprocess.PIPE)
    if found.returncode == 0:
        return found.stdout.strip()
    shallow = _git("rev-parse", "--is-shallow-repository", text=True, stdout=subprocess.PIPE)
    if shallow.returncode != 0:
        raise Missing(f"{revision} cannot be built: {tree.ROOT} has no git history; use a clone")
    if shallow.stdout.strip() == "true":
        raise Missing(f"{revision} is not in this shallow clone; `git fetch --unshallow` brings "
                      "the whole history")
    raise Missing(f"{revision} names no commit in the history of {tree.ROOT}")


@contextlib.contextmanager
def _locked(folder):
    """Two tools of one checkout must not make the same build at once."""
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _extract(commit, folder):
    """The commit's files in `folder`; a half-made one never has that name."""
    new = folder.with_suffix(".new")
    subprocess.run(["rm", "-rf", new], check=True)
    new.mkdir()
    top = _git("rev-parse", "--show-toplevel", text=True, stdout=subprocess.PIPE).stdout.strip()
    with subprocess.Popen(["git", "-c", "safe.directory=*", "-C", top, "archive", commit],
                          stdout=subprocess.PIPE) as archive:
        subprocess.run(["tar", "-x", "-C", new], stdin=archive.stdout, check=True)
    if archive.returncode != 0:
        raise Missing(f"git archive could not give the files of {commit}")
    new.rename(folder)


def build(revision, *targets):
    """Build these of the revision's targets, as ninja names them; returns its build directory."""
    commit = commit_of(revision)
    folder = FOLDER / commit
    with _locked(folder):
        root = folder / "tree"
        if not root.exists():
            _extract(commit, root)
        success, output = tree.build("dev", *targets, log=f"against-{commit[:12]}.log", root=root)
    if not success:
        raise Missing(f"{revision} does not build here:\n{output}")
    return root / "build" / "dev"


def main():
    revision, *targets = sys.argv[1:]
    try:
        print(build(revision, *targets))
    except Missing as failure:
        sys.exit(f"against: {failure}")
    return 0


if __name__ == "__main__":
    tree.run_main(main)
