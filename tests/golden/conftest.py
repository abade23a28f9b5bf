# SPDX-License-Identifier: Apache-2.0
"""The program of build/dev, a daemon that says what a test wants, and golden files.

`/usr/bin/python3 -m pytest tests/golden --update` writes the golden files anew; read the
difference before committing it."""

import json
import os
import pathlib
import signal
import socket
import subprocess
import threading

import pytest

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
CLIENT = ROOT / "build/dev/src/fairlead"
TIMEOUT_S = 60


def pytest_addoption(parser):
    parser.addoption("--update", action="store_true", help="write the golden files anew")


@pytest.fixture(autouse=True)
def deadline():
    """No test waits for ever: a read that gets nothing ends in a failure."""
    def give_up(_number, _frame):
        raise TimeoutError(f"nothing happened for {TIMEOUT_S} s")

    signal.signal(signal.SIGALRM, give_up)
    signal.alarm(TIMEOUT_S)
    yield
    signal.alarm(0)


@pytest.fixture
def golden(request):
    """golden("status.table", text): the text is what the file holds."""
    def check(name, text):
        path = HERE / "output" / name
        if request.config.getoption("--update"):
            path.write_text(text)
        assert path.exists(), f"{path} is missing; --update writes it"
        assert text == path.read_text()
    return check


class Daemon:
    """A daemon's socket. Each connection is handed to `serve(connection, requests)`, where
    `requests` yields what the client asks; all requests are also kept."""

    def __init__(self, path, serve):
        self.path = str(path)
        self.requests = []
        self.serve = serve
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.listener.listen()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            with connection:
                try:
                    self.serve(connection, self.incoming(connection))
                except (BrokenPipeError, ConnectionResetError, StopIteration):
                    pass  # the client left; some tests are about just that

    def incoming(self, connection):
        with connection.makefile("rb") as lines:
            for line in lines:
                self.requests.append(json.loads(line))
                yield self.requests[-1]

    def close(self):
        if self.listener.fileno() < 0:
            return
        # Only shutting it down wakes a thread that waits in accept().
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join(TIMEOUT_S)
        assert not self.thread.is_alive()


def answer(data):
    return json.dumps({"data": data}).encode() + b"\n"


def refusal(code, text):
    return json.dumps({"error": {"code": code, "text": text}}).encode() + b"\n"


def say(*lines):
    """Serve by saying these lines after the first request, then hanging up."""
    def serve(connection, requests):
        next(requests)
        for line in lines:
            connection.sendall(line)
    return serve


@pytest.fixture
def daemon(tmp_path):
    """daemon(serve): start one; daemon.path before that: where nothing answers yet."""
    running = []

    def start(serve):
        running.append(Daemon(start.path, serve))
        return running[-1]

    start.path = str(tmp_path / "fairlead.sock")
    yield start
    for one in running:
        one.close()


@pytest.fixture
def environment():
    """Nothing of the caller's settings shows in the output."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return {**kept, "LC_ALL": "C.UTF-8", "TERM": "xterm"}


@pytest.fixture
def client(daemon, environment):
    """client("status", "-o", "json"): the finished process, which asked the daemon."""
    def run(*words, program=CLIENT, **options):
        return subprocess.run([program, *words], capture_output=True, text=True, check=False,
                              timeout=TIMEOUT_S,
                              env={**environment, "FAIRLEAD_SOCKET": daemon.path}, **options)
    return run


@pytest.fixture
def start(daemon, environment):
    """start("events"): a process that runs on; killed at the end if it has to be."""
    running = []

    def begin(*words, **options):
        process = subprocess.Popen([CLIENT, *words], text=True, **{
            "stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE,
            "env": {**environment, "FAIRLEAD_SOCKET": daemon.path}, **options})
        running.append(process)
        return process

    yield begin
    for process in running:
        process.kill()
        process.communicate()


def blocks(process, number):
    """Does it take the signal at a time of its own?"""
    with open(f"/proc/{process.pid}/status", encoding="ascii") as file:
        mask = next(line.split()[1] for line in file if line.startswith("SigBlk:"))
    return int(mask, 16) >> (number - 1) & 1
