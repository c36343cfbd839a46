"""The base class of all errors that this package raises on purpose."""

from __future__ import annotations

from pathlib import Path


class TsheadroomError(Exception):
    """An expected failure. Its text is a sentence that tells a person what to do."""


def place_of(error: BaseException) -> str:
    """What kind of error it is and where it was raised. Its text may quote a conversation."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    code = trace.tb_frame.f_code if trace else None
    where = f" at {Path(code.co_filename).name}:{trace.tb_lineno}" if trace and code else ""
    return f"{type(error).__name__}{where}"
