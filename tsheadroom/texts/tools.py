"""Which tools run commands, and which two commands are likely to be compared with each other."""

from __future__ import annotations

import re

from tsheadroom.texts.naming import Call

# Tools whose outputs are what a process printed: names of agents seen in the wild, in lower case.
_RUNNERS = re.compile(
    r"bash|shell|exec|terminal|run_command|command|taskoutput|powershell|process", re.IGNORECASE
)
# Programs that print what is stored: two of their outputs are excerpts, not results to compare.
_PRINTERS = frozenset(
    ("cat", "bat", "nl", "head", "tail", "sed", "awk", "less", "more", "type"),
)
_SEARCHERS = frozenset(
    ("grep", "egrep", "fgrep", "rg", "ag", "ack", "find", "ls", "tree", "jq", "wc", "sort", "uniq"),
)
_SILENT = frozenset(
    ("cut", "tr", "tee", "xargs", "echo", "printf", "cd", "pushd", "popd", "true", "export", "set"),
)
_READERS = _PRINTERS | _SEARCHERS | _SILENT
_SPLIT = re.compile(r"\|\|?|&&?|;|\n|\$\(|`")
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=\S*$")
_WRAPPERS = frozenset(
    ("sudo", "time", "timeout", "nice", "env", "command", "exec", "nohup", "stdbuf"),
)


def runs_commands(call: Call) -> bool:
    """Whether the call's output is a process's output."""
    return bool(call.command) or _RUNNERS.search(call.tool) is not None


def compared(call: Call, other: Call) -> bool:
    """Whether one output may be read against the other: both ran the same program (that does more
    than print a file), or what was run is not known. Two looks at one running process are not two
    runs of it."""
    if not (runs_commands(call) and runs_commands(other)):
        return False
    mine, theirs = programs(call.command), programs(other.command)
    if (call.command and not mine) or (other.command and not theirs):
        return False  # one of them only shows what is stored
    if not call.command or not other.command:
        return call.key != other.key
    return not mine.isdisjoint(theirs)


def programs(command: str) -> frozenset[str]:
    """The programs of a command line that are not mere readers or filters."""
    found = set()
    for piece in _SPLIT.split(command[:2000]):
        words = [w for w in piece.split() if not _ASSIGNMENT.match(w)]
        while words and (words[0] in _WRAPPERS or words[0][0] in "-0123456789"):
            words.pop(0)
        if words:
            name = words[0].strip("(){}'\"").rpartition("/")[2]
            if name and name not in _READERS and not name.startswith((">", "<", "#")):
                found.add(name)
    return frozenset(found)


_LISTING = re.compile(r"list|tree|search|find|stat|info|glob|grep", re.IGNORECASE)
_FIRST_WORDS = re.compile(r"[\w./-]+")


def prints_file(call: Call) -> bool:
    """Whether the output is a file's text: an agent edits by its exact words, so only what stands
    outside of them (line numbers) may change."""
    if call.path:
        return _LISTING.search(call.tool) is None
    if not call.command:
        return False
    words = set(_FIRST_WORDS.findall(call.command[:2000]))
    return (
        not programs(call.command)
        and not words.isdisjoint(_PRINTERS)
        and words.isdisjoint(_SEARCHERS)
    )
