# SPDX-License-Identifier: Apache-2.0
"""Every answer in every form, from the daemon's JSON in answers/ to the output in output/."""

import json
import pathlib

import pytest
import yaml

from conftest import CLIENT, answer, say
from lab.described import fields, undescribed

HERE = pathlib.Path(__file__).resolve().parent

# (answer, the command's words, what the daemon must be asked)
CASES = [
    ("status", ["status"], {}),
    ("status_new", ["status"], {}),
    ("status_names", ["status"], {}),
    ("services", ["get", "services"], {"kind": "services"}),
    ("versions", ["get", "versions"], {"kind": "versions"}),
    ("backends", ["get", "backends"], {"kind": "backends"}),
    ("bindings", ["get", "bindings"], {"kind": "bindings"}),
    ("pools", ["get", "pools"], {"kind": "pools"}),
    ("sites", ["get", "sites"], {"kind": "sites"}),
    ("nodes", ["get", "nodes"], {"kind": "nodes"}),
    ("file", ["get"], {}),
    ("describe_service", ["describe", "service/web"], {"thing": "service/web"}),
    ("describe_version", ["describe", "version/web/2"], {"thing": "version/web/2"}),
    ("describe_backend", ["describe", "backend/web1"], {"thing": "backend/web1"}),
    ("describe_address", ["describe", "address/198.51.100.0"],
     {"thing": "address/198.51.100.0"}),
    ("odd_values", ["describe", "service/odd"], {"thing": "service/odd"}),
    ("rollouts", ["rollout", "status"], {}),
    ("plan", ["plan", "FILE"], {"file": "FILE", "text": "TEXT"}),
    ("plan_empty", ["plan", "FILE"], {"file": "FILE", "text": "TEXT"}),
    ("applied", ["apply", "FILE", "--message", "why not"],
     {"file": "FILE", "text": "TEXT", "message": "why not"}),
    ("applied_nothing", ["apply", "FILE"], {"file": "FILE", "text": "TEXT"}),
    ("applied_dry", ["apply", "--dry-run", "FILE"],
     {"file": "FILE", "text": "TEXT", "dry_run": True}),
    ("rolled_back", ["rollback", "web"], {"service": "web"}),
    ("rolled_back_published", ["rollback", "web"], {"service": "web"}),
    ("brought_back", ["rollback", "web", "--dry-run"], {"service": "web", "dry_run": True}),
    ("undone", ["undo", "17", "--no-wait"], {"entry": 17}),
    ("service_done", ["rollout", "pause", "web"], {"service": "web"}),
    ("service_same", ["rollout", "resume", "web"], {"service": "web"}),
    ("cut", ["rollout", "cut", "web/1"], {"version": "web/1"}),
    ("forgotten", ["backend", "forget", "web4", "--message=gone"],
     {"backend": "web4", "message": "gone"}),
    ("routing_status", ["routing", "status"], {}),
    ("routing_withheld", ["routing", "status"], {}),
    ("routing_config", ["routing", "config", "bird", "--as=64512", "--local-as", "64513"],
     {"program": "bird", "as": 64512, "local_as": 64513}),
    ("log", ["log", "--from", "1", "--limit=100"], {"from": 1, "limit": 100}),
    ("verified", ["verify"], {}),
    ("returned", ["doctor", "return-path", "--to", "192.0.2.10"],
     {"what": "return-path", "to": "192.0.2.10"}),
]
FORMS = ["table", "json", "jsonl", "yaml"]
LISTS = [["get", kind] for kind in ("services", "versions", "backends", "bindings", "pools",
                                    "sites", "nodes")] + [["rollout", "status"], ["log"]]


def content(name):
    return json.loads((HERE / "answers" / f"{name}.json").read_text())


def written(name):
    """The answer as one text, which also tells the order of its keys. Reals have nine digits."""
    return json.dumps(content(name)).replace("0.0500030517578125", "0.0500030518")


@pytest.fixture
def words_of(tmp_path):
    """The words with FILE replaced by a file that exists; the request likewise."""
    path = tmp_path / "fairlead.yaml"
    path.write_text("fabric: example\n")
    replaced = {"FILE": str(path), "TEXT": "fabric: example\n"}

    def replace(words, wanted):
        return ([replaced.get(word, word) for word in words],
                {key: replaced.get(value, value) for key, value in wanted.items()})
    return replace


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name, words, wanted", CASES, ids=[case[0] for case in CASES])
def test_answer(client, daemon, golden, words_of, name, words, wanted, form):
    words, wanted = words_of(words, wanted)
    node = daemon(say(answer(content(name))))
    done = client(*words, "-o", form)
    assert (done.returncode, done.stderr if name != "plan" else "") == (0, "")
    verb = " ".join(words[:2]) if words[0] in ("rollout", "backend", "routing") else words[0]
    assert node.requests == [{"verb": verb, "parameters": wanted}]
    # The file that the request names, where the answer says what to type.
    golden(f"{name}.{form}", done.stdout.replace(wanted.get("file", "FILE"), "FILE"))


@pytest.mark.parametrize("name, words, wanted", CASES, ids=[case[0] for case in CASES])
def test_json_is_the_answer(client, daemon, words_of, name, words, wanted):
    """Nothing is lost, added or reordered on the way to a program."""
    words, _ = words_of(words, wanted)
    daemon(say(answer(content(name))))
    shown = client(*words, "-o", "json").stdout
    assert json.dumps(json.loads(shown)) == written(name)


DESCRIBED = [("status", ["status"]), ("status_new", ["status"]), ("status_names", ["status"]),
             ("rollouts", ["rollout", "status"]), ("log", ["log"]), ("verified", ["verify"]),
             ("describe_service", ["get", "services"]), ("describe_version", ["get", "versions"]),
             ("describe_backend", ["get", "backends"]), ("describe_address", ["get", "bindings"]),
             ("file", ["get"]), ("plan", ["plan"]), ("plan_empty", ["plan"]),
             ("applied", ["apply"]), ("applied_nothing", ["apply"]), ("applied_dry", ["apply"]),
             ("rolled_back", ["rollback"]), ("rolled_back_published", ["rollback"]),
             ("brought_back", ["rollback"]), ("undone", ["undo"]),
             ("service_done", ["rollout", "pause"]), ("service_same", ["rollout", "resume"]),
             ("cut", ["rollout", "cut"]), ("forgotten", ["backend", "forget"]), ("returned", ["doctor"])]
DESCRIBED += [(kind, ["get", kind]) for kind in ("services", "versions", "backends", "bindings",
                                                 "pools", "sites", "nodes")]


@pytest.mark.parametrize("name, words", DESCRIBED, ids=[name for name, _ in DESCRIBED])
def test_an_answer_is_what_the_help_describes(name, words):
    assert not undescribed(content(name), fields(CLIENT, *words))


def test_jsonl_is_a_line_an_item(client, daemon):
    daemon(say(answer(content("log"))))
    lines = client("log", "-o", "jsonl").stdout.splitlines()
    assert [json.loads(line) for line in lines] == content("log")


def test_warnings_are_messages(client, daemon, words_of):
    words, _ = words_of(["plan", "FILE"], {})
    daemon(say(answer(content("plan"))))
    assert client(*words).stderr == content("plan")["warnings"]


def test_warnings_are_data_for_programs(client, daemon, words_of):
    words, _ = words_of(["plan", "FILE"], {})
    daemon(say(answer(content("plan"))))
    assert client(*words, "-o", "json").stderr == ""


@pytest.mark.parametrize("words", LISTS, ids=" ".join)
def test_empty_list(client, daemon, golden, words):
    daemon(say(answer([])))
    done = client(*words)
    assert (done.returncode, done.stderr) == (0, "")
    golden(f"empty_{words[-1]}.table", done.stdout)


@pytest.mark.parametrize("data", [{}, [], [{}], [[]], None, "text", 7, {"services": 7},
                                  {"services": [7]}, {"versions": [None]}, [None]],
                         ids=json.dumps)
@pytest.mark.parametrize("name, words, wanted", CASES, ids=[case[0] for case in CASES])
def test_odd_answer_does_no_harm(client, daemon, words_of, name, words, wanted, data):
    """A daemon of another release may leave anything out, or send something else."""
    words, _ = words_of(words, wanted)
    daemon(say(answer(data)))
    done = client(*words)
    assert (done.returncode, done.stderr) == (0, "")
    assert "(null)" not in done.stdout


def test_control_characters_are_shown_not_obeyed(client, daemon):
    daemon(say(answer(content("log"))))
    shown = client("log").stdout
    assert "\x1b" not in shown and r"\x1b[31mred\x1b[0m\nand a second line" in shown


@pytest.mark.parametrize("name", ["status", "odd_values", "log"])
def test_yaml_says_the_same_as_json(client, daemon, name):
    daemon(say(answer(content(name))))
    words = {"status": ["status"], "odd_values": ["describe", "x/y"], "log": ["log"]}[name]
    read = yaml.safe_load(client(*words, "-o", "yaml").stdout)
    assert json.dumps(read) == written(name)
