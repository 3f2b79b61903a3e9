# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection. It can change at any time.

"""Plain values in what C(ansible-inventory) lists, such as for a job server that compares them.

That program writes each text that must not be templated as C({"__ansible_unsafe": TEXT}), and whoever reads the listing
as an inventory takes any other text for a template. So plain is what can be no template, and no part of one.
"""

from __future__ import annotations

import typing as t

from ansible import context

try:
    from ansible.template import trust_as_template as _plain_text  # since ansible-core 2.19
except ImportError:

    def _plain_text(text: str) -> str:
        """Return a text as it is; ansible-core 2.18 has its mark in the type."""
        return text


def is_listing() -> bool:
    """Say whether this is C(ansible-inventory), which shows values and evaluates none."""
    return {"list", "graph", "export"} <= set(context.CLIARGS or ())


def plain(value: t.Any) -> t.Any:
    """Return a value of which each text that no template can come of is written as it is."""
    if isinstance(value, str):
        # Without what else Ansible knows of it, such as that it was vaulted.
        return _plain_text(str.__str__(value)) if _is_harmless(value) else value
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    return [plain(inner) for inner in value] if isinstance(value, list) else value


def _is_harmless(text: str) -> bool:
    """Say whether text begins no template, and goes on with none behind a brace that a user's own text has."""
    return "{" not in text and not text.startswith(("%", "#"))
