# SPDX-License-Identifier: Apache-2.0
"""Faults of the store and of the disk under one node: the daemon with the roles edge and names,
alone in a namespace. Whatever is lost or full, forwarding and answering go on, nothing that was
acknowledged is lost, orders are refused with the reason, and `status` says what to do.
docs/design/faults.md lists what each of them showed.
"""
import contextlib
import hashlib
import itertools
import json
import os
import pty
import shutil
import signal
import sqlite3
import subprocess

import pytest

from lab.host import LabError, wait_for
from lab.product import sentences
import test_daemon_alone as alone
from test_daemon_alone import NAMESPACE, Refused, fabric, service

GOOD_MS = 400

node = alone.node


@pytest.fixture
def faulty(node):
    """A node that calls a state good soon; `web` serves version 1, and the last good copy says so."""
    node.child = node.capsule.spawn("node", node.argv(), NAMESPACE,
                                    env={"FAIRLEAD_LAB_GOOD_MS": str(GOOD_MS)})
    node.wait()
    apply_and_serve(node, 1)
    wait_copy(node)
    return node


def apply_and_serve(node, version):
    node.apply(fabric(service("web", (("web1", 11, version), ("web2", 12)))))
    node.wait_versions("web", {version: "serving"})


def wait_copy(node):
    """Until the last good copy stands where the ledger does."""
    def stands():
        status = node.ask("status")
        return status["state"]["good_copy"] == status["sequence"] and status
    return wait_for(stands, "the last good copy")


def state(node):
    return node.folder / "state"


def contents(node, *names):
    """What the files hold; those that are not there have None."""
    return {name: hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else None
            for name in names for path in [state(node) / name]}


FILES = "store.db", "replica.good", "node.key", "mark"


def words_to_pinned(node):
    """The service addresses' words, as the program reads them: what is forwarded, and how."""
    path = next((node.capsule.bpffs / "node").rglob("addresses"))
    dump = node.capsule.run(["bpftool", "map", "dump", "pinned", path]).stdout
    return str(path), hashlib.sha256(dump.encode()).hexdigest()


def reboot(node):
    node.capsule.run([node.argv()[0], "detach", "--state", state(node), "--pins",
                      node.capsule.bpffs / "node"], NAMESPACE)


def alarms(node):
    return " ".join(sentences(node.ask("status")["alarms"]))


def assert_refuses(node, *words):
    """It answers, says why, and takes no order."""
    wait_for(lambda: node.resolve("web"), "the name")
    said = alarms(node)
    for word in words:
        assert word in said, said
    refused = node.refused("apply", file="f", text=fabric(service("web", (("web3", 13),))))
    assert refused.code == "FL_ESTATE"
    assert not node.ask("status")["state"]["writable"]
    assert node.ask("plan", file="f", text=fabric(service("web")))
    assert node.ask("log")
    return str(refused)


def assert_stands_in(node, origin, *words):
    """By what else there is, which is as new as what this node acknowledged."""
    refused = assert_refuses(node, *words, "nothing can be changed now",
                             "forwards and answers by")
    assert node.ask("status")["state"]["origin"] == origin
    for word in words:
        assert word in refused


# --- a store that cannot be used ---

def break_file(path):
    path.write_bytes(b"nothing that SQLite has ever written\n" * 500)


def break_half(path):
    path.write_bytes(path.read_bytes()[:len(path.read_bytes()) // 2])


def break_record(key, value):
    def break_it(path):
        with contextlib.closing(sqlite3.connect(path, timeout=5)) as store, store:
            assert store.execute("UPDATE record SET value = ? WHERE key = ?",
                                 (value, key)).rowcount
    return break_it


@pytest.mark.parametrize("damage, booted, words", [
    (break_file, False, ("the store is damaged", "put a backup in their place")),
    (break_file, True, ("the store is damaged",)),
    (break_half, False, ("the store is damaged",)),
    (break_record("config/fabric", b"fabric: ["), False, ("the stored configuration",)),
    (break_record("service/web", b'{"name": "web"}'), True, ("service/web",)),
    (break_record("ledger/head", b"{}"), False, ("head of the ledger",)),
], ids=["no store", "no store and no maps", "torn", "fabric", "service and no maps", "head"])
def test_a_damaged_store(faulty, damage, booted, words):
    """From the last good copy, whether the maps are there or not; and back when the store is."""
    before = faulty.resolve("web")
    assert before
    faulty.child.stop()
    path = state(faulty) / "store.db"
    backup = path.read_bytes()
    damage(path)
    kept = contents(faulty, *FILES)
    if booted:
        reboot(faulty)
    faulty.again()
    assert_stands_in(faulty, "last good copy", *words)
    assert faulty.resolve("web") == before
    assert faulty.ask("status")["addresses"] > 0
    assert contents(faulty, *FILES) == kept
    # A backup is put in its place, and nobody has to tell the daemon.
    path.with_suffix(".new").write_bytes(backup)
    path.with_suffix(".new").rename(path)
    wait_return(faulty)


def wait_return(node):
    """Until the daemon goes by its store again, and takes orders."""
    def returned():
        node.main = node.connect()
        return node.ask("status")["state"]["origin"] == "store"
    wait_for(returned, "the store to be used again", 20)
    apply_and_serve(node, 2)
    assert node.ask("verify")["sound"]
    assert not [alarm for alarm in sentences(node.ask("status")["alarms"]) if "backend" not in alarm]


def test_a_missing_store(faulty):
    """It is not taken for a new node's: no second ledger begins."""
    faulty.child.stop()
    path = state(faulty) / "store.db"
    path.rename(path.with_suffix(".away"))
    faulty.again()
    assert_stands_in(faulty, "last good copy", "store.db is missing")
    assert not path.exists()
    path.with_suffix(".away").rename(path)
    wait_return(faulty)


def test_everything_is_missing(faulty):
    """The maps know that this is no new node. What they say goes on, and nothing is answered."""
    faulty.child.stop()
    pinned = words_to_pinned(faulty)
    state(faulty).rename(state(faulty).with_suffix(".away"))
    faulty.again()
    status = faulty.ask("status")
    assert status["state"]["origin"] == "nothing" and not status["state"]["writable"]
    assert "store.db is missing" in alarms(faulty) and "fairlead detach" in alarms(faulty)
    assert not faulty.resolve("web") and words_to_pinned(faulty) == pinned
    assert not (state(faulty) / "store.db").exists()
    shutil.copytree(state(faulty).with_suffix(".away"), state(faulty), dirs_exist_ok=True)
    wait_return(faulty)


def test_a_copy_older_than_the_maps_withdraws_nothing(faulty):
    """What the maps know beyond the copy stays (invariant 6), and so does what landings do."""
    faulty.child.stop()
    older = (state(faulty) / "replica.good").read_bytes()
    faulty.again()
    apply_and_serve(faulty, 2)
    assert faulty.report("web1")
    faulty.child.stop()
    pinned = words_to_pinned(faulty)
    (state(faulty) / "replica.good").write_bytes(older)
    break_file(state(faulty) / "store.db")
    faulty.again()
    assert_refuses(faulty, "the store is damaged", "was acknowledged and is forwarded by")
    assert words_to_pinned(faulty) == pinned
    # It has another configuration than the one that this state says.
    assert not faulty.report("web1", generation="1" * 64)


# --- an older state is put back ---

def put_back(node, kept, what):
    if what == "folder":
        shutil.rmtree(state(node))
        kept.rename(state(node))
        return
    for name in ("store.db", "store.db-wal", "store.db-shm"):
        (state(node) / name).unlink(missing_ok=True)
        if (kept / name).exists():
            shutil.copy(kept / name, state(node) / name)


@pytest.mark.parametrize("what", ["database", "folder"])
def test_an_older_state_is_put_back(faulty, what):
    """By the mark beside it or in the maps the node knows that it did more than this state says:
    it leaves what is forwarded alone, takes no order, and overwrites nothing."""
    faulty.child.stop()
    kept = faulty.folder / "kept"
    shutil.copytree(state(faulty), kept)
    faulty.again()
    older = faulty.ask("status")["sequence"]
    apply_and_serve(faulty, 2)
    newer = wait_copy(faulty)["sequence"]
    faulty.child.stop()
    shutil.copytree(state(faulty), faulty.folder / "newest")
    pinned = words_to_pinned(faulty)
    put_back(faulty, kept, what)
    files = contents(faulty, *FILES)
    faulty.again()
    status = faulty.ask("status")
    assert status["state"]["origin"] == "store" and not status["state"]["writable"]
    assert status["state"]["acknowledged"] == newer and status["sequence"] == older < newer
    sentence = f"it ends at ledger entry {older}, and entry {newer} was acknowledged"
    refused = assert_refuses(faulty, sentence, "older than what this node does")
    assert sentence in refused and "fairlead store recover" in refused
    assert f"{newer - older} entries are missing" in refused
    assert faulty.refused("rollback", service="web").code == "FL_ESTATE"
    missing = faulty.refused("verify")
    assert f"entry {older + 1} is missing: the ledger ends at entry {older}" in str(missing)
    # For longer than a state needs to be called good.
    wait_for(lambda: faulty.ask("status")["uptime_ms"] > 4 * GOOD_MS, "time to pass")
    assert words_to_pinned(faulty) == pinned
    kept_files = [name for name in FILES[1:] if (name, what) != ("mark", "folder")]
    assert contents(faulty, *kept_files) == {name: files[name] for name in kept_files}
    # What the maps know is noted before a power loss makes them forget it.
    assert f"fairlead mark 1 {newer} ".encode() in (state(faulty) / "mark").read_bytes()
    # A kill and another start change nothing.
    faulty.child.stop(signal.SIGKILL)
    faulty.again()
    assert_refuses(faulty, sentence)
    # With the newest state all is well again.
    faulty.child.stop()
    shutil.rmtree(state(faulty))
    (faulty.folder / "newest").rename(state(faulty))
    faulty.again()
    assert faulty.ask("verify")["sound"]
    apply_and_serve(faulty, 3)


def test_an_older_state_and_nothing_forwards(faulty):
    """The only edge publishes what it has, rather than nothing, and says so."""
    faulty.child.stop()
    kept = faulty.folder / "kept"
    shutil.copytree(state(faulty), kept)
    faulty.again()
    apply_and_serve(faulty, 2)
    faulty.child.stop()
    reboot(faulty)
    put_back(faulty, kept, "database")
    faulty.again()
    assert_refuses(faulty, "older than what this node does")
    assert faulty.versions("web") == {1: "serving"} and faulty.ask("status")["addresses"] > 0
    # To go on from it, or from the copy in which a part of the missing entries is, is the operator's
    # decision.
    while faulty.ask("store recover", yes=True)["way"] == "copy":
        starts_anew(faulty)
        if faulty.ask("status")["state"]["writable"]:
            break
    wait_recovered(faulty)
    assert faulty.ask("verify")["sound"]


# --- going on from it ---

def older_state(node, what="database", boot=False):
    """Version 2 serves, is acknowledged and has a connection; the state is put back to before it.
    What `status` said before and after it."""
    node.child.stop()
    kept = node.folder / "kept"
    shutil.copytree(state(node), kept)
    node.again()
    before = node.ask("status")
    apply_and_serve(node, 2)
    newer = wait_copy(node)
    second = node.resolve("web")
    node.child.stop()
    if boot:
        reboot(node)
    put_back(node, kept, what)
    return before["sequence"], newer["sequence"], second


def starts_anew(node):
    """Until the daemon went through a whole start again in its process."""
    def anew():
        node.main = node.connect()
        return node.ask("status")["uptime_ms"] < before
    before = node.ask("status")["uptime_ms"]
    wait_for(anew, "the daemon to start anew", 20)


def wait_recovered(node):
    def recovered():
        node.main = node.connect()
        return node.ask("status")["state"]["writable"]
    wait_for(recovered, "orders to be taken", 20)
    assert "missing" not in alarms(node)


def test_recover_from_a_newer_copy(faulty):
    """The copy beside the store has what the mark names: nothing is lost."""
    older, newer, second = older_state(faulty)
    files = contents(faulty, *FILES)
    pinned = words_to_pinned(faulty)
    faulty.again()
    told = faulty.ask("store recover", dry_run=True)
    assert (told["way"], told["from"], told["entry"], told["lossless"]) == (
        "copy", "replica.good", newer, True)
    asked = faulty.refused("store recover")
    assert asked.code == "FL_ECONFIRM" and "nothing that this node acknowledged is lost" in str(asked)
    assert contents(faulty, *FILES[1:]) == {name: files[name] for name in FILES[1:]}
    assert words_to_pinned(faulty) == pinned
    assert faulty.ask("store recover", yes=True)["changed"]
    wait_recovered(faulty)
    assert faulty.ask("status")["sequence"] == newer and faulty.resolve("web") == second
    assert faulty.ask("verify")["sound"]
    aside, = state(faulty).glob("store.db.aside-*")
    with contextlib.closing(sqlite3.connect(aside)) as store:
        assert store.execute("SELECT max(key) FROM record WHERE key GLOB 'ledger/0*'"
                             ).fetchone()[0].endswith(f"{older:016}")
    apply_and_serve(faulty, 3)
    assert faulty.refused("store recover").code == "FL_ESTATE"


def wait_uptime(node, ms):
    """Until the daemon has run for so much longer."""
    before = node.ask("status")["uptime_ms"]
    wait_for(lambda: node.ask("status")["uptime_ms"] >= before + ms, "time to pass")


@pytest.mark.parametrize("boot", [False, True], ids=["maps", "booted"])
def test_recover_without_a_copy(faulty, boot):
    """Nothing holds the missing entries: what they gave out gets no second meaning."""
    older, newer, second = older_state(faulty, "folder", boot)
    if boot:  # of the mark it is only known that there was one
        (state(faulty) / "mark").write_bytes(b"nonsense")
    faulty.again()
    said = alarms(faulty)
    assert "fairlead store recover" in said, said
    told = faulty.ask("store recover", dry_run=True)
    assert (told["way"], told["entry"], told["lossless"]) == ("give up", older, False)
    if not boot:
        assert [one["address"] for one in told["withdrawn"]] == second
    assert "goes on from ledger entry" in told["text"]
    answer = faulty.ask("store recover", yes=True, message="it is lost")
    assert answer["changed"] and answer["sequence"] > newer + 900
    wait_recovered(faulty)
    assert faulty.ask("verify")["sound"]
    entries = faulty.ask("log", **{"from": older})
    assert [one["sequence"] for one in entries][:2] == [older, answer["sequence"]]
    assert entries[1]["what"]["after"] == older and entries[1]["why"] == "it is lost"
    assert faulty.versions("web") == {1: "serving"}
    if boot:
        refused = faulty.refused("apply", file="f", text=fabric(service("web", (("web3", 13),))))
        assert "rest for `quarantine`" in str(refused)
        return
    # The next version takes neither the number nor an address of the lost one.
    faulty.apply(fabric(service("web", (("web1", 11, 3), ("web2", 12)))))
    number = max(faulty.versions("web"))
    assert number > 2 + 900
    faulty.wait_versions("web", {number: "serving"})
    assert not set(faulty.resolve("web")) & set(second)

    def is_burned(address):
        with contextlib.closing(sqlite3.connect(state(faulty) / "store.db", timeout=5)) as store:
            row = store.execute("SELECT value FROM record WHERE key = 'placement/recovered'"
                                " ORDER BY mod_revision DESC LIMIT 1").fetchone()
            return address in json.loads(row[0])["addresses"]
    # A backend is silent, and then counts a connection there: the address stays held back.
    address, = second
    for _ in range(8):
        faulty.report("web1", [(address, 1)])
        faulty.report("web2")
        wait_uptime(faulty, 1000)
        assert is_burned(address)

    def is_freed():
        faulty.report("web1")
        faulty.report("web2")
        return not is_burned(address)
    wait_for(is_freed, "the address to be proven unused", 20)
    assert faulty.ask("log", limit=1)[0]["what"]["addresses"] == [address]
    faulty.child.stop(signal.SIGKILL)
    faulty.again()
    assert faulty.ask("status")["state"]["writable"] and faulty.ask("verify")["sound"]


def test_a_newer_copy_says_that_the_state_is_older(faulty):
    """Database and mark are put back and the machine booted: the copy alone knows better."""
    faulty.child.stop()
    mark = (state(faulty) / "mark").read_bytes()
    faulty.again()
    faulty.child.stop()
    older, newer, second = older_state_with_mark(faulty, mark)
    faulty.again()
    refused = assert_refuses(faulty, f"it ends at ledger entry {older}, and entry {newer}")
    assert "store recover" in refused
    faulty.ask("store recover", yes=True)
    wait_recovered(faulty)
    assert faulty.ask("status")["sequence"] == newer and faulty.resolve("web") == second


def older_state_with_mark(node, mark):
    node.again()
    found = older_state(node, "database", boot=True)
    (state(node) / "mark").write_bytes(mark)
    return found


# --- copies that cannot be used ---

def test_a_damaged_copy_and_a_sound_store(faulty):
    """Loudly: an event, an alarm; and the file is written anew."""
    faulty.child.stop()
    break_half(state(faulty) / "replica.good")
    faulty.again()
    assert faulty.ask("status")["state"]["origin"] == "store"
    wait_for(lambda: "copy.damaged" in faulty.child.log.read_text(), "the event")
    wait_copy(faulty)
    assert "damaged" not in alarms(faulty)
    apply_and_serve(faulty, 2)


def test_everything_is_damaged(faulty):
    """What is pinned goes on; the start fails with one sentence that tells of all of it."""
    faulty.child.stop()
    pinned = words_to_pinned(faulty)
    for name in ("store.db", "replica.good"):
        break_file(state(faulty) / name)
    kept = contents(faulty, *FILES)
    said = faulty.run()
    assert "the store is damaged" in said and "Nothing can stand in" in said
    assert "replica.good: the store is damaged" in said
    assert words_to_pinned(faulty) == pinned and contents(faulty, *FILES) == kept


# --- a state that crashes ---

def crash(node):
    """An unclean end soon after a start on the state as it is."""
    node.again()
    node.child.stop(signal.SIGKILL)


def set_good_ms(node, ms):
    node.child.options["env"] = {"FAIRLEAD_LAB_GOOD_MS": str(ms)}


@pytest.fixture
def crashed(faulty):
    """Version 2 is newer than the last good copy, and the daemon has crashed on it thrice."""
    faulty.child.stop()
    set_good_ms(faulty, 600_000)
    faulty.again()
    apply_and_serve(faulty, 2)
    faulty.child.stop(signal.SIGKILL)
    for _ in range(2):
        crash(faulty)
    return faulty


def test_three_crashes_on_a_newer_state(crashed):
    pinned = words_to_pinned(crashed)
    kept = contents(crashed, *FILES)
    crashed.again()
    status = crashed.ask("status")
    assert status["state"]["origin"] == "last good copy"
    assert "ended uncleanly 3 times in a row" in status["alarms"][0]["text"]
    assert "state.read-only" in crashed.child.log.read_text()
    assert crashed.versions("web") == {1: "serving"}
    wait_for(lambda: crashed.resolve("web"), "the name")
    refused = crashed.refused("rollback", service="web")
    assert refused.code == "FL_ESTATE" and "another build" in str(refused)
    # Flows of version 2 go on: the maps are newer, and were left alone.
    assert words_to_pinned(crashed) == pinned and contents(crashed, *FILES) == kept
    # A crash there changes nothing; an end in order means: try the newer state again.
    crashed.child.stop(signal.SIGKILL)
    crashed.again()
    assert crashed.ask("status")["state"]["origin"] == "last good copy"
    crashed.child.stop()
    crashed.again()
    assert crashed.ask("status")["state"]["origin"] == "store"
    assert crashed.versions("web")[2] == "serving"


def test_two_crashes_are_not_enough_and_clean_ends_count_nothing(faulty):
    faulty.child.stop()
    set_good_ms(faulty, 600_000)
    faulty.again()
    apply_and_serve(faulty, 2)
    for _ in range(4):
        faulty.child.stop()
        faulty.again()
    for _ in range(2):
        faulty.child.stop(signal.SIGKILL)
        faulty.again()
    assert faulty.ask("status")["state"]["origin"] == "store"


def test_crashes_after_a_good_while_count_nothing(faulty):
    for version in (2, 3, 4, 5):
        apply_and_serve(faulty, version)
        wait_copy(faulty)
        faulty.child.stop(signal.SIGKILL)
        faulty.again()
        assert faulty.ask("status")["state"]["origin"] == "store"


def test_crashes_on_a_state_that_was_good_change_nothing(faulty):
    """There is nothing to go back to: the last good one is what crashes."""
    set_good_ms(faulty, 600_000)
    for _ in range(5):
        faulty.child.stop(signal.SIGKILL)
        faulty.again()
    assert faulty.ask("status")["state"]["origin"] == "store"


SWEEP_MS = 0, 2, 5, 10, 15, 20, 25, 30, 40, 50, 60, 80, 100, 120, 150, 200, 300, 500


def starts(node):
    """What the daemon has written of how its starts ended."""
    return (state(node) / "starts").read_text()


def test_ends_on_a_signal_are_no_crashes(faulty):
    """However soon after the start it comes; once the program runs, it also ends well."""
    faulty.child.stop()
    set_good_ms(faulty, 600_000)
    faulty.again()
    apply_and_serve(faulty, 2)
    faulty.child.stop()
    assert "crashes 0" in starts(faulty)
    ends = []
    for delay_ms, how in zip(SWEEP_MS, itertools.cycle((signal.SIGTERM, signal.SIGINT,
                                                        signal.SIGQUIT))):
        before = starts(faulty)
        faulty.child.start()
        with contextlib.suppress(subprocess.TimeoutExpired):
            faulty.child.process.wait(delay_ms / 1000)
        ends.append(faulty.child.stop(how))
        assert "crashes 0" in starts(faulty), f"{delay_ms} ms: {starts(faulty)}"
        # The loader's milliseconds are nobody's to handle: no start is counted in them.
        assert ends[-1] == 0 or (ends[-1] == -how and starts(faulty) == before), (delay_ms, ends)
    assert ends[-1] == 0, ends
    faulty.again()
    assert faulty.ask("status")["state"]["origin"] == "store"


MEANINGLESS = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM, signal.SIGPIPE,
               signal.SIGVTALRM, signal.SIGIO, signal.SIGPWR, signal.SIGXFSZ, signal.SIGRTMIN,
               signal.SIGRTMAX)


def test_signals_that_mean_nothing_end_nothing(faulty):
    """Neither while it runs nor while it starts, once its program runs at all."""
    for how in MEANINGLESS:
        faulty.child.process.send_signal(how)
    assert faulty.ask("status")["state"]["origin"] == "store"
    faulty.child.stop()
    before = starts(faulty)
    faulty.child.start()
    wait_for(lambda: starts(faulty) != before, "the start to be counted")
    for how in MEANINGLESS:
        faulty.child.process.send_signal(how)
    faulty.wait()
    assert faulty.child.stop() == 0 and starts(faulty) == before
    faulty.again()


def test_a_terminal_closes(faulty):
    """Where somebody typed `fairlead run`, the daemon outlives the terminal: what it forwards and
    answers is not the terminal's."""
    faulty.child.stop()
    leader, terminal = pty.openpty()
    # A session's leader that opens a terminal gets it as its own.
    faulty.child.start(argv=["sh", "-c", 'exec "$@" <"$0" >"$0" 2>"$0"', os.ttyname(terminal),
                             *faulty.argv()])
    os.close(terminal)
    faulty.wait()
    os.close(leader)
    apply_and_serve(faulty, 2)
    assert faulty.child.stop() == 0


def test_another_program_may_be_the_cure(crashed):
    """An upgrade tries the newer state again at once."""
    crashed.child.argv[0] = crashed.child.argv[0].with_name("fairlead-next")
    crashed.again()
    assert crashed.ask("status")["state"]["origin"] == "store"


# --- disks that are full or take nothing ---

@pytest.fixture
def small(node):
    """The state folder on a disk of its own."""
    state(node).mkdir(parents=True)
    node.capsule.run(["mount", "-t", "tmpfs", "-o", "size=4m", "lab-disk", state(node)])
    node.child = node.capsule.spawn("node", node.argv(), NAMESPACE,
                                    env={"FAIRLEAD_LAB_GOOD_MS": str(GOOD_MS)})
    node.wait()
    apply_and_serve(node, 1)
    wait_copy(node)
    return node


def fill(node):
    """Leave not one byte on the disk."""
    with contextlib.suppress(OSError), open(state(node) / "filler", "ab", buffering=0) as filler:
        while True:
            filler.write(b"x" * 65536)
    with contextlib.suppress(OSError), open(state(node) / "filler", "ab", buffering=0) as filler:
        while True:
            filler.write(b"x")


def apply_until_full(node):
    """Versions one by one, until the disk takes no more; the last that was acknowledged."""
    acknowledged = 1
    for version in range(2, 60):
        try:
            apply_and_serve(node, version)
        except Refused as refused:
            assert refused.code == "ENOSPC", refused
            assert "the disk is full; nothing was changed" in str(refused)
            return acknowledged
        except LabError:  # it was acknowledged, and its transitions were not
            return version
        acknowledged = version
    raise AssertionError("the disk takes everything")


def test_a_disk_that_fills_up(small):
    """Orders are refused, names are answered; with room again, all goes on by itself."""
    fill(small)
    acknowledged = apply_until_full(small)
    before = small.resolve("web")
    assert before
    # Whatever still fits, an order at last does not.
    with pytest.raises(Refused) as refused:
        for weight in range(100, 140):
            small.apply(fabric(service("web", (("web1", 11, weight), ("web2", 12)))))
            acknowledged += 1
    assert refused.value.code == "ENOSPC"
    wait_for(lambda: any("the store takes no changes" in alarm and "Make room" in alarm
                         for alarm in sentences(small.ask("status")["alarms"])), "the alarm")
    assert small.resolve("web")
    log = small.child.log.read_text()
    assert log.count("store.failed") < 5, "the log is filled with one failure"
    numbers = small.versions("web")
    assert max(numbers) == acknowledged
    (state(small) / "filler").unlink()
    wait_for(lambda: not any("store" in alarm for alarm in sentences(small.ask("status")["alarms"])),
             "the alarm to end")
    assert small.versions("web").keys() >= {acknowledged}
    small.apply(fabric(service("web", (("web1", 11, 255), ("web2", 12)))))
    small.wait_versions("web", {acknowledged + 1: "serving"})
    assert small.ask("verify")["sound"]
    wait_copy(small)


@pytest.mark.parametrize("booted", [False, True], ids=["pinned", "rebooted"])
def test_a_start_on_a_full_disk(small, booted):
    before = small.resolve("web")
    small.child.stop()
    fill(small)
    if booted:
        reboot(small)
    small.again()
    wait_for(lambda: small.resolve("web") == before, "the name")
    with pytest.raises(Refused) as refused:
        for weight in range(100, 140):
            small.apply(fabric(service("web", (("web1", 11, weight), ("web2", 12)))))
    assert refused.value.code in ("FL_ESTATE", "ENOSPC") and "full" in str(refused.value)
    assert any("full" in alarm for alarm in sentences(small.ask("status")["alarms"]))
    (state(small) / "filler").unlink()
    wait_return(small)


@pytest.mark.parametrize("booted", [False, True], ids=["pinned", "rebooted"])
def test_a_start_on_a_read_only_disk(small, booted):
    before = small.resolve("web")
    small.child.stop()
    if booted:
        reboot(small)
    small.capsule.run(["mount", "-o", "remount,ro", state(small)])
    small.again()
    assert_stands_in(small, "read-only store", "the file system is read-only", "fsck")
    assert small.resolve("web") == before
    small.capsule.run(["mount", "-o", "remount,rw", state(small)])
    wait_return(small)
