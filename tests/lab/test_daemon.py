# SPDX-License-Identifier: Apache-2.0
"""The daemon and what can go wrong around it: each gives a precise error, and changes nothing."""
import json
import os
import re
import signal
import socket
import subprocess

import pytest

from lab import topology
from lab.host import LabError, wait_for

WEB = ("web1", "web2", "web3")
ZONE = topology.ZONE


@pytest.fixture(scope="module")
def lab(shared_lab):
    shared_lab.apply(shared_lab.fabric(WEB))
    shared_lab.wait_states("web", {1: "serving"})
    shared_lab.wait_landings()
    return shared_lab


def second_daemon(lab, dns, state=None):
    """`fairlead run` beside the first, with folders of its own but perhaps for the state."""
    folder = lab.directory("second")
    return lab.capsule.run(
        [lab.program, "run", "--node", "edge2", "--site", "fra", "--role", "names",
         "--state", state or folder / "state", "--run-dir", folder / "run",
         "--pins", lab.capsule.bpffs / "second", "--dns", dns], "edge", check=False, timeout=10)


def dig(lab, *words):
    return lab.capsule.run(["kdig", "+short", "+time=2", "+retry=0", *words], "client",
                           check=False).stdout.split()


def test_dns_is_taken(lab):
    """Port 53 has an owner: the error names address and port, and the owner keeps answering."""
    done = second_daemon(lab, topology.UPLINK.v4)
    assert done.returncode == 1
    assert f"{topology.UPLINK.v4} port 53" in done.stderr and "has it" in done.stderr
    assert dig(lab, f"@{topology.UPLINK.v4}", f"web.{ZONE}")


@pytest.mark.parametrize("closed, result", [
    ("0<&-", (0, "")), ("2>&-", (0, "")),
    (">&-", (1, "fairlead: cannot write the answer: Bad file descriptor\n"))])
def test_nothing_takes_the_place_of_a_closed_standard_file(lab, closed, result):
    """The connection to the daemon would be standard output, and the answer sent to it."""
    script = f'exec "$@" {closed}'
    done = lab.capsule.run(["sh", "-c", script, "sh", lab.program, "--socket", lab.socket, "status"],
                           check=False)
    assert (done.returncode, done.stderr) == result


@pytest.mark.parametrize("words, sentence", [
    (["--limit", "0"], "the log is shown by 1 to 1000 entries at once, not 0"),
    (["--limit", "1001"], "the log is shown by 1 to 1000 entries at once, not 1001"),
    (["--from", "0"], "the ledger has no entry 0: it begins with 1")])
def test_a_part_of_the_log_that_cannot_be_is_refused(lab, words, sentence):
    done = lab.cli.try_("log", *words)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"fairlead: {sentence}\n")


def test_the_state_folder_is_taken(lab):
    before = lab.cli("get", "-o", "yaml")
    done = second_daemon(lab, f"{topology.UPLINK.v4}@5353", lab.root / "edge/state")
    assert done.returncode == 1
    assert "edge/state" in done.stderr
    assert lab.cli("get", "-o", "yaml") == before


def test_missing_privileges(lab):
    """Run as nobody, the daemon says what it lacks, at once."""
    folder = lab.directory("nobody")
    os.chmod(folder, 0o777)
    done = lab.capsule.run(
        ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all",
         lab.program, "run", "--node", "edge2", "--site", "fra", "--role", "edge",
         "--state", folder / "state", "--run-dir", folder / "run",
         "--pins", lab.capsule.bpffs / "nobody", "--interface", "up0",
         "--source", topology.FABRIC.v4], "edge", check=False, timeout=10)
    assert done.returncode == 1
    assert any(word in done.stderr for word in ("root", "CAP_", "privilege", "permission"))


def test_the_socket_is_for_root_only(lab):
    """The one whose mode lets others in would let them change the fabric."""
    mode = os.stat(lab.socket).st_mode & 0o777
    assert mode & 0o077 == 0
    done = lab.capsule.run(
        ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all",
         lab.program, "--socket", lab.socket, "status"], check=False)
    assert done.returncode == 1
    assert str(lab.socket) in done.stderr


@pytest.mark.parametrize("server", [topology.UPLINK.v4, topology.UPLINK.v6])
@pytest.mark.parametrize("transport", ["+notcp", "+tcp"])
def test_names_over_both_families_and_transports(lab, server, transport):
    serving = lab.cli.status().services["web"].serving
    for kind, family in (("A", 4), ("AAAA", 6)):
        assert dig(lab, f"@{server}", transport, f"web.{ZONE}", kind) == [serving.address(family)]
    full = lab.capsule.run(["kdig", f"@{server}", transport, f"absent.{ZONE}", "A"],
                           "client").stdout
    assert "status: NXDOMAIN" in full and "SOA" in full


def test_what_get_prints_changes_nothing(lab):
    again = lab.write(lab.cli("get", "-o", "yaml"), "again.yaml")
    before = lab.cli.json("status")["sequence"]
    lab.cli("apply", again)
    assert lab.cli.json("status")["sequence"] == before


DNS = """\
dns:
  contact: dns.admin@example.net
  negative_ttl: 7s
  records:
    "@": {mx: 10 mail.example.net., txt: "v=spf1 -all", a: 203.0.113.80}
    web: {https: "1 . alpn=h2"}
    www: {cname: web, ttl: 1m}
    "*.dev": {txt: wild}
pools:
"""


def test_records_of_the_file_are_answered(lab):
    """Planned, applied, answered, printed as they can be read again, and taken back."""
    fabric = lab.write(lab.fabric(WEB).replace("pools:\n", DNS), "dns.yaml")
    planned = lab.cli("plan", fabric)
    assert "record @ mx" in planned and "record www cname" in planned and "version" not in planned
    lab.cli("apply", fabric)

    def told(name, kind):
        return lab.capsule.run(["kdig", f"@{topology.UPLINK.v4}", name, kind], "client").stdout
    wait_for(lambda: dig(lab, f"@{topology.UPLINK.v4}", ZONE, "MX") == ["10", "mail.example.net."],
             "the records", 5)
    soa = told(f"absent.{ZONE}", "A")
    assert f"dns\\.admin.example.net. {lab.cli.json('status')['sequence']}" in soa and " 7\n" in soa
    assert "203.0.113.80" in told(ZONE, "A") and '"v=spf1 -all"' in told(ZONE, "TXT")
    assert f"60\tIN\tCNAME\tweb.{ZONE}." in told(f"www.{ZONE}", "AAAA")
    assert '"wild"' in told(f"a.b.dev.{ZONE}", "TXT") and "alpn" in told(f"web.{ZONE}", "HTTPS")
    assert dig(lab, f"@{topology.UPLINK.v4}", f"web.{ZONE}", "A")
    counted = lab.cli.json("status")["dns"]["types"]
    assert counted["MX"]["data"] >= 1 and counted["A"]["nxdomain"] >= 1

    again = lab.write(lab.cli("get", "-o", "yaml"), "again.yaml")
    assert lab.cli.try_("plan", again).stdout == lab.cli.try_("plan", fabric).stdout
    assert "record" not in lab.cli("plan", again)
    bad = lab.write(fabric.read_text().replace("203.0.113.80", "198.51.100.7"), "pool.yaml")
    done = lab.cli.try_("apply", bad)
    assert done.returncode == 1 and "pool" in done.stderr and f"{bad}:" in done.stderr
    lab.apply(lab.fabric(WEB), "--yes")
    wait_for(lambda: not dig(lab, f"@{topology.UPLINK.v4}", ZONE, "MX"), "no records", 5)


def test_a_bad_file_changes_nothing(lab):
    before = lab.cli.json("status")["sequence"]
    bad = lab.write(lab.fabric(WEB).replace("site: fra", "site: mars"), "bad.yaml")
    done = lab.cli.try_("apply", bad)
    assert done.returncode == 1
    assert f"{bad}:" in done.stderr and "mars" in done.stderr and "^" in done.stderr
    assert lab.cli.json("status")["sequence"] == before


def test_a_file_of_another_fabric_is_refused(lab):
    """The wrong file at the wrong place is how one record is pushed everywhere in seconds."""
    before = lab.cli.json("status")["sequence"]
    foreign = lab.write(lab.fabric(WEB).replace("fabric: lab", "fabric: other"), "other.yaml")
    for verb in ("plan", "apply"):
        done = lab.cli.try_(verb, foreign)
        assert done.returncode == 1
        assert '"other"' in done.stderr and '"lab"' in done.stderr
    assert lab.cli.json("status")["sequence"] == before


def test_a_wrong_interface_ends_the_start(lab):
    """A fault of the options is for the supervisor to show, not for an alarm to whisper."""
    folder = lab.directory("wrong")
    done = lab.capsule.run(
        [lab.program, "run", "--node", "edge9", "--site", "fra", "--role", "edge",
         "--state", folder / "state", "--run-dir", folder / "run",
         "--pins", lab.capsule.bpffs / "wrong", "--interface", "nope0",
         "--source", topology.UPLINK.v4], "edge", check=False, timeout=10)
    assert done.returncode == 1
    assert "nope0" in done.stderr.splitlines()[-1]


def test_dry_run_changes_nothing(lab):
    before = lab.cli.json("status")["sequence"]
    said = lab.apply(lab.fabric(("web1",)), "--dry-run")
    assert "web" in said
    assert lab.cli.json("status")["sequence"] == before


def test_two_applies_at_once(lab):
    """Either both become versions, one after the other, or one is told that it came second. What
    is in force then is one of the two files as a whole, and the history tells of both."""
    files = [lab.write(lab.fabric((name,)), f"only-{name}.yaml") for name in ("web1", "web2")]
    began = lab.cli.status().services["web"].serving.number
    running = [lab.capsule.popen([lab.program, "--socket", lab.socket, "apply", file],
                                 stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                 stderr=subprocess.PIPE, text=True) for file in files]
    ended = [(*process.communicate(timeout=60), process.returncode) for process in running]
    succeeded = [file for file, (_, _, code) in zip(files, ended) if code == 0]
    assert succeeded, ended
    assert all(code in (0, 1) for _, _, code in ended)
    assert all("again" in err for _, err, code in ended if code == 1), ended
    lab.wait_states("web", {began + len(succeeded): "serving"})
    in_force = [backend["name"] for backend in lab.cli.json(
        "describe", f"version/web/{began + len(succeeded)}")["backends"]]
    assert in_force in [["web1"], ["web2"]]
    lab.cli("verify")
    lab.apply(lab.fabric(WEB))
    lab.wait_states("web", {began + len(succeeded) + 1: "serving"})


def test_events_tell_of_a_change(lab):
    with lab.capsule.popen([lab.program, "--socket", lab.socket, "events", "--watch", "-o",
                            "jsonl"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                           stderr=subprocess.PIPE) as watching:
        os.set_blocking(watching.stdout.fileno(), False)
        said = b""

        def told(word):
            nonlocal said
            said += watching.stdout.read() or b""
            return word in said
        number = lab.cli.status().services["web"].serving.number + 1
        # The stream has no greeting: change something until it is heard of.
        lab.apply(lab.fabric(WEB, weights={"web1": number + 20}))
        wait_for(lambda: told(b"serving"), "an event")
        for line in said.splitlines():
            json.loads(line)
        watching.terminate()
    lab.wait_states("web", {number: "serving"})


def test_readiness_is_told_to_systemd(lab):
    """READY=1 only when DNS answers; STOPPING=1 before the end; exit code 0."""
    path = str(lab.root / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind(path)
        notify.settimeout(10)
        lab.edge.stop()
        lab.edge.start(env={"NOTIFY_SOCKET": path})

        def wait_word(word):
            while word not in (said := notify.recv(4096).decode()):
                assert said
        wait_word("READY=1")
        assert dig(lab, f"@{topology.UPLINK.v4}", f"web.{ZONE}")
        assert lab.edge.stop() == 0
        wait_word("STOPPING=1")
    lab.edge.start()
    lab.wait_edge()


def test_stopping_the_daemon_stops_no_flow(lab):
    """SIGTERM leaves programs and maps; new flows are forwarded, too."""
    address = lab.cli.status().services["web"].serving.address(4)
    assert lab.edge.stop(signal.SIGTERM) == 0
    assert {lab.fetch(address)[0] for _ in range(30)} == set(WEB)
    lab.edge.start()
    lab.wait_edge()


def test_an_interface_vanishes_and_comes_back(lab):
    """Flows through it are lost with it; the daemon says so, lives on, and takes it back."""
    fabric, address = topology.FABRIC, lab.cli.status().services["web"].serving.address(6)
    lab.capsule.run(["ip", "-n", "net", "link", "delete", fabric.far])

    def missed():
        return any(fabric.interface in str(alarm) for alarm in lab.cli.status().alarms)
    wait_for(missed, "an alarm about the interface")
    assert dig(lab, f"@{topology.UPLINK.v4}", f"web.{ZONE}")
    topology.plug(lab.capsule, fabric)
    wait_for(lambda: lab.cli.status().interfaces.get(fabric.interface) == "native",
             "the interface to be taken back")
    wait_for(lambda: not missed(), "the alarm to end")

    def served():
        try:
            return lab.fetch(address, timeout=1)
        except OSError as failure:
            raise LabError(str(failure)) from failure
    wait_for(served, "flows to be forwarded again")


def served(lab, address):
    try:
        return lab.fetch(address, timeout=1)
    except OSError as failure:
        raise LabError(str(failure)) from failure


def test_a_source_that_vanishes_is_told(lab):
    fabric = topology.FABRIC
    told = f"source {fabric.v6} is not on this machine any more"

    def alarms():
        return "\n".join(lab.cli.status().alarms)
    assert "source" not in alarms()
    prefix = f"{fabric.v6}/64"
    lab.capsule.run(["ip", "addr", "del", prefix, "dev", fabric.interface], "edge")
    wait_for(lambda: told in alarms(), "the alarm for the source")
    lab.capsule.run(["ip", "addr", "add", prefix, "dev", fabric.interface, "nodad"], "edge")
    wait_for(lambda: "source" not in alarms(), "the alarm to end")
    address = lab.cli.status().services["web"].serving.address(4)
    wait_for(lambda: served(lab, address), "the way to the backends to be found again")


def detach(lab, pins, check=True):
    return lab.capsule.run(
        [lab.program, "detach", "--pins", pins, "--state", lab.root / "edge/state"], "edge",
        check=check)


def test_the_pins_are_taken(lab):
    """A second edge with a state of its own would withdraw all that the first one serves; detach
    would take it away under the daemon that runs."""
    folder = lab.directory("third")
    pins = lab.capsule.bpffs / "edge"
    done = lab.capsule.run(
        [lab.program, "run", "--node", "edge3", "--site", "fra", "--role", "edge",
         "--state", folder / "state", "--run-dir", folder / "run", "--pins", pins,
         "--interface", topology.UPLINK.interface, "--source", topology.FABRIC.v4], "edge",
        check=False, timeout=10)
    assert done.returncode == 1
    assert re.search(r"process \d+ \(fairlead\) holds it", done.stderr)
    done = detach(lab, pins, check=False)
    assert done.returncode == 1
    assert re.search(r"process \d+ \(fairlead\) holds it", done.stderr)
    assert lab.fetch(lab.cli.status().services["web"].serving.address(4))


def test_detach_takes_everything_away(lab):
    """The last test: nothing is forwarded after it."""
    pins = lab.capsule.bpffs / "edge"
    assert list(pins.rglob("*"))
    lab.edge.stop()
    nowhere = lab.capsule.bpffs / "egde"
    assert f"nothing of fairlead's is pinned below {nowhere}" in detach(lab, nowhere).stdout
    assert list(pins.rglob("*"))
    detach(lab, pins)
    assert f"nothing of fairlead's is pinned below {pins}" in detach(lab, pins).stdout
    for leg in (topology.UPLINK, topology.FABRIC):
        assert "xdp" not in lab.capsule.run(["ip", "link", "show", leg.interface], "edge").stdout
    assert not list(pins.rglob("*"))
