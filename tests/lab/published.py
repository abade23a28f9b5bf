# SPDX-License-Identifier: Apache-2.0
"""What the edge's pinned maps say, read from the kernel and compared with what the daemon says that
it committed. The layout is abi/edge.h's, written down here a second time on purpose."""
import ipaddress
import struct
from collections import Counter

import bpf
from lab.product import SITE

POOLS4, POOLS6 = 8, 8
SETTINGS = struct.Struct("<QQ16sIBB2x")  # heartbeat, limit, source_v6, source_v4, pools4, pools6
POOL4 = struct.Struct("<4s4sHHB3x")  # prefix, mask, first span, site mask, slot bits
POOL6 = struct.Struct("<16s8sHHBB2x")
MAPS = "settings", "spans", "addresses", "descriptors", "ring_pages", "backends"
DESCRIPTOR = struct.Struct("<IHBB40s48s32s16s32sQQ16sBB46x")
PAGE_ENTRIES, PAGE_BYTES = 4096, 8192
BACKEND = struct.Struct("<Q16sIBB2xI28x")


class Published:
    """The maps as they are now: a view, not a copy."""

    def __init__(self, lab):
        self.lab = lab
        folder = lab.capsule.bpffs / "edge/edge" / lab.cli.json("status")["layout"]
        self.maps = {name: bpf.map_memory(folder / name) for name in MAPS}

    def _span(self, address):
        """(index of its span, slot within it) of a service address."""
        packed = ipaddress.ip_address(address).packed
        number = int.from_bytes(packed, "big")
        settings, v4 = self.maps["settings"], len(packed) == 4
        for index in range(POOLS4 if v4 else POOLS6):
            if v4:
                at = SETTINGS.size + index * POOL4.size
                prefix, mask, first, site_mask, slot_bits = POOL4.unpack_from(settings, at)
            else:
                at = SETTINGS.size + POOLS4 * POOL4.size + index * POOL6.size
                prefix, mask, first, site_mask, slot_bits, used = POOL6.unpack_from(settings, at)
                mask = bytes([255] * 8) + mask
                if not used:
                    continue
            if bytes(a & b for a, b in zip(packed, mask)) == prefix:
                return (first + (number >> slot_bits & site_mask), number & (1 << slot_bits) - 1)
        raise AssertionError(f"no pool in the maps holds {address}")

    def _word(self, address):
        span, slot = self._span(address)
        first, length = struct.unpack_from("<II", self.maps["spans"], span * 8)
        assert slot < length, f"{address} lies beyond its span"
        return first + slot, struct.unpack_from("<Q", self.maps["addresses"], (first + slot) * 8)[0]

    def _descriptor(self, number):
        fields = DESCRIPTOR.unpack_from(self.maps["descriptors"], number * DESCRIPTOR.size)
        first, pages, _, _, _, _, _, _, digest, version, _, address, family, _ = fields
        return {"first": first, "pages": pages, "version": version,
                "address": str(ipaddress.ip_address(address[:4 if family == 4 else 16])),
                "digest": digest.hex()}

    def _backend(self, number):
        _, address, _, family, _, _ = BACKEND.unpack_from(self.maps["backends"],
                                                          number * BACKEND.size)
        return str(ipaddress.ip_address(address[:4 if family == 4 else 16]))

    def _page(self, number):
        return struct.unpack_from(f"<{PAGE_ENTRIES}H", self.maps["ring_pages"],
                                  number * PAGE_BYTES)

    def check(self):
        """Every address means what the daemon says; no other address means anything."""
        expected = 0
        for version in self.lab.cli.json("get", "versions"):
            described = self.lab.cli.json(
                "describe", f"version/{version['service']}/{version['number']}")
            for address in version["addresses"] + version["late_addresses"]:
                self._check_address(address, version, described["backends"])
                expected += 1
        # Words beyond every span are what an earlier span left behind; no packet finds them.
        spans = struct.iter_unpack("<II", self.maps["spans"][:])
        held = [word for first, length in spans for word in struct.unpack_from(
            f"<{length}Q", self.maps["addresses"], first * 8)]
        assert sum(word != 0 for word in held) == expected

    def _check_address(self, address, version, backends):
        descriptor = self._descriptor(self._word(address)[1] & 0xffffffff)
        assert (descriptor["version"], descriptor["address"], descriptor["digest"]) == (
            version["number"], address, version["digest"])
        entries = Counter(self._backend(number) for number in self._page(descriptor["first"]))
        here = [backend for backend in backends if backend["site"] == SITE]
        whole = sum(backend["weight"] for backend in here)
        for backend in here:
            share = PAGE_ENTRIES * backend["weight"] / whole
            assert abs(entries.pop(backend["address"]) - share) < 1, (address, backend)
        assert not entries, f"the ring of {address} names {entries}"
