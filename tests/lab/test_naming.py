# SPDX-License-Identifier: Apache-2.0
"""The name server against the field: Knot and NSD serve the same zone and must say the same;
unbound resolves through it; kdig says what people would say. All on the loopback, no root needed.
"""
import contextlib
import ipaddress
import re
import signal
import socket
import struct
import subprocess
import time

import pytest

from lab.host import BUILD

SERVE = BUILD / "tests/lab/drive-naming"
PATIENCE_S = 15

ZONE = """
$ORIGIN svc.example.net.
@ 300 IN SOA ns1 host\\.master 1 3600 600 604800 10
@ 300 IN NS ns1
@ 300 IN NS a-name-server-with-many-addresses
@ 300 IN NS ns.example.org.
ns1 300 IN A 127.0.0.1
ns1 300 IN AAAA ::1
web 30 IN A 198.51.100.1
web 30 IN AAAA 2001:db8:f::1
api.eu.deep 5 IN A 198.51.100.1
api.eu.deep 5 IN AAAA 2001:db8:f::1
only4 0 IN A 198.51.100.4
@ 60 IN TXT "v=spf1 -all"
@ 60 IN MX 10 mail.example.org.
@ 60 IN MX 20 mail
@ 60 IN CAA 0 issue "ca.example.org"
@ 60 IN A 203.0.113.80
web 60 IN HTTPS 1 . alpn=h2,h3 port=8443
web 60 IN TXT "two" "strings"
out 60 IN CNAME www.example.org.
_dns.res 60 IN SVCB 1 dns.example.org. alpn=dot key65000=x
*.dev 60 IN TXT "wild"
*.dev 60 IN AAAA 2001:db8::7
*.out2 60 IN CNAME www.example.org.
in 60 IN CNAME web
in2 60 IN CNAME in
apex 60 IN CNAME @
gone 60 IN CNAME not-there
*.in3 60 IN CNAME web
in4 60 IN CNAME any.dev
""" + "".join(f"a-name-server-with-many-addresses 300 IN AAAA 2001:db8:53::{i:x}\n"
              for i in range(1, 17))

KNOT = """
server:
    rundir: "{directory}"
    listen: 127.0.0.1@{port}
    nsid: lab1
    udp-max-payload: 1232
log:
  - target: stderr
    any: warning
database:
    storage: "{directory}"
zone:
  - domain: svc.example.net
    storage: "{directory}"
    file: zone
    zonefile-load: whole
"""

NSD = """
server:
    ip-address: 127.0.0.1
    port: {port}
    username: ""
    chroot: ""
    server-count: 1
    zonesdir: "{directory}"
    database: ""
    pidfile: "{directory}/pid"
    xfrdfile: "{directory}/xfrd"
    zonelistfile: "{directory}/zones"
    logfile: "{directory}/log"
    ipv4-edns-size: 1232
    nsid: ascii_lab1
    rrl-ratelimit: 0
remote-control:
    control-enable: no
zone:
    name: svc.example.net
    zonefile: zone
"""

UNBOUND = """
server:
    interface: 127.0.0.1
    port: {port}
    do-daemonize: no
    chroot: ""
    username: ""
    directory: "{directory}"
    pidfile: ""
    use-syslog: no
    logfile: ""
    num-threads: 1
    module-config: "{modules}"
    {more}
    do-not-query-localhost: no
    use-caps-for-id: yes
    qname-minimisation-strict: yes
    tcp-upstream: {tcp}
remote-control:
    control-enable: no
stub-zone:
    name: svc.example.net
    stub-addr: 127.0.0.1@{server}
"""

MANY = "a-name-server-with-many-addresses.svc.example.net"  # too many for 512 bytes
A, NS, CNAME, SOA, MX, TXT, AAAA, SRV, OPT, DS = 1, 2, 5, 6, 15, 16, 28, 33, 41, 43
SVCB, HTTPS, CAA = 64, 65, 257
AXFR = 252
CLIENT_SUBNET, EXTENDED_ERROR, ZONE_VERSION = 8, 15, 19
NOERROR, FORMERR, NXDOMAIN, NOTIMP, REFUSED, BADVERS = 0, 1, 3, 4, 5, 16
QR, AA, TC, RD, RA, Z, AD, CD = 0x8000, 0x400, 0x200, 0x100, 0x80, 0x40, 0x20, 0x10


# ---- messages, written anew so that they share no mistake with the server ----

def encode(name):
    labels = [label.encode() for label in name.split(".") if label]
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


def query(name, kind, klass=1, flags=0, edns=None, counts=None, extra=b""):
    counts = counts or (1, 0, 0, 0 if edns is None else 1)
    return (struct.pack(">6H", 0x4242, flags, *counts) + encode(name)
            + struct.pack(">HH", kind, klass) + (edns or b"") + extra)


def opt(payload=1232, version=0, flags=0, options=b""):
    return b"\0" + struct.pack(">HHBBHH", OPT, payload, 0, version, flags, len(options)) + options


def read_name(message, at):
    labels, end = [], None
    while length := message[at]:
        if length >= 0xc0:
            end = end or at + 2
            at = struct.unpack_from(">H", message, at)[0] & 0x3fff
        else:
            labels.append(message[at + 1:at + 1 + length].lower())
            at += 1 + length
    return b".".join(labels), end or at + 1


class Answer:
    """A DNS answer; records are (owner, type, class, TTL, data) with names spelt out."""

    def __init__(self, message):
        self.message = message
        _, self.flags, questions, *counts = struct.unpack_from(">6H", message)
        at = 12
        for _ in range(questions):
            at = read_name(message, at)[1] + 4
        self.question = message[12:at]
        self.sections, self.opt = [], None
        for count in counts:
            section = set()
            for _ in range(count):
                owner, at = read_name(message, at)
                kind, klass, ttl, length = struct.unpack_from(">HHIH", message, at)
                at += 10
                if kind == OPT:
                    self.opt = (klass, ttl, message[at:at + length])
                else:
                    section.add((owner, kind, klass, ttl, self._data(kind, at, length)))
                at += length
            assert len(section) == count or count and self.opt is not None, "a record came twice"
            self.sections.append(section)
        assert at == len(message), "bytes behind the answer"
        self.answer, self.authority, self.additional = self.sections

    def _data(self, kind, at, length):
        if kind in (NS, CNAME):
            return read_name(self.message, at)[0]
        if kind == MX:
            return self.message[at:at + 2], read_name(self.message, at + 2)[0]
        if kind == SOA:
            mname, at = read_name(self.message, at)
            rname, at = read_name(self.message, at)
            return mname, rname, self.message[at:at + 20]
        return self.message[at:at + length]

    @property
    def rcode(self):
        return self.flags & 0xf | (self.opt[1] >> 24 << 4 if self.opt else 0)


def ask(port, message, tcp=False, timeout=PATIENCE_S):
    """The answer's bytes, or None if none comes in time."""
    kind = socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM
    with socket.socket(socket.AF_INET, kind) as sock:
        sock.settimeout(timeout)
        sock.connect(("127.0.0.1", port))
        sock.sendall(struct.pack(">H", len(message)) + message if tcp else message)
        try:
            if not tcp:
                return sock.recv(65535)
            with sock.makefile("rb") as stream:
                return stream.read(struct.unpack(">H", stream.read(2))[0])
        except (TimeoutError, struct.error):
            return None


# ---- servers ----

def free_port():
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


class Running:
    """A program that runs until the end of a `with`."""

    def __init__(self, argv, **options):
        self.process = subprocess.Popen([str(word) for word in argv], **options)

    def __enter__(self):
        return self.process

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def wait_answer(port, process, message):
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        assert process.poll() is None, f"{process.args[0]} ended with {process.returncode}"
        try:
            answer = ask(port, message, timeout=0.2)
            if answer and answer[3] & 0xf == NOERROR:
                return
        except ConnectionRefusedError:
            time.sleep(0.02)
    raise AssertionError(f"{process.args[0]} does not answer")


class Fairlead:
    def __init__(self, process):
        self.process = process
        self.port = int(process.stdout.readline())
        self.serial = int(process.stdout.readline())

    def swap(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        self.serial = int(self.process.stdout.readline())
        return self.serial


@pytest.fixture(scope="module")
def fairlead():
    assert SERVE.exists(), f"{SERVE} is not built: run ./dev build"
    with Running([SERVE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield Fairlead(process)
        process.stdin.close()
        assert process.wait(PATIENCE_S) == 0


def reference(argv, configuration, directory):
    port = free_port()
    (directory / "zone").write_text(ZONE)
    (directory / "conf").write_text(configuration.format(directory=directory, port=port))
    return port, Running([*argv, directory / "conf"], stdout=subprocess.DEVNULL)


@pytest.fixture(scope="module", params=["knot", "nsd"])
def oracle(request, tmp_path_factory):
    """(name, port) of a server of the field with the same zone."""
    argv, configuration = {"knot": (["/usr/sbin/knotd", "-c"], KNOT),
                           "nsd": (["/usr/sbin/nsd", "-d", "-c"], NSD)}[request.param]
    port, running = reference(argv, configuration, tmp_path_factory.mktemp(request.param))
    with running as process:
        wait_answer(port, process, query("svc.example.net", SOA))
        yield request.param, port


# ---- the same as others ----

NAMES = ["svc.example.net", "SVC.eXample.NET", "web.svc.example.net", "wEb.Svc.example.net",
         "only4.svc.example.net", "ns1.svc.example.net", MANY,
         "api.eu.deep.svc.example.net", "eu.deep.svc.example.net", "deep.svc.example.net",
         "no.svc.example.net", "below.web.svc.example.net", "x.deep.svc.example.net",
         "*.svc.example.net", "out.svc.example.net", "x.out.svc.example.net",
         "_dns.res.svc.example.net", "res.svc.example.net", "a.dev.svc.example.net",
         "a.b.dev.svc.example.net", "*.dev.svc.example.net", "dev.svc.example.net",
         "x.out2.svc.example.net", "in.svc.example.net", "IN2.svc.example.net",
         "apex.svc.example.net", "gone.svc.example.net", "x.in3.svc.example.net",
         "in4.svc.example.net", "below.in.svc.example.net", "example.net", "websvc.example.net", "example.org", ""]
TYPES = [A, NS, CNAME, SOA, MX, TXT, AAAA, SRV, DS, HTTPS, SVCB, CAA, 65280]


def options(data):
    """EDNS options but for extended errors (RFC 8914), which are for people and free to add."""
    found, at = set(), 0
    while at < len(data):
        code, length = struct.unpack_from(">HH", data, at)
        if code != EXTENDED_ERROR:
            found.add((code, data[at + 4:at + 4 + length]))
        at += 4 + length
    return found


def compare(fairlead, oracle, message, tcp=False):
    ours = Answer(ask(fairlead.port, message, tcp))
    theirs = Answer(ask(oracle[1], message, tcp))
    context = f"{oracle[0]}: {message!r}: {ours.message!r} {theirs.message!r}"
    assert f"{ours.flags:04x}" == f"{theirs.flags:04x}", context
    assert ours.question == theirs.question == message[12:12 + len(ours.question)], context
    assert ours.answer == theirs.answer, context
    # Beside an answer, they may add what they like.
    if (not ours.answer or ours.authority) and not ours.flags & TC:
        assert ours.authority == theirs.authority, context
    assert (ours.opt is None) == (theirs.opt is None), context
    if ours.opt:
        assert ours.opt[:2] == theirs.opt[:2], context
        assert options(ours.opt[2]) == options(theirs.opt[2]), context


@pytest.mark.parametrize("edns", [None, opt(), opt(512), opt(4096), opt(flags=0x8000),
                                  opt(options=b"\0\3\0\0"), opt(options=b"\xff\xf0\0\2hi")],
                         ids=["plain", "edns", "512", "4096", "do", "nsid", "unknown-option"])
def test_same_answers_as_the_field(fairlead, oracle, edns):
    for name in NAMES:
        for kind in TYPES:
            compare(fairlead, oracle, query(name, kind, edns=edns))


@pytest.mark.parametrize("flags", [RD, RA, Z, AD, CD, AA, TC, RD | AD | CD])
def test_same_flags_as_the_field(fairlead, oracle, flags):
    for name in ("web.svc.example.net", "no.svc.example.net", "example.org"):
        compare(fairlead, oracle, query(name, A, flags=flags, edns=opt()))


def test_same_over_tcp(fairlead, oracle):
    for name in NAMES:
        for kind in TYPES:
            compare(fairlead, oracle, query(name, kind), tcp=True)


MALFORMED = {
    "bytes behind the end": query("web.svc.example.net", A, extra=b"\0"),
    "no question": struct.pack(">6H", 0x4242, 0, 0, 0, 0, 0),
    "two questions": query("web.svc.example.net", A, counts=(2, 0, 0, 0),
                           extra=encode("web.svc.example.net") + b"\0\1\0\1"),
    "two OPT": query("web.svc.example.net", A, counts=(1, 0, 0, 2), extra=opt() + opt()),
    "EDNS version 1": query("web.svc.example.net", A, edns=opt(version=1)),
    "EDNS version 1, out of zone": query("example.org", A, edns=opt(version=1)),
    "OPT cut short": query("web.svc.example.net", A, edns=opt()[:-3]),
    "pointer to itself": struct.pack(">6H", 0x4242, 0, 1, 0, 0, 0) + b"\xc0\x0c\0\1\0\1",
    "label type 01": struct.pack(">6H", 0x4242, 0, 1, 0, 0, 0) + b"\x41a\0\0\1\0\1",
    "question cut short": query("web.svc.example.net", A)[:-1],
    "opcode STATUS": query("svc.example.net", SOA, flags=2 << 11),
    "opcode 15": query("svc.example.net", SOA, flags=15 << 11),
    "AXFR over UDP": query("svc.example.net", AXFR),
    "class CHAOS": query("svc.example.net", SOA, klass=3),
    "class 255": query("web.svc.example.net", A, klass=255),
    "an answer": query("web.svc.example.net", A, flags=QR),
    "eleven bytes": query("web.svc.example.net", A)[:11],
}
# Where the field does not agree, what the others do (None: nothing). Ours: FORMERR whenever there
# is a header to answer to, since silence makes a resolver wait; refusing to transfer is REFUSED.
FIELD = {
    ("two questions", "knot"): None,
    ("pointer to itself", "knot"): None,
    ("label type 01", "knot"): None,
    ("question cut short", "knot"): None,
    ("bytes behind the end", "nsd"): NOERROR,
    ("AXFR over UDP", "knot"): NOTIMP,
    ("AXFR over UDP", "nsd"): NOTIMP,
    ("class 255", "knot"): NOERROR,
    ("class 255", "nsd"): NOERROR,
}
OURS = {
    "bytes behind the end": FORMERR,
    "no question": FORMERR,
    "two questions": FORMERR,
    "two OPT": FORMERR,
    "EDNS version 1": BADVERS,
    "EDNS version 1, out of zone": BADVERS,
    "OPT cut short": FORMERR,
    "pointer to itself": FORMERR,
    "label type 01": FORMERR,
    "question cut short": FORMERR,
    "opcode STATUS": NOTIMP,
    "opcode 15": NOTIMP,
    "AXFR over UDP": REFUSED,
    "class CHAOS": REFUSED,
    "class 255": REFUSED,
    "an answer": None,
    "eleven bytes": None,
}


@pytest.mark.parametrize("what", MALFORMED)
def test_same_refusals_as_the_field(fairlead, oracle, what):
    ours, theirs = (ask(port, MALFORMED[what], timeout=0.5) for port in (fairlead.port, oracle[1]))
    assert (Answer(ours).rcode if ours else None) == OURS[what]
    assert (Answer(theirs).rcode if theirs else None) == FIELD.get((what, oracle[0]), OURS[what])


@pytest.mark.parametrize("tcp", [False, True])
@pytest.mark.parametrize("opcode", [2, 4, 5, 15])
def test_what_is_refused_has_the_field_of_the_query(fairlead, opcode, tcp):
    """RFC 6891 section 6.1.1: who sends OPT gets one, whatever is said."""
    edns = opt(flags=0x8000)
    message = query("svc.example.net", SOA, flags=opcode << 11, edns=edns)
    answer = Answer(ask(fairlead.port, message, tcp))
    assert (answer.rcode, answer.opt[:2]) == (NOTIMP, (1232, 0x8000))
    assert not options(answer.opt[2])


def test_nsupdate_is_told_that_there_are_no_updates(fairlead):
    """One of more than a datagram, over TCP: an answer, and not an end of the connection."""
    records = "".join(f"update add x{i}.svc.example.net. 30 TXT {'t' * 200}\n" for i in range(200))
    done = subprocess.run(["knsupdate", "-v"], input=f"server 127.0.0.1 {fairlead.port}\n"
                          f"zone svc.example.net.\n{records}send\n", stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=PATIENCE_S)
    assert "NOTIMP" in done.stdout, done.stdout


# ---- kdig and unbound ----

def kdig(port, *words):
    done = subprocess.run(["kdig", "@127.0.0.1", "-p", str(port), "+retry=0",
                           f"+timeout={PATIENCE_S}", *words],
                          stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout


def test_kdig_reads_it(fairlead):
    text = kdig(fairlead.port, "web.svc.example.net", "AAAA", "+nsid", "+edns")
    assert re.search(r"^web\.svc\.example\.net\.\s+30\s+IN\s+AAAA\s+2001:db8:f::1$", text, re.M)
    assert 'NSID: 6C616231 "lab1"' in text
    assert "status: NOERROR" in text and "Flags: qr aa" in text
    text = kdig(fairlead.port, "svc.example.net", "ANY")
    assert re.search(r'300\s+IN\s+HINFO\s+"RFC8482" ""$', text, re.M)
    text = kdig(fairlead.port, "svc.example.net", "SOA")
    assert f"ns1.svc.example.net. host\\.master.svc.example.net. {fairlead.serial} 3600" in text


@pytest.mark.parametrize("name, told", [("version.bind", "Fairlead lab"), ("id.server", "lab1"),
                                        ("version.server", "Fairlead lab"),
                                        ("hostname.bind", "lab1")])
def test_kdig_is_told_who_answers(fairlead, name, told):
    text = kdig(fairlead.port, "-c", "CH", name, "TXT")
    assert re.search(rf'^{name}\.\s+0\s+CH\s+TXT\s+"{told}"$', text, re.M), text


def test_kdig_is_told_why(fairlead):
    """RFC 8914: an extended error beside the code."""
    assert "EDE: 20 (Not Authoritative)" in kdig(fairlead.port, "example.org", "A", "+edns")
    assert "EDE: 21 (Not Supported)" in kdig(fairlead.port, "svc.example.net", "TYPE254", "+edns")


def test_the_version_of_the_zone(fairlead):
    """RFC 9660, with answers of all kinds from the zone, and with no other."""
    wish = opt(options=struct.pack(">HH", ZONE_VERSION, 0))
    version = (ZONE_VERSION, struct.pack(">BBI", 3, 0, fairlead.serial))
    for name in ("web", "no", "deep"):
        answer = Answer(ask(fairlead.port, query(f"{name}.svc.example.net", A, edns=wish)))
        assert options(answer.opt[2]) == {version}
    answer = Answer(ask(fairlead.port, query("example.org", A, edns=wish)))
    assert not options(answer.opt[2])


def test_kdig_gets_a_cookie_and_shows_it(fairlead):
    """It checks what RFC 7873 section 5.3 says of an answer's, and shows the server's part."""
    text = kdig(fairlead.port, "web.svc.example.net", "A", "+cookie=0123456789abcdef")
    cookie = re.search(r"COOKIE: ([0-9A-F]+)$", text, re.M).group(1)
    assert re.fullmatch("0123456789ABCDEF01000000[0-9A-F]{24}", cookie)
    text = kdig(fairlead.port, "web.svc.example.net", "A", f"+cookie={cookie.lower()}")
    assert "status: NOERROR" in text and f"COOKIE: {cookie[:16]}" in text


def test_kdig_comes_again_over_tcp_when_truncated(fairlead):
    text = kdig(fairlead.port, MANY, "AAAA", "+noedns")
    assert text.count("2001:db8:53::") == 16
    assert "(TCP)" in text
    text = kdig(fairlead.port, MANY, "AAAA", "+bufsize=1232", "+edns")
    assert text.count("2001:db8:53::") == 16
    assert "(UDP)" in text


def test_kdig_keeps_a_connection_open(fairlead):
    text = kdig(fairlead.port, "+tcp", "+keepopen", "web.svc.example.net", "A",
                "no.svc.example.net", "A", "svc.example.net", "SOA")
    assert re.findall(r"status: (\w+)", text) == ["NOERROR", "NXDOMAIN", "NOERROR"]


@pytest.mark.parametrize("subnet, scope", [("192.0.2.0/24", 24), ("192.0.2.77/32", 24),
                                           ("10.0.0.0/8", 24), ("2001:db8:7::/56", 56),
                                           ("2001:db8:7::/64", 56), ("0.0.0.0/0", 0)])
def test_kdig_is_told_the_scope(fairlead, subnet, scope):
    text = kdig(fairlead.port, "roll.svc.example.net", "A", f"+subnet={subnet}")
    assert re.search(rf"CLIENT-SUBNET: \S+/{scope}$", text, re.M), text
    text = kdig(fairlead.port, "web.svc.example.net", "A", f"+subnet={subnet}")
    assert re.search(r"CLIENT-SUBNET: \S+/0$", text, re.M), text


@contextlib.contextmanager
def unbound(server, directory, tcp="no", modules="iterator", more=""):
    """The port of a resolver that asks the server."""
    port = free_port()
    (directory / "conf").write_text(UNBOUND.format(directory=directory, port=port, tcp=tcp,
                                                   server=server, modules=modules, more=more))
    with Running(["unbound", "-d", "-c", directory / "conf"],
                 stderr=subprocess.DEVNULL) as process:
        wait_answer(port, process, query("svc.example.net", SOA, flags=RD))
        yield port


def subnet_option(subnet):
    network = ipaddress.ip_network(subnet)
    length = (network.prefixlen + 7) // 8
    family = 1 if network.version == 4 else 2
    return (struct.pack(">HHHBB", CLIENT_SUBNET, 4 + length, family, network.prefixlen, 0)
            + network.network_address.packed[:length])


def roll_of(port, subnet):
    """The address that a client with this subnet gets of the name whose rollout goes on."""
    answer = Answer(ask(port, query("roll.svc.example.net", A, flags=RD,
                                    edns=opt(options=subnet_option(subnet)))))
    return [record[4] for record in answer.answer]


def test_unbound_caches_by_subnet_and_nobody_changes_sides(fairlead, tmp_path):
    """Clients that tell much, and clients that tell little of the same networks, in any order:
    each gets by a cache what it would get without."""
    lengths = [24, 20, 16, 12, 32, 24, 28]
    subnets = [str(ipaddress.ip_network(f"10.{i % 4}.{16 * (i % 5)}.{i}/{lengths[i % 7]}",
                                        strict=False)) for i in range(140)]
    subnets += [str(ipaddress.ip_network(f"2001:db8:{i % 4}:{i << 8:x}::/{length}", strict=False))
                for i, length in enumerate([32, 40, 48, 56, 64, 52, 44, 56] * 5)]
    direct = {subnet: roll_of(fairlead.port, subnet) for subnet in subnets}
    assert len({tuple(address) for address in direct.values()}) == 2
    more = "send-client-subnet: 127.0.0.1\n    client-subnet-always-forward: yes"
    with unbound(fairlead.port, tmp_path, modules="subnetcache iterator", more=more) as port:
        for _ in range(2):
            for subnet in subnets:
                assert roll_of(port, subnet) == direct[subnet], subnet


@pytest.mark.parametrize("tcp", ["no", "yes"])
def test_unbound_resolves_through_it(fairlead, tmp_path, tcp):
    """With random spelling (0x20), minimised names, over UDP and TCP."""
    with unbound(fairlead.port, tmp_path, tcp) as port:
        for name, kind, status, wanted in (
                ("web", "A", "NOERROR", "198.51.100.1"),
                ("web", "AAAA", "NOERROR", "2001:db8:f::1"),
                ("api.eu.deep", "A", "NOERROR", "198.51.100.1"),
                (MANY.split(".")[0], "AAAA", "NOERROR", "2001:db8:53::10"),
                ("only4", "AAAA", "NOERROR", "SOA"),
                ("deep", "A", "NOERROR", "SOA"),
                ("no", "A", "NXDOMAIN", "SOA"),
                ("x.no", "A", "NXDOMAIN", "SOA")):
            text = kdig(port, f"{name}.svc.example.net", kind)
            assert f"status: {status}" in text and wanted in text, text


def test_a_swap_is_seen_at_once(fairlead):
    for _ in range(20):
        serial = fairlead.swap()
        answer = Answer(ask(fairlead.port, query("svc.example.net", SOA)))
        assert [struct.unpack(">I", data[2][:4])[0] for *_, data in answer.answer] == [serial]
