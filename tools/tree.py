# SPDX-License-Identifier: Apache-2.0
"""What the tools share: the list of the tree's files, build directories, and running a program so
that it cannot outlive or outstay its caller."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
LOGS = ROOT / "build" / "test"

# Limits find what hangs, not what is slow. So each is several times what the work takes on an idle
# machine: the same may go on in a second checkout, with all processors taken.
BUILD_TIMEOUT_S = 3600

# Runs a command in a network of its own, which has a loopback and nothing else. Ports and abstract
# sockets, by which labs have their names, then mean the same in every checkout.
IN_OWN_NETWORK = ["unshare", "--net", "--", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]

# Children run in sessions of their own, so that a time-out can end whatever they started; hence
# an interrupted caller has to pass the interruption on itself.
_running = set()
_running_lock = threading.Lock()
_ending = threading.Event()


def jobs():
    return int(os.environ.get("JOBS") or os.cpu_count() or 1)


def files(root=ROOT):
    """Paths, relative to root, of the tree's own files: tracked ones and new ones that git does
    not ignore. A tree that is not a git work tree counts whole, but for build/."""
    listing = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files", "-z", "-co", "--exclude-standard"],
        cwd=root, capture_output=True, check=False)
    if listing.returncode == 0:
        names = {name for name in listing.stdout.decode().split("\0") if name}
    else:
        names = {str(path.relative_to(root)) for path in root.rglob("*")}
        names = {name for name in names if not name.startswith((".git/", "build/"))}
    return sorted(name for name in names if (root / name).is_file())


class Finished:
    """How a program ended: its exit code (negative: the signal), output, and what was wrong with
    the way it ended, or ''."""

    def __init__(self, code, output, seconds, fault):
        self.code = code
        self.output = output
        self.seconds = seconds
        self.fault = fault


def _signal_group(process, number):
    try:
        os.killpg(process.pid, number)
        return True
    except ProcessLookupError:
        return False


def _end(process, patience_s=30):
    """Interrupt, so that a lab can take its namespaces down; kill what does not listen."""
    _signal_group(process, signal.SIGINT)
    try:
        process.wait(patience_s)
    except subprocess.TimeoutExpired:
        pass
    _signal_group(process, signal.SIGKILL)
    process.wait()


def end_all():
    """End what runs, and let nothing begin any more, in whatever thread."""
    with _running_lock:
        _ending.set()
        processes = list(_running)
    for process in processes:
        _end(process)


class _Interruption:
    """SIGINT or SIGTERM, which ends the main thread's work by an exception between any two steps,
    but not while this is entered: a program that was begun and not yet noted would be forgotten."""

    def __init__(self):
        self.is_held, self.waits = False, False

    def arrive(self, number, _frame):
        if not self.is_held:
            raise KeyboardInterrupt(number)
        self.waits = True

    def __enter__(self):
        if threading.current_thread() is threading.main_thread():
            self.is_held = True

    def __exit__(self, *_):
        if threading.current_thread() is threading.main_thread():
            self.is_held = False
            if self.waits:
                raise KeyboardInterrupt


_interruption = _Interruption()


def run_main(main):
    """End the process with what main() returns. SIGTERM is as good as Ctrl-C; by either, all that
    main() has running is ended first."""
    # A shell starts what it puts in the background with SIGINT ignored, and so would children be.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interruption.arrive)
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        end_all()
        sys.exit("interrupted")


def _left_behind(process, patience_s=2):
    """Whether members of the program's group live on after it; they are killed."""
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        if not _signal_group(process, 0):
            return False
        time.sleep(0.05)
    return _signal_group(process, signal.SIGKILL)


def run_apart(command, *arguments, **options):
    """run() of a test, in a network of its own; needs root."""
    return run([*IN_OWN_NETWORK, *command], *arguments, **options)


def run(command, log, timeout_s, env=None, cwd=ROOT, on_line=None):
    """Run command with its output in the file LOGS/log. on_line gets each line as it appears."""
    LOGS.mkdir(parents=True, exist_ok=True)
    path = LOGS / log
    started = time.monotonic()
    with _interruption, open(path, "wb") as output, _running_lock:
        if _ending.is_set():
            raise InterruptedError(f"{command[0]} was not begun: everything is being ended")
        process = subprocess.Popen(command, cwd=cwd, env={**os.environ, **(env or {})},
                                   stdin=subprocess.DEVNULL, stdout=output,
                                   stderr=subprocess.STDOUT, start_new_session=True)
        _running.add(process)
    try:
        late = _wait(process, path, started + timeout_s, on_line)
    except BaseException:
        # From below it is not among those that end_all() finds.
        _end(process)
        raise
    finally:
        with _running_lock:
            _running.discard(process)
    seconds = time.monotonic() - started
    fault = ""
    if late:
        fault = f"did not end within {timeout_s} s"
    elif _left_behind(process):
        fault = "left processes running"
    return Finished(process.returncode, path.read_text(errors="replace"), seconds, fault)


def _wait(process, path, deadline, on_line):
    """Wait for the end, feeding on_line; returns whether it had to be ended at the deadline."""
    with open(path, errors="replace") as output:
        pending = ""
        late = False
        while True:
            try:
                process.wait(0.2 if on_line else max(deadline - time.monotonic(), 0.01))
            except subprocess.TimeoutExpired:
                pass
            if process.poll() is None and time.monotonic() >= deadline:
                late = True
                _end(process)
            if on_line:
                *lines, pending = (pending + output.read()).split("\n")
                for line in lines:
                    on_line(line)
            if process.poll() is not None:
                return late


def build(kind, *targets, log=None, root=ROOT):
    """Configure build/KIND if need be and run ninja there; returns (success, output)."""
    configured = subprocess.run([root / "dev", "configure", kind], cwd=root, text=True,
                                capture_output=True, check=False)
    if configured.returncode != 0:
        return False, configured.stdout + configured.stderr
    finished = run(["ninja", "-C", root / "build" / kind, "-j", str(jobs()), *targets],
                   log or f"build-{kind}.log", BUILD_TIMEOUT_S, cwd=root)
    return finished.code == 0 and not finished.fault, finished.fault + finished.output


def introspect(kind, what, root=ROOT):
    """What meson knows of build/KIND: 'tests' or 'targets'."""
    answer = subprocess.run(["meson", "introspect", f"--{what}", root / "build" / kind],
                            capture_output=True, text=True, check=True)
    return json.loads(answer.stdout)
