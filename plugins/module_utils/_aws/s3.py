# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time.

"""S3: one function per call."""

from __future__ import annotations

import typing as t

from .errors import AwsError, handled


@handled("upload the payload to S3")
def put_object(s3: t.Any, bucket: str, key: str, body: bytes) -> None:
    """Store body under key; the bucket's default encryption applies."""
    s3.put_object(Bucket=bucket, Key=key, Body=body)


def head_object(s3: t.Any, bucket: str, key: str) -> dict[str, t.Any] | None:
    """Return what S3 knows of key; None where it is not there, which without s3:ListBucket looks like a refusal."""
    try:
        return dict(_head_object(s3, bucket, key))
    except AwsError as error:
        if error.code in ("404", "403"):
            return None
        raise


@handled("look for the payload in S3")
def _head_object(s3: t.Any, bucket: str, key: str) -> t.Any:
    return s3.head_object(Bucket=bucket, Key=key)


@handled("delete the payload from S3")
def delete_object(s3: t.Any, bucket: str, key: str) -> None:
    """Delete key; a key that is not there is no error."""
    s3.delete_object(Bucket=bucket, Key=key)


@handled("presign a URL")
def presigned_get(s3: t.Any, bucket: str, key: str, seconds: int) -> str:
    """Return a URL with which anybody can read key for so many seconds. It is a secret."""
    return str(s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": key}, ExpiresIn=seconds))
