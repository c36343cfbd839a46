"""One module an attack. Each says in its docstring what must hold, and has `attack(bench)`."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass

from scripts.lab.torture.bench import Bench
from scripts.lab.torture.verdict import Verdict


@dataclass(frozen=True, slots=True)
class Attack:
    """An attack, by its name; `holds` says in a sentence what must hold."""

    name: str
    holds: str
    run: Callable[[Bench], Verdict]


def attacks() -> dict[str, Attack]:
    """All there are, by name."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__))
    return {name: _attack(name) for name in names if not name.startswith("_")}


def _attack(name: str) -> Attack:
    module = importlib.import_module(f"{__name__}.{name}")
    return Attack(name, (module.__doc__ or "").strip().partition("\n\n")[0], module.attack)
