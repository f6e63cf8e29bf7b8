#!/usr/bin/env python3
"""Runs a program that may not use AMX: `scripts/without-amx.py PROGRAM ARGUMENTS`.

Linux gives a process the state of AMX tiles only when it asks (`arch_prctl`, ARCH_REQ_XCOMP_PERM). A seccomp filter refuses
that here, so programs find a processor without AMX. x86-64 Linux only; needs no rights.
"""

import ctypes
import os
import struct
import sys

SYS_ARCH_PRCTL = 158
ARCH_REQ_XCOMP_PERM = 0x1023
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
LOAD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06
REFUSE, ALLOW = 0x00050000 | 1, 0x7FFF0000  # SECCOMP_RET_ERRNO with EPERM, SECCOMP_RET_ALLOW
NUMBER, FIRST_ARGUMENT = 0, 16  # offsets in `struct seccomp_data`

PROGRAM = [
    (LOAD, 0, 0, NUMBER),
    (JUMP_IF_EQUAL, 0, 3, SYS_ARCH_PRCTL),
    (LOAD, 0, 0, FIRST_ARGUMENT),
    (JUMP_IF_EQUAL, 0, 1, ARCH_REQ_XCOMP_PERM),
    (RETURN, 0, 0, REFUSE),
    (RETURN, 0, 0, ALLOW),
]


class FilterProgram(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_char_p)]


def main():
    if len(sys.argv) < 2:
        sys.exit("usage: scripts/without-amx.py PROGRAM ARGUMENTS")
    libc = ctypes.CDLL(None, use_errno=True)
    code = b"".join(struct.pack("HBBI", *instruction) for instruction in PROGRAM)
    program = FilterProgram(len(PROGRAM), code)
    refused = libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(
        PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0
    )
    if refused:
        sys.exit(f"without-amx: error: {os.strerror(ctypes.get_errno())}")
    os.execvp(sys.argv[1], sys.argv[1:])


if __name__ == "__main__":
    main()
