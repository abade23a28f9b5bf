# SPDX-License-Identifier: Apache-2.0
"""BIRD understands what is written for it, and understands exactly that."""

import pathlib
import re
import subprocess

import pytest

HERE = pathlib.Path(__file__).resolve().parent / "bird"
MAIN = 'router id 192.0.2.1;\nprotocol device {{}}\ninclude "{}";\n'
# As Debian installs it: what may already be there must not be in the way.
DEBIAN = """
protocol direct {{ disabled; ipv4; ipv6; }}
protocol kernel {{ ipv4 {{ export all; }}; }}
protocol kernel {{ ipv6 {{ export all; }}; }}
protocol static {{ ipv4; }}
"""


def parse(folder, path, more=""):
    main = folder / "bird.conf"
    main.write_text(MAIN.format(path) + more.format())
    return subprocess.run(["bird", "-p", "-c", main], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", ["routers", "example", "families"])
@pytest.mark.parametrize("more", ["", DEBIAN])
def test_bird_takes_it(tmp_path, name, more):
    done = parse(tmp_path, HERE / f"{name}.conf", more)
    assert (done.returncode, done.stderr) == (0, "")


def test_bird_would_have_said_so(tmp_path):
    text = (HERE / "routers.conf").read_text()
    path = tmp_path / "wrong.conf"
    path.write_text(text.replace("kernel table 122;", "kernel tables 122;", 1))
    assert parse(tmp_path, path).returncode != 0


def test_the_example_becomes_a_session(tmp_path):
    """Without the comment signs and with its three words filled in."""
    text = (HERE / "example.conf").read_text()
    before, _, example = text.partition("# protocol bgp")
    example = re.sub(r"^#[ \t]?", "", "# protocol bgp" + example, flags=re.MULTILINE)
    for word, value in (("YOURS", "64513"), ("ADDRESS", "10.0.0.1"), ("ITS", "64512")):
        assert example.count(word) == 1
        example = example.replace(word, value)
    path = tmp_path / "filled.conf"
    path.write_text(before + example)
    done = parse(tmp_path, path)
    assert (done.returncode, done.stderr) == (0, "")
