"""A command line is parted into the commands that a shell would run."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsheadroom.texts import shell

LINES = {
    # Quotes, escapes and comments hold no commands.
    'rg -n "alpha|git" src': ["rg"],
    "grep 'a; rm -rf b' c && git status": ["grep", "git"],
    r"grep a\|b c": ["grep"],
    "echo a#b # c; git": ["echo"],
    "# first\nls": ["ls"],
    "npm test \\\n  --watch": ["npm"],
    'git commit -m "one\n- two & three\nfour; five"': ["git"],
    # Lists and pipes, with and without blanks.
    "a|b||c&&d;e&f\ng": ["a", "b", "c", "d", "e", "f", "g"],
    "make 2>&1|tee log": ["make", "tee"],
    "make &> log & wait": ["make", "wait"],
    "|||": [],
    # Here-documents.
    "python3 - <<EOF\nimport json\nfor x in y: print(x)\nEOF": ["python3"],
    "cat <<'E O' > f\nrm x\nE O\nls": ["cat", "ls"],
    "cat <<-A <<B\n\tgit\n\tA\ngit\nB\nls": ["cat", "ls"],
    "cat <<EOF\nnever ends; git": ["cat"],
    "cat <<< 'a; git' | head": ["cat", "head"],
    "git commit -m \"$(cat <<'EOF'\nfeat: x; rm y\nEOF\n)\" && git push": ["cat", "git", "git"],
    # Substitutions.
    "x=$(git rev-parse HEAD); echo `date -u` $((1 + 2)) ${x:-rm}": ["git", "date", "echo"],
    'echo "at $(hostname) it is `date`"': ["hostname", "date", "echo"],
    "diff <(sort a) <(git show B:f)": ["sort", "git", "diff"],
    "echo '$(git)'": ["echo"],
    # Compound commands.
    "for f in a b; do cat $f; done | head": ["cat", "head"],
    "for ((i=0; i<3; i++)); do ls; done": ["ls"],
    "if [ -f x ]; then cat x; elif true; then ls; else exit; fi": ["cat", "true", "ls", "exit"],
    "while ! curl -s x; do sleep 1; done": ["curl", "sleep"],
    "case $x in\n a|b) npm test;;\n (c) ls;;\nesac; git log": ["npm", "ls", "git"],
    "(cd a && make) || { echo no; exit 1; }": ["cd", "make", "echo", "exit"],
    "f() { git x; }; f": ["git"],
    "a=(1 2); ls": ["ls"],
    # Assignments and wrappers.
    "FOO=1 BAR='a b' npm test": ["npm"],
    "FOO=1": [],
    "sudo -u me env A=b timeout -k 5 10 nice -n 3 npm test": ["npm"],
    "find . -name x | xargs -n1 grep foo": ["find", "grep"],
    "command -v vale && time make": ["command", "make"],
    "find . -name '*.py' -exec sed -n 1,5p {} +": ["find", "sed"],
    "/usr/bin/python3 x.py": ["python3"],
    # A shell in a shell.
    "bash -lc 'cd x && npm test 2>&1 | tail -5'": ["cd", "npm", "tail"],
    "sh -e -c \"echo 'a; b'; ls\"": ["echo", "ls"],
    "bash build.sh -c release": ["bash"],
    "eval 'git status'": ["git"],
    # Windows.
    "Get-Content D:\\a\\b.go | Select-Object -First 5": ["get-content", "select-object"],
    "$x = Get-Content a; $x.Length": ["get-content"],
    '& "C:\\Program Files\\X\\Foo.exe" -x': ["foo"],
    'cmd /c dir /s "C:\\x"': ["dir"],
    'powershell -NoProfile -Command "Get-Content a | Select-String b"': ["get-content",
                                                                       "select-string"],
    "Get-Item a `\n  -Force": ["get-item"],
}  # fmt: skip


@pytest.mark.parametrize("line", LINES)
def test_programs_in_order(line: str) -> None:
    assert [command.program for command in shell.commands(line)] == LINES[line]


def test_arguments_lose_their_quotes() -> None:
    (command,) = shell.commands("sed -n '1,80p' \"a b.py\" c\\ d D:\\e 2>/dev/null")
    assert command.arguments == ("-n", "1,80p", "a b.py", "c d", "D:\\e")


@pytest.mark.parametrize(
    ("line", "fed", "diverted"),
    [
        ("cat a", False, False),
        ("cat a 2>&1", False, False),
        ("cat < a", False, False),
        ("cat a >/dev/stdout", False, False),
        ("ls | cat", True, False),
        ("cat <<A\nx\nA", True, False),
        ("cat > b <<A\nx\nA", True, True),
        ("cat a >> b", False, True),
        ("cat a &> b", False, True),
        ("cat a 2> b", False, False),
    ],
)
def test_where_input_and_output_are(line: str, fed: bool, diverted: bool) -> None:
    command = shell.commands(line)[-1]
    assert (command.fed, command.diverted) == (fed, diverted)


@pytest.mark.parametrize(
    ("line", "gist"),
    [
        ("cd /a/b && npm test", "npm test"),
        ('cd "/a b"; FOO=1 BAR=2 npm test | tail', "npm test | tail"),
        ("set -e\nexport A=b\n# now\nnpm test", "npm test"),
        ("X=$(git rev-parse HEAD) && echo $X", "echo $X"),
        ("cd x && for f in *; do cat $f; done", "for f in *; do cat $f; done"),
        ("A=b timeout 10 npm test", "timeout 10 npm test"),
        ("npm test && cd x", "npm test && cd x"),
        ("cd /a/b", "cd /a/b"),
        ("FOO=1", "FOO=1"),
        ("", ""),
    ],
)
def test_gist(line: str, gist: str) -> None:
    assert shell.gist(line) == gist


def test_script_of_words() -> None:
    assert shell.script_of(["bash", "-lc", "ls -l"]) == "ls -l"
    assert shell.script_of(["/bin/sh", "-e", "-c", "ls"]) == "ls"
    assert shell.script_of(["powershell.exe", "-Command", "Get-Item", "a"]) == "Get-Item a"
    assert shell.script_of(["ls", "-l", "src"]) is None
    assert shell.script_of([]) is None


PIECES = ["'", '"', "`", "$(", ")", "(", "<<EOF", "EOF", "\n", "\\", "|", "&", ";", ">", "<", "#",
          " ", "a", "case x in", "esac", "=", "bash -c ", "${", "\ud800", "é"]  # fmt: skip


@given(st.lists(st.sampled_from(PIECES), max_size=60).map("".join))
def test_anything_is_read(line: str) -> None:
    for command in shell.commands(line):
        assert command.program
    assert line.endswith(shell.gist(line))


@given(st.lists(st.text("abc $|&;'\"<>#\\\n", max_size=12), max_size=6))
def test_quoted_words_are_arguments(words: list[str]) -> None:
    quoted = " ".join("'" + word.replace("'", "'\\''") + "'" for word in words)
    (command,) = shell.commands(f"prog {quoted}")
    assert command.arguments == tuple(words)


@pytest.mark.parametrize("piece", [*PIECES, "$(a ", "a;", "bash -c 'x' ", "<<A\n", "((", "`\\"])
def test_long_lines_end(piece: str) -> None:
    """No more than some thousand pieces are looked at, so a long line gives no more commands."""
    assert len(shell.commands(piece * 100_000)) < 5_000
