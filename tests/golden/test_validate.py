# SPDX-License-Identifier: Apache-2.0
"""`validate`, which asks no daemon. What is found in which file is tested with the configuration;
here it is who is told what, and the exit code."""

import json

import pytest
import yaml

from conftest import CLIENT, ROOT
from lab.described import fields, undescribed

EXAMPLE = ROOT / "docs/example.yaml"


@pytest.fixture
def example(tmp_path, monkeypatch):
    """example("old", "new"): the example with one thing replaced, as fairlead.yaml, here."""
    monkeypatch.chdir(tmp_path)

    def write(old="", new=""):
        text = EXAMPLE.read_text()
        assert old in text
        (tmp_path / "fairlead.yaml").write_text(text.replace(old, new, 1))
    return write


@pytest.mark.parametrize("form", ["table", "json", "jsonl", "yaml"])
def test_valid(client, golden, example, form):
    example()
    done = client("validate", "fairlead.yaml", "-o", form)
    assert (done.returncode, done.stderr) == (0, "")
    golden(f"validate.{form}", done.stdout)


def test_error(client, golden, example):
    example("site: fra", "site: far")
    done = client("validate", "fairlead.yaml")
    assert (done.returncode, done.stdout) == (1, "")
    golden("validate_error.txt", done.stderr)


@pytest.mark.parametrize("form, read", [("json", json.loads), ("yaml", yaml.safe_load)])
def test_error_for_programs(client, example, form, read):
    """The findings are data then, and nothing is said twice."""
    example("site: fra", "site: far")
    done = client("validate", "fairlead.yaml", "-o", form)
    assert (done.returncode, done.stderr) == (1, "")
    told = read(done.stdout)
    assert (told["valid"], told["errors"], told["capacity"]) == (False, 1, [])
    finding = told["findings"][0]
    assert (finding["severity"], finding["file"]) == ("error", "fairlead.yaml")
    assert finding["line"] > 0 and finding["column"] > 0 and "far" in finding["message"]


@pytest.mark.parametrize("change", [(), ("site: fra", "site: far"), ("ttl: 30s", "ttl: 2d"),
                                    ("2001:db8:f::/108", "2001:db8:f::/127")])
def test_an_answer_is_what_the_help_describes(client, example, change):
    example(*change)
    told = json.loads(client("validate", "fairlead.yaml", "-o", "json").stdout)
    assert told["findings"] or not change
    assert not undescribed(told, fields(CLIENT, "validate"))


def test_standard_input(client):
    done = client("validate", "-", input=EXAMPLE.read_text())
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("standard input: ok\n")


def test_empty(client):
    done = client("validate", "/dev/null")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("/dev/null")


def test_warnings_do_not_stop(client, example):
    example("ttl: 30s", "ttl: 2d")
    done = client("validate", "fairlead.yaml")
    assert (done.returncode, done.stderr.count(": warning: ")) == (0, 1)
    assert done.stdout.startswith("fairlead.yaml: ok, with 1 warning\n")
