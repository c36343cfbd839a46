"""A command line, parted into the simple commands that a POSIX shell would run.

It knows quotes, escapes, comments, here-documents, substitutions, pipes and lists, redirections,
compound commands, wrappers such as sudo or xargs, and `sh -c`. It is no shell: nothing is expanded,
and what it cannot read (PowerShell, an open quote) gives fewer commands, never an error.
Standard library only: daemon and child both read it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

_STEPS = 4_000  # pieces of a command line that are looked at; strings and here-documents are one
_DEPTH = 16  # substitutions and subshells inside each other

_BLANKS = re.compile(r"[ \t\r\f\v]++")
_PLAIN = re.compile(r"[^\s\\'\"`$;&|<>()]++|.", re.DOTALL)
_OPERATOR = re.compile(r"&>>?|&&|&|\|\||\|&|\||;;&?|;&|;")
_REDIRECTION = re.compile(r"<<<|<<-?|<>|[<>]&[\d-]*|[<>]\(|>>|>\||[<>]")
_DELIMITER = re.compile(r"[ \t]*+(?:'([^'\n]*+)'|\"([^\"\n]*+)\"|\\?([\w.+!%@-]++))")
_IN_DOUBLE = re.compile(r'[^"\\$`]++')
_BACKQUOTED = re.compile(r"`([^`\\]*+(?:\\.[^`\\]*+)*+)`", re.DOTALL)
_ANSI_C = re.compile(r"\$'([^'\\]*+(?:\\.[^'\\]*+)*+)'", re.DOTALL)
_ARITHMETIC = re.compile(r"\$?\(\([^\n]{0,200}?\)\)")
_PARAMETER = re.compile(r"\$\{[^{}\n]{0,200}\}")
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*(?:\[[^\]]*\])?\+?=")
_CONTINUATIONS = ("\\\n", "\\\r\n", "`\n", "`\r\n")  # the last two are PowerShell's

# Words of the shell's own that a command may follow, that end one, and that begin a list of words.
_OPENING = frozenset(("if", "then", "elif", "else", "while", "until", "do", "!", "{", "coproc"))
_CLOSING = frozenset(("fi", "done", "}", "in"))
_LOOPS = frozenset(("for", "foreach", "select", "function"))
# Commands that only prepare for the one that a line is about.
_PREPARING = frozenset(
    ("cd", "pushd", "popd", "set", "export", "unset", "source", ".", "shopt", "umask", "ulimit",
     "true", ":", "sleep", "set-location", "sl", "declare", "local", "alias"),
)  # fmt: skip
_PREPARED = re.compile(r"\s*(?:[#(]|[A-Za-z_]\w*=|(?:[a-z]+(?:-location)?|[.:])\s)", re.IGNORECASE)

# Programs that run the one which is named after them, with their options that take a word.
_WRAPPERS: dict[str, tuple[str, ...]] = {
    "builtin": (),
    "caffeinate": ("-t", "-w"),
    "chronic": (),
    "command": (),
    "doas": ("-u", "-C"),
    "env": ("-u", "-C"),
    "exec": ("-a",),
    "flock": ("-w", "-E"),
    "ionice": ("-c", "-n", "-p"),
    "nice": ("-n",),
    "nohup": (),
    "rtk": (),
    "setsid": (),
    "stdbuf": ("-i", "-o", "-e"),
    "sudo": ("-u", "-g", "-h", "-p", "-C", "-D", "-R", "-T", "-U"),
    "time": ("-f", "-o"),
    "timeout": ("-k", "-s"),
    "unbuffer": (),
    "watch": ("-n",),
    "wsl": ("-d", "-u"),
    "xargs": ("-n", "-I", "-L", "-P", "-s", "-d", "-a", "-E"),
}
_BEFORE_PROGRAM = frozenset(("timeout", "flock"))  # wrappers with a word of their own before it
SHELLS = frozenset(("sh", "bash", "zsh", "dash", "ksh", "ash", "fish", "su"))
"""Programs that run the command line which is given to their option -c."""
_WINDOWS_SHELLS = frozenset(("cmd", "powershell", "pwsh"))
_RUN_OPTION = re.compile(r"-[a-z]*c|-command|//?[ck]", re.IGNORECASE)
_EXECUTABLE = (".exe", ".cmd", ".bat", ".ps1")
_TERMINALS = frozenset(("/dev/stdout", "/dev/stderr", "/dev/tty"))


@dataclass(frozen=True, slots=True)
class Command:
    """One simple command: the program's name and its arguments, quotes taken off."""

    program: str  # without directories, in lower case
    arguments: tuple[str, ...]
    fed: bool = False  # it reads a pipe or a here-document
    diverted: bool = False  # its output goes into a file


def commands(line: str) -> list[Command]:
    """The simple commands of a command line, in order; those inside substitutions come first."""
    found: list[Command] = []
    _Scan(line, found, _Budget()).run()
    return found


def gist(line: str) -> str:
    """The line without what only prepares: `cd X &&`, `set -e;`, environment assignments.

    It is a suffix of the line, and all of it if there is nothing else.
    """
    if _PREPARED.match(line) is None:
        return line
    scan = _Scan(line, [], _Budget())
    scan.run()
    return line if scan.gist is None else line[scan.gist :]


def name_of(word: str) -> str:
    """The name of the program that a word means: no directories, no `.exe`, in lower case."""
    name = re.split(r"[/\\]", word)[-1].lower()
    for ending in _EXECUTABLE:
        name = name.removesuffix(ending)
    return name


def script_of(words: Sequence[str]) -> str | None:
    """The command line inside of `bash -lc "..."` and its like; None if there is none."""
    name = name_of(words[0]) if words else ""
    if name == "eval":
        return " ".join(words[1:])
    if name not in SHELLS and name not in _WINDOWS_SHELLS:
        return None
    for at, word in enumerate(words[1:], 1):
        if _RUN_OPTION.fullmatch(word):
            rest = words[at + 1 :]
            return " ".join(rest) if name in _WINDOWS_SHELLS else (rest[0] if rest else None)
        if not word.startswith(("-", "/")) and name in SHELLS and words[at - 1] not in ("-o", "-"):
            return None  # a script's name, and what follows are its arguments
    return None


@dataclass(slots=True)
class _Budget:
    steps: int = _STEPS
    depth: int = 0


@dataclass(slots=True)
class _Frame:
    """What is known of the command that is being read."""

    top: bool  # False inside a substitution
    words: list[str] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    word: list[str] | None = None  # the pieces of the word that is being read
    start: int = 0
    target: str = ""  # the next word is a redirection's: "in", "out" or "other"
    fed: bool = False
    diverted: bool = False
    cases: int = 0  # open `case` commands
    pattern: bool = False  # what comes now are patterns of a `case`


class _Scan:
    """One pass over a command line, or over one that stands in a string of another."""

    def __init__(self, text: str, found: list[Command], budget: _Budget) -> None:
        self._text = text
        self._at = 0
        self._found = found
        self._budget = budget
        self._bodies: list[tuple[str, bool]] = []  # here-documents that begin at the next line
        self._functions: set[str] = set()
        self.gist: int | None = None  # where the first command stands that does more than prepare

    def run(self) -> None:
        """Add the commands of the text to those found."""
        if self._budget.depth < _DEPTH:
            self._budget.depth += 1
            self._read(_Frame(top=True), closing=False)
            self._budget.depth -= 1

    def _more(self) -> bool:
        self._budget.steps -= 1
        return self._at < len(self._text) and self._budget.steps > 0

    def _read(self, frame: _Frame, *, closing: bool) -> None:
        """Read a list of commands, up to its closing bracket or the end."""
        text = self._text
        while self._more():
            char = text[self._at]
            if char in "\\`" and text.startswith(_CONTINUATIONS, self._at):
                self._at = text.index("\n", self._at) + 1
            elif (blanks := _BLANKS.match(text, self._at)) is not None:
                self._end_word(frame)
                self._at = blanks.end()
            elif char == "\n":
                self._end_command(frame, char)
                self._at += 1
                self._skip_bodies()
            elif char == "#" and frame.word is None:
                end = text.find("\n", self._at)
                self._at = len(text) if end < 0 else end
            elif char in ";&|":
                self._operator(frame)
            elif char in "<>":
                self._redirection(frame)
            elif char == "(":
                self._open(frame)
            elif char == ")":
                self._at += 1
                if frame.pattern:
                    frame.words.clear()
                    frame.starts.clear()
                    frame.word, frame.pattern, frame.fed = None, False, False
                elif closing:
                    break
                else:
                    self._end_command(frame, ";")
            else:
                self._piece(frame)
        self._end_command(frame, ";")

    def _operator(self, frame: _Frame) -> None:
        match = _OPERATOR.match(self._text, self._at)
        operator = match[0] if match else ";"
        self._at += len(operator)
        if operator.startswith("&>"):
            self._end_word(frame)
            frame.target = "out"
        else:
            self._end_command(frame, operator)

    def _redirection(self, frame: _Frame) -> None:
        match = _REDIRECTION.match(self._text, self._at)
        operator = match[0] if match else ">"
        number = "".join(frame.word or ())
        if number.isdigit():
            frame.word = None
        else:
            number = ""
            self._end_word(frame)
        self._at += len(operator)
        if operator in ("<(", ">("):
            frame.words.append("/dev/fd")
            frame.starts.append(self._at)
            self._nested(_Frame(top=False))
        elif operator in ("<<", "<<-"):
            self._note_body(frame, tabs=operator == "<<-")
        elif operator == "<<<":
            frame.fed, frame.target = True, "in"
        elif operator[-1] not in "0123456789-":
            out = operator[0] == ">" and number in ("", "1")
            frame.target = "out" if out else "other"

    def _note_body(self, frame: _Frame, *, tabs: bool) -> None:
        match = _DELIMITER.match(self._text, self._at)
        if match is not None:
            frame.fed = True
            self._bodies.append((match[match.lastindex or 0], tabs))
            self._at = match.end()

    def _skip_bodies(self) -> None:
        """Go to the line after the here-documents that were announced before this line."""
        text, at = self._text, self._at
        for delimiter, tabs in self._bodies:
            line = None
            while at < len(text) and line != delimiter:
                end = text.find("\n", at)
                end = len(text) if end < 0 else end
                line = text[at:end].rstrip()
                line = line.lstrip("\t") if tabs else line
                at = end + 1
        self._bodies.clear()
        self._at = at

    def _open(self, frame: _Frame) -> None:
        """A bracket: a subshell, a function's, an array's, arithmetic, or a pattern's."""
        text = self._text
        arithmetic = _ARITHMETIC.match(text, self._at) if frame.word is None else None
        if frame.pattern:
            self._at += 1
        elif arithmetic is not None:
            self._at = arithmetic.end()
        elif frame.word and text.startswith("()", self._at) and not frame.words:
            self._functions.add("".join(frame.word).lower())
            frame.word = None
            self._at += 2
        elif frame.word and frame.word[-1].endswith("="):
            end = text.find(")", self._at, self._at + 2_000)
            self._at = self._at + 1 if end < 0 else end + 1
        else:
            self._end_word(frame)
            self._at += 1
            self._nested(_Frame(top=frame.top))

    def _nested(self, frame: _Frame) -> None:
        if self._budget.depth >= _DEPTH:
            self._budget.steps = 0  # nobody writes that
            return
        self._budget.depth += 1
        self._read(frame, closing=True)
        self._budget.depth -= 1

    def _piece(self, frame: _Frame) -> None:
        """Read a piece of a word: a quoted string, a substitution, an escape, or plain text."""
        if frame.word is None:
            frame.word, frame.start = [], self._at
        text, char = self._text, self._text[self._at]
        if char == "\\":
            escaped = text[self._at + 1 : self._at + 2]
            # Before a letter it is rather a Windows path.
            frame.word.append(char + escaped if escaped.isalnum() else escaped)
            self._at += 2
        elif char == "'":
            end = text.find("'", self._at + 1)
            end = len(text) if end < 0 else end
            frame.word.append(text[self._at + 1 : end])
            self._at = end + 1
        elif char == '"':
            self._double_quoted(frame.word)
        elif char == "`":
            self._backquoted(frame.word)
        elif char == "$":
            self._dollar(frame.word)
        else:
            match = _PLAIN.match(text, self._at)
            frame.word.append(match[0] if match else char)
            self._at = match.end() if match else self._at + 1

    def _double_quoted(self, word: list[str]) -> None:
        text = self._text
        self._at += 1
        while self._more():
            char = text[self._at]
            if (plain := _IN_DOUBLE.match(text, self._at)) is not None:
                word.append(plain[0])
                self._at = plain.end()
            elif char == '"':
                self._at += 1
                return
            elif char == "\\":
                escaped = text[self._at + 1 : self._at + 2]
                word.append(escaped if escaped in ("", "$", "`", '"', "\\") else char + escaped)
                self._at += 2
            elif char == "`":
                self._backquoted(word)
            else:
                self._dollar(word)

    def _backquoted(self, word: list[str]) -> None:
        match = _BACKQUOTED.match(self._text, self._at)
        if match is None:
            word.append("`")
            self._at += 1
            return
        self._at = match.end()
        word.append("$()")
        _Scan(match[1].replace("\\`", "`"), self._found, self._budget).run()

    def _dollar(self, word: list[str]) -> None:
        text = self._text
        for pattern in (_ARITHMETIC, _PARAMETER, _ANSI_C):
            match = pattern.match(text, self._at)
            if match is not None:
                word.append(match[0])
                self._at = match.end()
                return
        if text.startswith("$(", self._at):
            word.append("$()")
            self._at += 2
            self._nested(_Frame(top=False))
        else:
            word.append("$")
            self._at += 1

    def _end_word(self, frame: _Frame) -> None:
        if frame.word is None:
            return
        word, frame.word = "".join(frame.word), None
        if frame.target:
            frame.diverted |= frame.target == "out" and word not in _TERMINALS
            frame.target = ""
        else:
            frame.words.append(word)
            frame.starts.append(frame.start)

    def _end_command(self, frame: _Frame, separator: str) -> None:
        self._end_word(frame)
        if frame.words and not (frame.pattern and separator == "|"):
            self._emit(frame)
        frame.words, frame.starts = [], []
        frame.fed, frame.diverted, frame.target = separator in ("|", "|&"), False, ""
        if separator.startswith(";;") or separator == ";&":
            frame.pattern = frame.cases > 0

    def _emit(self, frame: _Frame) -> None:
        """Add the command whose words have been read, if it is one."""
        words, at = frame.words, 0
        while at < len(words) and words[at] in _OPENING:
            at += 1
        keyword = words[at] if at < len(words) else ""
        if keyword == "case":
            frame.cases += 1
            frame.pattern = True
        elif keyword == "esac":
            frame.cases = max(0, frame.cases - 1)
            frame.pattern = False
        compound = at > 0 or keyword == "case" or keyword in _LOOPS
        while at < len(words) and _ASSIGNMENT.match(words[at]):
            at += 1
        if words[at + 1 : at + 2] == ["="] and words[at].startswith("$"):
            at += 2  # PowerShell's assignment
        if at == len(words):
            return
        prepares = not compound and name_of(words[at]) in _PREPARING
        if frame.top and self.gist is None and not prepares:
            self.gist = frame.starts[0 if compound else at]
        if keyword not in _CLOSING and keyword not in _LOOPS and keyword not in ("case", "esac"):
            run = _unwrapped(words[at:])
            if "xargs" in map(name_of, words[at : len(words) - len(run)]):
                frame.fed = False  # what comes through the pipe are its arguments
            self._run(run, frame)

    def _run(self, words: list[str], frame: _Frame) -> None:
        script = script_of(words)
        name = name_of(words[0])
        if script is not None:
            _Scan(script, self._found, self._budget).run()
        elif name not in self._functions and _is_program(name, words):
            arguments = tuple(words[1:])
            self._found.append(Command(name, arguments, frame.fed, frame.diverted))
            if name == "find":
                self._run_found(arguments, frame)

    def _run_found(self, arguments: Sequence[str], frame: _Frame) -> None:
        """What `find -exec` runs."""
        at = next((n for n, word in enumerate(arguments) if word.startswith(("-exec", "-ok"))), -1)
        words = _unwrapped(list(arguments[at + 1 :]))
        if at >= 0 and words:
            self._run(words, frame)


def _unwrapped(words: list[str]) -> list[str]:
    """The words without wrappers such as `sudo -u me timeout 10`."""
    at = 0
    while at < len(words):
        name = name_of(words[at])
        options = _WRAPPERS.get(name)
        if options is None or words[at + 1 : at + 2] in (["-v"], ["-V"]):
            break
        first = at
        at += 1
        while at < len(words) and (words[at].startswith("-") or _ASSIGNMENT.match(words[at])):
            at += 2 if words[at] in options else 1
        at += name in _BEFORE_PROGRAM
        if at >= len(words):
            return words[first : first + 1]
    return words[at:]


def _is_program(name: str, words: Sequence[str]) -> bool:
    """False for what PowerShell would only print, and for what is left of broken lines."""
    if name.startswith("$"):
        return len(words) > 1 and not words[1].startswith(("-", "in", "."))
    return name[:1].isalnum() and not name.isdigit()
