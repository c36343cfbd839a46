"""The file, or the whole state directory, deleted under a running daemon costs no answer.

It is noticed within seconds, health and metrics say so, and what is decided then is durable.
"""

from __future__ import annotations

import shutil

from scripts.lab.torture.attacks import _places
from scripts.lab.torture.bench import Bench
from scripts.lab.torture.target import Target
from scripts.lab.torture.verdict import Verdict

NOTICED_SECONDS = 10.0


def _file(target: Target) -> None:
    for path in _places.with_log(target.store):
        path.unlink(missing_ok=True)


def _log(target: Target) -> None:
    _places.with_log(target.store)[1].unlink()


def _directory(target: Target) -> None:
    shutil.rmtree(target.state)


def attack(bench: Bench) -> Verdict:
    """Delete the one, then the other, while honest callers work."""
    target = bench.daemon()
    figures: dict[str, object] = {}
    well = True
    for delete in (_file, _log, _directory):
        talk = _places.Talk(bench, target.connect)
        talk.turn()
        with bench.honest(target, 4, pause=0.1) as honest:
            delete(target)
            noticed = _places.until(lambda: _places.says_lost(target), NOTICED_SECONDS)
            talk.turn()
        kept = _places.durable(bench, target)
        well = well and noticed is not None and kept and not talk.broken and not honest.breaks
        figures[delete.__name__.strip("_")] = {
            "noticed after, s": noticed,
            "durable again": kept,
            "prefixes broken": talk.broken,
            "of honest callers": dict(honest.breaks),
        }
    return Verdict(well, figures)
