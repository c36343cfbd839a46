"""Makes the folder that clients work in, the same every time: a project, and tools that print.

The project's files are those that agents read and wrote in the recorded sessions of tests/data.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from scripts.lab import traffic

_ROOT = re.compile(r".*/projects/(?:spotter-worktrees/spotter-gqc|spotter)/(.+)")
_NUMBER = re.compile(r"^ *\d+→", re.MULTILINE)
_REMINDER = re.compile(r"\n*<system-reminder>.*", re.DOTALL)  # a client's, below a file
_TIME = 1_790_000_000  # of all files: a listing shows it
_REPORT_CHARS = 1500  # from here on an answer of a search or of another agent is a page of docs/

_PRINT = """\
import pathlib, sys

name = "{name}.later.json" if "--later" in sys.argv else "{name}.json"
print((pathlib.Path(__file__).parent / name).read_text(), end="")
"""
_LOG = """\
import random

random.seed(5)
for i in range(300):
    ms = random.randrange(5, 900)
    status = 200 if i % 31 else 502
    print(f"2026-11-24T08:{i // 60:02}:{i % 60:02}.{i * 7 % 1000:03}Z INFO  gateway.request "
          f"method=POST path=/v1/messages status={status} duration_ms={ms} "
          f"peer=100.64.0.{i % 9 + 1} request_id=req_{random.getrandbits(40):010x}")
    if i % 31 == 0:
        print("  Traceback (most recent call last):")
        print('    File "/srv/app/gateway/server.py", line 214, in handle')
        print("      response = await self.upstream.send(request)")
        print('    File "/srv/app/gateway/upstream.py", line 88, in send')
        print('      raise UpstreamError("bad gateway")')
        print("  gateway.upstream.UpstreamError: bad gateway")
"""
_SUITE = """\
import sys

fixed = "--fixed" in sys.argv
print("=" * 29 + " test session starts " + "=" * 30)
print("platform linux -- Python 3.11.7, pytest-9.0.1, pluggy-1.6.0")
print("rootdir: /srv/project\\nplugins: asyncio-1.3.0, cov-7.0.0\\ncollected 200 items\\n")
for i in range(200):
    word = "\\x1b[31mFAILED" if i == 77 and not fixed else "PASSED"
    test = f"tests/unit/test_module_{i // 12:02}.py::TestCase{i // 6:02}::test_behaviour_{i:03}"
    print(f"\\x1b[32m{test} {word}\\x1b[0m [{(i + 1) // 2:3}%]")
print("\\n" + "=" * 31 + " warnings summary " + "=" * 31)
for i in range(10):
    print(f"tests/unit/test_module_{i:02}.py::TestCase{i * 2:02}::test_behaviour_{i * 12:03}")
    print("  /srv/project/lib/compat.py:41: DeprecationWarning: the imp module is deprecated")
    print("    import imp\\n")
if not fixed:
    print("FAILED tests/unit/test_module_06.py::TestCase12::test_behaviour_077 - 3 != 4")
print(f"==== {0 if fixed else 1} failed, {200 if fixed else 199} passed in 14.{3 + fixed}s ====")
sys.exit(0 if fixed else 1)
"""
_DOWNLOAD = """\
import sys

for i in range(101):
    sys.stdout.write(f"\\rDownloading index [{'#' * (i // 2):<50}] {i:3}% {i * 1.7:.1f} MB")
print()
for name in ("alpha", "beta", "gamma"):
    for i in range(0, 101, 5):
        sys.stdout.write(f"\\r\\x1b[2K\\x1b[36mfetch {name}\\x1b[0m {i}%")
    print()
print("done")
"""


def make(target: Path) -> None:
    """Write the workspace into a new folder."""
    files = {**_project(), **_tools()}
    files["tools/tmux.before.ex"] = files["lib/spotter/services/tmux.ex"]
    for name, text in files.items():
        path = target / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    for path in [*target.rglob("*"), target]:
        os.utime(path, (_TIME, _TIME))


def _project() -> dict[str, str]:
    """Path -> text. The first that is known of a file counts: later ones show a part of it."""
    found: dict[str, str] = {}
    pages: list[str] = []
    for trace in sorted(traffic.DATA.glob("*.jsonl")):
        for name, inputs, text in _answered(trace):
            path = _ROOT.fullmatch(str(inputs.get("file_path")))
            if name == "Read" and path and "offset" not in inputs:
                found.setdefault(path[1], _NUMBER.sub("", _REMINDER.sub("", text)) + "\n")
            elif name == "Write" and path:
                found.setdefault(path[1], inputs["content"])
            elif name in ("Task", "WebSearch") and len(text) >= _REPORT_CHARS:
                pages.append(text)
    pages.sort(key=len)
    found["README.md"] = pages.pop()
    found["docs/plan.md"] = pages.pop()
    return found | {f"docs/notes/{number:02}.md": text for number, text in enumerate(pages, 1)}


def _tools() -> dict[str, str]:
    """What can be run: a program, and next to it what it prints, now and later."""
    printed: dict[str, list[str]] = {}
    for _, inputs, text in _answered(traffic.DATA / "json_heavy.jsonl"):
        printed.setdefault(str(inputs.get("command")), []).append(text)
    files = {"log.py": _LOG, "suite.py": _SUITE, "download.py": _DOWNLOAD}
    for name, command in (("pods", "kubectl"), ("jobs", "curl -s http://ledger")):
        now, later = next(texts for run, texts in printed.items() if run.startswith(command))
        files |= {f"{name}.json": now, f"{name}.later.json": later}
        files[f"{name}.py"] = _PRINT.format(name=name)
    return {f"tools/{name}": text for name, text in files.items()}


def _answered(trace: Path) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Yield each tool call that worked: the tool's name, its inputs, its output's first text."""
    calls: dict[str, tuple[str, dict[str, Any]]] = {}
    for message in traffic.messages_of(trace):
        for block in message["content"] if isinstance(message["content"], list) else ():
            if block["type"] == "tool_use":
                calls[block["id"]] = (block["name"], block["input"])
            elif block["type"] == "tool_result" and not block.get("is_error"):
                content = block.get("content")
                text = content if isinstance(content, str) else content[0]["text"]
                yield (*calls[block["tool_use_id"]], text)
