"""The unit, the image and the example settings agree with the command that they run.

There is no container engine and no systemd here: what can be checked without them is checked.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from tsheadroom.cli import main as cli
from tsheadroom.cli.options import duration

ROOT = Path(__file__).parent.parent
UNIT = ROOT / "tsheadroom.service"
DOCKERFILE = ROOT / "Dockerfile"
COMPOSE = ROOT / "compose.yaml"


def parse(words: list[str]) -> None:
    """Let the real command line take the words; raises for an option that it does not know."""
    command = cli.main.get_command(click.Context(cli.main), words[0])
    assert command is not None, f"no command {words[0]}"
    command.make_context(words[0], words[1:], resilient_parsing=False)


def variables() -> set[str]:
    commands = cli.main.commands.values()
    return {str(p.envvar) for c in commands for p in c.params if p.envvar}


def unit() -> dict[str, list[tuple[str, str]]]:
    """The unit's sections; keys may come several times."""
    sections: dict[str, list[tuple[str, str]]] = {}
    for line in UNIT.read_text().splitlines():
        if line.startswith("["):
            section = sections.setdefault(line.strip("[]"), [])
        elif line and not line.startswith("#"):
            key, _, value = line.partition("=")
            section.append((key, value))
    return sections


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions, continuation lines joined, comments gone."""
    lines = [li for li in DOCKERFILE.read_text().splitlines() if not li.lstrip().startswith("#")]
    text = "\n".join(lines).replace("\\\n", " ")
    words = [line.split(None, 1) for line in text.splitlines() if line.strip()]
    return [(name, rest) for name, rest in words]


def test_the_unit_runs_the_command_with_options_that_it_knows() -> None:
    (start,) = [value for key, value in unit()["Service"] if key == "ExecStart"]
    program, *words = shlex.split(start)
    assert Path(program).name == "tsheadroom"
    parse(words)


def test_the_units_variables_are_options() -> None:
    named = [v.split("=")[0] for key, v in unit()["Service"] if key == "Environment"]
    assert named
    assert set(named) <= variables()


def test_the_unit_leaves_time_to_drain() -> None:
    service = dict(unit()["Service"])
    drain = next(p for p in cli.serve.params if p.name == "drain").get_default(
        click.Context(cli.serve)
    )
    assert int(service["TimeoutStopSec"]) > duration(str(drain)) + 5
    assert service["KillMode"] == "mixed"


def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("no systemd-analyze here")
    copy = tmp_path / UNIT.name
    # It also checks that the program exists.
    copy.write_text(re.sub(r"/opt/tsheadroom/bin/tsheadroom", "/bin/true", UNIT.read_text()))
    done = subprocess.run(
        [analyze, "verify", str(copy)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_what_the_image_copies_exists() -> None:
    for name, value in instructions():
        if name == "COPY" and "--from" not in value:
            for source in value.split()[:-1]:
                assert (ROOT / source).exists(), source


def test_the_image_runs_the_command_with_options_that_it_knows() -> None:
    given = {name: value for name, value in instructions() if name in ("ENTRYPOINT", "CMD")}
    (entry,) = json.loads(given["ENTRYPOINT"])
    assert Path(entry).name == "tsheadroom"
    parse(json.loads(given["CMD"]))
    (health,) = [value for name, value in instructions() if name == "HEALTHCHECK"]
    program, *words = json.loads(health.partition("CMD ")[2])
    assert program == entry
    parse(words)


def test_the_image_is_not_root_and_keeps_all_state_in_its_volume() -> None:
    given = instructions()
    last_stage = max(i for i, (name, _) in enumerate(given) if name == "FROM")
    stage = given[last_stage:]
    values = dict(stage)
    assert values["USER"] == "65532:65532"
    environment = dict(pair.split("=", 1) for pair in shlex.split(values["ENV"]))
    ours = {name for name in environment if name.startswith("TSHEADROOM_")}
    assert ours <= variables()
    for name in ours:
        assert environment[name].startswith(values["VOLUME"])


def test_compose_agrees_with_the_image() -> None:
    document: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())
    service = document["services"]["tsheadroom"]
    volume, _, place = service["volumes"][0].partition(":")
    assert volume in document["volumes"]
    assert place == dict(instructions())["VOLUME"]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    ours = {name for name in service["environment"] if name.startswith("TSHEADROOM_")}
    assert ours <= variables()
    assert "TS_AUTHKEY" in service["environment"]


def test_every_variable_of_the_files_is_documented() -> None:
    text = "".join(path.read_text() for path in (UNIT, DOCKERFILE, COMPOSE))
    assert set(re.findall(r"TSHEADROOM_[A-Z_]+", text)) <= variables()


def test_the_image_pins_what_the_lock_file_pins() -> None:
    """The image's own sed command, run on the lock file."""
    (step,) = [v for name, v in instructions() if name == "RUN" and "requirements.lock" in v]
    command = step.partition("&&")[0].partition(">")[0]
    pinned = subprocess.run(
        ["/bin/sh", "-c", command], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    lock = (ROOT / "requirements.lock").read_text()
    assert len(pinned) == len(re.findall(r"^[A-Za-z0-9][^ ]*==", lock, re.MULTILINE))
    assert all(re.fullmatch(r"[\w.\[\]-]+==[\w.+!-]+", pin) for pin in pinned)
    assert any(pin.startswith("headroom-ai==") for pin in pinned)


def test_the_unit_lets_workers_give_up_the_file_system() -> None:
    (calls,) = [value.split() for key, value in unit()["Service"] if key == "SystemCallFilter"]
    assert calls[0] == "@system-service"
    assert {"landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self"} <= {*calls}
