# SPDX-License-Identifier: Apache-2.0
"""As much of bpf(2) as the tests need: pinned maps as memory, and a program of somebody else."""
import ctypes
import mmap
import os

SYS_BPF = {"x86_64": 321, "aarch64": 280}[os.uname().machine]
PROG_LOAD, OBJ_PIN, OBJ_GET = 5, 6, 7
PROG_TYPE_TC, PROG_TYPE_XDP = 3, 6
# r0 = 2; exit. To XDP that is XDP_PASS, to tc TC_ACT_SHOT.
RETURN_2 = bytes([0xb7, 0, 0, 0, 2, 0, 0, 0]) + bytes([0x95, 0, 0, 0, 0, 0, 0, 0])

_libc = ctypes.CDLL(None, use_errno=True)


class _Load(ctypes.Structure):
    _fields_ = [("type", ctypes.c_uint32), ("count", ctypes.c_uint32),
                ("instructions", ctypes.c_uint64), ("license", ctypes.c_uint64),
                ("rest", ctypes.c_uint64 * 12)]


class _Object(ctypes.Structure):
    _fields_ = [("path", ctypes.c_uint64), ("fd", ctypes.c_uint32), ("flags", ctypes.c_uint32)]


def _bpf(command, attributes):
    result = _libc.syscall(SYS_BPF, command, ctypes.byref(attributes), ctypes.sizeof(attributes))
    if result < 0:
        raise OSError(ctypes.get_errno(), f"bpf command {command}")
    return result


def _pointer(text):
    buffer = ctypes.create_string_buffer(text, len(text))
    return buffer, ctypes.cast(buffer, ctypes.c_void_p).value


def pin_pass_program(path):
    """Pin an XDP program that lets every packet pass."""
    _pin_program(path, PROG_TYPE_XDP)


def pin_drop_program(path):
    """Pin a program of tc that drops every packet."""
    _pin_program(path, PROG_TYPE_TC)


def _pin_program(path, program_type):
    code, code_at = _pointer(RETURN_2)
    name, name_at = _pointer(b"GPL\0")
    fd = _bpf(PROG_LOAD, _Load(program_type, len(RETURN_2) // 8, code_at, name_at))
    target, target_at = _pointer(os.fsencode(path) + b"\0")
    try:
        _bpf(OBJ_PIN, _Object(target_at, fd))
    finally:
        os.close(fd)
    del code, name, target  # they had to live until here


def _map_bytes(fd):
    """How much memory the map can be mapped into, by what the kernel says of it."""
    with open(f"/proc/self/fdinfo/{fd}", encoding="ascii") as lines:
        told = dict(line.split(":", 1) for line in lines)
    return (int(told["value_size"]) + 7) // 8 * 8 * int(told["max_entries"])


def map_memory(path):
    """A pinned array that can be mapped, as read-only memory."""
    target, target_at = _pointer(os.fsencode(path) + b"\0")
    fd = _bpf(OBJ_GET, _Object(target_at))
    try:
        return mmap.mmap(fd, _map_bytes(fd), mmap.MAP_SHARED, mmap.PROT_READ)
    finally:
        os.close(fd)
        del target
