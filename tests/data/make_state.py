"""Makes a state directory as one version of the daemon leaves it, for tests/e2e/test_upgrade.py.

Run it in a checkout of that version, with a Python that has its packages:

    cd CHECKOUT && PYTHONPATH=. PYTHON tests/data/make_state.py tests/data/state-VERSION

(both paths may lead into a newer checkout). It uses the `tests` package of the checkout, too.

The directory gets `conversations.sqlite3` and `exchanged.json.xz`: for each conversation what the
provider had got when the daemon ended, and the requests that were still to come.
"""

from __future__ import annotations

import json
import lzma
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tsheadroom
from tests.conversation import Body, Provider, call, dumps, plain, turns
from tests.served import Served, until

DATA = Path(__file__).parent
STATE = "conversations.sqlite3"
WORDS = ["alpha", "bravo", "charlie", "delta", "echo", "foxtrot", "golf", "hotel", "india", "kilo"]


def source(seed: int, lines: int) -> str:
    """A source file of short functions, none like another."""
    words = [WORDS[(seed * 7 + n * (seed + 3)) % len(WORDS)] for n in range(lines)]
    return "\n".join(
        f"def {word}_{n}(x): return x * {n * seed + 11}" for n, word in enumerate(words)
    )


def table(seed: int, rows: int) -> str:
    """Indented JSON, as a tool prints it."""
    made = [
        {"id": n, "name": WORDS[(n * seed) % len(WORDS)], "size": n * seed} for n in range(rows)
    ]
    return json.dumps({"rows": made}, indent=4)


def outputs() -> list[tuple[str, str]]:
    """What a tool was asked for in each turn of the small conversations, and its answer."""
    first, second = source(2, 60), source(5, 50)
    return [
        ("kubectl get pods -o json", table(3, 40)),
        ("cat first.py", first),
        ("cat first.py", first + "\n# the end"),
        ("cat second.py", second),
        ("kubectl get nodes -o json", table(4, 45)),
        ("cat second.py first.py", second + "\n" + first),
    ]


def responses() -> Iterator[Body]:
    """OpenAI Responses: `input` grows by a call and its output."""
    items: list[Any] = [{"type": "message", "role": "user", "content": "Look around."}]
    for n, (command, output) in enumerate(outputs()):
        yield {"model": "gpt-5.5", "instructions": "You are an agent.", "input": list(items)}
        arguments = json.dumps({"cmd": command})
        of = {"call_id": f"call_{n}"}
        items += [
            {"type": "function_call", "name": "exec_command", "arguments": arguments, **of},
            {"type": "function_call_output", "output": output, **of},
        ]
    yield {"model": "gpt-5.5", "instructions": "You are an agent.", "input": list(items)}


def gemini() -> Iterator[Body]:
    """Gemini: `contents` grows by a function's call and its response."""
    items: list[Any] = [{"role": "user", "parts": [{"text": "Look around."}]}]
    for command, output in outputs():
        yield {"contents": list(items), "generationConfig": {"temperature": 1}}
        asked = {"name": "run_shell_command", "args": {"command": command}}
        told = {"name": "run_shell_command", "response": {"output": output}}
        items += [
            {"role": "model", "parts": [{"functionCall": asked}]},
            {"role": "user", "parts": [{"functionResponse": told}]},
        ]
    yield {"contents": list(items), "generationConfig": {"temperature": 1}}


def renamed(body: Body) -> Body:
    """With the conversation under `messages`, where `Provider` looks."""
    return {{"input": "messages", "contents": "messages"}.get(k, k): v for k, v in body.items()}


def play(daemon: Served, bodies: list[Body], **metadata: str) -> list[Any]:
    """Send these requests; the items that the provider has at the end."""
    provider = Provider()
    for body in bodies:
        answer = daemon.hook(call(body, **metadata))
        if "request_body" in answer:
            answer["request_body"] = renamed(answer["request_body"])
        provider.receive(renamed(body), answer)
    if provider.saved <= 0:
        sys.exit(f"no form was forwarded: {metadata}")
    seen: list[Any] = provider.seen
    return seen


def half(daemon: Served, bodies: list[Body], **metadata: str) -> dict[str, Any]:
    """A conversation that ends in the middle."""
    middle = (len(bodies) + 1) // 2
    forwarded = play(daemon, bodies[:middle], **metadata)
    return {"metadata": metadata, "forwarded": forwarded, "next": bodies[middle:]}


def hung_up(daemon: Served, bodies: list[Body], **metadata: str) -> dict[str, Any]:
    """A conversation with forms whose last caller did not take the answer: originals went out."""
    middle = (len(bodies) + 1) // 2
    compressed = play(daemon, bodies[:middle], **metadata)
    raw = call(bodies[middle], **metadata)
    with socket.create_connection(("127.0.0.1", daemon.port)) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(raw))
        connection.sendall(raw)
    until(lambda: daemon.metric('tsheadroom_events_total{event="caller_hung_up"}') == 1)
    originals = plain(bodies[middle]["messages"])
    if compressed == originals[: len(compressed)]:
        sys.exit("the forms are the originals")
    return {"metadata": metadata, "forwarded": originals, "next": bodies[middle + 1 :]}


def one_output(name: str) -> Body:
    """A request with one tool output, which a worker shortens as a rule."""
    asked = {"command": f"kubectl get {name} -o json"}
    use = {"type": "tool_use", "id": "t1", "name": "Bash", "input": asked}
    result = {"type": "tool_result", "tool_use_id": "t1", "content": table(len(name), 300)}
    return {
        "model": "claude-sonnet-4-5",
        "messages": [
            {"role": "user", "content": "Look."},
            {"role": "assistant", "content": [use]},
            {"role": "user", "content": [{**result, "cache_control": {"type": "ephemeral"}}]},
        ],
    }


def costly(daemon: Served) -> dict[str, Any]:
    """An item that a worker was killed over, and one that any daemon shortens."""
    item, other = one_output("nodes"), one_output("deployments")
    if daemon.hook(call(item, login_name="costly@example.com"))["action"] != "allow":
        sys.exit("the worker was fast enough: nothing is costly")
    return {"left_alone": item, "shortened": other}


def main() -> None:
    target = Path(sys.argv[1]).resolve()
    here = Path(tsheadroom.__file__).resolve()
    if not here.is_relative_to(Path.cwd().resolve()):
        sys.exit(f"{here} is not of this directory")
    target.mkdir(exist_ok=True)
    kept: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as made:
        daemon = Served(Path(made)).ready()
        coding, made_json = DATA / "258c7280-ae70-1.jsonl", DATA / "json_heavy.jsonl"
        kept["messages"] = half(daemon, list(turns(coding)), login_name="m@example.com")
        openai = {"provider": "openai", "model": "gpt-5.5", "login_name": "r@example.com"}
        kept["responses"] = half(daemon, list(responses()), **openai)
        google = {"provider": "gemini", "model": "gemini-3-pro", "login_name": "g@example.com"}
        kept["gemini"] = half(daemon, list(gemini()), **google)
        kept["undelivered"] = hung_up(daemon, list(turns(made_json)), login_name="u@example.com")
        daemon.stop()
        daemon = Served(Path(made), "--max-compress", "1ms").ready()
        kept["costly"] = costly(daemon)
        daemon.stop()
        left = sorted(path.name for path in (Path(made) / "state").iterdir())
        if any(name.startswith(f"{STATE}-") for name in left):
            sys.exit(f"the daemon did not close the store: {left}")
        shutil.copyfile(Path(made) / "state" / STATE, target / STATE)
    (target / "exchanged.json.xz").write_bytes(lzma.compress(dumps(kept), preset=9))
    print(f"{here}: {[(path.name, path.stat().st_size) for path in sorted(target.iterdir())]}")


if __name__ == "__main__":
    main()
