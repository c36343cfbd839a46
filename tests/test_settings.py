"""The settings: rules, merging, the file."""

from __future__ import annotations

import json
import logging
import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tsheadroom import settings
from tsheadroom.settings import (
    MAX_FILE_BYTES,
    Settings,
    SettingsChanged,
    SettingsInvalid,
    SettingsNotWritten,
    SettingsStore,
    merge,
)

EXAMPLE = Path(__file__).parent.parent / "tsheadroom.config.example.json"


@pytest.fixture
def store(tmp_path: Path) -> SettingsStore:
    return SettingsStore(tmp_path / "tsheadroom.config.json")


def test_the_defaults_are_the_documented_ones() -> None:
    assert msgspec.to_builtins(Settings()) == {
        "compress_user_messages": False,
        "compress_system_messages": True,
        "protect_recent": 4,
        "protect_analysis_context": True,
        "target_ratio": None,
        "min_tokens_to_compress": 250,
        "kompress_model": None,
        "savings_profile": None,
        "lossy": False,
        "folds": True,
        "fold_min_lines": 6,
        "fold_files": "careful",
        "gutter": True,
        "terminal": True,
        "json": True,
        "lossless": True,
        "exclude_tools": (),
        "exclude_models": (),
        "exclude_callers": (),
        "mode": "on",
        "rewrite": "never",
        "holdout": 0,
    }


def test_the_defaults_are_allowed_values() -> None:
    assert merge(Settings(), json.loads(settings.encode(Settings()))) == Settings()


@pytest.mark.parametrize("name", Settings.__struct_fields__)
def test_each_field_says_what_it_takes(name: str) -> None:
    with pytest.raises(SettingsInvalid, match=f"^{name} must be [^ ]"):
        merge(Settings(), {name: {}})


def test_the_example_file_shows_every_setting_with_its_default() -> None:
    example = json.loads(EXAMPLE.read_text())
    assert example == json.loads(settings.encode(Settings()))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"gutter": "dense"}, 'gutter must be true, false or "sparse"'),
        ({"gutter": "true"}, 'gutter must be true, false or "sparse"'),
        ({"gutter": 1}, 'gutter must be true, false or "sparse"'),
        ({"gutter": None}, 'gutter must be true, false or "sparse"'),
        ({"target_ratio": 0}, "target_ratio must be in (0, 1] or null"),
        ({"target_ratio": 1.01}, "target_ratio must be in (0, 1] or null"),
        ({"target_ratio": True}, "target_ratio must be in (0, 1] or null"),
        ({"target_ratio": "0.5"}, "target_ratio must be in (0, 1] or null"),
        ({"target_ratio": float("nan")}, "target_ratio must be in (0, 1] or null"),
        ({"target_ratio": float("inf")}, "target_ratio must be in (0, 1] or null"),
        ({"protect_recent": -1}, "protect_recent must be an integer >= 0"),
        ({"protect_recent": 2.5}, "protect_recent must be an integer >= 0"),
        ({"protect_recent": 4.0}, "protect_recent must be an integer >= 0"),
        ({"protect_recent": "4"}, "protect_recent must be an integer >= 0"),
        ({"protect_recent": True}, "protect_recent must be an integer >= 0"),
        ({"protect_recent": None}, "protect_recent must be an integer >= 0"),
        ({"protect_recent": 10**9 + 1}, "protect_recent must be an integer >= 0"),
        ({"protect_recent": 10**40}, "protect_recent must be an integer >= 0"),
        ({"min_tokens_to_compress": -1}, "min_tokens_to_compress must be an integer >= 0"),
        ({"lossy": 1}, "lossy must be true or false"),
        ({"compress_user_messages": "yes"}, "compress_user_messages must be true or false"),
        ({"lossy": "true"}, "lossy must be true or false"),
        ({"lossy": None}, "lossy must be true or false"),
        ({"kompress_model": ""}, 'kompress_model must be a model name, "disabled" or null'),
        ({"kompress_model": "\u00a0\n"}, 'kompress_model must be a model name, "disabled" or null'),
        ({"kompress_model": "x" * 257}, 'kompress_model must be a model name, "disabled" or null'),
        (
            {"savings_profile": "aggressive"},
            "savings_profile must be one of agent-90, balanced, coding, general, or null",
        ),
        (
            {"savings_profile": ["coding"]},
            "savings_profile must be one of agent-90, balanced, coding, general, or null",
        ),
        ({"mode": "sometimes"}, "mode must be one of on, observe, freeze, drain, off"),
        ({"mode": None}, "mode must be one of on, observe, freeze, drain, off"),
        ({"rewrite": True}, "rewrite must be one of never, cold, cost, always"),
        ({"holdout": 101}, "holdout must be an integer from 0 to 100 (percent)"),
        ({"fold_min_lines": 1}, "fold_min_lines must be an integer >= 2"),
        ({"exclude_tools": "Bash"}, "exclude_tools must be a list of at most 1000 names"),
        ({"exclude_tools": None}, "exclude_tools must be a list of at most 1000 names"),
        ({"exclude_tools": ["Bash", " "]}, "exclude_tools must be a list of at most 1000 names"),
        ({"exclude_tools": ["x" * 257]}, "exclude_tools must be a list of at most 1000 names"),
        ({"exclude_models": [1]}, "exclude_models must be a list of at most 1000 names"),
        ({"exclude_callers": ["x"] * 1001}, "exclude_callers must be a list of at most 1000 names"),
        ({"colour": "red"}, "colour is not a setting"),
        ({"x" * 300: 1}, f"{'x' * 256} is not a setting"),
        ({"colour": "red", "lossy": 1}, "colour is not a setting"),
        ({"lossy": 1, "colour": "red"}, "lossy must be true or false"),
    ],
)
def test_a_bad_value_is_refused_with_a_sentence(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(SettingsInvalid) as refused:
        merge(Settings(), changes)
    assert str(refused.value) == sentence


@pytest.mark.parametrize(
    "changes",
    [
        {"gutter": "sparse"},
        {"gutter": False},
        {"target_ratio": 1},
        {"target_ratio": 0.01},
        {"target_ratio": None},
        {"savings_profile": "agent-90"},
        {"savings_profile": None},
        {"kompress_model": "disabled"},
        {"kompress_model": " é" * 128, "exclude_callers": ["x" * 256] * 1000},
        {"protect_recent": 10**9},
        {"mode": "drain", "rewrite": "always", "holdout": 100},
        {"exclude_tools": ["Bash"], "exclude_models": ["gpt-5*"], "exclude_callers": ["a@b.c"]},
        {"fold_min_lines": 2, "min_tokens_to_compress": 0, "protect_recent": 0},
    ],
)
def test_a_good_value_is_taken_and_the_rest_stays(changes: dict[str, Any]) -> None:
    before = merge(Settings(), {"lossy": True})
    after = json.loads(settings.encode(merge(before, changes)))
    assert after == {**json.loads(settings.encode(before)), **changes}


def test_read_only_fields_are_accepted_and_ignored() -> None:
    assert merge(Settings(), {"headroom_version": "9.9"}) == Settings()


@pytest.mark.parametrize(
    "text", [b"", b"nonsense", b"[]", b"null", b'"x"', b"\xff", b'{"lossy": NaN}', b"[" * 100_000]
)
def test_what_is_no_json_object_is_refused(text: bytes) -> None:
    with pytest.raises(SettingsInvalid, match="JSON object"):
        settings.parse_object(text)


def test_no_file_means_the_defaults_and_no_warning(
    store: SettingsStore, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        store.load()
    assert store.current == Settings()
    assert not caplog.records


@pytest.mark.parametrize("content", [b"not json", b"[]", b'{"target_ratio": 7}', None])
def test_an_unusable_file_at_start_is_a_warning_and_the_defaults(
    store: SettingsStore, caplog: pytest.LogCaptureFixture, content: bytes | None
) -> None:
    if content is None:
        store.path.mkdir()
    else:
        store.path.write_bytes(content)
    store.load()
    assert store.current == Settings()
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def a_fifo(path: Path) -> None:
    os.mkfifo(path)


def a_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))


def a_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def a_huge_file(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)


def a_link_to_a_fifo(path: Path) -> None:
    os.mkfifo(path.with_name("fifo"))
    path.symlink_to("fifo")


@pytest.mark.parametrize(
    ("put", "why"),
    [
        (a_fifo, "is a FIFO"),
        (a_socket, "is a socket"),
        (a_device, "is a device"),
        (a_link_to_a_fifo, "is a FIFO"),
        (a_huge_file, "more than 1 MiB"),
    ],
)
def test_what_is_no_settings_file_is_said_and_not_waited_for(
    store: SettingsStore,
    caplog: pytest.LogCaptureFixture,
    put: Callable[[Path], None],
    why: str,
) -> None:
    put(store.path)
    store.load()
    assert not store.reload()
    assert store.current == Settings()
    assert [why in record.getMessage() for record in caplog.records] == [True, True]


def test_an_update_does_not_take_the_place_of_a_fifo(store: SettingsStore) -> None:
    os.mkfifo(store.path)
    with pytest.raises(SettingsNotWritten, match="is a FIFO"):
        store.update(b'{"lossy": true}')
    assert store.current == Settings()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_settings_of_somebody_else_are_not_taken(
    store: SettingsStore, caplog: pytest.LogCaptureFixture
) -> None:
    store.path.write_text('{"lossy": true}')
    os.chown(store.path, 12345, 12345)
    store.load()
    assert store.current == Settings()
    assert "belongs to user 12345" in caplog.text


def test_a_file_behind_links_is_read_as_kubernetes_mounts_it(tmp_path: Path) -> None:
    (tmp_path / "..2026_11_24").mkdir()
    (tmp_path / "..2026_11_24" / "config.json").write_text('{"lossy": true}')
    (tmp_path / "..data").symlink_to("..2026_11_24")
    (tmp_path / "config.json").symlink_to("..data/config.json")
    store = SettingsStore(tmp_path / "config.json")
    store.load()
    assert store.current.lossy


def test_a_go_daemons_file_is_taken_and_an_unknown_field_costs_only_itself(
    store: SettingsStore, caplog: pytest.LogCaptureFixture
) -> None:
    store.path.write_text('{"protect_recent": 9, "from_the_future": 1, "headroom_version": "0.4"}')
    store.load()
    assert store.current == merge(Settings(), {"protect_recent": 9})
    assert "from_the_future" in caplog.text


def test_an_update_is_written_before_it_is_in_force(store: SettingsStore) -> None:
    store.update(b'{"protect_recent": 7}')
    again = SettingsStore(store.path)
    again.load()
    assert again.current == store.current == merge(Settings(), {"protect_recent": 7})
    assert again.etag == store.etag != SettingsStore(store.path).etag
    assert [path.name for path in store.path.parent.iterdir()] == [store.path.name]


def test_an_invalid_update_changes_neither_file_nor_settings(store: SettingsStore) -> None:
    store.update(b'{"protect_recent": 7}')
    before = store.path.read_bytes()
    with pytest.raises(SettingsInvalid):
        store.update(b'{"lossy": true, "target_ratio": 2}')
    assert store.path.read_bytes() == before
    assert store.current == merge(Settings(), {"protect_recent": 7})


def test_a_file_that_cannot_be_written_leaves_the_settings(tmp_path: Path) -> None:
    store = SettingsStore(tmp_path / "missing" / "tsheadroom.config.json")
    with pytest.raises(SettingsNotWritten, match="No such file"):
        store.update(b'{"lossy": true}')
    assert store.current == Settings()


def test_a_crash_before_the_rename_leaves_the_old_file(
    store: SettingsStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.update(b'{"protect_recent": 7}')
    before = store.path.read_bytes()

    def fail(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(SettingsNotWritten, match="No space left"):
        store.update(b'{"protect_recent": 8}')
    assert store.path.read_bytes() == before
    assert [path.name for path in store.path.parent.iterdir()] == [store.path.name]


def test_writing_keeps_a_symlink_and_the_files_mode(tmp_path: Path) -> None:
    target = tmp_path / "real.json"
    target.write_text("{}")
    target.chmod(0o640)
    link = tmp_path / "link.json"
    link.symlink_to(target)
    SettingsStore(link).update(b'{"lossy": true}')
    assert link.is_symlink()
    assert json.loads(target.read_text())["lossy"] is True
    assert stat.S_IMODE(target.stat().st_mode) == 0o640


def test_if_match_names_the_settings_an_editor_started_from(store: SettingsStore) -> None:
    first = store.etag
    store.update(b'{"protect_recent": 7}', first)
    with pytest.raises(SettingsChanged):
        store.update(b'{"protect_recent": 8}', first)
    assert store.current.protect_recent == 7
    store.update(b'{"protect_recent": 8}', f'"other", {store.etag}')
    store.update(b'{"protect_recent": 9}', "*")
    assert store.current.protect_recent == 9


def test_reload_takes_a_good_file_and_keeps_the_settings_at_a_bad_one(
    store: SettingsStore,
) -> None:
    store.path.write_text('{"mode": "freeze"}')
    assert store.reload()
    assert store.current.mode == "freeze"
    store.path.write_text('{"mode": "never heard of"}')
    assert not store.reload()
    store.path.unlink()
    assert not store.reload()
    assert store.current.mode == "freeze"
