"""The errors the driver shows to a person."""

from __future__ import annotations


class PatchwaveError(Exception):
    """A mistake or a refusal in one line: what, where, what to do.

    Attributes:
        exit_code: 1 while nothing was changed; 3 when something was, or may have been.
    """

    def __init__(self, line: str, exit_code: int = 1) -> None:
        super().__init__(line)
        self.exit_code = exit_code


class Stopped(Exception):
    """Somebody stopped the driver before it began a wave."""
