"""Makes every file system that this process sees read-only, except /tmp, and becomes the command that it is given.

Runs inside a node, in a mount namespace of its own, with the standard library only. A device, a socket or a pipe on a
read-only file system can still be written to.
"""

import ctypes
import os
import sys

#: mount_setattr(2), the same number on every architecture; and its structure of four 64-bit numbers (linux/mount.h).
MOUNT_SETATTR = 442
READ_ONLY = 1
RECURSIVE = 0x8000
HERE = -100


def change(path: bytes, flags: int, *, writable: bool) -> None:
    """Make a mount, or all below it too, read-only or writable."""
    libc = ctypes.CDLL(None, use_errno=True)
    wanted = (ctypes.c_uint64 * 4)(0 if writable else READ_ONLY, READ_ONLY if writable else 0)
    if libc.syscall(MOUNT_SETATTR, HERE, path, flags, ctypes.byref(wanted), ctypes.sizeof(wanted)):
        code = ctypes.get_errno()
        sys.exit(f"patchwave lab: {path.decode()} cannot be made read-only: {os.strerror(code)}")


change(b"/", RECURSIVE, writable=False)
change(b"/tmp", 0, writable=True)
try:
    os.execvp(sys.argv[1], sys.argv[1:])
except OSError as error:
    sys.exit(f"{sys.argv[1]}: {error.strerror}")
