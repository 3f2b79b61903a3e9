"""Makes the way to a node's process 1 read-only, by which its callers know to change nothing, and becomes a command.

Runs inside a node, in a mount namespace of its own, with the standard library only.
"""

import ctypes
import os
import sys

#: mount_setattr(2), the same number on every architecture; and its structure of four 64-bit numbers (linux/mount.h).
MOUNT_SETATTR = 442
READ_ONLY = 1
HERE = -100
BIND = 0x1000
INIT = b"/run/patchwave-lab"
LIBC = ctypes.CDLL(None, use_errno=True)

wanted = (ctypes.c_uint64 * 4)(READ_ONLY)
if LIBC.mount(INIT, INIT, None, BIND, None) or LIBC.syscall(
    MOUNT_SETATTR, HERE, INIT, 0, ctypes.byref(wanted), ctypes.sizeof(wanted)
):
    sys.exit(f"patchwave lab: {INIT.decode()} cannot be made read-only: {os.strerror(ctypes.get_errno())}")
try:
    os.execvp(sys.argv[1], sys.argv[1:])
except OSError as error:
    sys.exit(f"{sys.argv[1]}: {error.strerror}")
