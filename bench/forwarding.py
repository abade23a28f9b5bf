# SPDX-License-Identifier: Apache-2.0
"""End to end in the lab: how much an edge forwards on one core, and by how much it delays.

docs/design/performance-forwarding.md explains the method; forwarding_contenders.py is who forwards
and where what runs, forwarding_world.bpf.c the load, forwarding_prober.c what measures latency.
"""
import contextlib
import json
import os
import subprocess

from bench import measure as bench
from bench.forwarding_contenders import (BACKENDS, PORT, RACK, UPLINK, Direct, Fairlead, Floor,
                                         Haproxy, Nftables, Room)
from lab.host import LabError
from lab.parts import Lab

ROUNDS = 5
SECONDS = 0.5  # that each kind of load is counted
FRAMES = 192  # on their way at once; a veth's queue holds 256
PROBE_SECONDS, PROBE_FLOWS = 1, 64
ROLLOUT_SECONDS = 0.1  # from one version to the next: IPv4 slots are few, and take seconds to retire
UNITS = {"udp": "packets", "requests": "requests", "connections": "connections"}
QUANTILES = ("p50", "p99", "p999")
CONTENDERS = {"direct": Direct, "floor": Floor, "fairlead": Fairlead, "nftables": Nftables,
              "haproxy": Haproxy}
# A peer's ratios: name in the result, kind of load. HAProxy knows no UDP, so its packets are the
# requests: each is one packet to the service and one back.
RATIOS = {"nftables": {"pps": "udp", "requests": "requests", "cps": "connections"},
          "haproxy": {"pps": "requests", "requests": "requests", "cps": "connections"},
          "floor": {"pps": "udp", "requests": "requests", "cps": "connections"}}


def measure(options):
    cpus = os.sched_getaffinity(0)
    if len(cpus) < 2:
        raise LabError("one core forwards and another one makes the load: there is only one")
    edge_cpu, world_cpu = sorted(cpus)[:2]
    try:
        os.sched_setaffinity(0, {world_cpu})  # and all that the lab starts
        with _awake(), Lab(backends=BACKENDS) as lab:
            room = Room(lab, edge_cpu, world_cpu)
            samples = bench.interleave({name: _turn(room, name, kind(room))
                                        for name, kind in CONTENDERS.items()},
                                       options.rounds or ROUNDS)
    finally:
        os.sched_setaffinity(0, cpus)
    return _result(samples)


@contextlib.contextmanager
def _awake():
    """Idle CPUs poll while this is open (Documentation/power/pm_qos_interface.rst)."""
    with open("/dev/cpu_dma_latency", "wb", buffering=0) as request:
        request.write(bytes(4))
        yield


def _turn(room, name, contender):
    """A function that lets the contender forward, and returns its numbers of one round."""
    def turn():
        with contender:
            found = _load(room, contender.modes) if contender.modes else {}
            if name == "fairlead":
                room.wait_retired()
            found |= _latency(name, _start_probe(room, contender.address))
            if name == "fairlead":
                found |= _rollouts(room, contender.address)
        return found
    return turn


def _load(room, modes):
    """Rates, the CPU time of the edge's core for each unit, and what was lost."""
    # Above the threads of the world's core, so that it counts when it means to.
    done = room.capsule.run([
        "chrt", "--fifo", "2", room.tool("world"), UPLINK.far, RACK.far, room.edge_mac,
        room.service, PORT, ",".join(modes), SECONDS, FRAMES, room.edge_cpu,
        *room.backend_macs], "net")
    found = {}
    for mode, counts in json.loads(done.stdout).items():
        rate = counts[UNITS[mode]] / counts["seconds"]
        if rate == 0:
            raise LabError(f"nothing was forwarded of {mode}: {counts}")
        found[mode] = rate
        found[f"{mode}.ns"] = (1 - counts["idle"]) * 1e9 / rate
        found[f"{mode}.lost"] = (max(counts["frames"] - counts["drained"], 0) + counts["wrong"] +
                                 counts["resets"] + counts["failed"])
    return found


def _start_probe(room, address):
    return room.capsule.popen([room.tool("prober"), address, PORT, PROBE_FLOWS, PROBE_SECONDS],
                              "client", stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _latency(name, probe):
    """Wait for the probe: {"NAME.KIND.QUANTILE": µs}."""
    with probe:
        out, error = probe.communicate()
    if probe.returncode != 0:
        raise LabError(f"{name}: {error.strip()}")
    return {f"{name}.{kind}.{quantile}": found[quantile]
            for kind, found in json.loads(out).items() for quantile in QUANTILES}


def _rollouts(room, address):
    """Latency while versions follow each other."""
    applied = refused = 0
    probe = _start_probe(room, address)
    while probe.poll() is None:
        if room.roll_out():
            applied += 1
        else:
            refused += 1
        with contextlib.suppress(subprocess.TimeoutExpired):
            probe.wait(ROLLOUT_SECONDS)
    return _latency("fairlead.rollouts", probe) | {
        "rollouts": applied / PROBE_SECONDS, "rollouts.refused": refused}


def _result(samples):
    fairlead = samples["fairlead"]
    latency = {name: {kind: {quantile: _numbers(found[f"{name}.{kind}.{quantile}"])
                             for quantile in QUANTILES} for kind in ("established", "new")}
               for found in samples.values() for name in _probed(found)}
    return {
        "ratios": {peer: {key: round(fairlead[mode].ratio(samples[peer][mode]), 3)
                          for key, mode in wanted.items()} for peer, wanted in RATIOS.items()},
        # By the CPU time of the edge's core: the floor is so cheap that the load cannot fill it.
        "floor_ratio": {mode: round(fairlead[f"{mode}.ns"].ratio(samples["floor"][f"{mode}.ns"]), 3)
                        for mode in UNITS},
        "latency_us": {name: {quantile: kinds["established"][quantile]["median"]
                              for quantile in QUANTILES} for name, kinds in latency.items()},
        "latency_spread_us": latency,
        "rates": {name: {mode: _numbers(found[mode]) for mode in UNITS if mode in found}
                  for name, found in samples.items() if name != "direct"},
        "edge_ns": {name: {mode: _numbers(found[f"{mode}.ns"]) for mode in UNITS if mode in found}
                    for name, found in samples.items() if name != "direct"},
        "lost": {name: {mode: sum(found[f"{mode}.lost"].values) for mode in UNITS if mode in found}
                 for name, found in samples.items() if name != "direct"},
        "rollouts_per_second": _numbers(fairlead["rollouts"]),
        "rounds": len(fairlead["udp"].values),
    }


def _probed(found):
    return sorted({key.rsplit(".", 2)[0] for key in found if key.endswith(".established.p50")})


def _numbers(sample):
    return {"median": round(sample.median, 1), "min": round(sample.least, 1),
            "max": round(sample.greatest, 1)}


def show(result):
    rows = [(name, *(_thousands(rates.get(mode)) for mode in UNITS),
             *(_plain(result["edge_ns"][name].get(mode)) for mode in UNITS),
             sum(result["lost"][name].values()))
            for name, rates in result["rates"].items()]
    bench.print_table(
        f"Forwarding on one core, thousands a second; median (least–greatest) of {result['rounds']}"
        " rounds",
        ("", "UDP packets", "TCP requests", "connections", "ns/packet", "ns/request",
         "ns/connection", "lost"), rows)
    bench.print_table("Fairlead over the others", ("", "UDP packets", "TCP requests",
                                                   "connections"),
                      [(peer, f"{ratios['pps']:.2f}" if peer != "haproxy" else "–",
                        f"{ratios['requests']:.2f}", f"{ratios['cps']:.2f}")
                       for peer, ratios in result["ratios"].items()])
    print("  CPU time of the edge's core over the floor's:",
          ", ".join(f"{ratio:.2f} ({mode})" for mode, ratio in result["floor_ratio"].items()))
    spread = result["latency_spread_us"]
    bench.print_table("Time to an answer, µs", ("", *(
        f"{kind} {quantile}" for kind in ("established", "new") for quantile in QUANTILES)),
        [(name, *(f"{kinds[kind][quantile]['median']:.1f}" for kind in ("established", "new")
                  for quantile in QUANTILES)) for name, kinds in spread.items()])
    print(f"  {result['rollouts_per_second']['median']:g} versions a second were applied "
          "during fairlead.rollouts")


def _thousands(numbers):
    if not numbers:
        return "–"
    return (f"{numbers['median'] / 1e3:.0f} ({numbers['min'] / 1e3:.0f}–"
            f"{numbers['max'] / 1e3:.0f})")


def _plain(numbers):
    return f"{numbers['median']:.0f}" if numbers else "–"
