# SPDX-License-Identifier: Apache-2.0
"""What an operator takes back while flows are open: the removal of a service, while its versions
drain and when nothing of it is left."""
import contextlib
import re
import socket

from lab import topology
from lab.host import LabError, wait_for

FAMILIES = (4, 6)
GET = b"GET /page HTTP/1.1\r\nHost: lab\r\n\r\n"


def without_web(lab):
    return re.sub(r"\n  web:\n.*?\n(?=  probe:)", "\n", lab.fabric(("web1", "web2")), flags=re.S)


def ask(stream):
    """One request of a connection that stays: is it answered?"""
    stream.settimeout(10)
    stream.sendall(GET)
    answer = b""
    while b"\r\n\r\n" not in answer or len(answer.partition(b"\r\n\r\n")[2]) < length(answer):
        chunk = stream.recv(65536)
        assert chunk, "the connection ended"
        answer += chunk
    assert answer.startswith(b"HTTP/1.1 200")


def length(answer):
    return int(re.search(rb"Content-Length: (\d+)", answer)[1])


def named(lab, family):
    kind = {4: "A", 6: "AAAA"}[family]
    return lab.capsule.run(["kdig", f"@{topology.UPLINK.v4}", f"web.{topology.ZONE}", kind, "+short"],
                           "client").stdout.split()


def test_the_removal_of_a_service_is_undone_under_its_flows(shared_lab):
    lab = shared_lab
    lab.apply(lab.fabric(("web1", "web2")))
    lab.wait_landings()
    web = lab.wait_states("web", {1: "serving"}).services["web"]
    began = {family: web.versions[1].address(family) for family in FAMILIES}
    with contextlib.ExitStack() as stack:
        with lab.capsule.inside("client"):
            streams = [stack.enter_context(socket.create_connection((began[family], 80), 3))
                       for family in FAMILIES for _ in range(8)]
        for stream in streams:
            ask(stream)
        wait_for(lambda: lab.cli.status().services["web"].versions[1].connections == 16,
                 "landing to count the flows")
        lab.apply(without_web(lab), "--yes")
        wait_for(lambda: not named(lab, 4), "the name to be gone")
        for stream in streams:
            ask(stream)

        # Its flows end where they are, in slots of their own; the name leads to others.
        assert "comes back as version 2" in lab.cli("rollback", "web", "--message", "by mistake")
        web = lab.wait_states("web", {1: "draining", 2: "serving"}).services["web"]
        for family in FAMILIES:
            address = web.versions[2].address(family)
            assert address != began[family]
            wait_for(lambda: named(lab, family) == [address], "the name")
            lab.fetch(address)
        for stream in streams:
            ask(stream)
        assert lab.cli.status().services["web"].versions[1].connections == 16
    lab.wait_states("web", {1: "retired", 2: "serving"}, seconds=40)

    # When nothing of it is left, too; another restart of the daemon knows as much.
    lab.apply(without_web(lab), "--yes")

    def gone():
        if "web" in lab.cli.status().services:
            raise LabError("it is there")
        return True
    wait_for(gone, "the service to end", 60)
    lab.cli("rollback", "service/web")
    web = lab.wait_states("web", {3: "serving"}).services["web"]
    for family in FAMILIES:
        wait_for(lambda: named(lab, family) == [web.versions[3].address(family)], "the name")
        lab.fetch(web.versions[3].address(family))
    assert "undo" in lab.cli("log") and "chain and signatures hold" in lab.cli("verify")
