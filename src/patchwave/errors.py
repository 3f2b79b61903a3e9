"""The one error the driver shows to a person."""

from __future__ import annotations


class PatchwaveError(Exception):
    """A mistake or a refusal in one line: what, where, what to do. Nothing was changed unless the line says so."""
