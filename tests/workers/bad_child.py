"""A child that speaks the protocol badly, in the way that its argument names."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

how = sys.argv[1]


def say(text: str) -> None:
    os.write(1, text.encode() + b"\n")


def ready() -> None:
    say(json.dumps({"ready": True, "headroom_version": "bad", "pid": os.getpid()}))


if how == "exit":
    sys.exit("no Headroom here")
if how == "mute":
    time.sleep(600)
if how == "greets":
    say("hello")
if how == "not-ready":
    say('{"ready": false}')
if how == "endless-greeting":
    while True:
        os.write(1, b"x" * 65536)
if how == "slow":
    time.sleep(0.3)
if how == "once" and not Path(sys.argv[2]).exists():
    Path(sys.argv[2]).touch()
    sys.exit("not the first time")
if how == "grandchild":
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], stdin=-3)
ready()
if how == "dies-idle":
    sys.exit(1)
if how == "unasked":
    say("{}")
if how == "closes":
    os.close(1)
    time.sleep(600)
if how == "chatters":
    for number in range(200):
        print(f"tsheadroom.child: line {number} " + "x" * 5000, file=sys.stderr)
for line in sys.stdin.buffer:
    request = json.loads(line)
    number = request["id"]
    answer = {
        "id": number,
        "ok": True,
        "result": {"notes": {"bytes": len(line), "pid": os.getpid()}},
    }
    if how == "rubbish":
        say("}{")
    elif how == "wrong-id":
        say(json.dumps({**answer, "id": number + 1}))
    elif how == "two-lines":
        say(json.dumps(answer) + "\n" + json.dumps(answer))
    elif how == "half":
        os.write(1, json.dumps(answer).encode()[:-9])
        sys.exit(0)
    elif how == "endless":
        while True:
            os.write(1, b"x" * 65536)
    elif how == "quotes":
        print("SECRET\nSECRET: KeyError", file=sys.stderr)
        print(f'  File "{__file__}", line 3, in SECRET\n    SECRET', file=sys.stderr)
        print('  File "/SECRET.py", line 3, in it', file=sys.stderr)
        sys.exit("headroom.BadOutputError: SECRET")
    elif how == "fails":
        say(json.dumps({"id": number, "ok": False, "error": "a.py:1", "error_type": "Whatever"}))
    elif how == "fails-in-words":
        said = {"error": "'SECRET'", "error_type": "KeyError: 'SECRET'"}
        say(json.dumps({"id": number, "ok": False, **said}))
    elif how == "unknown":
        say(json.dumps({"id": number, "ok": False, "error": "?", "error_type": "unknown_base"}))
    elif how == "long-rubbish":
        say("}" * 3_000_000)
    elif how == "long":
        answer["result"]["forms"] = [
            {"item": i, "edits": [{"slot": ["content"], "text": "x" * 100_000}]} for i in range(60)
        ]
        say(json.dumps(answer))
    elif how == "stays":
        say(json.dumps(answer))
        if request["payload"].get("last"):
            while True:
                time.sleep(600)
    else:
        say(json.dumps(answer))
if how == "ignores-the-end":
    time.sleep(600)
if how == "ends-well":
    Path(sys.argv[2], str(os.getpid())).touch()
