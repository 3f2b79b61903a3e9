# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time.
"""Prove a detached OpenPGP signature with the node's own gpgv and the key of the definition, and no other key."""

from __future__ import annotations

import base64
import binascii
import os
import re
import typing as t

from .commands import Commands, found
from .disk import Disk
from .errors import PatchError

PROGRAM = "gpgv"

_BLOCK = re.compile(r"-----BEGIN PGP PUBLIC KEY BLOCK-----(.*?)-----END PGP PUBLIC KEY BLOCK-----", re.DOTALL)
_SECONDS = 300


class Signature(t.NamedTuple):
    """A detached signature and the public key that must have made it, both in ASCII."""

    text: str
    public_key: str

    def check(self) -> None:
        """Raise PatchError C(verifier_missing) or C(bad_definition); change nothing."""
        if not found(PROGRAM):
            message = "{0} is not on this node, so the signature cannot be proven; install it"
            raise PatchError("verifier_missing", message.format(PROGRAM))
        self._ring()

    def verify(self, path: str, folder: str, commands: Commands, disk: Disk) -> None:
        """Raise PatchError C(bad_signature) unless the key has signed C(path); work in C(folder)."""
        ring, signature = os.path.join(folder, "key.gpg"), os.path.join(folder, "signature.asc")
        for target, content in ((ring, self._ring()), (signature, self.text.encode())):
            disk.step("write " + target)
            with open(target, "wb") as stream:
                stream.write(content)
        answer = commands.run([PROGRAM, "--status-fd", "1", "--keyring", ring, signature, path], _SECONDS)
        # An expired or revoked key gives another word than GOODSIG, though gpgv ends with 0.
        if answer.rc != 0 or answer.timed_out or "[GNUPG:] GOODSIG " not in answer.text:
            raise PatchError("bad_signature", "the file is not signed by public_key of the definition")

    def _ring(self) -> bytes:
        """Return the keys as gpgv reads them: without the ASCII around."""
        keys = b""
        for block in _BLOCK.findall(self.public_key):
            lines = block.partition("\n\n")[2].split("\n") if "\n\n" in block else block.split("\n")
            body = "".join(line.strip() for line in lines if not line.startswith("="))
            try:
                keys += base64.b64decode(body, validate=True)
            except (binascii.Error, ValueError):
                keys = b""
                break
        if not keys:
            raise PatchError("bad_definition", "public_key: must be an intact public key in ASCII")
        return keys
