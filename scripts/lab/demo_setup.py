"""Shows the daemon at work on a private tailnet of this machine.

usage: scripts/demo [--keep | --stop]

Sets everything up, starts a control server, `tsheadroom serve -v` as one node and a caller in
Aperture's place as another, and sends two agent conversations turn by turn: a recorded one and one
of tools that answer in JSON. Ends by itself and leaves nothing running.

  --keep   leave daemon and tailnet up, and say how to reach and how to stop them
  --stop   stop what --keep left
"""

# Standard library only: this part of the demo runs before .venv exists.
from __future__ import annotations

import subprocess
import sys

from scripts.lab.door import PYTHON, ROOT, in_venv, start_again_in_venv


def check_options() -> None:
    """Print the usage and end, unless the options are right."""
    options = sys.argv[1:]
    if options not in ([], ["--keep"], ["--stop"]):
        print(__doc__)
        sys.exit(0 if options in (["-h"], ["--help"]) else 2)


def set_up() -> None:
    """Set everything up, with whatever Python this is, then go on in the project's."""
    if in_venv():
        return
    if sys.argv[1:] != ["--stop"] or not PYTHON.exists():
        print("[1/5] Setting up (the first time takes minutes: packages, then Go)", flush=True)
        try:
            done = subprocess.run([ROOT / "scripts" / "setup"], check=False)
        except KeyboardInterrupt:
            sys.exit(130)
        if done.returncode:
            sys.exit(done.returncode)
    start_again_in_venv()
