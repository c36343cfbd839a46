"""What a script does first: it goes on in the Python of .venv.

Any Python 3 of the machine may run this, before anything is set up. So it uses the standard library
only.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parents[2]
PYTHON = ROOT / ".venv" / "bin" / "python"


def in_venv() -> bool:
    """True if this Python is that of .venv, or of another environment of scripts/test."""
    return Path(sys.prefix).parent == ROOT


def start_again_in_venv() -> NoReturn:
    """Run this script with the same arguments in .venv's Python, in place of this process."""
    script = Path(sys.argv[0]).resolve()
    os.execv(PYTHON, [str(PYTHON), str(script), *sys.argv[1:]])


def use_venv() -> None:
    """Go on in .venv's Python. If there is none, end and say how to make it."""
    if in_venv():
        return
    if not PYTHON.exists():
        sys.exit(f"scripts/{Path(sys.argv[0]).name}: run scripts/setup first")
    start_again_in_venv()
