"""Gives up what a process that runs other people's kernels doesn't need: privileges, system calls, cores.

It is no security boundary: a kernel of the software GPU is native code in its process and can do whatever
that process may still do. It takes away what no kernel and no compiler ever needs, so that less is in reach.
Must not know: what the process does.
"""

from __future__ import annotations

import ctypes
import errno
import logging
import os
import platform
import resource
import socket
import struct

LOG = logging.getLogger("remora.confine")

# linux/prctl.h, linux/seccomp.h, linux/filter.h, linux/audit.h
PR_SET_NO_NEW_PRIVS, SET_MODE_FILTER, ALL_THREADS = 38, 1, 1
LOAD, JUMP_EQUAL, JUMP_AT_LEAST, RETURN = 0x20, 0x15, 0x35, 0x06
ALLOW, REFUSE = 0x7FFF0000, 0x00050000
NUMBER, ARCHITECTURE, FIRST_ARGUMENT = 0, 4, 16  # offsets in struct seccomp_data
X86_64, X32 = 0xC000003E, 0x40000000
SECCOMP = 317

# System calls of x86-64 that are refused with EPERM, by number.
NEVER = {
    "ptrace": 101, "process_vm_readv": 310, "process_vm_writev": 311, "pidfd_getfd": 438, "kcmp": 312,
    "mount": 165, "umount2": 166, "pivot_root": 155, "chroot": 161, "setns": 308, "unshare": 272,
    "open_tree": 428, "move_mount": 429, "fsopen": 430, "fsmount": 432, "mount_setattr": 442,
    "init_module": 175, "finit_module": 313, "delete_module": 176, "kexec_load": 246, "kexec_file_load": 320,
    "reboot": 169, "swapon": 167, "swapoff": 168, "acct": 163, "quotactl": 179, "iopl": 172, "ioperm": 173,
    "settimeofday": 164, "clock_settime": 227, "adjtimex": 159, "clock_adjtime": 305,
    "sethostname": 170, "setdomainname": 171, "syslog": 103, "vhangup": 153, "personality": 135,
    "bpf": 321, "perf_event_open": 298, "userfaultfd": 323, "io_uring_setup": 425,
    "add_key": 248, "request_key": 249, "keyctl": 250, "open_by_handle_at": 304,
}  # fmt: skip
PROGRAMS = {"execve": 59, "execveat": 322}
SOCKET = 41


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def _step(code: int, value: int, yes: int = 0, no: int = 0) -> bytes:
    """One instruction: struct sock_filter. yes and no: how many to skip after a comparison."""
    return struct.pack("=HBBI", code, yes, no, value)


def rules(programs: bool, network: bool) -> bytes:
    """The filter (classic BPF, linux/filter.h): refused calls, and sockets of other families than AF_UNIX."""
    refuse = _step(RETURN, REFUSE | errno.EPERM)
    numbers = sorted(NEVER.values()) + ([] if programs else sorted(PROGRAMS.values()))
    steps = [_step(LOAD, ARCHITECTURE), _step(JUMP_EQUAL, X86_64, yes=1), refuse]
    steps += [_step(LOAD, NUMBER), _step(JUMP_AT_LEAST, X32, no=1), refuse]
    for number in numbers:
        steps += [_step(JUMP_EQUAL, number, no=1), refuse]
    if not network:
        steps += [_step(JUMP_EQUAL, SOCKET, no=3), _step(LOAD, FIRST_ARGUMENT)]
        steps += [_step(JUMP_EQUAL, socket.AF_UNIX, yes=1), refuse]
    return b"".join([*steps, _step(RETURN, ALLOW)])


def _install(program: bytes) -> None:
    """For all threads of the process, those to come and its children. Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    held = ctypes.create_string_buffer(program, len(program))
    whole = _Program(len(program) // 8, ctypes.addressof(held))
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.syscall(
        SECCOMP, SET_MODE_FILTER, ALL_THREADS, ctypes.byref(whole)
    ):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def limit(kind: int, most: int) -> None:
    """Lowers a resource limit, for good."""
    hard = resource.getrlimit(kind)[1]
    least = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(kind, (least, least))


def confine(programs: bool, network: bool) -> None:
    """Applies to this process from now on. programs: it may start others; network: it may open connections.

    A kernel that knows no filters leaves the process without one; a line in the log says so.
    """
    limit(resource.RLIMIT_CORE, 0)
    if platform.machine() != "x86_64":
        return
    try:
        _install(rules(programs, network))
    except OSError as error:
        LOG.warning("system calls are not filtered here: %s", error)
