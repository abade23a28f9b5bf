# SPDX-License-Identifier: Apache-2.0
"""How the client behaves: what it says when something is wrong, exit codes, endless commands,
terminals, files."""

import contextlib
import json
import os
import pty
import re
import select
import shlex
import shutil
import signal
import socket
import subprocess
import time

import pytest
import yaml

from conftest import CLIENT, TIMEOUT_S, answer, blocks, refusal, say
from lab.described import fields, undescribed

STATUS = {"node": "edge1", "site": "fra", "version": "0.1.0", "uptime_ms": 1000, "sequence": 1,
          "applied": 1, "configured": True, "services": [], "backends": [],
          "alarms": [{"code": "store.failed", "text": "trouble", "advice": "wait"}]}


def follow(*items):
    """Serve a stream: these items, then silence until the client goes."""
    def serve(connection, requests):
        next(requests)
        for item in items:
            connection.sendall(answer(item))
        next(requests, None)
    return serve


# ── no daemon ───────────────────────────────────────────────────────────────────────────────────

def nothing_answers(path):
    return (f"fairlead: nothing answers on {path}: is `fairlead run` running? --socket names "
            "another place\n")


def test_no_socket(client, daemon):
    done = client("status")
    assert (done.returncode, done.stdout, done.stderr) == (1, "", nothing_answers(daemon.path))


def test_stale_socket(client, daemon):
    left = socket.socket(socket.AF_UNIX)
    left.bind(daemon.path)
    left.close()
    done = client("status")
    assert (done.returncode, done.stderr) == (1, nothing_answers(daemon.path))


def test_socket_option_wins(client, daemon):
    daemon(say(answer(STATUS)))
    done = client("status", "--socket", "/nowhere/else")
    assert done.stderr == nothing_answers("/nowhere/else")


def test_default_socket(environment):
    done = subprocess.run(["unshare", "--mount", "sh", "-c",
                           'mount -t tmpfs none /run && exec "$0" status', CLIENT],
                          env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, nothing_answers("/run/fairlead/fairlead.sock"))


def test_path_too_long(client):
    done = client("status", "--socket", "/" + "x" * 108)
    assert done.returncode == 2
    assert done.stderr.endswith("the path of a Unix socket has at most 107 bytes\n")


def test_not_root(client, daemon, tmp_path):
    daemon(say(answer(STATUS)))
    os.chmod(daemon.path, 0o600)
    for folder in [tmp_path, *tmp_path.parents]:
        os.chmod(folder, os.stat(folder).st_mode | 0o011)
    # A clone may lie where nobody but root comes in.
    program = shutil.copy(CLIENT, tmp_path / "fairlead")
    done = client("status", program=program, user=65534)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (f"fairlead: {daemon.path}: only root may ask the daemon; try again "
                           "with sudo\n")


# ── what the daemon says ────────────────────────────────────────────────────────────────────────

def test_refusal(client, daemon):
    daemon(say(refusal("FL_ENOTFOUND", 'there is no service "web"')))
    done = client("rollback", "web")
    assert (done.returncode, done.stdout, done.stderr) == (
        1, "", 'fairlead: there is no service "web"\n')


def test_refused_usage(client, daemon):
    daemon(say(refusal("FL_EUSAGE", "there is no kind frobs")))
    assert client("get", "frobs").returncode == 2


def test_findings_keep_their_place_in_the_line(client, daemon, tmp_path):
    """Editors look for file:line:column at the beginning of a line."""
    path = tmp_path / "a.yaml"
    path.write_text("fabric: [\n")
    text = "a.yaml:1:9: error: wrong\n    1 | fabric: [\n      |         ^"
    daemon(say(refusal("FL_EINVALID", text)))
    done = client("apply", path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == text + "\nfairlead: the file is not valid; nothing was changed\n"


@pytest.mark.parametrize("lines, sentence", [
    ([b"hello\n"], "the daemon's answer is not JSON: "),
    ([b"[]\n"], "the daemon's answer is not a JSON object"),
    ([b"{}\n"], "the daemon's answer has neither data nor error"),
    ([b'{"error": {}}\n'], "the daemon refused and did not say why"),
    ([b'{"error": {"code": "NEVER_HEARD", "text": "odd"}}\n'], "odd"),
    ([b'{"data": {}'], "the daemon went away before it answered"),
    ([], "the daemon went away before it answered"),
])
def test_broken_answer(client, daemon, lines, sentence):
    daemon(say(*lines))
    done = client("status")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"fairlead: {sentence}")
    assert done.stderr.count("\n") == 1


def test_lost_change(client, daemon):
    daemon(say())
    done = client("rollback", "web")
    assert (done.returncode, done.stderr) == (
        1, "fairlead: the daemon went away: the change may or may not be committed; look at "
        "`fairlead log`\n")


def test_closed_while_sending(client, daemon, tmp_path):
    """The daemon says what is wrong with a request, and hangs up before it has read it all."""
    path = tmp_path / "big.yaml"
    path.write_text("#" * 4000000 + "\n")

    def serve(connection, _requests):
        connection.recv(1000)
        connection.sendall(refusal("FL_ELIMIT", "too long for me"))
    daemon(serve)
    done = client("apply", path)
    assert done.returncode == 1
    assert done.stderr in ("fairlead: too long for me\n",
                           "fairlead: the daemon went away: the change may or may not be "
                           "committed; look at `fairlead log`\n")


def test_answer_in_pieces(client, daemon):
    whole = answer(STATUS)

    def serve(connection, requests):
        next(requests)
        for byte in range(len(whole)):
            connection.sendall(whole[byte:byte + 1])
    daemon(serve)
    done = client("status", "-o", "json")
    assert (done.returncode, json.loads(done.stdout)) == (0, STATUS)


def test_large_answer(client, daemon):
    data = {"file": "x" * 3000000 + "\n"}
    daemon(say(answer(data)))
    assert client("get").stdout == data["file"]


# ── files ───────────────────────────────────────────────────────────────────────────────────────

def test_standard_input(client, daemon):
    node = daemon(say(answer({"text": "t\n", "warnings": ""})))
    done = client("plan", "-", input="fabric: \"ä\"\n")
    assert (done.returncode, done.stdout) == (0, "t\n")
    assert node.requests[0]["parameters"] == {"file": "standard input", "text": 'fabric: "ä"\n'}


def test_empty_file_travels(client, daemon, tmp_path):
    (tmp_path / "empty").write_text("")
    node = daemon(say(refusal("FL_EINVALID", "empty")))
    client("apply", tmp_path / "empty")
    assert node.requests[0]["parameters"]["text"] == ""


@pytest.mark.parametrize("content, place", [
    (b"fabric: a\nzone: \xff\n", ":2:7: error: "),
    (b"fabric: a\x00\n", ":1:10: error: "),
])
@pytest.mark.parametrize("command", ["plan", "apply", "validate"])
def test_not_text(client, tmp_path, command, content, place):
    """Found before the daemon is asked, in the same words as `validate` has for it."""
    path = tmp_path / "a.yaml"
    path.write_bytes(content)
    done = client(command, path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"{path}{place}")
    assert client("validate", path).stderr.rstrip("\n") in done.stderr


@pytest.mark.parametrize("command", ["plan", "apply", "validate"])
def test_no_file(client, command):
    done = client(command, "/nowhere.yaml")
    assert (done.returncode, done.stdout, done.stderr) == (
        1, "", "fairlead: /nowhere.yaml: cannot open: No such file or directory\n")


@pytest.mark.parametrize("command", ["plan", "apply", "validate"])
def test_folder(client, command, tmp_path):
    assert client(command, tmp_path).stderr == (
        f"fairlead: {tmp_path}: cannot read: Is a directory\n")


@pytest.mark.parametrize("command", ["plan", "apply", "validate"])
def test_file_too_large(client, command, tmp_path):
    path = tmp_path / "big.yaml"
    path.write_bytes(b"#" * (4 * 1024 * 1024 + 1))
    assert client(command, path).stderr == (
        f"fairlead: {path}: larger than the limit of 4194304 bytes\n")


def test_request_too_large(client, daemon, tmp_path):
    """Line ends double in JSON."""
    path = tmp_path / "big.yaml"
    path.write_bytes(b"\n" * (4 * 1024 * 1024))
    node = daemon(say())
    done = client("apply", path)
    assert done.returncode == 1
    assert re.fullmatch(r"fairlead: the request has \d+ bytes, but the daemon takes at most "
                        r"8388608\n", done.stderr)
    assert node.requests == []


# ── output ──────────────────────────────────────────────────────────────────────────────────────

def test_full_disk(daemon, start):
    daemon(say(answer(STATUS)))
    with open("/dev/full", "w") as full:
        process = start("status", stdout=full)
        _, messages = process.communicate(timeout=TIMEOUT_S)
    assert (process.returncode, messages) == (
        1, "fairlead: cannot write the answer: No space left on device\n")


def on_terminal(start, *words, **environment):
    """What a terminal would get, and the exit code."""
    ours, theirs = pty.openpty()
    try:
        process = start(*words, stdout=theirs, **environment)
        os.close(theirs)
        shown = b""
        while True:
            try:
                piece = os.read(ours, 65536)
            except OSError:  # the other side is closed
                break
            if not piece:
                break
            shown += piece
        return shown.decode().replace("\r\n", "\n"), process.wait(TIMEOUT_S)
    finally:
        os.close(ours)


def plain(text):
    return re.sub(r"\x1b\[\d+m", "", text)


def test_color_on_a_terminal(client, daemon, start, golden):
    daemon(say(answer(STATUS)))
    shown, code = on_terminal(start, "status")
    assert code == 0
    golden("status_color.txt", shown)
    assert "\x1b[31mtrouble\x1b[0m" in shown
    assert plain(shown) == client("status").stdout


@pytest.mark.parametrize("words, variables", [
    (["status", "--no-color"], {}),
    (["status"], {"NO_COLOR": "1"}),
    (["status"], {"TERM": "dumb"}),
    (["status", "-o", "json"], {}),
    (["status", "-o", "yaml"], {}),
])
def test_no_color(daemon, start, environment, words, variables):
    daemon(say(answer(STATUS)))
    shown, code = on_terminal(start, *words, env={
        **environment, "FAIRLEAD_SOCKET": daemon.path, **variables})
    assert code == 0 and "trouble" in shown and "\x1b" not in shown


def test_empty_no_color_is_none(daemon, start, environment):
    """https://no-color.org: when present and not an empty string."""
    daemon(say(answer(STATUS)))
    shown, _ = on_terminal(start, "status", env={
        **environment, "FAIRLEAD_SOCKET": daemon.path, "NO_COLOR": ""})
    assert "\x1b[31m" in shown


# ── endless commands ────────────────────────────────────────────────────────────────────────────

EVENTS = [
    {"time": "2026-11-22T07:31:04.123Z", "event": "apply", "sequence": 9, "who": "alice",
     "why": "web4 in", "what": {"published": [{"service": "web", "version": 2}], "removed": []}},
    {"time": "2026-11-22T07:31:05.000Z", "event": "transition", "sequence": 10,
     "who": "fairlead", "why": "", "what": {"service": "web", "transitions": [
         {"kind": "version", "event": "confirm", "version": 2}]}},
    {"time": "2026-11-22T07:31:05.500Z", "event": "transition", "sequence": 11,
     "who": "fairlead", "why": "due of 6 services, each for its own reason", "what": {"services": [
         {"service": name, "transitions": [
             {"kind": "version", "event": "start", "version": 2}]} for name in
         ("web", "api", "mail", "shop", "wiki", "chat")]}},
    {"time": "2026-11-22T07:31:06.000Z", "event": "dns.published", "serial": 12,
     "note": "two\nlines"},
]


@pytest.mark.parametrize("form", ["table", "json", "jsonl", "yaml"])
def test_events(client, daemon, golden, form):
    node = daemon(say(*map(answer, EVENTS)))
    done = client("events", "--watch", "-o", form)
    assert node.requests == [{"verb": "events", "parameters": {}}]
    golden(f"events.{form}", done.stdout)
    # They have no end of their own.
    assert done.returncode == 1
    if form == "table":
        assert done.stderr == "fairlead: the daemon went away\n"
    else:
        assert json.loads(done.stderr)["error"] == {"code": "ECONNRESET",
                                                    "text": "the daemon went away"}


def test_an_event_is_what_the_help_describes():
    *known, later_release = EVENTS
    assert not undescribed(known, fields(CLIENT, "events"))
    assert undescribed(later_release, fields(CLIENT, "events"))


def test_event_is_shown_at_once(daemon, start):
    daemon(follow(EVENTS[0]))
    assert start("events").stdout.readline().startswith("07:31:04 apply: publish web/2 ")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("words", [["events"], ["status", "--watch"]], ids=" ".join)
def test_interrupt_ends_well(daemon, start, number, words):
    daemon(follow(STATUS))
    process = start(*words)
    assert process.stdout.readline()
    process.send_signal(number)
    _, messages = process.communicate(timeout=TIMEOUT_S)
    assert (process.returncode, messages) == (0, "")


def test_interrupt_while_nothing_happens(daemon, start):
    node = daemon(follow())
    process = start("events")
    while not node.requests:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    assert process.wait(TIMEOUT_S) == 0


def test_interrupt_while_the_queue_is_full(daemon, start):
    """A daemon that is stopped accepts nobody, and in time its queue takes nobody either."""
    with socket.socket(socket.AF_UNIX) as listener, contextlib.ExitStack() as queue:
        listener.bind(daemon.path)
        listener.listen(0)
        with pytest.raises(BlockingIOError):
            while True:
                one = queue.enter_context(socket.socket(socket.AF_UNIX))
                one.setblocking(False)
                one.connect(daemon.path)
        process = start("status", "--watch")
        while not blocks(process, signal.SIGINT):
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, messages = process.communicate(timeout=TIMEOUT_S)
        assert (process.returncode, messages) == (0, "")


def test_interrupted_change_is_not_taken_for_done(daemon, start):
    """The signal itself ends it, so that the shell sees an interrupted command."""
    node = daemon(follow())
    process = start("rollback", "web")
    while not node.requests:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    assert process.wait(TIMEOUT_S) == -signal.SIGINT


def test_nobody_reads(daemon, start):
    """As in `fairlead events | head -1`: it ends before there is another event."""
    daemon(follow(EVENTS[0]))
    process = start("events")
    assert process.stdout.readline()
    process.stdout.close()
    assert process.wait(TIMEOUT_S) == 0
    assert process.stderr.read() == ""


def test_change_is_waited_for_though_nobody_reads(daemon, start):
    """Whoever runs `fairlead rollback web | true` must still learn from the exit code."""
    told = {"now": False}

    def serve(connection, requests):
        next(requests)
        # The reader has gone by now; only the exit code can tell.
        while not told["now"]:
            time.sleep(0.01)
        connection.sendall(refusal("FL_ESTATE", "no"))
    node = daemon(serve)
    process = start("rollback", "web")
    process.stdout.close()
    while not node.requests:
        time.sleep(0.01)
    assert not select.select([process.stderr], [], [], 0.3)[0] and process.poll() is None
    told["now"] = True
    assert process.wait(TIMEOUT_S) == 1


def test_watch_asks_again(daemon, start):
    count = iter(range(1, 100))

    def serve(connection, requests):
        for _ in requests:
            connection.sendall(answer({"entries": next(count), "digest": "d"}))
    daemon(serve)
    process = start("verify", "--watch", "-o", "jsonl")
    lines = [json.loads(process.stdout.readline())["entries"] for _ in range(3)]
    process.send_signal(signal.SIGINT)
    assert process.wait(TIMEOUT_S) == 0
    assert lines == [1, 2, 3]


def test_watch_outlives_the_daemon(daemon, start):
    """As when the daemon is upgraded: it says that nothing answers, and asks on."""
    first = daemon(say(answer({"entries": 1})))
    process = start("verify", "--watch", "-o", "jsonl")
    assert json.loads(process.stdout.readline()) == {"entries": 1}
    first.close()
    os.unlink(daemon.path)
    told = json.loads(process.stderr.readline())["error"]
    assert f"fairlead: {told['text']}\n" == nothing_answers(daemon.path)
    second = daemon(say(answer({"entries": 2})))
    assert json.loads(process.stdout.readline()) == {"entries": 2}
    process.send_signal(signal.SIGINT)
    assert process.wait(TIMEOUT_S) == 0
    assert second.requests


def test_watch_redraws_a_terminal(daemon, start):
    """Home, clear, and the screen anew; nothing scrolls."""
    daemon(say(answer(STATUS)))
    ours, theirs = pty.openpty()
    process = start("status", "--watch", stdout=theirs)
    os.close(theirs)
    shown = b""
    while shown.count(b"trouble") < 2:
        shown += os.read(ours, 65536)
    process.send_signal(signal.SIGINT)
    assert process.wait(TIMEOUT_S) == 0
    os.close(ours)
    before, first, second = shown.split(b"\x1b[H\x1b[J")[:3]
    assert before == b"" and first == second and b"trouble" in first


def test_lab_is_a_program_of_its_own(tmp_path):
    """It is looked for beside the program that was asked, then in $PATH."""
    program = shutil.copy(CLIENT, tmp_path)

    def list_labs(**environment):
        return subprocess.run([program, "lab", "status", "-o", "json"], env=environment, check=False,
                              capture_output=True, text=True, timeout=TIMEOUT_S)
    done = list_labs(PATH=str(tmp_path))
    assert done.returncode == 1
    assert "fairlead-lab" in done.stderr and "$PATH" in done.stderr
    assert list_labs(PATH=str(CLIENT.parent)).returncode == 0
    shutil.copy(CLIENT.parent / "fairlead-lab", tmp_path)
    assert list_labs(PATH="/nowhere").returncode == 0


@pytest.mark.parametrize("words", [["verify", "-o", "json"], ["-o", "json", "verify"],
                                   ["verify", "nonsense", "-ojson"], ["verfy", "--output=json"],
                                   ["verify", "--output", "jsonl"]], ids=" ".join)
def test_errors_are_json_where_answers_are(client, daemon, words):
    """On standard error, and with the same exit status; a mistake before -o is told so, too."""
    done = client(*words)
    told = json.loads(done.stderr)["error"]
    assert not done.stdout and told["text"]
    is_usage = told["code"] == "FL_EUSAGE"
    assert is_usage == ("nonsense" in words or "verfy" in words)
    assert done.returncode == (2 if is_usage else 1)


def status_of(alarms=(), versions=(), backends=()):
    services = [{"name": "web", "removed": False, "ttl_s": 30, "rollout": {"service": "web"},
                 "versions": list(versions)}]
    return STATUS | {"alarms": list(alarms), "services": services, "backends": list(backends)}


def test_a_thousand_silent_backends_are_one_alarm(client, daemon):
    names = [f"web{number}" for number in range(1000)]
    many = status_of([{"code": "backend.silent", "severity": "alarm", "subject": f"backend/{name}",
                       "text": f"backend {name} is silent", "advice": f"bring {name} back"}
                      for name in names],
                     backends=[{"name": name, "address": "10.0.1.1", "silent": True,
                                "last_report_ms": 9000, "connections": None, "cut": 0}
                               for name in names])
    node = daemon(say(answer(many)))
    shown = client("status").stdout
    assert ("backend web0 is silent (backend.silent), and 999 more: web1, web2, web3, web4, …\n"
            "    bring web0 back\n") in shown
    assert shown.count("silent (") == 1 and "and 980 more; --all shows them" in shown
    assert len(shown.splitlines()) < 40
    node.close()
    os.unlink(daemon.path)
    daemon(say(answer(many)))
    everything = client("status", "--all").stdout
    assert everything.count("is silent (backend.silent)\n") == 1000
    assert "more" not in everything


@pytest.mark.parametrize("columns", [60, 80])
def test_a_status_fits_the_screen(client, daemon, environment, columns):
    """After a hundred rollouts; what does not fit stands below its row."""
    late = [f"198.51.100.{number}" for number in range(100)]
    version = {"service": "web", "number": 101, "state": "serving", "share": 1.0,
               "connections": 12, "new_flows": 34567, "late": 89, "late_addresses": late,
               "addresses": ["198.51.100.101", "2001:db8:f::101"]}
    backend = {"name": "web1", "address": "2001:db8:1::11", "silent": False,
               "last_report_ms": 300, "connections": 12, "cut": 0}
    environment["COLUMNS"] = str(columns)
    daemon(say(answer(status_of(versions=[version], backends=[backend]))))
    shown = client("status").stdout
    assert all(len(line) <= columns for line in shown.splitlines())
    for words in ("101", "serving", "100%", "34567", "198.51.100.101, 2001:db8:f::101; 100 late"):
        assert words in shown
    assert late[7] not in shown


@pytest.mark.parametrize("columns", [60, 80])
@pytest.mark.parametrize("words", [["rollout", "status"], ["status"], ["describe", "web"]])
def test_why_a_version_drains_fits_the_screen(client, daemon, environment, columns, words):
    version = {"service": "web", "number": 1, "state": "draining", "share": 0.0,
               "connections": None, "addresses": ["198.51.100.1"], "late_addresses": [],
               "waits": [{"reason": "connections", "text": "its connections have ended"}],
               "backends": [{"name": "web1", "connections": 2},
                            {"name": "web2", "connections": 0},
                            {"name": "web3", "connections": None, "doubt": "silent",
                             "why": "it does not report"}],
               "last_packet_ms": 12000, "cut_at": "2026-11-22T08:31:04.123Z", "cut_in_ms": 3552000}
    environment["COLUMNS"] = str(columns)
    daemon(say(answer({"rollout": [{"service": "web", "older": [version]}],
                       "status": status_of(versions=[version], backends=[]),
                       "describe": {"name": "web", "versions": [version]}}[words[0]])))
    shown = client(*words).stdout
    assert all(len(line) <= columns for line in shown.splitlines())
    assert ("web/1 drains until its connections have ended; web1 has 2, web3 is not known: it does "
            "not report; the last packet came 12 s ago; what is left is cut at 2026-11-22 "
            "08:31:04 UTC, in 59 min 12 s") in " ".join(shown.split())


def test_the_log_obeys_no_direction(client, daemon):
    """Bidirectional controls would have a terminal write something else than what is in the ledger."""
    entry = {"sequence": 1, "time": "2026-11-22T07:31:04.123Z", "node": "edge1", "who": "mallory",
             "why": "safe \u202egnp.exe\u2066 \u200f", "kind": "rollout.pause",
             "what": {"service": "web"}, "digest": "00"}
    shown = {}
    for form in "table", "yaml":
        node = daemon(say(answer([entry])))
        shown[form] = client("log", "-o", form).stdout
        node.close()
        os.unlink(daemon.path)
    assert "\\xe2\\x80\\xaegnp.exe\\xe2\\x81\\xa6 \\xe2\\x80\\x8f" in shown["table"]
    for text in shown.values():
        assert not set("\u202e\u2066\u200f") & set(text)
    assert yaml.safe_load(shown["yaml"])[0]["why"] == entry["why"]


# ── plans ───────────────────────────────────────────────────────────────────────────────────────

PLAN = {"plan": {"empty": False}, "empty": False, "text": "+ service web\n", "warnings": "",
        "expect": 12}


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "new's & own.yaml"
    path.write_text("fabric: example\n")
    return path


def test_a_plan_says_what_to_type(client, daemon, file):
    """A line for a shell, with the socket if it was typed, whatever the file's name."""
    daemon(say(answer(PLAN)))
    said = client("plan", file).stdout.splitlines()[-1]
    before, _, command = said.partition("to apply it: ")
    assert not before and shlex.split(command) == ["fairlead", "apply", "--expect", "12",
                                                   str(file)]
    said = client("plan", "--socket", daemon.path, "-").stdout.splitlines()[-1]
    assert said == f"to apply it: fairlead --socket {daemon.path} apply --expect 12 -"
    os.unlink(daemon.path)
    daemon(say(answer({**PLAN, "empty": True})))
    assert client("plan", file).stdout == "+ service web\n"


@pytest.mark.parametrize("reply, status", [
    (answer({**PLAN, "empty": True}), 0), (answer(PLAN), 2), (answer({}), 2), (answer(None), 2),
    (refusal("FL_EINVALID", "no"), 1), (refusal("FL_EUSAGE", "no"), 1), (b"nonsense\n", 1)])
def test_exit_code(client, daemon, file, reply, status):
    """2 is a difference and nothing else; what could not be found out is never 0."""
    node = daemon(say(reply))
    assert client("plan", "--exit-code", file).returncode == status
    assert "exit_code" not in node.requests[0]["parameters"]
    os.unlink(daemon.path)
    assert client("plan", "--exit-code", file).returncode == 1


@pytest.mark.parametrize("words", [["--exit-code", "--nonsense"], ["--nonsense", "--exit-code"],
                                   ["--exit-code", "too", "many"], ["--exit-code"],
                                   ["--exit-code=yes", "file"],
                                   ["--exit-code", "-o", "nonsense"]], ids=" ".join)
def test_exit_code_of_a_mistake(client, words):
    assert client("plan", *words).returncode == 1
    without = [word.replace("--exit-code=", "--nonsense=") for word in words
               if word != "--exit-code"]
    assert client("plan", *without).returncode == 2


def test_exit_code_when_nobody_reads(daemon, start, file):
    """A plan that was cut short is told by what it said."""
    daemon(say(answer({**PLAN, "text": "x\n" * 100000})))
    process = start("plan", "--exit-code", file)
    process.stdout.close()
    assert process.wait(TIMEOUT_S) == 2


def test_a_question_without_a_terminal(client, daemon, file):
    daemon(say(refusal("FL_ECONFIRM", "clients lose:\n  web\n")))
    done = client("apply", file)
    assert (done.returncode, done.stdout, done.stderr) == (
        1, "", "clients lose:\n  web\nfairlead: nothing was changed; say --yes to do it\n")
    done = client("apply", "-o", "json", file)
    assert done.returncode == 1 and json.loads(done.stderr)["error"]["code"] == "FL_ECONFIRM"


@pytest.mark.parametrize("word", ["y", "yes", "n", ""])
def test_the_answer_is_about_the_plan_that_was_shown(daemon, start, file, word):
    """`apply` is asked for its plan, shows it, and expects what it was made against."""
    replies = iter([refusal("FL_ECONFIRM", "not this\n"), answer({**PLAN, "dry_run": True}),
                    answer({**PLAN, "changed": True, "sequence": 13})])

    def serve(connection, requests):
        next(requests)
        connection.sendall(next(replies))
    node = daemon(serve)
    ours, theirs = pty.openpty()
    process = start("apply", "--no-wait", "--expect", "9", file, stdin=theirs, stderr=theirs)
    os.close(theirs)
    shown = b""
    while b"[y/N] " not in shown:
        shown += os.read(ours, 65536)
    assert shown == b"+ service web\r\nDo it? [y/N] "
    os.write(ours, word.encode() + b"\n")
    said, _ = process.communicate(timeout=TIMEOUT_S)
    os.close(ours)
    asked = [{key: value for key, value in request["parameters"].items()
              if key not in ("file", "text")} for request in node.requests]
    expected = [{"expect": 9}, {"expect": 9, "dry_run": True}]
    if word.startswith("y"):
        expected.append({"expect": 12, "yes": True})
        assert said == "+ service web\napplied as entry 13 of the ledger\n"
    assert asked == expected and process.returncode == (0 if word.startswith("y") else 1)
