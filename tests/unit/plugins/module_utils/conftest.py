# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.patchwave.aws.plugins.module_utils._node import outside


@pytest.fixture(autouse=True)
def nothing_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Links, units and cron tables of this machine are not of the node."""
    for name in ("LINKS", "TEXTS", "FILES"):
        monkeypatch.setattr(outside, name, ())
