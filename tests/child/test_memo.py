from __future__ import annotations

from tsheadroom.child.compress.memo import Memo


def test_a_text_is_worked_on_once_for_each_purpose() -> None:
    memo, made = Memo(), []

    def ask(what: str, text: str) -> str:
        def make() -> str:
            made.append((what, text))
            return f"{what} of {text}"

        return memo.get(what, text, make, len)

    assert [ask("a", "x"), ask("b", "x"), ask("a", "y"), ask("a", "x")] == [
        "a of x", "b of x", "a of y", "a of x",
    ]  # fmt: skip
    assert made == [("a", "x"), ("b", "x"), ("a", "y")]


def test_what_is_kept_is_bounded_and_the_least_used_goes_first() -> None:
    memo, made = Memo(limit=3000), []

    def ask(text: str) -> None:
        def make() -> str:
            made.append(text)
            return "r" * 800

        memo.get("", text, make, len)

    for text in ("first", "second", "first", "third", "fourth", "first"):
        ask(text)
    assert made == ["first", "second", "third", "fourth"]
    ask("second")
    assert made[-1] == "second"


def test_a_lone_surrogate_is_a_text_like_another() -> None:
    assert Memo().get("", "\ud800", lambda: 7, lambda _: 0) == 7
