# SPDX-License-Identifier: Apache-2.0
"""A landing that a test plays itself: the few messages of src/wire/peer.h that it needs, written
here once more, so that both sides of the table are held to docs/design/messages.md."""
import ipaddress
import socket
import struct

from lab.host import LabError

HELLO, REPORT, CONFIGURE, CUT, HEARD, REFUSED = range(1, 7)
LEVEL = 1
NONE = "0" * 64  # a digest that names nothing
HEADER = struct.Struct(">IHH")


class Refused(LabError):
    """The node answered with an error; `code` is its number."""

    def __init__(self, code, sentence):
        super().__init__(sentence)
        self.code = code


def frame(number, body, level=LEVEL):
    return HEADER.pack(4 + len(body), number, level) + body


def put_text(text):
    data = text.encode()
    return struct.pack(">I", len(data)) + data


def put_address(text):
    address = ipaddress.ip_address(text)
    return bytes([address.version]) + address.packed


def put_list(rows):
    return struct.pack(">I", len(rows)) + b"".join(rows)


def hello(node, boot_id="b", instance="1"):
    return frame(HELLO, struct.pack(">H", LEVEL) + put_text(node) + put_text(boot_id)
                 + put_text(instance))


def block(level, body):
    """The fields of a later level."""
    return struct.pack(">HI", level, len(body)) + body


def report(connections=(), generation=NONE, closing=0, closing_digest=NONE, alarms=(), cut=0,
           owned=()):
    """`connections` are pairs, `alarms` dictionaries, `owned` addresses of the machine."""
    counts = [put_address(address) + struct.pack(">I", count) for address, count in connections]
    troubles = [b"".join(put_text(alarm.get(key, "")) for key in
                         ("code", "severity", "subject", "text", "advice")) for alarm in alarms]
    return frame(REPORT, bytes.fromhex(generation) + struct.pack(">Q", closing)
                 + bytes.fromhex(closing_digest) + struct.pack(">?QQ", True, 2 ** 64 - 1, cut)
                 + put_list(counts) + put_list(troubles) + put_list([])
                 + put_text("") + put_text("") + struct.pack(">IIQ", 0, 0, 0)
                 + block(2, put_list(sorted(map(put_address, owned)))))


class Reader:
    def __init__(self, data):
        self.data = data

    def take(self, length):
        part, self.data = self.data[:length], self.data[length:]
        assert len(part) == length
        return part

    def number(self, width):
        return int.from_bytes(self.take(width), "big")

    def text(self):
        return self.take(self.number(4)).decode()

    def address(self):
        family = self.number(1)
        return str(ipaddress.ip_address(self.take({4: 4, 6: 16}[family]))) if family else None

    def prefix(self):
        family, bits = self.number(1), self.number(1)
        return f"{ipaddress.ip_address(self.take({4: 4, 6: 16}[family]))}/{bits}"

    def listener(self):
        return (self.prefix(), self.number(1), self.number(2), self.address(), self.number(2))

    def rows(self, read):
        return [read() for _ in range(self.number(4))]


class Landing:
    """One session. `sets` is what the node's messages add up to."""

    def __init__(self, path, node, instance="1", boot_id="b"):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.connect(str(path))
        self.socket.settimeout(20)
        self.sets = None
        self.generation = NONE
        self.closing = (0, NONE)
        self.cuts = []
        self.send(hello(node, boot_id, instance))

    def send(self, data):
        self.socket.sendall(data)

    def read(self):
        """(number, Reader), or None when the node has ended the session."""
        def receive(length):
            data = b""
            while len(data) < length:
                chunk = self.socket.recv(length - len(data))
                if not chunk:
                    return None
                data += chunk
            return data
        try:
            header = receive(HEADER.size)
            if header is None:
                return None
            length, number, level = HEADER.unpack(header)
            assert level == LEVEL
            return number, Reader(receive(length - 4))
        except ConnectionResetError:
            return None

    def configure(self, message):
        whole, base, generation = message.number(1), message.take(32).hex(), message.take(32).hex()
        assert whole or base == self.generation
        sets = {} if whole else self.sets
        for name, read in (("pools", message.prefix), ("edges", message.address),
                           ("addresses", message.address), ("listeners", message.listener)):
            removed, added = message.rows(read), message.rows(read)
            before = sets.get(name, set())
            assert before >= set(removed) and not before & set(added)
            sets[name] = before - set(removed) | set(added)
        assert not message.data
        self.sets, self.generation = sets, generation

    def report(self, connections=(), **more):
        """One report and its answer; it names what the node said before, and the machine has the
        addresses that it is asked for, unless `more` says otherwise. True when the answer brought
        another configuration."""
        closing, digest = self.closing
        in_order = sorted(dict(connections).items(), key=lambda pair: put_address(pair[0]))
        self.send(report(**{"connections": in_order,
                            "generation": self.generation, "closing": closing,
                            "closing_digest": digest,
                            "owned": self.sets["addresses"] if self.sets else ()} | more))
        configured = False
        while True:
            answer = self.read()
            if answer is None:
                raise LabError("the node ended the session")
            number, message = answer
            if number == CONFIGURE:
                self.configure(message)
                configured = True
            elif number == CUT:
                self.cuts = message.rows(message.address)
            elif number == REFUSED:
                raise Refused(message.number(2), message.text())
            else:
                assert number == HEARD
                assert message.number(4) > 0
                self.closing = message.number(8), message.take(32).hex()
                return configured

    def close(self):
        self.socket.close()
