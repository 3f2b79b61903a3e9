#!/usr/bin/python

# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: gate
short_description: Fail unless every host of the batch may be patched now
version_added: 0.1.0
author: Patchwave contributors (@patchwave)
description:
  - Judges every host of the batch by its own variables C(patch_windows), when it may be patched, and C(patch_freezes),
    when nothing may happen to it. The hosts are those for which Ansible runs the task. It runs on the
    controller and connects to nothing. With C(run_once) Ansible spares a process for each host.
  - A host without C(patch_windows) may be patched at any time that is not frozen. An empty list closes the gate.
  - A calendar that cannot be read closes the gate, and so does any other variable whose name begins with C(patch_win)
    or C(patch_fre), for it is most likely one of these, misspelt.
  - The gate opens for the whole batch or not at all. Run one wave at a time, with C(--limit) or the driver.
  - C(patch_windows) is a list. Each window has C(weekday) (V(monday) to V(sunday)), C(start) and C(end) (such as
    V("22:00"), in quotes; an end that is not after the start is on the next day). It may have C(week) (V(1) to V(5) or
    V(last), which of the month's such weekdays; without it every one), C(offset_days) (V(0) to V(27), so many days
    after that weekday) and C(timezone) (V(UTC) unless given).
  - C(patch_freezes) is a list, and so is every variable named C(patch_freezes_NAME); all of them count, so that a group
    may have freezes of its own without losing those of everybody. Each freeze has C(name), C(start) and C(end) (ISO
    8601 dates or times; a date as the end is frozen to its last moment), and may have C(timezone).
attributes:
  check_mode:
    description: The same in check mode.
    support: full
  diff_mode:
    description: Nothing changes.
    support: none
options:
  minutes_left:
    description: So many minutes must be left of the window, and until the next freeze.
    type: int
    default: 0
  override:
    description: Opens a closed gate in an emergency. What it overrides is in the result.
    type: dict
    suboptions:
      by:
        description: Who takes the responsibility.
        type: str
        required: true
      reason:
        description: Why it cannot wait.
        type: str
        required: true
  at:
    description: Judge by this time, ISO 8601, in place of now. It shows when a calendar would let a wave start.
    type: str
seealso:
  - module: patchwave.aws.run_module
"""

EXAMPLES = r"""
- name: Patch only inside the window and outside of freezes
  patchwave.aws.gate:
    minutes_left: 60

- name: Would the second Saturday of December do
  patchwave.aws.gate:
    at: "2026-12-12T22:30:00+01:00"

- name: A vulnerability that cannot wait
  patchwave.aws.gate:
    override:
      by: Ada Lovelace
      reason: CVE-2026-0001 is being exploited
"""

RETURN = r"""
latest_start:
  description: When the first host of the batch may no longer start, ISO 8601; empty without an end or when overridden.
  returned: always
  type: str
  sample: "2026-12-13T04:00:00+01:00"
closed:
  description: A line for each reason why hosts may not be patched now.
  returned: always
  type: list
  elements: str
  sample: ["i-0123456789abcdef0 and 7 more: frozen (Year end), may start 2027-01-13T22:00+01:00"]
override:
  description: The option O(override), empty without it.
  returned: always
  type: dict
  sample: {}
"""
