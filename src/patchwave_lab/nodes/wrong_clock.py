"""A node whose clock is wrong: Debian's libfaketime shows what enters it another time of day.

A time namespace cannot: it has no CLOCK_REALTIME.
"""

from pathlib import Path

from patchwave_lab.errors import LabError

#: In a node's directory: the seconds that its clock is ahead.
FILE = "clock"
PLACES = "usr/lib/*/faketime/libfaketime.so.1"


def library() -> Path | None:
    """Where libfaketime is; None where it is not installed."""
    return next(iter(sorted(Path("/").glob(PLACES))), None)


def check() -> None:
    """Raise LabError where no clock can be made wrong."""
    if library() is None:
        raise LabError("a wrong clock needs libfaketime (Debian package libfaketime)")


def put(home: Path, seconds: float | None) -> None:
    """Make a node's clock wrong by so many seconds, or right again."""
    if seconds is None:
        (home / FILE).unlink(missing_ok=True)
    else:
        (home / FILE).write_text(f"{seconds:+.0f}")


def environment(home: Path) -> dict[str, str]:
    """What a process that enters the node needs in its environment to see the node's time."""
    found = library()
    try:
        seconds = (home / FILE).read_text()
    except FileNotFoundError:
        return {}
    return {"LD_PRELOAD": str(found), "FAKETIME": seconds} if found else {}
