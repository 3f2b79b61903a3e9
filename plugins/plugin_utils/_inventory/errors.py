# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection. It can change at any time.


"""What a user's options can be wrong about."""

from __future__ import annotations


class OptionError(Exception):
    """An option is wrong, or what it asks for cannot be had; one line that names it."""
