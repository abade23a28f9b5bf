# SPDX-License-Identifier: Apache-2.0
"""A stand-in for the edge: puts packets for service addresses into IP-in-IP, with kernel sockets.

    python3 encapsulate.py TUN-NAME BACKEND-V4 BACKEND-V6

What is routed to the TUN interface goes to the backend: to its IPv4 address when the last byte of
the destination is even, to its IPv6 address when it is odd. So each service address stands for one
of the four combinations. The outer header is the kernel's own work (raw sockets of protocol 4 and
41), hence an oracle for the decapsulation.
"""
import fcntl
import os
import socket
import struct
import sys

TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
IPPROTO_IPIP, IPPROTO_IPV6 = 4, 41


def open_tun(name):
    tun = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI))
    return tun


def main(name, backend_v4, backend_v6):
    tun = open_tun(name)
    senders = {(family, protocol): socket.socket(family, socket.SOCK_RAW, protocol)
               for family in (socket.AF_INET, socket.AF_INET6)
               for protocol in (IPPROTO_IPIP, IPPROTO_IPV6)}
    print("ready", flush=True)
    while packet := os.read(tun, 65536):
        is_v4 = packet[0] >> 4 == 4
        if not is_v4 and packet[24] == 0xff:
            continue  # the kernel's own multicast, which is on every link
        last = packet[19] if is_v4 else packet[39]
        protocol = IPPROTO_IPIP if is_v4 else IPPROTO_IPV6
        family, backend = ((socket.AF_INET, backend_v4) if last % 2 == 0 else
                           (socket.AF_INET6, backend_v6))
        try:
            senders[family, protocol].sendto(packet, (backend, 0))
        except OSError as failure:  # too big for a link that shrank, a link that is down: routers drop
            print(f"dropped {len(packet)} bytes: {failure}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
