"""A worker process: started by path, in any interpreter that has Headroom.

python -B main.py '{"parent": 7, "memory": 1073741824, "fork_server": false, "options": {}}'
"""

from __future__ import annotations

import faulthandler
import gc
import importlib.util
import json
import logging
import math
import os
import re
import select
import sys
import traceback
import types
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tsheadroom.child.held import CompressorProtocol, HeldConversations
    from tsheadroom.child.system import OwnMemory

PARSE_DEPTH = 3_000
"""Levels of a request's JSON. The daemon parses no more than a thousand, but an item's own stand
inside of others. Each takes some hundred bytes of the C stack, which has megabytes."""

READ_BUFFER = 256 * 1024
"""A request of 20 MB is then eighty reads; a usual one is one."""

QUIET_SECONDS = 0.25
"""Without a request, after which memory is given back: that takes 0.05 ms, and getting it again as
long as it was of use. Between the calls of a busy worker it would be in vain."""

MAX_DIGITS = 400
"""Of a number that stays exact; a longer one is infinite for all that programs do with it."""

ERROR_CHARS = 300
"""Of the reason why the compression cannot be loaded, which goes into the daemon's log."""

FRAMES = 4
"""Of an exception over a request: the innermost ones, which say where it was raised."""

EXIT_NO_HEADROOM = 3
"""Exit code when the compression cannot be loaded; the reason is the last line of stderr."""

_REQUEST_NUMBER = re.compile(rb'\{"id":(\d{1,18}),')
_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), check_circular=False)


def adopt_package() -> None:
    """Make `tsheadroom.child...` importable here without running the package's own code.

    The interpreter may lack this package, and what the daemon needs has no place in a worker.
    """
    here = Path(__file__).resolve().parent
    package = types.ModuleType("tsheadroom")
    package.__path__ = [str(here.parent)]
    sys.modules["tsheadroom"] = package
    # A script's own folder is searched first, and a folder in this one is called headroom.
    sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != here]


def load_compressor(arguments: dict[str, Any]) -> CompressorProtocol:
    """Import the compression (and with it Headroom) and warm it up."""
    from tsheadroom.child import environment, system

    environment.apply()
    path = arguments.get("pipelines") or Path(__file__).parent / "compress" / "compressor.py"
    name = "tsheadroom.child.compress.compressor"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"cannot load {path}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    compressor: CompressorProtocol = module.Compressor(arguments.get("options") or {})
    compressor.warm_up()
    # What is there now stays for ever. Frozen, it is not looked at by the garbage collector, and
    # after a fork its pages stay shared, because nobody writes to them.
    gc.collect()
    gc.freeze()
    if (trim := system.malloc_trim()) is not None:
        trim(0)
    return compressor


def ready_line(compressor: CompressorProtocol, confined: list[str]) -> bytes:
    """The first line that a worker writes; see `protocol.py`."""
    ready = {
        "ready": True,
        "headroom_version": compressor.headroom_version,
        "lacks": compressor.lacks,
        "confined": confined,
    }
    return json.dumps(ready).encode() + b"\n"


def write_all(fd: int, data: bytes) -> None:
    """Write all of it, however little the pipe takes at a time. Raises BrokenPipeError."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def serve(compressor: CompressorProtocol, reading: int, writing: int, confined: list[str]) -> None:
    """Answer requests, one line each, until stdin ends."""
    from tsheadroom.child import system
    from tsheadroom.child.held import HeldConversations
    from tsheadroom.child.watch import Stopwatch

    memory, trim = system.OwnMemory(), system.malloc_trim()

    def tell(number: int, cpu: float) -> None:
        write_all(writing, b'{"at":%d,"cpu":%.3f}\n' % (number, cpu))

    watch = Stopwatch()
    watch.start(tell)
    held = HeldConversations(compressor, watch=watch)
    cold = True
    write_all(writing, ready_line(compressor, confined))
    with open(reading, "rb", buffering=READ_BUFFER) as requests:
        for line in iter(requests.readline, b""):
            write_all(writing, answer(held, line, cold, memory))
            cold = False
            if trim is not None and not select.select([reading], [], [], QUIET_SECONDS)[0]:
                trim(0)


def answer(held: HeldConversations, line: bytes, cold: bool, memory: OwnMemory) -> bytes:
    """The reply line to one request line, whatever happens inside."""
    found = _REQUEST_NUMBER.match(line)
    number = int(found[1]) if found else -1
    try:
        request = parse(line)
        result = held.turn(request["payload"], request.get("within", math.inf))
        result["cold_first_call"] = cold
        result["rss"] = memory.resident()
        reply = {"id": number, "ok": True, "result": result}
        return _ENCODER.encode(reply).encode("utf-8") + b"\n"
    except (KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as error:
        # Headroom's OfflineEgressBlocked is a BaseException. The daemon logs what it is told.
        return _failure(number, error)


def parse(line: bytes) -> dict[str, Any]:
    """A request line. Raises BadRequestError if it is none.

    Items may be nested as deep as the daemon can read them, and hold numbers of any length.
    """
    from tsheadroom.child.protocol import BadRequestError

    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(PARSE_DEPTH)
    try:
        try:
            request = json.loads(line)
        except ValueError:
            # Above 4300 digits Python makes no integer, which is well: it takes quadratic time.
            request = json.loads(line, parse_int=_number)
    except (ValueError, RecursionError) as error:
        raise BadRequestError(f"not a request: {type(error).__name__}") from error
    finally:
        sys.setrecursionlimit(limit)
    if not isinstance(request, dict):
        raise BadRequestError("not a request")
    return request


def _number(digits: str) -> int | float:
    return int(digits) if len(digits) <= MAX_DIGITS else float(digits)


def _failure(number: int, error: BaseException) -> bytes:
    """The reply about an exception, without its text, which may quote the conversation."""
    kind = getattr(error, "error_type", type(error).__name__)
    frames = list(traceback.walk_tb(error.__traceback__))[-FRAMES:]
    places = (f"{Path(frame.f_code.co_filename).name}:{line}" for frame, line in frames)
    failure = {"id": number, "ok": False, "error": " ".join(places), "error_type": kind}
    return json.dumps(failure).encode("ascii") + b"\n"


def main(arguments: dict[str, Any]) -> int:
    """Run as a worker, or as a fork server and, after a fork, as a worker; returns the exit code.

    `parent` is the pid of the process to die with, `memory` a limit in bytes, `options` are the
    settings to prepare for, `pipelines` is the path of another compression (tests). Each may be
    absent.
    """
    from tsheadroom.child import forkserver, system
    from tsheadroom.child.confinement import Confinement

    faulthandler.enable()
    # The name tells these lines from those that libraries print, which may quote a conversation.
    logging.basicConfig(format="%(name)s: %(message)s")
    system.die_with_parent(arguments.get("parent", 0))
    system.reset_signals()
    reading, writing = system.take_stdio()
    confinement = Confinement(forks=bool(arguments.get("fork_server")))
    confinement.before_loading()
    try:
        compressor = load_compressor(arguments)
    except Exception as error:
        python = f"{sys.executable} ({sys.version.split()[0]})"
        reason = f"{type(error).__name__}: {error}"[:ERROR_CHARS]
        print(f"Headroom does not load in {python}: {reason}", file=sys.stderr)
        return EXIT_NO_HEADROOM
    confinement.after_loading()
    if arguments.get("fork_server"):
        os.close(writing)
        forked = forkserver.serve_forks(reading, compressor.headroom_version, arguments)
        if forked is None:
            return 0
        reading, writing = forked
    system.limit_memory(arguments.get("memory", 0))
    confinement.before_serving()
    try:
        serve(compressor, reading, writing, confinement.holds)
    except BrokenPipeError:
        return 0  # the daemon has gone, or has given this worker up
    return 0


if __name__ == "__main__":
    adopt_package()
    code = main(json.loads(sys.argv[1]))
    # Not sys.exit: tearing a warm interpreter down takes tens of milliseconds for nothing.
    sys.stderr.flush()
    os._exit(code)
