"""The scenario that `patchwave lab up --virtual N` means, as YAML text."""

import json
from collections.abc import Sequence

DEFAULT_ACCOUNT, DEFAULT_REGION = "123456789012", "eu-central-1"
#: Share of each wave.
WAVES = {1: 0.1, 2: 0.3, 3: 0.6}


def text(count: int, accounts: Sequence[str], regions: Sequence[str]) -> str:
    """Virtual nodes in three waves (10, 30 and 60 %), spread evenly over accounts and regions."""
    sizes = {wave: int(share * count) for wave, share in WAVES.items()}
    sizes[max(WAVES)] += count - sum(sizes.values())
    entries = [
        f"  - {{name: virtual-{wave}, count: {size}, virtual: true, spread: true, "
        f"tags: {{Patch Group: virtual, PatchWave: {wave}}}}}"
        for wave, size in sizes.items()
        if size
    ]
    # JSON's lists of quoted texts are YAML's.
    head = [
        f"accounts: {json.dumps(list(accounts) or [DEFAULT_ACCOUNT])}",
        f"regions: {json.dumps(list(regions) or [DEFAULT_REGION])}",
        "buckets: [patchwave-lab]",
        "nodes:",
    ]
    return "\n".join([*head, *entries, ""])
