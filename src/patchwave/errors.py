"""The errors the driver shows to a person."""

from __future__ import annotations

import errno


class PatchwaveError(Exception):
    """A mistake or a refusal in one line: what, where, what to do.

    Attributes:
        exit_code: 1 while nothing was changed; 3 when something was, or may have been.
    """

    def __init__(self, line: str, exit_code: int = 1) -> None:
        super().__init__(line)
        self.exit_code = exit_code


def of_file(path: object, error: OSError, what: str = "make room, or mend its rights") -> PatchwaveError:
    """Return in a line that a file of ours cannot be read or written, and what to do."""
    if isinstance(error, IsADirectoryError):
        return PatchwaveError(f"{path}: is a folder, where a file is needed; move it away")
    if error.errno == errno.ENAMETOOLONG:
        what = "choose a shorter path"
    why = error.strerror or str(error) or type(error).__name__
    return PatchwaveError(f"{path}: cannot be used: {why}; {what}, then run the same command again")


class Stopped(Exception):
    """Somebody stopped the driver before it began a wave."""
