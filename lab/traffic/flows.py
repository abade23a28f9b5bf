# SPDX-License-Identifier: Apache-2.0
"""The lab's client: TCP flows whose every byte is checked, and the count of those that broke.

    python3 -m lab.traffic.flows RESOLVER NAME

It takes commands as JSON lines on standard input:

    {"do": "meaning", "address": A, "backends": [...]}  who may answer on this service address
    {"do": "open", "group": G, "count": N}              N long flows to what NAME means now
    {"do": "finish", "group": G}                        end them: the whole rest, at full speed
    {"do": "requests", "rate": R}                       R short requests by name a second; 0 stops
    {"do": "late", "addresses": [...], "count": N}      N short requests to remembered addresses
    {"do": "stop"}

and prints its counts as a JSON line five times a second (see `Client.counts`).

Long flows are, in equal parts, slow downloads and keep-alive connections, over IPv4 and IPv6. A
download is slow because the client reads little at a time from a small receive buffer, so that it
can be as long as wanted and still be checked to its last byte.

A flow is *broken* (README, Words) when it is reset, when it waits over 3 s for a byte or for the
handshake, when a byte is wrong, or when a backend answers that its service address does not mean.
The meaning may change while a flow runs; backends of the old and of the new one are right then.
An address whose meaning is not told yet is judged when it is, or broken at the end.
A name that cannot be looked up breaks no flow, since there is none yet: it counts as unresolved.
"""
import asyncio
import collections
import errno
import itertools
import json
import os
import random
import signal
import socket
import struct
import sys
import time

from lab.parts import PAGE_BYTES, SEQUENCE_BYTES, sequence

STALL_SECONDS = 3.0
READ_BYTES, READ_SECONDS = 1024, 0.25  # a slow download's pace
REQUEST_SECONDS = 1.0  # between two requests of a keep-alive connection
LOOKUP_SECONDS, LOOKUP_TRIES = 2.5, 2
SEQUENCE = memoryview(sequence(SEQUENCE_BYTES))


class Broken(Exception):
    """The flow broke; the text says how."""


async def ready(descriptor, writing=False, seconds=STALL_SECONDS):
    """Wait for a descriptor; False when the time is over.

    Should this process itself have slept for so long, asyncio sees what came in meanwhile before
    it looks at its timers: only the network's own silence counts.
    """
    loop = asyncio.get_running_loop()
    future = loop.create_future()

    def settle(answer):
        if not future.done():
            future.set_result(answer)

    (loop.add_writer if writing else loop.add_reader)(descriptor, settle, True)
    timer = loop.call_later(seconds, settle, False)
    try:
        return await future
    finally:
        timer.cancel()
        (loop.remove_writer if writing else loop.remove_reader)(descriptor)


class Flow:
    """One TCP connection. `backend` is who answered; the first answer decides it."""

    def __init__(self, client, group, kind, family, address):
        self.client, self.group, self.kind, self.family = client, group, kind, family
        self.address = address
        self.backend = None
        self.allowed = client.meanings.get(address, frozenset())
        self.buffer = b""
        self.longest_wait = 0.0
        self.finish = asyncio.Event()
        self.socket = socket.socket(socket.AF_INET if family == 4 else socket.AF_INET6,
                                    socket.SOCK_STREAM | socket.SOCK_NONBLOCK)

    def __str__(self):
        where = f"{self.kind} on {self.address} port {self.port}"
        return f"{where}, answered by {self.backend}" if self.backend else where

    async def connect(self):
        if self.kind == "download":
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        code = self.socket.connect_ex((self.address, 80))
        self.port = self.socket.getsockname()[1]
        if code == errno.EINPROGRESS:
            await self._wait("no handshake", writing=True)
            code = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            raise Broken(f"connect: {os.strerror(code)}")

    async def _wait(self, what, writing=False):
        begun = time.monotonic()
        if not await ready(self.socket.fileno(), writing):
            raise Broken(f"{what} in {STALL_SECONDS:g} s")
        self.longest_wait = max(self.longest_wait, time.monotonic() - begun)

    async def request(self, path, keep):
        text = (f"GET {path} HTTP/1.1\r\nHost: {self.client.name}\r\n"
                f"Connection: {'keep-alive' if keep else 'close'}\r\n\r\n").encode()
        if self.socket.send(text) != len(text):
            raise Broken("a request did not fit the send buffer")  # of which nothing is unsent

    async def read(self, size):
        """Up to `size` bytes; nothing at the end of the stream."""
        await self._wait("no byte")
        return self.socket.recv(size)

    async def head(self):
        """Read one response's head, check who answers, and return the length of the body."""
        while b"\r\n\r\n" not in self.buffer:
            chunk = await self.read(READ_BYTES)
            if not chunk:
                raise Broken("closed before it answered")
            self.buffer += chunk
        head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        status, *lines = head.decode("latin-1").split("\r\n")
        fields = dict(line.split(": ", 1) for line in lines)
        if status != "HTTP/1.1 200 OK":
            raise Broken(f"answered {status!r}")
        self._check_backend(fields.get("X-Backend"))
        return int(fields["Content-Length"])

    def _check_backend(self, name):
        if self.backend and name != self.backend:
            raise Broken(f"first answered by {self.backend}, then by {name}")
        self.backend = name
        allowed = self.allowed | self.client.meanings.get(self.address, frozenset())
        if not allowed:
            self.client.unjudged.append((self.address, name, str(self)))
        elif name not in allowed:
            raise Broken(f"answered by {name}, not by one of {', '.join(sorted(allowed))}")

    async def body(self, length, pace=None):
        """Read and check `length` bytes; `pace` is awaited before each read of a few."""
        position, chunk, self.buffer = 0, self.buffer, b""
        while True:
            if chunk != SEQUENCE[position:position + len(chunk)]:
                raise Broken(f"wrong bytes after {position}")
            position += len(chunk)
            if position > length:
                raise Broken("more bytes than announced")
            if position == length:
                return
            if pace:
                await pace()
            size = 65536 if not pace or self.finish.is_set() else READ_BYTES
            chunk = await self.read(min(size, length - position))
            if not chunk:
                raise Broken(f"closed after {position} of {length} bytes")

    async def run(self):
        await self.connect()
        await {"download": self._download, "keepalive": self._keepalive}.get(
            self.kind, self._short)()

    async def _short(self):
        await self.request("/page", keep=False)
        await self.body(await self.head())

    async def _download(self):
        await self.request("/sequence", keep=False)
        length = await self.head()
        self.client.opened(self)
        await self.body(length, lambda: self._pause(READ_SECONDS))

    async def _keepalive(self):
        last = False
        while not last:
            last = self.finish.is_set()
            await self.request("/page", keep=not last)
            await self.body(await self.head())
            self.client.opened(self)
            await self._pause(REQUEST_SECONDS)
        if await self.read(1):
            raise Broken("bytes after the last answer")

    async def _pause(self, seconds):
        """Until it is time to go on, or to finish."""
        if not self.finish.is_set():
            try:
                await asyncio.wait_for(self.finish.wait(), seconds * random.uniform(0.8, 1.2))
            except asyncio.TimeoutError:
                pass


class Client:
    """All flows of the lab's client, and what became of them."""

    def __init__(self, resolver, name):
        self.resolver, self.name = resolver, name
        self.meanings = {}
        self.unjudged = []  # (address, backend, flow's text): answered before the meaning was told
        self.flows = set()  # long flows that are open
        self.tasks = set()
        self.totals = collections.Counter()  # ended or not, by group or kind
        self.answered = collections.defaultdict(collections.Counter)  # address: backend: requests
        self.latest = {}  # family: [address, backend] of the latest request by name
        self.broken, self.reasons = 0, []
        self.unresolved = 0
        self.longest_wait = 0.0
        self.rate = 0
        self.stopping = asyncio.Event()

    def opened(self, flow):
        self.flows.add(flow)

    async def follow(self, flow):
        """Run a flow to its end and write down what came of it."""
        try:
            await flow.run()
        except (Broken, OSError) as failure:
            self.break_(f"{flow}: {failure}")
        else:
            if flow.kind not in ("download", "keepalive"):
                self.answered[flow.address][flow.backend] += 1
        finally:
            self.flows.discard(flow)
            self.longest_wait = max(self.longest_wait, flow.longest_wait)
            flow.socket.close()
        self.totals[f"{flow.kind} ended"] += 1

    def break_(self, reason):
        self.broken += 1
        self.reasons.append(reason)

    def mean(self, address, backends):
        """From now on a service address means these backends."""
        self.meanings[address] = frozenset(backends)
        self.judge(address)

    def judge(self, of_address):
        waiting, self.unjudged = self.unjudged, []
        for address, backend, text in waiting:
            if address != of_address:
                self.unjudged.append((address, backend, text))
            elif backend not in self.meanings.get(address, ()):
                self.break_(f"{text}: not a backend of its version")

    def start(self, coroutine):
        task = asyncio.create_task(coroutine)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        task.add_done_callback(self._end_on_bug)
        return task

    def _end_on_bug(self, task):
        if not task.cancelled() and task.exception():
            asyncio.get_running_loop().call_exception_handler(
                {"message": "the client itself failed", "exception": task.exception()})
            os._exit(1)

    def flow(self, group, kind, family, address):
        self.totals[kind] += 1
        return self.follow(Flow(self, group, kind, family, address))

    async def lookup(self, family):
        """The addresses of the name; empty when nobody answers."""
        for _ in range(LOOKUP_TRIES):
            query, identity = dns_query(self.name, family)
            kind = socket.AF_INET6 if ":" in self.resolver else socket.AF_INET
            with socket.socket(kind, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as udp:
                udp.connect((self.resolver, 53))
                udp.send(query)
                if await ready(udp.fileno(), seconds=LOOKUP_SECONDS):
                    try:
                        return dns_addresses(udp.recv(4096), identity, family)
                    except (OSError, ValueError, struct.error):
                        continue
        return []

    async def open_group(self, group, count):
        """Long flows, as many of each kind and family; a few at a time, as clients come."""
        kinds = list(itertools.product(("download", "keepalive"), (4, 6)))
        for family in (4, 6):
            addresses = await self.lookup(family)
            if not addresses:
                raise SystemExit(f"{self.name} has no IPv{family} address: nothing to open")
            for number in range(count):
                kind, of_family = kinds[number % len(kinds)]
                if of_family == family:
                    self.start(self.flow(group, kind, family, random.choice(addresses)))
                    await asyncio.sleep(0.002)

    async def request_by_name(self, family):
        addresses = await self.lookup(family)
        if not addresses:
            self.unresolved += 1
            return
        flow = Flow(self, None, "request", family, random.choice(addresses))
        self.totals["request"] += 1
        await self.follow(flow)
        self.latest[family] = [flow.address, flow.backend]

    async def request_forever(self):
        for family in itertools.cycle((4, 6)):
            while not self.rate:
                await asyncio.sleep(0.05)
            self.start(self.request_by_name(family))
            await asyncio.sleep(1 / self.rate)

    async def late(self, addresses, count):
        for address in itertools.islice(itertools.cycle(addresses), count):
            await self.flow(None, "late", 6 if ":" in address else 4, address)

    def command(self, line):
        order = json.loads(line)
        match order.pop("do"):
            case "meaning":
                self.mean(order["address"], order["backends"])
            case "open":
                self.start(self.open_group(order["group"], order["count"]))
            case "finish":
                for flow in self.flows:
                    if flow.group == order["group"]:
                        flow.finish.set()
            case "requests":
                self.rate = order["rate"]
            case "late":
                self.start(self.late(order["addresses"], order["count"]))
            case "stop":
                self.stopping.set()
            case other:
                raise SystemExit(f"unknown command {other!r}")

    def counts(self):
        """What is printed. `open` and `backends` are by group; `totals` by kind, begun and
        ended; `answered` by address, for the short ones that ended well."""
        backends = collections.defaultdict(collections.Counter)
        kinds = collections.Counter()
        for flow in self.flows:
            backends[flow.group][flow.backend] += 1
            kinds[f"{flow.kind}{flow.family}"] += 1
        waits = [flow.longest_wait for flow in self.flows]
        return {"open": {group: sum(names.values()) for group, names in backends.items()},
                "kinds": kinds, "backends": backends, "totals": self.totals,
                "answered": self.answered, "latest": self.latest, "broken": self.broken,
                "reasons": self.reasons[:10], "unresolved": self.unresolved,
                "longest_wait": round(max([self.longest_wait, *waits]), 3)}

    async def report(self):
        while True:
            print(json.dumps(self.counts()), flush=True)
            await asyncio.sleep(0.2)

    async def run(self):
        lines = asyncio.StreamReader()
        loop = asyncio.get_running_loop()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
        for coroutine in (self.report(), self.request_forever(), self.listen(lines)):
            self.start(coroutine)
        await self.stopping.wait()
        self.rate = 0
        for address in {waiting[0] for waiting in self.unjudged}:
            self.judge(address)
        print(json.dumps(self.counts()), flush=True)

    async def listen(self, lines):
        async for line in lines:
            self.command(line)
        self.stopping.set()


def dns_query(name, family):
    """A query for the name's addresses, and its identity."""
    identity = random.randrange(65536)
    labels = b"".join(bytes([len(label)]) + label for label in name.encode().split(b"."))
    kind = 1 if family == 4 else 28
    return struct.pack(">6H", identity, 0x0100, 1, 0, 0, 0) + labels + struct.pack(
        ">BHH", 0, kind, 1), identity


def dns_addresses(message, identity, family):
    """The addresses in an answer; ValueError unless it is the answer, and says NOERROR."""
    answered, flags, questions, answers = struct.unpack_from(">4H", message)
    if answered != identity or flags & 0x800f != 0x8000:
        raise ValueError("not an answer, or an error")

    def skip_name(position):
        while message[position]:
            if message[position] >= 0xc0:
                return position + 2
            position += 1 + message[position]
        return position + 1

    position = 12
    for _ in range(questions):
        position = skip_name(position) + 4
    found = []
    for _ in range(answers):
        position = skip_name(position)
        kind, _, _, length = struct.unpack_from(">HHIH", message, position)
        position += 10
        if kind == (1 if family == 4 else 28):
            found.append(socket.inet_ntop(socket.AF_INET if family == 4 else socket.AF_INET6,
                                          message[position:position + length]))
        position += length
    return found


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the lab's to handle
    asyncio.run(Client(*sys.argv[1:3]).run())
