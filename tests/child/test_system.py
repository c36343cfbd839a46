"""What a child asks of the system."""

from __future__ import annotations

import platform

import pytest

from tsheadroom.child import system


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be asked")
def test_glibc_gives_memory_back() -> None:
    trim = system.malloc_trim()
    assert trim is not None
    # Below a list that stays, so that no free page is at the heap's end.
    pieces = [bytes(range(256)) * 16 for _ in range(8_000)]
    kept = pieces[::40]
    grown = system.OwnMemory().resident()
    del pieces
    trim(0)
    assert len(kept) == 200
    assert grown - system.OwnMemory().resident() > 16 << 20  # of some 32 that were just written to


def test_elsewhere_nobody_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system, "LINUX", False)
    assert system.malloc_trim() is None
