"""What a patch looks for in its files."""

from __future__ import annotations

from tsheadroom.texts import patches

PATCH = """*** Begin Patch
*** Add File: new.py
+print("hi")
*** Update File: a.py
*** Move to: b.py
@@ def f():
     first
-    old
+    new

     last

@@
+only added

@@
-gone
*** End of File
*** Delete File: c.py
*** End Patch
"""


def test_each_hunk_is_one_text() -> None:
    expected = ["    first\n    old\n\n    last", "gone"]
    assert list(patches.old_texts(PATCH)) == expected
    command = f"cd /repo && apply_patch <<'EOF'\n{PATCH}EOF\n- not a hunk"
    assert list(patches.old_texts(command)) == expected
    assert list(patches.old_texts(PATCH.replace("\n", "\r\n"))) == expected
    assert list(patches.old_texts(PATCH + "\n" + PATCH)) == expected * 2


def test_other_texts_have_none() -> None:
    for text in ("", "- a list\n- of two", "*** Begin Patch", "*** End Patch\n-a"):
        assert list(patches.old_texts(text)) == []
    cut = PATCH[: PATCH.index("     last")]
    assert list(patches.old_texts(cut)) == ["    first\n    old"]
