"""Makes tests/data/json_heavy.jsonl: an agent at work with tools that answer in JSON.

usage: python -m scripts.lab.json_heavy > tests/data/json_heavy.jsonl

Shapes and layout are those that the tools print, from their public documentation: GitHub's REST API
as curl gets it (indented by two), kubectl -o json and the AWS CLI (by four), jq, npm ls --json, the
MCP reference server for files, ripgrep --json and gh --json (compact, on one line each). The values
are invented, from a fixed seed, so the file is the same every time.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable
from typing import Any

SOURCE = (
    "made by scripts/lab/json_heavy.py: documented JSON shapes of common tools, invented values"
)
WORDS = [
    "billing", "invoice", "ledger", "refund", "webhook", "retry", "session", "token", "cache",
    "queue", "worker", "metrics", "audit", "export", "import", "report", "tenant", "quota",
    "search", "index", "mailer", "template", "locale", "currency", "tax",
]  # fmt: skip
PEOPLE = ["mira-k", "tolu", "jonas-b", "dependabot[bot]", "wen-li", "s-okafor"]
LABELS = [("bug", "d73a4a"), ("area/billing", "0e8a16"), ("p1", "b60205"), ("flaky", "fbca04")]
REPOSITORY = "https://api.github.com/repos/harborline/ledger"


class Maker:
    """Makes random values; with the same seed the same values every time."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def hex(self, length: int) -> str:
        """A hash of so many digits."""
        return "".join(self.random.choices("0123456789abcdef", k=length))

    def word(self) -> str:
        """One of WORDS."""
        return self.random.choice(WORDS)

    def moment(self, month: int = 10) -> str:
        """A time in that month of 2026, as GitHub writes it."""
        pick = self.random.randint
        return (
            f"2026-{month:02}-{pick(1, 28):02}T{pick(0, 23):02}:{pick(0, 59):02}:{pick(0, 59):02}Z"
        )

    def user(self) -> dict[str, Any]:
        """A user as GitHub's API shows it."""
        login = self.random.choice(PEOPLE)
        number = sum(login.encode()) * 7919
        return {
            "login": login,
            "id": number,
            "avatar_url": f"https://avatars.githubusercontent.com/u/{number}?v=4",
            "html_url": f"https://github.com/{login}",
            "type": "Bot" if "[bot]" in login else "User",
            "site_admin": False,
        }


def contents(make: Maker) -> str:
    """`curl .../contents/src`: a directory's files."""
    rows = []
    for number in range(18):
        name = f"{make.word()}_{make.word()}.{make.random.choice(['ts', 'ts', 'sql', 'md'])}"
        sha = make.hex(40)
        rows.append(
            {
                "name": name,
                "path": f"src/{name}",
                "sha": sha,
                "size": make.random.randint(180, 24_000),
                "url": f"{REPOSITORY}/contents/src/{name}?ref=main",
                "html_url": f"https://github.com/harborline/ledger/blob/main/src/{name}",
                "git_url": f"{REPOSITORY}/git/blobs/{sha}",
                "type": "file" if number % 6 else "dir",
            }
        )
    return json.dumps(rows, indent=2)


def issues(make: Maker) -> str:
    """`curl .../search/issues?q=...`."""
    items = []
    for number in make.random.sample(range(300, 1900), 9):
        labels = make.random.sample(LABELS, make.random.randint(1, 2))
        topic = f"{make.word()} {make.word()}"
        items.append(
            {
                "url": f"{REPOSITORY}/issues/{number}",
                "html_url": f"https://github.com/harborline/ledger/issues/{number}",
                "id": make.random.randint(10**9, 3 * 10**9),
                "number": number,
                "title": f"{topic.capitalize()} fails after the {make.word()} upgrade",
                "user": make.user(),
                "labels": [
                    {"name": name, "color": color, "default": name == "bug"}
                    for name, color in labels
                ],
                "state": make.random.choice(["open", "open", "closed"]),
                "locked": False,
                "assignee": None,
                "comments": make.random.randint(0, 14),
                "created_at": make.moment(9),
                "updated_at": make.moment(10),
                "body": f"Since the last release {topic} answers 500 for tenants with more than "
                f"{make.random.randint(2, 90)} entries.\r\n\r\nExpected: 200 and one page.",
                "score": 1.0,
            }
        )
    return json.dumps({"total_count": 9, "incomplete_results": False, "items": items}, indent=2)


def pods(make: Maker) -> str:
    """`kubectl get pods -n billing -o json`."""
    items = []
    for number in range(6):
        app = ("ledger-api", "ledger-worker")[number % 2]
        name = f"{app}-{make.hex(9)}-{make.hex(5)}"
        ready = number != 3
        state: dict[str, Any] = {"running": {"startedAt": make.moment()}}
        if not ready:
            reason = "back-off 5m0s restarting failed container=app pod=" + name
            state = {"waiting": {"message": reason, "reason": "CrashLoopBackOff"}}
        items.append(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {
                    "creationTimestamp": make.moment(),
                    "labels": {"app": app, "pod-template-hash": make.hex(9)},
                    "name": name,
                    "namespace": "billing",
                    "resourceVersion": str(make.random.randint(10**7, 10**8)),
                    "uid": f"{make.hex(8)}-{make.hex(4)}-{make.hex(4)}-{make.hex(12)}",
                },
                "spec": {
                    "containers": [
                        {
                            "image": "harborline/ledger:2026.10.4",
                            "name": "app",
                            "ports": [{"containerPort": 8080, "protocol": "TCP"}],
                            "resources": {
                                "limits": {"cpu": "1", "memory": "512Mi"},
                                "requests": {"cpu": "250m", "memory": "256Mi"},
                            },
                        }
                    ],
                    "nodeName": f"pool-a-{make.hex(4)}",
                    "restartPolicy": "Always",
                },
                "status": {
                    "conditions": [
                        {
                            "lastProbeTime": None,
                            "lastTransitionTime": make.moment(),
                            "status": str(kind == "PodScheduled" or ready),
                            "type": kind,
                        }
                        for kind in ("Initialized", "Ready", "ContainersReady", "PodScheduled")
                    ],
                    "containerStatuses": [
                        {
                            "name": "app",
                            "ready": ready,
                            "restartCount": 0 if ready else 41,
                            "started": ready,
                            "state": state,
                        }
                    ],
                    "phase": "Running",
                    "podIP": f"10.4.{make.random.randint(0, 9)}.{make.random.randint(2, 250)}",
                },
            }
        )
    return json.dumps({"apiVersion": "v1", "items": items, "kind": "List"}, indent=4)


def tree(make: Maker) -> str:
    """The MCP reference server's directory_tree."""

    def folder(name: str, files: int) -> dict[str, Any]:
        children = [
            {"name": f"{make.word()}-{make.word()}.{end}", "type": "file"}
            for end in make.random.choices(["ts", "test.ts", "snap"], k=files)
        ]
        return {"name": name, "type": "directory", "children": children}

    top = [folder(name, make.random.randint(4, 9)) for name in ("api", "jobs", "mail", "store")]
    return json.dumps([*top, {"name": "main.ts", "type": "file"}], indent=2)


def matches(make: Maker) -> str:
    """`rg --json retryPolicy`: an object a line, compact."""
    lines: list[str] = []
    for _ in range(12):
        path = {"text": f"src/jobs/{make.word()}-{make.word()}.ts"}
        number = make.random.randint(8, 400)
        text = f"    const {make.word()}Policy = retryPolicy({{ attempts: {number % 7 + 1} }});\n"
        found = {
            "path": path,
            "lines": {"text": text},
            "line_number": number,
            "absolute_offset": number * 41,
            "submatches": [{"match": {"text": "retryPolicy"}, "start": 26, "end": 37}],
        }
        for kind, data in (("begin", {"path": path}), ("match", found)):
            lines.append(json.dumps({"type": kind, "data": data}, separators=(",", ":")))
    return "\n".join(lines)


def runs(make: Maker) -> str:
    """`gh run list --json ...`: an array on one line."""
    rows = [
        {
            "conclusion": "failure" if number % 4 == 1 else "success",
            "createdAt": make.moment(),
            "databaseId": 11_400_000_000 + make.random.randint(0, 10**7),
            "displayTitle": f"{make.word()}: {make.word()} {make.word()}",
            "headBranch": "main",
            "name": "ci",
            "status": "completed",
        }
        for number in range(20)
    ]
    return json.dumps(rows, separators=(",", ":"))


def services(make: Maker) -> str:
    """`aws ecs describe-services`."""
    account = "arn:aws:ecs:eu-central-1:123456789012"
    answer = []
    for name in ("ledger-api", "ledger-worker", "ledger-mailer"):
        events = [
            {
                "id": f"{make.hex(8)}-{make.hex(4)}-{make.hex(12)}",
                "createdAt": make.moment(),
                "message": f"(service {name}) has reached a steady state.",
            }
            for _ in range(7)
        ]
        answer.append(
            {
                "serviceArn": f"{account}:service/billing/{name}",
                "serviceName": name,
                "clusterArn": f"{account}:cluster/billing",
                "status": "ACTIVE",
                "desiredCount": 3,
                "runningCount": 3 if name != "ledger-worker" else 1,
                "pendingCount": 0,
                "launchType": "FARGATE",
                "taskDefinition": f"{account}:task-definition/{name}:{make.random.randint(40, 99)}",
                "events": events,
            }
        )
    return json.dumps({"services": answer, "failures": []}, indent=4)


def packages(make: Maker) -> str:
    """`npm ls --json --depth=1` in a workspace."""

    def package(depth: int) -> dict[str, Any]:
        pick = make.random.randint
        version = f"{pick(0, 9)}.{pick(0, 30)}.{pick(0, 12)}"
        name = f"{make.word()}-{make.word()}"
        resolved = f"file:../packages/{name}"
        entry: dict[str, Any] = {"version": version, "resolved": resolved, "overridden": False}
        if depth:
            entry["dependencies"] = {f"{make.word()}-kit": package(0) for _ in range(2)}
        return entry

    found = {f"@harborline/{word}": package(1) for word in make.random.sample(WORDS, 10)}
    return json.dumps({"version": "3.8.1", "name": "ledger", "dependencies": found}, indent=2)


def orders(make: Maker) -> str:
    """An API of one's own through jq: `curl -s .../failed-jobs | jq .`"""
    rows = [
        {
            "id": f"job_{make.hex(16)}",
            "queue": make.random.choice(["invoices", "refunds", "exports"]),
            "tenant": f"t-{make.random.randint(100, 140)}",
            "attempts": make.random.randint(3, 5),
            "failed_at": make.moment(),
            "error": {
                "class": "UpstreamTimeout",
                "message": f"no answer from {make.word()} within 30000 ms",
                "retryable": True,
            },
        }
        for _ in range(24)
    ]
    return json.dumps({"data": rows, "next": None}, indent=2)


Call = tuple[str, str, dict[str, Any], Callable[[Maker], str]]

API = "curl -s https://api.github.com"
STEPS: tuple[Call, ...] = (
    ("First, which issues report this?", "Bash",
     {"command": f"{API}/search/issues?q=repo:harborline/ledger+upgrade"}, issues),
    ("Several name failing jobs. How does the cluster look?", "Bash",
     {"command": "kubectl get pods -n billing -o json"}, pods),
    ("One worker restarts all the time. The jobs it failed on:", "Bash",
     {"command": "curl -s http://ledger.internal/admin/failed-jobs | jq ."}, orders),
    ("All are upstream timeouts. Where is the retry policy?", "mcp__filesystem__directory_tree",
     {"path": "src"}, tree),
    ("", "Bash", {"command": "rg --json retryPolicy src"}, matches),
    ("Did CI see it?", "Bash",
     {"command": "gh run list --limit 20 --json conclusion,createdAt,databaseId,displayTitle"},
     runs),
    ("The failures begin with one merge. What else changed beside it?", "Bash",
     {"command": f"{API}/repos/harborline/ledger/contents/src"}, contents),
    ("Which packages came in with the upgrade?", "Bash",
     {"command": "npm ls --json --depth=1"}, packages),
    ("And the services on the other side:", "Bash",
     {"command": "aws ecs describe-services --cluster billing --services ledger-api"}, services),
    ("I look once more whether the restarted worker is back.", "Bash",
     {"command": "kubectl get pods -n billing -o json"}, pods),
    ("", "Bash",
     {"command": "curl -s http://ledger.internal/admin/failed-jobs | jq ."}, orders),
    ("Are there open issues left for it?", "Bash",
     {"command": f"{API}/search/issues?q=repo:harborline/ledger+is:open"}, issues),
)  # fmt: skip


def conversation() -> list[dict[str, Any]]:
    """The messages, in Anthropic's shape."""
    make = Maker(20261104)
    task = "Since yesterday's upgrade background jobs of the ledger fail. Find out why."
    messages: list[dict[str, Any]] = [{"role": "user", "content": task}]
    for number, (words, tool, inputs, answer) in enumerate(STEPS):
        use = {"type": "tool_use", "id": f"toolu_{number:02}", "name": tool, "input": inputs}
        said = [{"type": "text", "text": words}] if words else []
        messages.append({"role": "assistant", "content": [*said, use], "at": 20.0 * number})
        result = {"type": "tool_result", "tool_use_id": use["id"], "content": answer(make)}
        messages.append({"role": "user", "content": [result]})
    end = "The worker's retry policy lost its back-off with the upgrade; I can put it back."
    text = [{"type": "text", "text": end}]
    messages.append({"role": "assistant", "content": text, "at": 20.0 * len(STEPS)})
    return messages


def lines() -> str:
    """The file."""
    messages = conversation()
    turns = sum(message["role"] == "assistant" for message in messages)
    header = {"trace": "json_heavy", "source": SOURCE, "turns": turns, "messages": len(messages)}
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in [header, *messages])


if __name__ == "__main__":
    sys.stdout.write(lines())
