"""The documents say what is so: options, settings, series, commands and links exist."""

from __future__ import annotations

import json
import re
from pathlib import Path

import click
import pytest

from tests.served import Served
from tsheadroom.cli import main as cli
from tsheadroom.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text("utf-8")
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
OWN_SERIES = re.compile(r"`((?:headroom|tsheadroom)_[a-z_]+)`")


def rows(title: str) -> list[list[str]]:
    """The cells of the table under a heading of the README."""
    section = README.split(f"\n## {title}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def serve_options() -> list[click.Option]:
    return [option for option in cli.serve.params if isinstance(option, click.Option)]


def test_options_are_those_of_the_command() -> None:
    told = {name for row in rows("Options") for name in re.findall(r"`(--?[a-z-]+)`", row[0])}
    assert told == {
        name for option in serve_options() for name in (*option.opts, *option.secondary_opts)
    }


def test_defaults_of_options_are_told() -> None:
    told = {row[0].split("`")[1]: row[1].strip("`") for row in rows("Options")}
    for option in serve_options():
        default = next(told[name] for name in option.opts if name in told)
        if isinstance(option.show_default, str):
            assert default == option.show_default
        elif option.is_flag:
            assert default == ("on" if option.default is True else "off")
        else:
            is_set = isinstance(option.default, str | int)
            assert default == (str(option.default) if is_set else "")


def test_settings_are_told_with_their_defaults() -> None:
    told = {row[0].strip("`"): json.loads(row[1].strip("`")) for row in rows("Settings")}
    example = json.loads((ROOT / "tsheadroom.config.example.json").read_text())
    assert told == example
    assert list(told) == list(Settings.__struct_fields__)


def test_the_wiring_has_a_key_for_calls_and_one_for_bills() -> None:
    section = README.split("\n## Wire it into Aperture\n")[1].split("\n## ")[0]
    wiring, network, config = re.findall(r"```json\n(.*?)```", section, re.DOTALL)
    document = json.loads(f"{{{wiring}}}")
    paths = {name: hook["url"].partition(".ts.net")[2] for name, hook in document["hooks"].items()}
    assert paths == {"headroom": "/", "headroom-bills": "/bills"}
    ((grant,),) = [grant["app"].values() for grant in document["grants"]]
    (wanted,) = grant
    # A grant that names models gives access to them.
    assert list(wanted) == ["send_hooks"]
    sent = {hook["name"]: (hook["events"], hook["send"]) for hook in wanted["send_hooks"]}
    assert sent == {
        "headroom": (["pre_request"], ["request_body"]),
        "headroom-bills": (["entire_request"], ["estimated_cost"]),
    }
    for text in (network, config):
        # A grant without `ip` opens no connection, also not for a capability.
        assert json.loads(text)["ip"] == ["tcp:80"]


def test_series_are_those_that_are_served(tmp_path: Path) -> None:
    served = Served(tmp_path)
    try:
        text = served.ask("GET", "/metrics")[1]
    finally:
        served.stop()
    families = set(re.findall(r"^# TYPE ((?:ts)?headroom_\S+)", text, re.MULTILINE))
    told = {name for row in rows("Metrics") for name in OWN_SERIES.findall(row[0])}
    assert told == families


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text("utf-8")):
        if not target.startswith(("http://", "https://")):
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_scripts_and_their_options_exist(page: Path) -> None:
    text = page.read_text("utf-8")
    for name in set(re.findall(r"\bscripts/([a-z/_.-]*[a-z])", text)):
        assert (ROOT / "scripts" / name).exists(), name
    for name, words in re.findall(r"scripts/(agreement|bench|demo)((?: [^\s`]+)+)", text):
        modules = (ROOT / "scripts" / "lab").glob(f"{name}*.py")
        known = "".join(module.read_text() for module in modules)
        own = words.partition(" -- ")[0]  # what follows is for `tsheadroom serve`
        for option in re.findall(r"(?<= )--[a-z-]+", own):
            assert option in known, f"scripts/{name} {option}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_options_of_simulate_exist(page: Path) -> None:
    known = {name for param in cli.simulate.params for name in param.opts}
    for words in re.findall(r"tsheadroom simulate((?:\s[^`]+)+)`", page.read_text("utf-8")):
        assert set(re.findall(r"--[a-z]+", words)) <= known


def test_every_option_of_simulate_is_told() -> None:
    told = (ROOT / "docs" / "savings.md").read_text("utf-8").split("## Your own conversations")[1]
    for param in cli.simulate.params:
        if isinstance(param, click.Option):
            assert any(f"`{name}" in told or f" {name}" in told for name in param.opts), param.name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_that_are_named_exist(page: Path) -> None:
    text = page.read_text("utf-8")
    for name in set(re.findall(r"`((?:[a-z_]+/)+[a-z_.]+\.[a-z]+)`", text)):
        places = (ROOT, ROOT / "tsheadroom", ROOT / "tsheadroom" / "workers", ROOT / "docs")
        assert any((place / name).exists() for place in places), name
