# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection. It can change at any time.

"""The program that Ansible makes of a module and its arguments, made the same each time."""

from __future__ import annotations

import base64
import io
import re
import typing as t
import zipfile

#: Whole lines, so that nothing in the arguments, which are one line, can be taken for them. The archive of the module
#: and its utils, and the moment of its making: ansible-core 2.19 and newer, and 2.18.
_ARCHIVE = re.compile(rb"^(zip_data=|    ZIPDATA = )'([A-Za-z0-9+/]+=*)'", re.MULTILINE)
_MOMENT = re.compile(rb"^date_time=datetime\.datetime\(\d{4}(, \d+){2,6}(?=[,)])", re.MULTILINE)
_OLD_MOMENT = re.compile(rb"^( +zinfo\.date_time) = \(\d{4}(, \d+){5}\)", re.MULTILINE)
_EARLIEST = (1980, 1, 1, 0, 0, 0)

#: A bucket's name, or the ARN of an access point, which has a slash of its own.
_S3 = re.compile(r"s3://(arn:[^/\s]+:accesspoint[:/][^/:\s]+|[^/\s]+)/(.+)", re.DOTALL)


def stable(program: bytes) -> bytes:
    """Take the time of its making out of a program, so that one module with one set of arguments is one program.

    What is not found, in an ansible-core that makes programs differently, stays as it is: then the program works as
    well and is another each time.
    """
    program = _MOMENT.sub(b"date_time=datetime.datetime(1980, 1, 1", program)
    program = _OLD_MOMENT.sub(rb"\1 = (1980, 1, 1, 0, 0, 0)", program)
    return _ARCHIVE.sub(lambda match: b"%s'%s'" % (match[1], _stable_archive(match[2])), program)


def _stable_archive(packed: bytes) -> bytes:
    source = zipfile.ZipFile(io.BytesIO(base64.b64decode(packed)))
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for entry in sorted(source.infolist(), key=lambda entry: entry.filename):
            same = zipfile.ZipInfo(entry.filename, _EARLIEST)
            same.compress_type, same.external_attr = entry.compress_type, entry.external_attr
            archive.writestr(same, source.read(entry))
    return base64.b64encode(target.getvalue())


def s3_objects(value: t.Any) -> dict[str, tuple[str, str]]:
    """Find every text that is an C(s3://BUCKET/KEY) URL in a module's arguments; return (bucket, key) by URL."""
    if isinstance(value, str):
        match = _S3.fullmatch(value)
        return {str(value): (match[1], match[2])} if match else {}
    children = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
    return {url: place for child in children for url, place in s3_objects(child).items()}


def replaced(value: t.Any, texts: t.Mapping[str, str]) -> t.Any:
    """Return a copy of a structure with some of its texts replaced."""
    if isinstance(value, dict):
        return {key: replaced(child, texts) for key, child in value.items()}
    if isinstance(value, (list, tuple)):
        return [replaced(child, texts) for child in value]
    return texts.get(value, value) if isinstance(value, str) else value
