"""Bytes made wrong at random: what a disk, an editor, an exporter or an enemy does to a file."""

from __future__ import annotations

import random
import re

# What readers trip over: encodings, numbers, nesting, quotes, markup, line ends.
TOKENS: tuple[bytes, ...] = (
    *(b"\x00", b"\xef\xbb\xbf", b"\xff\xfe", b"\xff", b"\xed\xa0\x80", b"\xc0\xaf", b"\x1b[31m"),
    *("\u2028".encode(), "\u0085".encode(), "\u200b".encode(), "\U0010ffff".encode(), b"\x1c"),
    *(b"\\ud800", b"\\u0000", b"\\", b"\\\\", b'"', b'""', b"'", b'"\t"', b"`", b"```"),
    *(b"\r", b"\n", b"\r\n", b"\n\n", b"\t", b"\t\t", b" ", b"\x0b", b"\x0c"),
    *(b"9" * 5000, b"1e999", b"-1e999", b"1e-999", b"NaN", b"Infinity", b"-0", b"0x10", b"1_0"),
    *(b"[" * 200_000, b'{"a":' * 50_000, b"(" * 5_000, b"-" * 5_000, b"- " * 5_000, b"[]", b"{}"),
    *(b"null", b"true", b"[null]", b'{"id": {}}', b"~", b"!!python/object:os.system x", b"!!set"),
    *(b"&a [*a]", b"*a", b"<<: *a", b"? [a]\n", b": ", b"- ", b"#", b"2001-13-45", b"!!binary x"),
    *(b"<!--", b"-->", b"<script>", b"</", b"<![CDATA[", b"<?", b"&#99999999;", b"&#x110000;"),
    *(b"</s>", b"[SEP]", b"<|endoftext|>", b"../../etc/passwd", b"/dev/zero", b"__import__('os')"),
    *(b"4294967296", b"18446744073709551616", b"-1", b"0", b"1e400", b"\xd9\xa3", b"\xc2\xb2"),
)
_NUMBER = re.compile(rb"-?\d+(?:\.\d+)?|true|false|null")
_NUMBERS = (
    *(b"0", b"-1", b"1", b"2", b"3", b"1.5", b"-0.0", b"1e999", b"NaN", b"-Infinity", b"null"),
    *(
        b"true",
        b"[]",
        b"{}",
        b'""',
        b'"7"',
        b"65536",
        b"1000000",
        b"4294967296",
        b"9" * 30,
        b"1e30",
    ),
)
_REPEATED = (b"[", b"]", b"*", b"_a_ ", b"`", b"``a", b"<a", b"<!--", b"![", b"](", b"~~", b"**a")
_REPEATED += (b'"', b"'a' ", b"<![", b"</", b"<div>", b"&", b"|", b"> ", b"- ", b"\\", b"<!", b"a ")


def mutated(data: bytes, rng: random.Random) -> bytes:
    """Return the bytes after one to four mutations."""
    for _ in range(rng.choice((1, 1, 1, 2, 3, 4))):
        data = rng.choice(_MUTATIONS)(data, rng)
    return data


def _flip(data: bytes, rng: random.Random) -> bytes:
    if not data:
        return data
    at = rng.randrange(len(data))
    return data[:at] + bytes([data[at] ^ (1 << rng.randrange(8))]) + data[at + 1 :]


def _delete(data: bytes, rng: random.Random) -> bytes:
    start, end = _span(data, rng)
    return data[:start] + data[end:]


def _truncate(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(len(data) + 1)]


def _duplicate(data: bytes, rng: random.Random) -> bytes:
    start, end = _span(data, rng)
    return data[:end] + data[start:end] * rng.choice((1, 1, 2, 50)) + data[end:]


def _insert(data: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(data) + 1)
    return data[:at] + rng.randbytes(rng.choice((1, 1, 2, 8))) + data[at:]


def _splice(data: bytes, rng: random.Random) -> bytes:
    start, end = _span(data, rng)
    end = rng.choice((start, end))  # beside what is there, or instead of it
    return data[:start] + rng.choice(TOKENS) + data[end:]


def _replace_word(data: bytes, rng: random.Random) -> bytes:
    words = data.split(b" ") if rng.random() < 0.5 else data.split(b'"')
    words[rng.randrange(len(words))] = rng.choice(TOKENS)
    return (b" " if words and rng.random() < 0.5 else b'"').join(words)


def _replace_number(data: bytes, rng: random.Random) -> bytes:
    found = list(_NUMBER.finditer(data))
    if not found:
        return data
    start, end = rng.choice(found).span()
    return data[:start] + rng.choice(_NUMBERS) + data[end:]


def _repeat(data: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(data) + 1)
    return data[:at] + rng.choice(_REPEATED) * rng.choice((100, 3_000, 30_000)) + data[at:]


def _swap_lines(data: bytes, rng: random.Random) -> bytes:
    lines = data.split(b"\n")
    one, other = rng.randrange(len(lines)), rng.randrange(len(lines))
    lines[one], lines[other] = lines[other], lines[one]
    return b"\n".join(lines)


def _double_line(data: bytes, rng: random.Random) -> bytes:
    lines = data.split(b"\n")
    at = rng.randrange(len(lines))
    return b"\n".join([*lines[:at], lines[at], *lines[at:]])


_MUTATIONS = (
    *(_flip, _delete, _truncate, _duplicate, _insert),
    *(_splice, _splice, _replace_word, _replace_number, _repeat, _swap_lines, _double_line),
)


def _span(data: bytes, rng: random.Random) -> tuple[int, int]:
    start = rng.randrange(len(data) + 1)
    return start, min(len(data), start + rng.choice((1, 2, 8, 40)))
