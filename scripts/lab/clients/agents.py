"""How each client is started, so that it talks to the gateway, asks nobody and reports nowhere."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from scripts.lab.clients.apis.parts import Json

_CLAUDE = "claude-opus-5-5"
_GEMINI = "gemini-3-pro-preview"
_PLAIN = "corp-model"  # of a provider that offers Chat Completions only
_WINDOW = {"context": 400_000, "output": 32_000}  # tokens; none of the runs comes near


@dataclass(frozen=True, slots=True)
class Job:
    """What a client is to do: the gateway's URL, the client's own home, and what the user says."""

    gateway: str
    home: Path
    workspace: Path
    prompt: str


@dataclass(frozen=True, slots=True)
class Start:
    """A command line without the program, the environment beside the usual, and files of home."""

    words: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Client:
    """A client as it is run here. `mode` says how, where one program is run in several ways."""

    name: str
    title: str
    package: str
    program: str
    start: Callable[[Job], Start]
    mode: str = ""


def environment(job: Job, start: Start, path: str) -> dict[str, str]:
    """The environment of a client's process. None of the caller's own settings is in it."""
    home = job.home
    return {
        "PATH": path,
        "LANG": os.environ.get("LANG", "C.UTF-8"),
        "TERM": "dumb",
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home / ".config"),
        "XDG_DATA_HOME": str(home / ".local/share"),
        "XDG_STATE_HOME": str(home / ".local/state"),
        "XDG_CACHE_HOME": str(home / ".cache"),
        "SHELL": "/bin/bash",
        "NO_COLOR": "1",
        "DO_NOT_TRACK": "1",
        "NO_UPDATE_NOTIFIER": "1",
        **start.environment,
    }


def _claude_code(job: Job) -> Start:
    words = ["-p", job.prompt, "--model", _CLAUDE, "--output-format", "stream-json", "--verbose"]
    return Start(
        [*words, "--max-turns", "90", "--permission-mode", "bypassPermissions"],
        {
            "ANTHROPIC_BASE_URL": job.gateway,
            "ANTHROPIC_AUTH_TOKEN": "any",
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "DISABLE_AUTOUPDATER": "1",
            "IS_SANDBOX": "1",  # or it does not skip questions for root
        },
    )


def _codex(model: str) -> Callable[[Job], Start]:
    """Codex takes the mode that it knows to suit a model."""

    def start(job: Job) -> Start:
        config = f"""\
model = "{model}"
model_provider = "aperture"
model_reasoning_effort = "medium"
check_for_update_on_startup = false
[analytics]
enabled = false
[model_providers.aperture]
name = "Aperture"
base_url = "{job.gateway}/v1"
env_key = "APERTURE_KEY"
wire_api = "responses"
supports_websockets = false
[projects."{job.workspace}"]
trust_level = "trusted"
"""
        words = ["exec", "--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox"]
        return Start(
            [*words, "--json", job.prompt], {"APERTURE_KEY": "any"}, {".codex/config.toml": config}
        )

    return start


def _gemini_cli(job: Job) -> Start:
    settings = {
        "security": {
            "auth": {"selectedType": "gemini-api-key"},
            "folderTrust": {"enabled": False},
        },
        "telemetry": {"enabled": False},
        "privacy": {"usageStatisticsEnabled": False},
        "general": {"enableAutoUpdate": False},
    }
    return Start(
        ["-p", job.prompt, "--yolo", "-m", _GEMINI, "--output-format", "stream-json"],
        {
            "GOOGLE_GEMINI_BASE_URL": job.gateway,
            "GEMINI_API_KEY": "any",
            "GEMINI_CLI_NO_RELAUNCH": "true",
        },
        {".gemini/settings.json": json.dumps(settings)},
    )


def _opencode(npm: str, model: str) -> Callable[[Job], Start]:
    """OpenCode speaks the API of the package of the AI SDK that a provider names."""

    def start(job: Job) -> Start:
        provider = {
            "npm": npm,
            "name": "Aperture",
            "options": {"baseURL": f"{job.gateway}/v1", "apiKey": "any"},
            "models": {model: {"reasoning": True, "tool_call": True, "limit": _WINDOW}},
        }
        config: dict[str, Json] = {
            "autoupdate": False,
            "share": "disabled",
            "permission": "allow",
            "provider": {"aperture": provider},
            "small_model": f"aperture/{model}",
        }
        return Start(
            ["run", "--model", f"aperture/{model}", job.prompt],
            {"OPENCODE_DISABLE_MODELS_FETCH": "1", "OPENCODE_DISABLE_LSP_DOWNLOAD": "1"},
            {".config/opencode/opencode.json": json.dumps(config)},
        )

    return start


def _pi(job: Job) -> Start:
    model = {
        "id": _CLAUDE,
        "reasoning": True,
        "input": ["text"],
        "cost": {"input": 5, "output": 25, "cacheRead": 0.5, "cacheWrite": 6.25},
        "contextWindow": _WINDOW["context"],
        "maxTokens": _WINDOW["output"],
    }
    provider = {"baseUrl": job.gateway, "apiKey": "any", "api": "anthropic-messages"}
    models = {"providers": {"aperture": {**provider, "models": [model]}}}
    words = ["--provider", "aperture", "--model", _CLAUDE, "--thinking", "medium"]
    return Start(
        [*words, "-p", job.prompt],
        {"PI_OFFLINE": "1", "PI_SKIP_VERSION_CHECK": "1", "PI_TELEMETRY": "0"},
        {".pi/agent/models.json": json.dumps(models)},
    )


_CLAUDE_CODE, _CODEX, _OPENCODE = "@anthropic-ai/claude-code", "@openai/codex", "opencode-ai"
_PI, _GEMINI_CLI = "@mariozechner/pi-coding-agent", "@google/gemini-cli"
_ANTHROPIC, _COMPATIBLE = "@ai-sdk/anthropic", "@ai-sdk/openai-compatible"

CLIENTS = (
    Client("claude", "Claude Code", _CLAUDE_CODE, "claude", _claude_code),
    Client("codex", "Codex", _CODEX, "codex", _codex("gpt-5.6"), "shell mode"),
    Client("codex-code", "Codex", _CODEX, "codex", _codex("gpt-6-sol"), "code mode"),
    Client("gemini", "Gemini CLI", _GEMINI_CLI, "gemini", _gemini_cli),
    Client(
        "opencode", "OpenCode", _OPENCODE, "opencode", _opencode(_ANTHROPIC, _CLAUDE), "Anthropic"
    ),
    Client(
        "opencode-chat", "OpenCode", _OPENCODE, "opencode", _opencode(_COMPATIBLE, _PLAIN), "Chat"
    ),
    Client("pi", "pi", _PI, "pi", _pi),
)
