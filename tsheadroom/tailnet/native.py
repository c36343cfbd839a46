"""libtailscale's C API through ctypes: a method for each call, and errors as exceptions."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from tsheadroom.errors import TsheadroomError

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

LIBRARY_VARIABLE = "TSHEADROOM_LIBTAILSCALE"
_BUILT = Path(__file__).with_name(
    "libtailscale.dylib" if sys.platform == "darwin" else "libtailscale.so"
)

_ERROR_BYTES = 1024
_ADDRESS_BYTES = 128
_CREDENTIAL_BYTES = 33  # the API's: 32 hexadecimal digits and the NUL

_INT, _TEXT, _BUFFER, _SIZE = ctypes.c_int, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_size_t

# The calls of the API that a node needs, with the arguments of each.
_CALLS: dict[str, tuple[object, ...]] = {
    "tailscale_new": (),
    "tailscale_start": (_INT,),
    "tailscale_close": (_INT,),
    "tailscale_errmsg": (_INT, _BUFFER, _SIZE),
    "tailscale_set_dir": (_INT, _TEXT),
    "tailscale_set_hostname": (_INT, _TEXT),
    "tailscale_set_authkey": (_INT, _TEXT),
    "tailscale_set_control_url": (_INT, _TEXT),
    "tailscale_set_ephemeral": (_INT, _INT),
    "tailscale_set_logfd": (_INT, _INT),
    "tailscale_listen": (_INT, _TEXT, _TEXT, ctypes.POINTER(ctypes.c_int)),
    "tailscale_loopback": (_INT, _BUFFER, _SIZE, _BUFFER, _BUFFER),
}
# In this project's own library only.
_TAGS_CALL, _PORT_CALL = "tsheadroom_set_tags", "tsheadroom_set_port"


class LibraryUnusable(TsheadroomError):
    """The native library is missing, cannot be loaded, or lacks calls that a node needs."""


class NodeFailed(TsheadroomError):
    """A call into the library failed; the text is the library's own."""


class Loopback(NamedTuple):
    """Where the node's LocalAPI and SOCKS5 proxy listen on this machine, and their passwords."""

    address: str
    proxy_credential: str
    api_credential: str


def load_library() -> ctypes.CDLL:
    """Load the library that the environment names, else the one that came with the package."""
    named = os.environ.get(LIBRARY_VARIABLE)
    path = Path(named) if named else _BUILT
    if not path.is_file():
        hint = (
            f"correct {LIBRARY_VARIABLE}"
            if named
            else "install the package again, or run scripts/setup in a checkout"
        )
        raise LibraryUnusable(f"the native library {path} does not exist; {hint}")
    try:
        library = ctypes.CDLL(str(path))
    except OSError as error:
        raise LibraryUnusable(f"the native library {path} cannot be loaded: {error}") from None
    missing = [name for name in _CALLS if not hasattr(library, name)]
    if missing:
        raise LibraryUnusable(
            f"the native library {path} is too old, or not libtailscale: it lacks"
            f" {', '.join(missing)}"
        )
    for name, arguments in _CALLS.items():
        call = getattr(library, name)
        call.argtypes, call.restype = arguments, ctypes.c_int
    if hasattr(library, _TAGS_CALL):
        getattr(library, _TAGS_CALL).argtypes = (_INT, _TEXT)
    if hasattr(library, _PORT_CALL):
        getattr(library, _PORT_CALL).argtypes = (_INT, _INT)
    return library


class NativeNode:
    """One node in the library. Every method may block, so call them through in_thread()."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library
        self._handle: int = library.tailscale_new()
        if self._handle < 0:
            raise NodeFailed("the native library cannot make a node")

    def set_dir(self, path: Path) -> None:
        """Keep the node's state in this directory. Like all that is set, before start()."""
        self._set("dir", os.fsencode(path))

    def set_hostname(self, name: str) -> None:
        """Ask for this name on the tailnet."""
        self._set("hostname", name.encode())

    def set_authkey(self, key: str) -> None:
        """Log in with this key, if the node is not logged in already."""
        self._set("authkey", key.encode())

    def set_control_url(self, url: str) -> None:
        """Use another control server than Tailscale's."""
        self._set("control_url", url.encode())

    def set_ephemeral(self, ephemeral: bool) -> None:
        """If True, the tailnet forgets the node soon after it has ended."""
        self._set("ephemeral", int(ephemeral))

    def set_log_descriptor(self, descriptor: int) -> None:
        """Send log lines to this descriptor. It is the library's from now on, which closes it."""
        self._set("logfd", descriptor)

    def set_tags(self, tags: tuple[str, ...]) -> None:
        """Ask for these tags. Raises LibraryUnusable if the library is not this project's own."""
        if not hasattr(self._library, _TAGS_CALL):
            raise LibraryUnusable("this libtailscale cannot ask for tags")
        self._check(getattr(self._library, _TAGS_CALL)(self._handle, ",".join(tags).encode()))

    def set_port(self, port: int) -> bool:
        """Use this UDP port. Returns False if the library is not this project's own and cannot."""
        if not hasattr(self._library, _PORT_CALL):
            return False
        self._check(getattr(self._library, _PORT_CALL)(self._handle, port))
        return True

    def start(self) -> None:
        """Start the node; it comes up by itself afterwards."""
        self._check(self._library.tailscale_start(self._handle))

    def listen(self, address: str) -> int:
        """The descriptor on which connections to a tailnet address such as ":80" arrive."""
        out = ctypes.c_int(-1)
        self._check(
            self._library.tailscale_listen(
                self._handle, b"tcp", address.encode(), ctypes.byref(out)
            )
        )
        return out.value

    def loopback(self) -> Loopback:
        """Start the node's loopback listener, if it is not there, and say where it is."""
        address = ctypes.create_string_buffer(_ADDRESS_BYTES)
        proxy = ctypes.create_string_buffer(_CREDENTIAL_BYTES)
        api = ctypes.create_string_buffer(_CREDENTIAL_BYTES)
        self._check(
            self._library.tailscale_loopback(self._handle, address, _ADDRESS_BYTES, proxy, api)
        )
        return Loopback(address.value.decode(), proxy.value.decode(), api.value.decode())

    def close(self) -> None:
        """End the node and every connection. Afterwards the handle is void, also after an error."""
        if self._library.tailscale_close(self._handle) != 0:
            raise NodeFailed("the node did not close cleanly")

    def _set(self, setting: str, value: bytes | int) -> None:
        self._check(getattr(self._library, f"tailscale_set_{setting}")(self._handle, value))

    def _check(self, result: int) -> None:
        if result == 0:
            return
        text = ctypes.create_string_buffer(_ERROR_BYTES)
        if self._library.tailscale_errmsg(self._handle, text, _ERROR_BYTES) == 0 and text.value:
            raise NodeFailed(text.value.decode(errors="replace"))
        raise NodeFailed(os.strerror(result) if result > 0 else "the native library gave no reason")


async def in_thread(call: Callable[[], T]) -> T:
    """Run a blocking call on a thread that the process does not wait for when it exits.

    A call into the library can hang on the network, and the executor's threads are joined at exit.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]

    def run() -> None:
        result: T | None = None
        failure: BaseException | None = None
        try:
            result = call()
        except BaseException as error:  # raised again where it is awaited
            failure = error
        with contextlib.suppress(RuntimeError):  # the loop has ended: nobody waits any more
            loop.call_soon_threadsafe(settle, result, failure)

    threading.Thread(target=run, name="libtailscale", daemon=True).start()
    return await future
