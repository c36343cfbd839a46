"""Each kind of bad HTTP gets the status that it should have, and the daemon serves the next one.

Nothing of it is a 500 or a traceback, and nothing that follows in the same bytes is taken for a
request of its own where it is none.
"""

from __future__ import annotations

import contextlib
import gzip
import re
from collections.abc import Mapping

import zstandard

from scripts.lab.torture.attacks._common import Talk, together
from scripts.lab.torture.bench import Bench
from scripts.lab.torture.target import Target
from scripts.lab.torture.verdict import Verdict

WAIT = 1.5  # seconds for an answer that may never come

OK, BAD = "200", "400"
_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})")


def attack(bench: Bench) -> Verdict:
    """Send each on a connection of its own."""
    target = bench.daemon()
    table = _table(bench.messages([{"role": "user", "content": "hi"}]))
    found = together(lambda name: _statuses(target, table[name][0]), table)
    wrong = {
        name: f"{' '.join(statuses) or 'none'}, not {table[name][1]}"
        for name, statuses in zip(table, found, strict=True)
        if " ".join(statuses) not in table[name][1].split("|")
    }
    talk = Talk(bench)
    talk.rows()
    serves = talk.turn(target.line())
    traces = target.log.count("Traceback")
    figures = {"requests": len(table), "wrong": wrong, "serves": serves, "tracebacks": traces}
    return Verdict(serves and not wrong and not traces, figures)


def _statuses(target: Target, data: bytes) -> list[str]:
    """The statuses of all answers on one connection."""
    answers = b""
    line = target.connect()
    line.settimeout(WAIT)
    with line, contextlib.suppress(OSError):
        line.sendall(data)
        while data := line.recv(1 << 16):
            answers += data
    return [status.decode() for status in _STATUS.findall(answers)]


def _table(body: bytes) -> Mapping[str, tuple[bytes, str]]:
    """By name: the bytes, and the statuses that may come for them, in turn."""
    size = len(body)

    def post(*headers: str, line: str = "POST / HTTP/1.1", data: bytes = body) -> bytes:
        return sized(len(data), *headers, line=line, data=data)

    def sized(
        length: object, *headers: str, line: str = "POST / HTTP/1.1", data: bytes = body
    ) -> bytes:
        return bare(f"Content-Length: {length}", *headers, line=line, data=data)

    def bare(*headers: str, line: str = "POST / HTTP/1.1", data: bytes = body) -> bytes:
        lines = "\r\n".join([line, "Host: x", *headers, "", ""])
        return lines.encode("utf-8", "surrogateescape") + data

    def chunked(data: bytes, *headers: str) -> bytes:
        return bare("Transfer-Encoding: chunked", *headers, data=data)

    def zstd(data: bytes) -> bytes:
        return post("Content-Encoding: zstd", data=data)

    chunks = b"%x\r\n%s\r\n0\r\n\r\n" % (size, body)
    extension = b";" + b"e" * 8_000 + b"\r"
    magic = b"\x28\xb5\x2f\xfd"
    bomb = gzip.compress(bytes(200 << 20), 9)
    unsized = zstandard.ZstdCompressor(write_content_size=False)
    return {
        "plain": (post(), OK),
        "expects 100": (post("Expect: 100-continue"), "100 200"),
        "expects something else": (post("Expect: kittens"), "417"),
        "HTTP/1.0": (post(line="POST / HTTP/1.0"), OK),
        "HTTP/9.9": (post(line="POST / HTTP/9.9"), BAD),
        "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", BAD),
        "no length": (bare(), f"{OK}|{OK} {BAD}|{BAD}"),
        "length and chunks": (post("Transfer-Encoding: chunked"), BAD),
        "length twice": (post(f"Content-Length: {size}"), BAD),
        "two lengths": (post(f"Content-Length: {size + 1}"), BAD),
        "length below 0": (sized(-1), BAD),
        "length +5": (sized("+5", data=b"hello"), BAD),
        "length 5_0": (sized("5_0"), BAD),
        "length 0x5": (sized("0x5"), BAD),
        "length 10**30": (sized(10**30), BAD),
        "length 2**63-1": (sized(2**63 - 1), OK),
        "length 51 MB, none sent": (sized(52_428_801, data=b""), OK),
        "identity": (bare("Transfer-Encoding: identity"), BAD),
        "gzip, chunked": (bare("Transfer-Encoding: gzip, chunked", data=chunks), f"{OK}|{BAD}"),
        "xchunked": (bare("Transfer-Encoding: xchunked", data=chunks), BAD),
        "a space before a colon": (post("Transfer-Encoding : chunked"), BAD),
        "chunked twice": (chunked(chunks, "Transfer-Encoding: chunked"), BAD),
        "chunks": (chunked(chunks), OK),
        "chunks of a byte": (chunked(b"1\r\n{\r\n" * 5_000 + b"0\r\n\r\n"), OK),
        "a chunk's extension": (chunked(chunks.replace(b"\r", extension, 1)), f"{OK}|{BAD}"),
        "a huge chunk": (chunked(b"f" * 17 + b"\r\n" + body), f"{OK}|{BAD}"),
        "a chunk of no number": (chunked(b"zz\r\n" + body), f"{OK}|{BAD}"),
        "chunks without CR": (chunked(chunks.replace(b"\r", b"")), f"{OK}|{BAD}"),
        "trailers": (chunked(chunks[:-2] + b"X-T: 1\r\n\r\n"), OK),
        "a folded header": (post("X-A: 1\r\n  folded"), f"{OK}|{BAD}"),
        "NUL in a header": (post("X-A: a\0b"), BAD),
        "ESC in a coding": (post("Content-Encoding: \x1b[31mx"), f"415|{BAD}"),
        "U+2028 in a coding": (post("Content-Encoding: x\u2028y"), "415"),
        "upgrade to HTTP/2": (
            post("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk"),
            f"{OK}|{BAD}",
        ),
        "upgrade to a web socket": (
            post("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"),
            f"{OK}|{BAD}",
        ),
        "an address": (post(line="POST http://evil/config HTTP/1.1"), f"{OK}|{BAD}"),
        "an address that is none": (post(line="POST http://[::1 HTTP/1.1"), BAD),
        "//config": (post(line="POST //config HTTP/1.1"), OK),
        "/config/": (post(line="POST /config/ HTTP/1.1"), OK),
        "/%63onfig": (post(line="POST /%63onfig HTTP/1.1", data=b'{"nope":1}'), BAD),
        "/a/../config": (
            post(line="POST /a/../config HTTP/1.1", data=b'{"nope":1}'), f"{OK}|{BAD}",
        ),
        "POST /metrics": (post(line="POST /metrics HTTP/1.1"), "405"),
        "POST /livez": (post(line="POST /livez HTTP/1.1"), "405"),
        "DELETE /config": (post(line="DELETE /config HTTP/1.1"), "405"),
        "GET /": (bare(line="GET / HTTP/1.1", data=b""), "405"),
        "POST *": (post(line="POST * HTTP/1.1"), f"{OK}|{BAD}"),
        "a path of UTF-8": (post(line="POST /\u00e9 HTTP/1.1"), f"{OK}|{BAD}"),
        "a path of %ff": (post(line="POST /%ff%0a%00 HTTP/1.1"), OK),
        "a path of %zz": (post(line="POST /%zz HTTP/1.1"), f"{OK}|{BAD}"),
        "a path of 8 KB": (post(line=f"POST /{'a' * 8_000} HTTP/1.1"), OK),
        "a path of 9 KB": (post(line=f"POST /{'a' * 9_000} HTTP/1.1"), f"{BAD}|414"),
        "a header of 9 KB": (post("X: " + "a" * 9_000), f"{BAD}|431"),
        "100 headers": (post(*(f"X{n}: 1" for n in range(100))), OK),
        "20,000 headers": (post(*(f"X{n}: 1" for n in range(20_000))), f"{BAD}|431"),
        "post": (post(line="post / HTTP/1.1"), f"{BAD}|{OK}|405"),
        "POSTX": (post(line="POSTX / HTTP/1.1"), f"405|{BAD}"),
        "no host": (post().replace(b"Host: x\r\n", b""), f"{OK}|{BAD}"),
        "two hosts": (post("Host: y"), f"{OK}|{BAD}"),
        "no CR": (post().replace(b"\r", b""), f"{OK}|{BAD}"),
        "a form of many parts": (post("Content-Type: multipart/form-data; boundary=x"), OK),
        "an odd content type": (post("Content-Type: \u00ff;;;=charset=x"), OK),
        "a range": (post("Range: bytes=0-5"), OK),
        "conditions": (post("If-Modified-Since: x", "If-None-Match: *"), OK),
        "odd weights": (post("Accept-Encoding: gzip;q=nan, *;q=0"), OK),
        "identity as a coding": (post("Content-Encoding: identity"), OK),
        "no coding": (post("Content-Encoding:"), OK),
        "br": (post("Content-Encoding: br"), "415"),
        "two codings": (post("Content-Encoding: gzip, zstd"), "415"),
        "empty": (post(data=b""), OK),
        "NULs": (post(data=bytes(50)), OK),
        "a byte order mark": (post(data=b"\xef\xbb\xbf" + body), OK),
        "UTF-16": (post(data=body.decode().encode("utf-16")), OK),
        "gzip": (post("Content-Encoding: gzip", data=gzip.compress(body)), OK),
        "gzip, cut": (post("Content-Encoding: gzip", data=gzip.compress(body)[:-3]), OK),
        "zstd": (zstd(unsized.compress(body)), OK),
        "zstd, junk": (zstd(b"junk"), OK),
        "200 MB as gzip": (post("Content-Encoding: gzip", data=bomb), OK),
        "60 MB as zstd": (zstd(unsized.compress(bytes(60 << 20))), OK),
        "zstd of an exabyte": (zstd(magic + b"\xe0" + b"\xff" * 8 + b"\1\0\0"), OK),
        "zstd with a huge window": (zstd(magic + b"\x00\xff\1\0\0"), OK),
        "five at once": (post() * 5, " ".join([OK] * 5)),
        "one behind another": (
            sized(0, data=b"") + bare(line="GET /livez HTTP/1.1", data=b""), f"{OK} {OK}",
        ),
        "nothing": (b"\r\n\r\n\r\n", f"|{BAD}"),
        "a TLS greeting": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500), BAD),
        "letters": (b"a" * 100_000, BAD),
    }  # fmt: skip
