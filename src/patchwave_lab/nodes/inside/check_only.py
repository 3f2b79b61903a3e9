"""Makes what is not a node's own read-only, and its process 1 as well, and becomes the command that it is given.

Runs inside a node, in a mount namespace of its own, with the standard library only; its first argument names the
directories that stay writable, with commas.
"""

import ctypes
import errno
import os
import sys

#: mount_setattr(2), the same number on every architecture; and its structure of four 64-bit numbers (linux/mount.h).
MOUNT_SETATTR = 442
READ_ONLY = 1
RECURSIVE = 0x8000
HERE = -100
BIND = 0x1000
#: Where callers of process 1 look whether they may change something.
INIT = b"/run/patchwave-lab"
LIBC = ctypes.CDLL(None, use_errno=True)


def change(path: bytes, flags: int, *, writable: bool) -> None:
    """Make a mount, or all below it too, read-only or writable."""
    wanted = (ctypes.c_uint64 * 4)(0 if writable else READ_ONLY, READ_ONLY if writable else 0)
    check(LIBC.syscall(MOUNT_SETATTR, HERE, path, flags, ctypes.byref(wanted), ctypes.sizeof(wanted)), path)


def check(failed: int, path: bytes) -> None:
    """End with a line when a call failed, except on what is no mount point."""
    if failed and ctypes.get_errno() != errno.EINVAL:
        sys.exit(f"patchwave lab: {path.decode()} cannot be made read-only: {os.strerror(ctypes.get_errno())}")


change(b"/", RECURSIVE, writable=False)
for name in sys.argv[1].split(","):
    change(b"/" + name.encode(), 0, writable=True)
check(LIBC.mount(INIT, INIT, None, BIND, None), INIT)
change(INIT, 0, writable=False)
try:
    os.execvp(sys.argv[2], sys.argv[2:])
except OSError as error:
    sys.exit(f"{sys.argv[2]}: {error.strerror}")
