# SPDX-License-Identifier: Apache-2.0
"""What an earlier revision cannot be built from is said in a sentence, and never passed over."""

import subprocess

import against
import pytest
import tree


def git(folder, *words):
    subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@example.net", "-C", folder,
                    *words], check=True, capture_output=True)


@pytest.fixture
def history(tmp_path, monkeypatch, write):
    """A repository of two commits; the tools are in it."""
    git(tmp_path, "init", "-q", "whole")
    for content in ("one\n", "two\n"):
        write("whole/a.txt", content)
        git(tmp_path / "whole", "add", "a.txt")
        git(tmp_path / "whole", "commit", "-q", "-m", content.strip())
    monkeypatch.setattr(tree, "ROOT", tmp_path / "whole")
    monkeypatch.setattr(against, "FOLDER", tmp_path / "against")
    return tmp_path


def test_the_revision_is_built_as_it_was(history, monkeypatch):
    built = []

    def build(kind, *targets, log, root):
        built.append(((root / "a.txt").read_text(), kind, targets))
        return True, ""

    monkeypatch.setattr(tree, "build", build)
    folder = against.build("HEAD~1", "a", "b")
    assert folder == history / "against" / against.commit_of("HEAD~1") / "tree/build/dev"
    assert built == [("one\n", "dev", ("a", "b"))]


def test_a_build_that_fails_is_told(history, monkeypatch):
    monkeypatch.setattr(tree, "build", lambda *_, **__: (False, "no compiler"))
    with pytest.raises(against.Missing, match="HEAD does not build here:\nno compiler"):
        against.build("HEAD")


def test_a_shallow_clone(history, monkeypatch):
    first = against.commit_of("HEAD~1")
    git(history, "clone", "-q", "--depth=1", f"file://{history}/whole", "shallow")
    monkeypatch.setattr(tree, "ROOT", history / "shallow")
    with pytest.raises(against.Missing, match="shallow clone; `git fetch --unshallow` brings"):
        against.build(first)


def test_no_such_commit_and_no_history(history, monkeypatch):
    with pytest.raises(against.Missing, match="nobody names no commit in the history of "):
        against.build("nobody")
    monkeypatch.setattr(tree, "ROOT", history)
    with pytest.raises(against.Missing, match="has no git history; use a clone"):
        against.build("HEAD")
