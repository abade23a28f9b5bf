# SPDX-License-Identifier: Apache-2.0
"""`./dev bench naming`: what an answer costs a name server, Fairlead's beside gdnsd's and Knot's.

bench/nameservers.py says who is compared and what each does for an answer. All run at once in one
namespace, and are idle unless it is their turn. A turn is two loads by bench/naming_load.c, over
the loopback, of random services and clients:

  steady   RATE queries a second, each when it likes: well below what any of them can take, so the
           same work for each, and answers that are missing make the turn void
  full     as many as the server takes

The server has one core and the load the other. CPU is what the scheduler counted, to the
nanosecond, for all threads of the server's process, divided by the answers. On the loopback the
kernel delivers a datagram in the name of its sender: so a query's way to the server's queue is not
in the figure, and an answer's way to the client's queue is. That is alike for all; the load never
sleeps, so nobody pays for waking it.
"""
import json
import random
import socket
import struct

from bench.measure import interleave, print_table
from bench.nameservers import (ADDRESS, MACHINE, SEED, SERVICES, TOPOLOGY, query, read_answer,
                               start_all)
from lab.host import BUILD, Capsule, LabError, wait_for

LOAD = BUILD / "bench/bench-naming-load"
LOAD_CORE = 1
QUERIES = 1 << 16
CHECKED = 500
ROUNDS = 9
RATE = 40000
WINDOW = 128
LEAST_ANSWERED, ATTEMPTS = 0.99, 8
STEADY_MS, FULL_MS, WARM_MS = 1000, 700, 300
OURS = "fairlead"


def run_load(capsule, server, queries, milliseconds, rate):
    """What the load counted, and the nanoseconds of CPU that the server spent on it."""
    before = server.cpu_ns()
    done = capsule.run(["taskset", "--cpu-list", LOAD_CORE, LOAD, ADDRESS, server.port, queries,
                        milliseconds, rate, WINDOW], MACHINE)
    return json.loads(done.stdout), server.cpu_ns() - before


def measure_one(capsule, server, queries, milliseconds, rate=0):
    """One load: CPU per answer in microseconds, answers a second, and how much of its core the
    server used. Taken again if answers are missing: then something else had the core."""
    for _ in range(ATTEMPTS):
        load, spent_ns = run_load(capsule, server, queries, milliseconds, rate)
        if load["wrong"]:
            raise LabError(f"{server.name} answered {load['wrong']} queries wrongly")
        if load["received"] >= LEAST_ANSWERED * load["sent"]:
            return {"cpu_us": spent_ns / load["received"] / 1e3,
                    "qps": load["received"] / load["ns"] * 1e9,
                    "busy": spent_ns / load["ns"]}
    raise LabError(f"{server.name} answered {load['received']} of {load['sent']} queries, and no "
                   f"more of them in {ATTEMPTS} attempts")


def take_turn(capsule, server, queries):
    capsule.check()
    steady = measure_one(capsule, server, queries, STEADY_MS, RATE)
    full = measure_one(capsule, server, queries, FULL_MS)
    return {"cpu_us": steady["cpu_us"], "full_cpu_us": full["cpu_us"], "qps": full["qps"],
            "busy": full["busy"]}


def ask(stream, name, prefix):
    question = query(name, prefix)
    stream.send(question)
    return read_answer(question, stream.recv(4096))


def check(capsule, server, asked):
    """Every answer must be the expected one, before anything is measured."""
    with capsule.inside(MACHINE):
        stream = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with stream:
        stream.settimeout(1)
        stream.connect((ADDRESS, server.port))
        wait_for(lambda: ask(stream, *asked[0]), f"{server.name} to answer rightly", 20)
        seen = {}
        for name, prefix in asked:
            address, scope = ask(stream, name, prefix)
            fault = server.wrong(name, prefix, address)
            if fault or scope != server.scope:
                raise LabError(f"{server.name}: {name} for {prefix}: "
                               f"{fault or f'scope {scope} instead of {server.scope}'}")
            seen.setdefault(name, set()).add(address)
        if any(len(addresses) != (2 if server.scope else 1) for addresses in seen.values()):
            raise LabError(f"{server.name}: the clients of a service do not get what they must")


def measure_all(capsule, rounds):
    servers, clients = start_all(capsule)
    draw = random.Random(SEED)
    prefixes = list(clients)
    asked = [(draw.choice(SERVICES), draw.choice(prefixes)) for _ in range(QUERIES)]
    for server in servers.values():
        check(capsule, server, asked[:CHECKED])
    queries = capsule.root / "queries"
    messages = (query(*one) for one in asked)
    queries.write_bytes(b"".join(struct.pack(">H", len(one)) + one for one in messages))
    for server in servers.values():
        measure_one(capsule, server, queries, WARM_MS)
    return interleave(
        {name: lambda server=server: take_turn(capsule, server, queries)
         for name, server in servers.items()}, rounds)


def summarize(found):
    """The samples of all rounds as the result has them."""
    def medians(key):
        return {name: round(sample[key].median, 3) for name, sample in found.items()}

    def ratios(key):
        return {name: round(found[OURS][key].ratio(sample[key]), 3)
                for name, sample in found.items() if name != OURS}

    def spread(key):
        return {name: {"min": round(sample[key].least, 3), "max": round(sample[key].greatest, 3)}
                for name, sample in found.items()}

    return {"rate": RATE, "rounds": len(found[OURS]["cpu_us"].values),
            "cpu_us": medians("cpu_us"), "ratios": ratios("cpu_us"), "spread": spread("cpu_us"),
            "qps": medians("qps"),
            "full": {"cpu_us": medians("full_cpu_us"), "ratios": ratios("full_cpu_us"),
                     "spread": spread("full_cpu_us"), "busy": medians("busy")}}


def measure(options):
    with Capsule(TOPOLOGY) as capsule:
        return summarize(measure_all(capsule, options.rounds or ROUNDS))


def show(result):
    full = result["full"]

    def row(name):
        ratio, full_ratio = (f"{table['ratios'][name]:.2f}" if name != OURS else ""
                             for table in (result, full))
        spread = result["spread"][name]
        return (name, f"{result['cpu_us'][name]:.2f}", f"{spread['min']:.2f}–{spread['max']:.2f}",
                ratio, f"{full['cpu_us'][name]:.2f}", full_ratio,
                f"{result['qps'][name] / 1000:.0f}k")
    print_table(
        f"Naming: CPU of the server per answer (µs), one thread, at {result['rate']} queries a "
        f"second and at full load; median of {result['rounds']} rounds",
        ["", "steady", "min–max", "ours/theirs", "full", "ours/theirs", "answers/s"],
        [row(name) for name in result["cpu_us"]])
