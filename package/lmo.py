# SPDX-License-Identifier: GPL-2.0-or-later
"""Compiles a translation for LuCI: ``lmo.py FILE.po FILE.lmo``.

What LuCI's po2lmo does (modules/luci-base/src of openwrt/luci): texts, each padded to four
bytes, then an index of (hash of the key, forms, offset, length) sorted by hash, then the
index's own offset; numbers big-endian. Escapes other than of quote and backslash stay as
they are. A text that hashes like its key is left out: it is the same text.
"""

from __future__ import annotations

import re
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

_LINE = re.compile(r'^(?:(msgctxt|msgid|msgid_plural|msgstr)(?:\[(\d)\])? +)?"(.*)"$')
_M = 0xFFFFFFFF

Message = dict[str, str]
"""Parts by keyword; ``msgstr`` or ``msgstr0``, ``msgstr1``… are the translations."""


def messages(text: str) -> Iterator[Message]:
    message: Message = {}
    part = ""
    for line in text.splitlines():
        found = _LINE.match(line.strip())
        if not found:
            continue
        keyword, number, value = found.groups()
        if keyword:
            if keyword in ("msgctxt", "msgid") and "msgstr0" in message:
                yield message
                message = {}
            part = f"msgstr{number or 0}" if keyword == "msgstr" else keyword
            message[part] = ""
        message[part] += re.sub(r'\\(["\\])', r"\1", value)
    if "msgstr0" in message:
        yield message


def entries(message: Message) -> Iterator[tuple[int, int, bytes]]:
    """Hash of the key, number of forms, text."""
    forms = [k for k in message if k.startswith("msgstr")]
    if not message.get("msgid"):
        for field in message["msgstr0"].split(r"\n"):
            if field.lower().startswith("plural-forms: "):
                yield 0, 0, field[len("plural-forms: ") :].encode()
        return
    key = message["msgid"]
    if "msgctxt" in message:
        key = f"{message['msgctxt']}\1{key}"
    for form in sorted(forms):
        if not message[form]:
            continue
        one = f"{key}\2{form[-1]}" if "msgid_plural" in message else key
        text = message[form].encode()
        if sfh_hash(one.encode()) != sfh_hash(text):
            yield sfh_hash(one.encode()), len(forms), text


def compile_po(text: str) -> bytes:
    out = bytearray()
    index: list[tuple[int, int, int, int]] = []
    for message in messages(text):
        for key, forms, value in entries(message):
            index.append((key, forms, len(out), len(value)))
            out += value + bytes(-len(value) % 4)
    end = len(out)
    for row in sorted(index):
        out += struct.pack(">4I", *row)
    return bytes(out + struct.pack(">I", end)) if index else b""


def sfh_hash(data: bytes) -> int:
    """Paul Hsieh's SuperFastHash, seeded with the length, as lmo.c has it."""

    def pair(at: int) -> int:
        return data[at] | data[at + 1] << 8

    def signed(at: int) -> int:
        return data[at] - 256 if data[at] > 127 else data[at]

    if not data:
        return 0
    value, rest = len(data), len(data) & 3
    for at in range(0, len(data) - rest, 4):
        value = value + pair(at) & _M
        value = (value << 16 ^ pair(at + 2) << 11 ^ value) & _M
        value = value + (value >> 11) & _M
    at = len(data) - rest
    if rest == 3:
        value = value + pair(at) & _M
        value = (value ^ value << 16) & _M
        value = (value ^ signed(at + 2) << 18) & _M
        value = value + (value >> 11) & _M
    elif rest == 2:
        value = value + pair(at) & _M
        value = (value ^ value << 11) & _M
        value = value + (value >> 17) & _M
    elif rest == 1:
        value = value + signed(at) & _M
        value = (value ^ value << 10) & _M
        value = value + (value >> 1) & _M
    for shift, left in ((3, True), (5, False), (4, True), (17, False), (25, True), (6, False)):
        value = (value ^ value << shift) & _M if left else value + (value >> shift) & _M
    return value


if __name__ == "__main__":
    Path(sys.argv[2]).write_bytes(compile_po(Path(sys.argv[1]).read_text("utf-8")))
