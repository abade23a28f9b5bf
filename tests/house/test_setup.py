# SPDX-License-Identifier: Apache-2.0
"""Two checkouts that are set up at once install one after the other."""

import fcntl
import os
import subprocess

import tree

DPKG = "/var/lib/dpkg"


def test_the_second_waits_and_finds_the_work_done(tmp_path):
    """The first one is this test: it holds the lock, and then all packages are there."""
    tools = {"dpkg-query": f"test -e {tmp_path}/done && printf installed || exit 1",
             "apt-get": f"touch {tmp_path}/called; exit 1"}
    for name, script in tools.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    descriptor = os.open(DPKG, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        with subprocess.Popen(
                [tree.ROOT / "tools/setup"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                text=True, env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}) as second:
            said = second.stdout.readline()
            (tmp_path / "done").touch()
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            rest = second.communicate(timeout=60)[0]
    finally:
        os.close(descriptor)
    assert said == "setup: another checkout installs packages; waiting until it is done\n"
    assert (second.returncode, rest) == (0, "")
    assert not (tmp_path / "called").exists()
