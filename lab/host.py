# SPDX-License-Identifier: Apache-2.0
"""Room for a lab on this machine, which is left exactly as it was found.

A `Capsule` has `fairlead lab up --hold` make a lab from a topology and moves into it: the calling
process into a copy of its mounts, the later children into its PID namespace as well. Nothing that
the lab makes has a name outside, and nothing can outlive it: `fairlead` dies with us by
PR_SET_PDEATHSIG, the lab's first process with that one, and the kernel then kills the others, drops
the mounts with the last of them, and with those the network namespaces and the pins. That holds
for an exception, Ctrl-C and SIGKILL alike. Processes of a topology's own are not started: whoever
moves in starts what it wants to kill, stop and start again.

Of the lab's mounts one is taken back: the calling process stays in the machine's PID namespace,
so it and its children see the machine's /proc.

Processes enter a network namespace by setns() alone, since `ip netns exec` would hide /sys/fs/bpf
and the other mounts. The caller must have one thread only: namespaces belong to threads.
"""
import contextlib
import ctypes
import json
import os
import secrets
import shlex
import signal
import subprocess
import time
from pathlib import Path

CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWNET = 0x00020000, 0x20000000, 0x40000000
MS_PRIVATE = 0x40000
MNT_DETACH = 2
PR_SET_PDEATHSIG = 1
REPOSITORY = Path(__file__).resolve().parent.parent
BUILD = Path(os.environ.get("FAIRLEAD_BUILD", REPOSITORY / "build/dev"))
EMPTY = "machines: {}"
TOOLS_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
# A time that is given for a wait or a command is ample on an idle machine. So many times that is
# allowed, since another lab may stand on this one and its processors be taken.
PATIENCE = 4

_libc = ctypes.CDLL(None, use_errno=True)


class LabError(Exception):
    """Something in the lab is not as it must be; the text says what, for people."""


def _system(name, *arguments):
    """One call of libc; its errno becomes an OSError."""
    if getattr(_libc, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


@contextlib.contextmanager
def _undisturbed():
    """Without the signals that end a lab by an exception; yields the mask to give back."""
    ending = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ending)
    try:
        yield before
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _die_with_parent(number=signal.SIGKILL):
    _system("prctl", PR_SET_PDEATHSIG, ctypes.c_ulong(number))


@contextlib.contextmanager
def inside_network(path):
    """Puts the calling process into the network namespace that this file is."""
    with open("/proc/self/ns/net", "rb") as outside, open(path, "rb") as target:
        _system("setns", target.fileno(), CLONE_NEWNET)
        try:
            yield
        finally:
            _system("setns", outside.fileno(), CLONE_NEWNET)


def wait_for(condition, what, seconds=10.0, idle=None):
    """Ask `condition` again and again until it is true, and return what it said.

    `idle` is called between two questions; a demo draws its screen there. Running out of time is
    a LabError that names `what` was waited for, and the last exception that the question raised.
    """
    seconds *= PATIENCE
    deadline = time.monotonic() + seconds
    while True:
        failure = None
        try:
            answer = condition()
            if answer:
                return answer
        except (LabError, OSError, KeyError, ValueError) as error:
            failure = error
        if time.monotonic() > deadline:
            detail = f": {failure}" if failure else ""
            raise LabError(f"waited {seconds:g} s for {what}{detail}") from failure
        if idle:
            idle()
        time.sleep(0.02)


class Capsule:
    """The room itself; a context manager. One at a time per process.

    `topology` is the path of a topology file, or one's text; `net` is then what `fairlead lab
    status` says of it.
    """

    def __init__(self, topology=EMPTY, program=BUILD / "src/fairlead"):
        self.topology, self.program = topology, program
        self.name = f"held-{secrets.token_hex(4)}"
        self.net = None
        self.root = Path("/run/lab")  # on the tmpfs, which nobody else sees
        self.logs = self.root / "log"
        self.bpffs = self.root / "bpf"
        self.children = []  # those that are to stay
        self._started = []  # all that may still have to be reaped
        self._outside = []
        self._up = None

    def __enter__(self):
        self._cwd = os.getcwd()
        self._outside = [(os.open(f"/proc/self/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC), flag)
                         for kind, flag in (("pid", CLONE_NEWPID), ("mnt", CLONE_NEWNS))]
        try:
            self.net = self._make()
            self._move_in(self.net["pid"])
        except BaseException:
            self.__exit__()
            raise
        return self

    def _make(self):
        is_file = isinstance(self.topology, Path)
        self._up = subprocess.Popen(
            [str(word) for word in (self.program, "lab", "up", "--hold", "--bare", "--name",
                                    self.name, "-o", "jsonl", self.topology if is_file else "-")],
            preexec_fn=_die_with_parent, start_new_session=True, text=True,
            stdin=subprocess.DEVNULL if is_file else subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE)
        if not is_file:
            with self._up.stdin as text:
                text.write(self.topology)
            self._up.stdin = None
        status = self._up.stdout.readline()
        if not status:
            raise LabError(self._up.stderr.read().strip())
        return json.loads(status)

    def _move_in(self, holder):
        descriptor = os.pidfd_open(holder)
        _system("setns", descriptor, CLONE_NEWNS | CLONE_NEWPID)
        os.close(descriptor)
        _system("unshare", CLONE_NEWNS)
        _system("mount", None, b"/proc", None, ctypes.c_ulong(MS_PRIVATE), None)
        _system("umount2", b"/proc", MNT_DETACH)
        os.chdir(self._cwd)

    def __exit__(self, *_):
        if self._up:
            if self.net:
                os.kill(self.net["pid"], signal.SIGKILL)
            else:
                self._up.kill()
            # The kernel ends the lab's first process only after all others were reaped, and some
            # are ours to reap.
            for process in reversed(self._started):
                process.wait()
            self._up.communicate()
        for descriptor, flag in self._outside:
            _system("setns", descriptor, flag)
            os.close(descriptor)
        if self._outside:
            os.chdir(self._cwd)
        self.children, self._started, self._outside = [], [], []
        self._up = self.net = None

    def lab(self, verb, *words):
        """`fairlead lab VERB` of this lab."""
        return self.run([self.program, "lab", verb, self.name, *words]).stdout

    def popen(self, argv, namespace=None, death_signal=signal.SIGKILL, **options):
        """subprocess.Popen in a network namespace; the child dies when this process does."""
        target = f"/run/netns/{namespace}" if namespace else None

        def enter():
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            _die_with_parent(death_signal)
            if target:
                descriptor = os.open(target, os.O_RDONLY)
                _system("setns", descriptor, CLONE_NEWNET)
                os.close(descriptor)

        environment = {**os.environ, "PATH": TOOLS_PATH, "LC_ALL": "C.UTF-8",
                       **options.pop("env", {})}
        # A child that was started and not noted would never be reaped, and the lab never end.
        with _undisturbed() as mask:
            process = subprocess.Popen([str(word) for word in argv], preexec_fn=enter,
                                       start_new_session=True, env=environment, **options)
            self._started = [one for one in self._started if one.returncode is None] + [process]
        return process

    def run(self, argv, namespace=None, check=True, **options):
        """Run to the end and return a CompletedProcess; a failure becomes a LabError."""
        options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE,
                   "stderr": subprocess.PIPE, "text": True, **options}
        text, seconds = options.pop("input", None), PATIENCE * options.pop("timeout", 30)
        if text is not None:
            options["stdin"] = subprocess.PIPE
        with self.popen(argv, namespace, **options) as process:
            try:
                out, err = process.communicate(text, timeout=seconds)
            except BaseException as failure:
                process.kill()
                if isinstance(failure, subprocess.TimeoutExpired):
                    raise LabError(f"no end after {seconds} s: {shlex.join(map(str, argv))}"
                                   ) from failure
                raise
        done = subprocess.CompletedProcess(argv, process.returncode, out, err)
        if check and done.returncode != 0:
            raise LabError(f"exit code {done.returncode} from {shlex.join(map(str, argv))}"
                           f"{' in ' + namespace if namespace else ''}: {(err or out).strip()}")
        return done

    def spawn(self, name, argv, namespace=None, **options):
        """Start a process that is to stay; what it prints goes to the log of its name."""
        child = Child(self, name, argv, namespace, options)
        self.children.append(child)
        return child

    def inside(self, namespace):
        """For the calling process: sockets made here stay in the namespace."""
        return inside_network(f"/run/netns/{namespace}")

    def check(self):
        """Raise a LabError when a process that was to stay has ended."""
        for child in self.children:
            if child.expected and child.process.poll() is not None:
                raise LabError(f"{child.name} ended with {child.process.returncode}:\n"
                               f"{child.tail()}")


class Child:
    """A process that stays until it is stopped. `expected`: that it lives now."""

    def __init__(self, capsule, name, argv, namespace, options):
        self.capsule, self.name, self.argv = capsule, name, argv
        self.namespace, self.options = namespace, options
        self.log = capsule.logs / f"{name}.log"
        self.start()

    def start(self, **changes):
        """Also again, after it ended, with the same arguments but for `changes`; `env` is added to
        what it had at first."""
        options = {"stdin": subprocess.DEVNULL, **self.options, **changes}
        options["env"] = {**self.options.get("env", {}), **changes.get("env", {})}
        self.argv = options.pop("argv", self.argv)
        with open(self.log, "ab") as log:
            options = {"stdout": log, "stderr": log, **options}
            self.process = self.capsule.popen(self.argv, self.namespace, **options)
        self.expected = True

    def stop(self, how=signal.SIGTERM, seconds=10):
        """Send a signal and wait for the end; returns the exit code."""
        self.expected = False
        seconds *= PATIENCE
        self.process.send_signal(how)
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired as failure:
            self.process.kill()
            raise LabError(f"{self.name} was still there {seconds} s after signal {how}:\n"
                           f"{self.tail()}") from failure

    def tail(self, lines=20):
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
