"""A caller may hang up after any byte of request or answer: its next turn has the originals.

For each offset a small conversation has a turn that is answered with a form, one in which the
caller hangs up there, and one that must show what the provider has: the originals of the second.
Then the same for offsets in the answer, where the kernel has taken all of it already.
"""

from __future__ import annotations

from scripts.lab.torture import wire
from scripts.lab.torture.bench import Bench
from scripts.lab.torture.checking import Checker, Excuse, Provider
from scripts.lab.torture.conversations import SHAPES, Conversation
from scripts.lab.torture.tally import Tally
from scripts.lab.torture.target import Target
from scripts.lab.torture.verdict import Verdict

FORMED, CUT, AFTER = 2, 3, 4  # turns of a conversation; the first two have no tool's output
ROWS = 12


def attack(bench: Bench) -> Verdict:
    """Hang up at each offset, in conversation after conversation."""
    target = bench.daemon()
    tally = Tally(bench.folder / "kept")
    requests = len(_raw(_conversation(bench, 0), CUT))
    for offset in range(1, requests + 1):
        _play(bench, target, tally, offset, sent=offset, read=0)
    answers = _answer_size(bench, target)
    for offset in range(1, answers):
        _play(bench, target, tally, requests + offset, sent=requests, read=offset)
    figures = {"offsets in the request": requests, "offsets in the answer": answers}
    return Verdict(not tally.breaks, {**figures, **tally.figures(), "broken at": tally.kept})


def _conversation(bench: Bench, number: int) -> Conversation:
    messages = [{"role": "user", "content": "Go."}]
    for call in ("t1", "t2", "t3"):
        use = {"type": "tool_use", "id": call, "name": "api", "input": {"n": 1}}
        result = {"type": "tool_result", "tool_use_id": call, "content": bench.rows(ROWS)}
        messages += [
            {"role": "assistant", "content": [use]},  # type: ignore[dict-item]
            {"role": "user", "content": [result]},  # type: ignore[dict-item]
        ]
    messages.append({"role": "assistant", "content": "done"})
    return Conversation(messages, SHAPES[0], bench.seed % 1000 + 1000 * number, "any@example.com")


def _raw(conversation: Conversation, turn: int) -> bytes:
    return wire.request(conversation.request(turn).call)


def _answer_size(bench: Bench, target: Target) -> int:
    """How many bytes an answer has, its head not counted, give or take some digits."""
    line, conversation = target.line(), _conversation(bench, 0)
    bodies = [line.exchange(_raw(conversation, turn)).body for turn in (FORMED, CUT)]
    return len(bodies[-1])


def _play(bench: Bench, target: Target, tally: Tally, number: int, *, sent: int, read: int) -> None:
    conversation = _conversation(bench, number + 1)
    provider = Provider(Checker(), conversation.mark)
    line = target.line()
    for turn in (FORMED, CUT, AFTER):
        request, raw = conversation.request(turn), _raw(conversation, turn)
        if turn == CUT:
            # Numbers of other lengths make requests of other lengths: the end is what counts.
            whole = sent >= len(raw) or read
            line.hang_up(raw if whole else raw[:sent], after=read)
            tally.sent()
            provider.missed(request, Excuse.NOT_TAKEN)
            continue
        reply = line.exchange(raw)
        tally.sent(reply.seconds)
        step = f"{sent} bytes sent, {read} read, turn {turn}"
        tally.found(provider.answered(request, reply.body), step, request.call, reply.body)
    tally.ended(provider)
