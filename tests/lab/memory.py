# SPDX-License-Identifier: Apache-2.0
"""Memory that runs out in a program of the lab, as tests/lab/failing_memory.c does it: each
allocation fails once, in the order in which the program comes to them."""
import contextlib
import mmap
import struct
import subprocess
import time

# armed, skip, gap_ms, failed_ms, failures, overflows, the last failure's stack
HEAD = struct.Struct("=QQQQQQ24Q")
PLACES, PLACE_BYTES = 65536, 16
PAGE = 4096


class FailingMemory:
    """`environment` is for the program, or for several that share what fails."""

    def __init__(self, build, path):
        size = HEAD.size + PLACES * PLACE_BYTES
        path.write_bytes(bytes(-(-size // PAGE) * PAGE))
        self.environment = {"LD_PRELOAD": str(build / "tests/lab/failing-memory.so"),
                            "FAILING_MEMORY": str(path)}
        with open(path, "r+b") as file:
            self.memory = mmap.mmap(file.fileno(), 0)

    def _head(self):
        return HEAD.unpack_from(self.memory)

    @contextlib.contextmanager
    def armed(self, skip=0, gap_ms=0):
        """In the body, allocations fail; each is spared `skip` times before, and all of them for
        `gap_ms` after a failure."""
        struct.pack_into("=QQQ", self.memory, 0, 1, skip, gap_ms)
        try:
            yield
        finally:
            struct.pack_into("=Q", self.memory, 0, 0)

    @contextlib.contextmanager
    def resting(self):
        """In the body, none fails."""
        struct.pack_into("=Q", self.memory, 0, 0)
        yield
        struct.pack_into("=Q", self.memory, 0, 1)

    def forget(self):
        """Every allocation may fail again."""
        self.memory[HEAD.size:] = bytes(len(self.memory) - HEAD.size)

    @property
    def failures(self):
        head = self._head()
        assert not head[5], "more allocations than places for them"
        return head[4]

    def rested(self):
        """True once the next allocation may fail again."""
        head = self._head()
        return time.monotonic() * 1000 - head[3] > head[2] + 1

    def last(self, program):
        """Where the last failure was, in words."""
        frames = [f"{frame - 1:#x}" for frame in self._head()[6:] if frame]
        done = subprocess.run(["addr2line", "-fse", program, *frames], capture_output=True,
                              text=True, check=False)
        lines = done.stdout.splitlines()
        return " < ".join(f"{name} {place}" for name, place in zip(lines[::2], lines[1::2]))
