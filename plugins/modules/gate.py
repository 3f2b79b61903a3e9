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
  - Judges every host of the batch by its own variables C(patch_windows), when it may be patched, and
    C(patch_freezes), when nothing may happen to it. The hosts are those for which Ansible runs the task. It runs on
    the controller and connects to nothing. With C(run_once) Ansible spares a process for each host.
  - A host without C(patch_windows) may be patched at any time that is not frozen, unless O(require_windows) is set.
  - The gate opens for the whole batch or not at all. Run one wave at a time, with C(--limit) or the driver. The
    result says by which windows and freezes it was judged.
  - C(patch_windows) is a list, which is not empty. Each window has C(weekday) (V(monday) to V(sunday)), C(start) and
    C(end) (such as V(22:00), in quotes; an end that is not after the start is on the next day). It may have C(week)
    (V(1) to V(5) or V(last), which of the month's such weekdays; without it every one), C(offset_days) (V(0) to
    V(27), so many days after that weekday) and C(timezone) (a name of IANA; V(UTC) unless given). Windows that adjoin
    or overlap are one.
  - C(patch_freezes) is a list, and so is every variable named C(patch_freezes_NAME). Each freeze has C(name),
    C(start) and C(end) (a date or a time, see O(at); a date as the end is frozen to its last moment), and may have
    C(timezone).
  - Freezes of all groups of a host and its own add up, also where they have one name. Of C(patch_windows) the most
    specific counts, a host's own before those of its groups. Extra variables, plays and facts can add freezes and can
    take nothing away; C(patch_windows) that is set so closes the gate.
  - A calendar that cannot be read closes the gate, and so does any other variable whose name begins as these do, such
    as C(patch_freeze) or C(patchwave_windows), for it is most likely one of these, misspelt. Of names that may be
    another tool's, such as C(maintenance_windows), it warns.
attributes:
  check_mode:
    description: With C(--check) a closed gate is told, and the play goes on.
    support: full
  diff_mode:
    description: Nothing changes.
    support: none
options:
  minutes_left:
    description:
      - So many minutes must be left of the window, and until the next freeze, V(0) to V(525600). V(0) unless given; an
        empty text, as of a survey, is not given.
    type: raw
  override:
    description:
      - Opens the gate in an emergency, for the whole run, with C(by) (who takes the responsibility) and C(reason) (why
        it cannot wait). Both are required. It and what it overrides are in the result, also where the gate is open.
      - Empty, it is not given. A text is read as JSON or YAML.
    type: raw
  require_windows:
    description: Whether a host without C(patch_windows) closes the gate. V(false) unless given.
    type: raw
  at:
    description:
      - Judge by this time in place of now. It shows when a calendar would let a wave start.
      - A date such as V(2026-12-12), or a time such as V(2026-12-12T22:30) or V(2026-12-12T22:30:00+01:00); one without
        an offset is in UTC.
    type: raw
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
open:
  description: Whether the hosts may be patched, by their calendars or by an override; in check mode always.
  returned: always
  type: bool
  sample: true
check_only:
  description:
    - Whether the gate is closed, and open only for what stays in check mode. Nothing that is taken out of it, by
      C(check_mode=false), may patch then.
  returned: always
  type: bool
  sample: false
latest_start:
  description:
    - When the first host of the batch may no longer start, ISO 8601; empty without an end. Hosts whose calendar is
      overridden have none.
  returned: always
  type: str
  sample: "2026-12-13T04:00:00+01:00"
closed:
  description: A line for each reason why hosts may not be patched now.
  returned: always
  type: list
  elements: str
  sample: ["i-0123456789abcdef0 and 7 more: frozen (Year end), may start 2027-01-13T22:00+01:00"]
calendars:
  description: By which windows and freezes, in words, how many hosts were judged; one entry for each calendar.
  returned: always
  type: list
  elements: dict
  sample: [{hosts: 4, windows: "second tuesday, 1 day after, 18:00 to 22:00 Europe/Berlin", freezes: none}]
not_read:
  description: Names of variables that may be meant as windows or freezes and are not read; Ansible warns of them, too.
  returned: always
  type: list
  elements: str
  sample: [maintenance_windows]
override:
  description: The option O(override), empty without it.
  returned: always
  type: dict
  sample: {}
"""
