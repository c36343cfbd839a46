"""What a first call of a kind would import is there before: in a process that has done nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAM = """
import json, sys
from tsheadroom.child import environment
environment.apply()
environment.forbid_network()
from tests.child.test_lossy import OUTPUTS
from tests.child.test_traces import (TRACES, items_of, play)
from tests.child.talk import Talk
from tsheadroom.child.compress.compressor import Compressor
options = json.loads(sys.argv[1])
compressor = Compressor(options)
compressor.warm_up()
before = set(sys.modules)
for path in TRACES:
    play(Talk(compressor, options), items_of(path))
for text in OUTPUTS.values():
    Talk(compressor, options).run("make", text)
print(json.dumps(sorted(set(sys.modules) - before)))
"""


@pytest.mark.parametrize("options", [{}, {"lossy": True}], ids=["lossless", "lossy"])
def test_nothing_is_imported_after_the_warm_up(options: dict[str, bool]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(options)],
        capture_output=True,
        check=True,
        cwd=ROOT,
        text=True,
        timeout=120,
    )
    assert json.loads(done.stdout.splitlines()[-1]) == []
