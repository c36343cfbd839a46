"""A state directory that is a link itself works, as systemd's DynamicUser makes one.

What is decided in it is durable, also after it was moved and the link leads to the new place.
"""

from __future__ import annotations

from scripts.lab.torture.attacks import _places
from scripts.lab.torture.bench import Bench
from scripts.lab.torture.verdict import Verdict


def attack(bench: Bench) -> Verdict:
    """Put a link in its place."""
    target = bench.daemon(pool=1)
    talk = _places.Talk(bench, target.connect)
    talk.turn()
    target.stop()
    place = target.state.with_name("private")
    target.state.rename(place)
    target.state.symlink_to(place)
    target.start()
    target.wait_ready()
    talk.turn()
    ready = _places.page(target, "/readyz")
    kept = _places.durable(bench, target)
    well = ready == "ready\n" and kept and not talk.broken and talk.formed == talk.turns
    return Verdict(well, {"ready": ready, "durable": kept, **talk.figures()})
