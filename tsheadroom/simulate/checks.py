"""What a policy must never do to a request, found by comparing what goes out with what came in."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from tsheadroom.providers.shapes import Json

# What Headroom leaves in place of content that only its own tool can bring back.
_PROMISES = (b"Retrieve original", b"Retrieve more", b"headroom_retrieve", b"<<ccr:")


def promises(before: bytes, after: bytes) -> bool:
    """True if the item as forwarded has a marker for content that nobody can retrieve."""
    return any(marker in after and marker not in before for marker in _PROMISES)


def wrong(before: bytes, after: bytes, shape: str) -> bool:
    """True if an item differs in anything but texts of tool outputs, or if one of these grew."""
    was = json.loads(before.decode("utf-8", "surrogatepass"))
    now = json.loads(after.decode("utf-8", "surrogatepass"))
    one, two = dict(_leaves(was)), dict(_leaves(now))
    if one.keys() != two.keys():
        return True
    differing = (path for path, value in one.items() if value != two[path])
    return any(
        not _in_output(path, was, shape) or _size(two[path]) >= _size(one[path])
        for path in differing
    )


def _leaves(value: Json, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Each value that holds no other one, with its path; of objects and lists their extent."""
    if isinstance(value, dict):
        yield (*path, None), tuple(value)
        for key, inner in value.items():
            yield from _leaves(inner, (*path, key))
    elif isinstance(value, list):
        yield (*path, None), len(value)
        for index, inner in enumerate(value):
            yield from _leaves(inner, (*path, index))
    else:
        # Spelled out: true == 1 in Python, and not in JSON.
        yield path, value if isinstance(value, str) else (json.dumps(value),)


def _in_output(path: tuple[Any, ...], item: Json, shape: str) -> bool:
    """True if the string at a path inside an item is a tool's output."""
    if shape == "messages":
        inside = len(path) > 2 and path[0] == path[2] == "content"
        return inside and str(item["content"][path[1]].get("type")) == "tool_result"
    if shape == "chat":
        return path[0] == "content" and str(item.get("role")) == "tool"
    if shape == "responses":
        return path[0] == "output" and str(item.get("type")).endswith("_output")
    return path[0] == "parts" and path[2:4] == ("functionResponse", "response")


def _size(value: Any) -> int:
    """Bytes of a string. Nothing else may be forwarded otherwise, so it is larger than any."""
    return len(value.encode("utf-8", "surrogatepass")) if isinstance(value, str) else 1 << 62
