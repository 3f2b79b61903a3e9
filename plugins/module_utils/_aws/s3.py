# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time.

"""S3: one function per call."""

from __future__ import annotations

import typing as t

try:
    from botocore.exceptions import ClientError, HTTPClientError
    from botocore.exceptions import ConnectionError as NoConnection
except ImportError:
    pass  # sessions says what is missing

from .errors import AwsError, handled


@handled("look for the bucket's region")
def bucket_region(s3: t.Any, bucket: str) -> str:
    """Return the region in which a bucket lies, or the empty string where nobody says.

    Whoever may not list the bucket is told all the same, in the refusal.

    Raises:
        AwsError: there is no such bucket, or there are no credentials.
    """
    try:
        answer = s3.head_bucket(Bucket=bucket)
    except ClientError as error:
        answer = error.response
        if answer.get("Error", {}).get("Code") in ("404", "NoSuchBucket"):
            raise AwsError(f"bucket '{bucket}': there is no such bucket; check its name") from None
    except (HTTPClientError, NoConnection):
        return ""  # whatever needs the bucket itself will say it
    return str(answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("x-amz-bucket-region", ""))


def _owned(bucket: str, key: str, owner: str | None) -> dict[str, str]:
    """Return what names an object, refused by S3 where the bucket is another account's than the owner."""
    return {"Bucket": bucket, "Key": key, **({"ExpectedBucketOwner": owner} if owner else {})}


@handled("upload the payload to S3")
def put_object(s3: t.Any, bucket: str, key: str, body: bytes, owner: str | None = None) -> None:
    """Store body under key; the bucket's default encryption applies."""
    s3.put_object(**_owned(bucket, key, owner), Body=body)


def head_object(s3: t.Any, bucket: str, key: str, owner: str | None = None) -> dict[str, t.Any] | None:
    """Return what S3 knows of key; None where it is not there, which without s3:ListBucket looks like a refusal."""
    try:
        return dict(_head_object(s3, bucket, key, owner))
    except AwsError as error:
        if error.code in ("404", "403"):
            return None
        raise


@handled("look for the payload in S3")
def _head_object(s3: t.Any, bucket: str, key: str, owner: str | None) -> t.Any:
    return s3.head_object(**_owned(bucket, key, owner))


@handled("delete the payload from S3")
def delete_object(s3: t.Any, bucket: str, key: str, owner: str | None = None) -> None:
    """Delete key; a key that is not there is no error."""
    s3.delete_object(**_owned(bucket, key, owner))


@handled("list objects in S3")
def list_objects(s3: t.Any, bucket: str, prefix: str, owner: str | None = None) -> list[str]:
    """Return the keys that begin with prefix (1,000 a page)."""
    named = {"Bucket": bucket, "Prefix": prefix, **({"ExpectedBucketOwner": owner} if owner else {})}
    pages = s3.get_paginator("list_objects_v2").paginate(**named)
    return [item["Key"] for page in pages for item in page.get("Contents", ())]


@handled("read the object from S3")
def get_object(s3: t.Any, bucket: str, key: str, most: int, owner: str | None = None) -> bytes:
    """Return at most so many bytes of what lies under key."""
    return bytes(s3.get_object(**_owned(bucket, key, owner))["Body"].read(most))


@handled("presign a URL")
def presigned_get(s3: t.Any, bucket: str, key: str, seconds: int, owner: str | None = None) -> str:
    """Return a URL with which anybody can read key for so many seconds. It is a secret.

    With an owner, whoever reads it must send the header C(x-amz-expected-bucket-owner).
    """
    return str(s3.generate_presigned_url("get_object", Params=_owned(bucket, key, owner), ExpiresIn=seconds))
