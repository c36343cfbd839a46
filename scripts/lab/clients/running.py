"""Runs a client against the gateway, the hook and the provider, and returns what was recorded."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

from scripts.lab.clients import agents, installing, plan, workspace
from scripts.lab.clients.agents import Client, Job
from scripts.lab.clients.errors import ClientsFailed
from scripts.lab.clients.gateway import Gateway
from scripts.lab.clients.provider import Provider
from scripts.lab.clients.records import Record
from scripts.lab.clients.served import served

PATIENCE = 150.0  # seconds for a run, which takes some 5
MAX_TURNS = 160  # of a run, which has some 50
_SHOWN = 2000  # characters of what a client said, if it failed


async def run(client: Client, packages: Path, hook: str, scratch: Path) -> list[Record]:
    """Run one client. `scratch` is an empty folder. Raises ClientsFailed."""
    program = installing.program(packages, client.program, client.package)
    place = scratch / "work"
    workspace.make(place)
    provider = Provider(MAX_TURNS)
    async with served(provider.app()) as provider_url:
        gateway = Gateway(provider_url, hook)
        async with served(gateway.app()) as gateway_url:
            job = Job(gateway_url, scratch / "home", place, plan.prompt("main", str(place)))
            await _run(client, program, job, scratch)
    if not gateway.records:
        raise ClientsFailed(f"{client.name} has sent nothing:\n{_said(scratch)}")
    return gateway.records


async def _run(client: Client, program: Path, job: Job, scratch: Path) -> None:
    start = client.start(job)
    for name, text in start.files.items():
        path = job.home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    job.home.mkdir(exist_ok=True)
    with (scratch / "said").open("wb") as said:
        process = await asyncio.create_subprocess_exec(
            program,
            *start.words,
            cwd=job.workspace,
            env=agents.environment(job, start, _path(program)),
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            start_new_session=True,
        )
        try:
            code = await asyncio.wait_for(process.wait(), PATIENCE)
        except TimeoutError:
            raise ClientsFailed(f"{client.name} did not end:\n{_said(scratch)}") from None
        finally:
            # Also what it has started and left behind.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    if code != 0:
        raise ClientsFailed(f"{client.name} ended with {code}:\n{_said(scratch)}")


def _path(program: Path) -> str:
    """The caller's PATH, and where Codex has ripgrep: OpenCode would download one."""
    packed = sorted(program.parent.parent.glob("@openai/codex-*/vendor/*/*/rg"))
    found = [str(packed[0].parent)] if packed else []
    return os.pathsep.join([*found, os.environ.get("PATH", os.defpath)])


def _said(scratch: Path) -> str:
    """The end of what a client has said."""
    return (scratch / "said").read_text("utf-8", "replace")[-_SHOWN:]
