#!/usr/bin/python

# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: presigned_url
short_description: Presign an S3 URL on the controller
version_added: 0.1.0
author: Patchwave contributors (@patchwave)
description:
  - Makes a URL by which anybody can read one S3 object for a while. It is a secret, so give the task C(no_log=true).
  - M(patchwave.aws.run_module) does the same by itself with C(presign=true), anew for each sending.
  - AWS is only asked in which region the bucket lies. The signer's right to read the object is checked when the URL is
    used.
  - Unlike M(amazon.aws.s3_object) with C(mode=geturl) it needs no rights beyond reading the object.
extends_documentation_fragment:
  - amazon.aws.boto3
  - amazon.aws.common.modules
  - amazon.aws.region.modules
attributes:
  check_mode:
    description: The same in check mode.
    support: full
  diff_mode:
    description: There is nothing to show.
    support: none
options:
  url:
    description: The object, as C(s3://BUCKET/KEY). The bucket's own region is found out. Either this or O(data).
    type: str
  data:
    description: Anything, in which each text that is an C(s3://BUCKET/KEY) URL is to be presigned.
    type: dict
  expiry:
    description: Seconds for which the URL is good, at most 604,800 (Signature Version 4).
    type: int
    default: 3600
"""

EXAMPLES = r"""
- name: Make a URL that nodes can read the archive by
  patchwave.aws.presigned_url:
    url: s3://example-patchwave/software/just-1.42.4.tar.gz
  register: archive
  delegate_to: localhost
  run_once: true
  no_log: true
"""

RETURN = r"""
url:
  description: The presigned URL, a secret.
  returned: with O(url)
  type: str
  sample: https://example-patchwave.s3.amazonaws.com/software/just-1.42.4.tar.gz?X-Amz-Signature=...
data:
  description: O(data) with presigned URLs, secrets, in the places of S3 URLs.
  returned: with O(data)
  type: dict
  sample: {"url": "https://example-patchwave.s3.amazonaws.com/software/just-1.42.4.tar.gz?X-Amz-Signature=..."}
"""
