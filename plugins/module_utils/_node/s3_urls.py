# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time.

"""Presigned URLs of S3 objects, which the controller sends along with a module."""

from __future__ import annotations

import json
import os

from .errors import PatchError


def readable(url: str) -> str:
    """Return the URL by which this node may read an object that C(s3://BUCKET/KEY) names; another URL as it is.

    run_module leaves them in a file that only the module's own user can read. What it returns is a secret.

    Raises:
        PatchError: C(download_failed), the controller sent none.
    """
    if not url.lower().startswith("s3:"):
        return url
    try:
        with open(os.environ["PATCHWAVE_S3_URLS"], encoding="utf-8") as handle:
            return str(json.load(handle)[url])
    except (OSError, ValueError, KeyError):
        why = "s3:// needs AWS rights; run_module with presign=true, or presigned_url, gives the node a URL"
        raise PatchError("download_failed", "cannot download: " + why) from None
