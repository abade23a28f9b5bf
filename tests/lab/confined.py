# SPDX-License-Identifier: Apache-2.0
"""Runs a program under the filters that systemd would make of a unit's settings, by the library that
systemd makes them with: `confined.py UNIT COMMAND…`.

SystemCallFilter=~…, RestrictAddressFamilies=, RestrictNamespaces=yes, MemoryDenyWriteExecute=yes.
"""
import ctypes
import errno
import os
import socket
import subprocess
import sys

ALLOW, ERRNO = 0x7fff0000, 0x00050000
EQUAL, MASKED = 4, 7
PROT_WRITE_EXEC = 6
CLONE_NAMESPACES = (0x00020000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000,
                    0x40000000)


class Compare(ctypes.Structure):
    _fields_ = [("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64),
                ("b", ctypes.c_uint64)]


def settings(path):
    with open(path, encoding="utf-8") as file:
        return dict(line.rstrip("\n").split("=", 1) for line in file
                    if "=" in line and not line.startswith("#"))


def calls_of(words):
    """The system calls of a list of them and of systemd's sets."""
    calls = set()
    for word in words:
        if not word.startswith("@"):
            calls.add(word)
            continue
        listed = subprocess.run(["systemd-analyze", "syscall-filter", word], check=True,
                                capture_output=True, text=True).stdout.split("\n")[1:]
        calls |= calls_of(line.strip() for line in listed
                          if line.startswith("    ") and not line.strip().startswith("#"))
    return calls


def confine(unit):
    library = ctypes.CDLL("libseccomp.so.2")
    library.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(library.seccomp_init(ALLOW))

    def refuse(call, code, *compares):
        number = library.seccomp_syscall_resolve_name(call.encode())
        if number >= 0:
            array = (Compare * len(compares))(*compares)
            assert library.seccomp_rule_add_array(context, ERRNO | code, number, len(compares),
                                                  array) == 0, call

    refused = unit["SystemCallFilter"]
    assert refused.startswith("~")
    for call in calls_of(refused[1:].split()):
        refuse(call, getattr(errno, unit["SystemCallErrorNumber"]))
    families = {getattr(socket, name) for name in unit["RestrictAddressFamilies"].split()}
    for family in set(range(64)) - families:
        refuse("socket", errno.EAFNOSUPPORT, Compare(0, EQUAL, family, 0))
    assert unit["RestrictNamespaces"] == unit["MemoryDenyWriteExecute"] == "yes"
    refuse("setns", errno.EPERM)
    for flag in CLONE_NAMESPACES:
        for call in "unshare", "clone":
            refuse(call, errno.EPERM, Compare(0, MASKED, flag, flag))
    for call, argument in (("mmap", 2), ("mprotect", 2)):
        mask = PROT_WRITE_EXEC if call == "mmap" else 4
        refuse(call, errno.EPERM, Compare(argument, MASKED, mask, mask))
    assert library.seccomp_load(context) == 0


def main():
    unit = settings(sys.argv[1])
    confine(unit)
    os.execvp(sys.argv[2], sys.argv[2:])


if __name__ == "__main__":
    main()
