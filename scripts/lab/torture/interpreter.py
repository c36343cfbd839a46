"""An interpreter for workers that puts another compression in the place of the real one."""

from __future__ import annotations

import json
import stat
import sys
from collections.abc import Mapping
from pathlib import Path


def make(folder: Path, compression: str, options: Mapping[str, str]) -> Path:
    """Make it in a folder. `compression` is a Python file, which gets these options as well."""
    script = folder / "python"
    script.write_text(
        f"#!{sys.executable}\n"
        "import json, os, sys\n"
        "*words, last = sys.argv[1:]\n"
        "spec = json.loads(last)\n"
        f"spec['pipelines'] = {compression!r}\n"
        f"spec['options'] = {{**spec['options'], **{json.dumps(dict(options))}}}\n"
        f"os.execv({sys.executable!r}, [{sys.executable!r}, *words, json.dumps(spec)])\n"
    )
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    return script
