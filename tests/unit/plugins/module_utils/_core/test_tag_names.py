from __future__ import annotations

import pytest
from ansible_collections.patchwave.aws.plugins.module_utils._core.tag_names import SPELLING, TYPO, resemblance


@pytest.mark.parametrize(
    ("key", "wanted", "kind"),
    [
        ("PatchHold", "PatchHold", ""),
        ("patch hold", "PatchHold", SPELLING),
        ("PatchHolds", "PatchHold", TYPO),
        ("PtachHodl", "PatchHold", TYPO),
        ("PatchXXHold", "PatchHold", TYPO),
        ("PatchXXXHold", "PatchHold", ""),
        ("PatchRole", "PatchHold", ""),
        ("aws:PatchHold", "PatchHold", ""),
        ("Holds", "Hold", TYPO),
        ("Gold", "Hold", ""),
        ("ab", "abc", ""),
        ("---", "PatchHold", ""),
        ("x", "---", ""),
    ],
)
def test_what_is_nearly_another_key(key: str, wanted: str, kind: str) -> None:
    assert resemblance(key, wanted) == kind
