# SPDX-License-Identifier: GPL-2.0-or-later
"""UCI configuration text: what libuci reads and writes.  No files, no directories.

Source: `uci/file.c` (parser, writer), `uci/list.c` (anonymous names), `uci/util.c` (checks).

    config TYPE ['NAME']
        option NAME 'VALUE'
        list NAME 'VALUE'        # again: appends

An anonymous section is called cfgXXYYYY: XX counts the sections of the package in hex, YYYY is a
hash of the type (the options come later and are not in it, whatever the comment in libuci says).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

Value = str | list[str]


class UciError(Exception):
    """Text that libuci would refuse; `str()` is what the `uci` command prints after its name."""

    def __init__(self, reason: str, line: int, byte: int) -> None:
        super().__init__(f"Parse error ({reason}) at line {line}, byte {byte}")
        self.reason = reason
        self.line = line
        self.byte = byte


@dataclass
class Section:
    name: str
    type: str
    anonymous: bool = False
    options: dict[str, Value] = field(default_factory=dict)

    def append(self, option: str, value: str) -> None:
        """`list`: a single value that is there becomes the first of the list."""
        old = self.options.get(option)
        if isinstance(old, list):
            old.append(value)
        else:
            self.options[option] = [value] if old is None else [old, value]


@dataclass
class Package:
    name: str
    sections: dict[str, Section] = field(default_factory=dict)
    count: int = 0
    """Sections ever made in it; the next anonymous name counts on from here."""

    def add(self, kind: str, name: str = "") -> Section:
        """A new section at the end; without a name an anonymous one."""
        self.count += 1
        section = Section(name or f"cfg{self.count:02x}{_hash(kind):04x}", kind, not name)
        self.sections[section.name] = section
        return section


def _hash(text: str) -> int:
    """Low 16 bits of D. J. Bernstein's hash (list.c: djbhash)."""
    value = 5381
    for byte in text.encode():
        value = (value << 5) + value + byte
    return value & 0xFFFF


# -- checks --------------------------------------------------------------------------------


def is_name(text: str) -> bool:
    """Section and option names: letters, digits, underscore."""
    return bool(text) and all(char.isascii() and (char.isalnum() or char == "_") for char in text)


def is_package(text: str) -> bool:
    return is_name(text.replace("-", "_"))


def is_type(text: str) -> bool:
    """Section types: any printable ASCII but blanks."""
    return bool(text) and all(33 <= ord(char) <= 126 for char in text)


# -- reading -------------------------------------------------------------------------------


_BLANK = " \t\n\v\f\r"  # isspace() in the C locale
_COMMANDS = ("package", "p", "config", "c", "option", "o", "list", "l")


@dataclass(frozen=True)
class _Word:
    text: str
    line: int
    byte: int
    """Where libuci's cursor is once it has read the word; errors name that place."""

    def error(self, reason: str) -> UciError:
        return UciError(reason, self.line, self.byte)


def parse(name: str, text: str) -> Package:
    """Read a configuration file.  Raises UciError with line and byte of the first mistake."""
    package = Package(name)
    section: Section | None = None
    reader = _Reader(text)
    while (command := reader.command()) is not None:
        match command.text:
            case "package" | "p":
                _name(_needed(reader.argument()), is_package)
            case "config" | "c":
                section = _config(package, reader)
            case "option" | "o" | "list" | "l":
                if section is None:
                    raise command.error("option/list command found before the first section")
                _option(section, reader, command.text.startswith("l"))
        extra = reader.argument()
        if extra.text:
            raise extra.error("too many arguments")
    return package


def words(text: str) -> Iterator[str]:
    """Every word of the text, quotes and escapes taken off."""
    reader = _Reader(text)
    while reader.next_line():
        while (word := reader.argument()).text:
            yield word.text


def _needed(word: _Word) -> _Word:
    if not word.text:
        raise word.error("insufficient arguments")
    return word


def _name(word: _Word, allowed: Callable[[str], bool]) -> str:
    if word.text and not allowed(word.text):
        raise word.error("invalid character in name field")
    return word.text


def _config(package: Package, reader: _Reader) -> Section:
    kind = _needed(reader.argument())
    if not is_type(kind.text):
        raise kind.error("invalid character in type field")
    word = reader.argument()
    name = _name(word, is_name)
    known = package.sections.get(name) if name else None
    if known is None:
        return package.add(kind.text, name)
    if known.type != kind.text:
        raise word.error("section of different type overwrites prior section with same name")
    return known


def _option(section: Section, reader: _Reader, append: bool) -> None:
    name = _name(_needed(reader.argument()), is_name)
    value = reader.argument().text
    if append:
        section.append(name, value)
    elif value:
        section.options[name] = value
    else:
        section.options.pop(name, None)  # an empty value is no value


class _Reader:
    """A cursor over the text; words end at blanks, commands at a line's end.

    A line goes on where a quote is open or a backslash ends it.  `;` ends a command, too, but
    another can follow only where a blank, quote or escape came before the `;`.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._line_start = 0

    def _peek(self) -> str:
        return self._text[self._at] if self._at < len(self._text) else ""

    def _take(self) -> str:
        self._at += 1
        return self._text[self._at - 1]

    def _skip_blanks(self) -> None:
        while self._peek() not in ("\n", "") and self._peek() in _BLANK:
            self._take()

    def _skip_line(self) -> None:
        """Up to the newline, not over it."""
        while self._peek() not in ("\n", ""):
            self._take()

    def next_line(self) -> bool:
        """Go on to the first line that has something, from the end of one; False at the end."""
        while True:
            self._skip_blanks()
            if self._peek() == "#":
                self._skip_line()
            if self._peek() != "\n":
                return bool(self._peek())
            self._take()
            self._line_start = self._at

    def _word(self, text: str, at: int, inside: int) -> _Word:
        """A word whose reading ended at `at`; `inside` is a place in its line.

        Lines count when their newline has been read, and libuci reads whole lines.
        """
        end = self._text.find("\n", inside)
        line = self._text.count("\n", 0, end + 1 if end >= 0 else len(self._text))
        before = self._text[self._line_start : at]
        return _Word(text, line, len(before.encode("utf-8", "surrogateescape")))

    def command(self) -> _Word | None:
        """The first word of the next command, which may not be quoted; None at the end."""
        if not self.next_line():
            return None
        start = self._at
        while self._peek() not in (" ", "\t", "\n", ""):
            self._take()
        text = self._text[start : self._at]
        word = self._word(text, start, start)
        if self._peek() == "\n" or text not in _COMMANDS:
            raise word.error("invalid command")
        if not self._peek():
            what = {"c": "config", "p": "package"}.get(text[0], "option")
            raise word.error(f"{what} without name")
        return word

    def argument(self) -> _Word:
        """The next word of the command; an empty one at its end, which a `;` counts as, once."""
        self._skip_blanks()
        start = self._at
        if self._peek() in ("\n", "", "#"):
            return self._word("", self._at + (self._peek() == "\n"), start)
        if self._peek() == ";":
            self._take()
            return self._word("", self._at, start)
        chars: list[str] = []
        while (char := self._peek()) and char not in _BLANK and char not in ";#":
            if char in "'\"":
                self._quoted(chars)
            elif char == "\\":
                self._backslash(chars)
            else:
                chars.append(self._take())
        after = self._peek() not in ("", ";", "#")  # one more is taken, as a terminator
        word = self._word("".join(chars), self._at + after, self._at)
        if self._peek() == ";" and self._at - start == len(chars):
            self._skip_line()  # libuci's own NUL falls on the `;` and hides the rest
        return word

    def _quoted(self, chars: list[str]) -> None:
        """Single quotes keep everything, double quotes know the backslash; lines may break."""
        quote = self._take()
        while (char := self._peek()) != quote:
            if not char:
                word = self._word("", self._at, self._at)
                raise word.error(f"EOF with unterminated {quote}")
            if char == "\\" and quote == '"':
                self._backslash(chars)
            else:
                chars.append(self._take())
        self._take()

    def _backslash(self, chars: list[str]) -> None:
        """The next character as it is; a backslash at the end of a line joins the lines."""
        self._take()
        start = self._at
        if self._text.startswith("\r\n", self._at):
            self._take()
        if self._peek() == "\n":
            self._take()
            self._line_start += self._at - start  # libuci's cursor does not count them
        elif self._peek():
            chars.append(self._take())


# -- writing -------------------------------------------------------------------------------


def quote(value: str) -> str:
    return "'" + value.replace("'", "'\\''") + "'"


def dump(package: Package, header: bool = False, name_all: bool = False) -> str:
    """The file libuci writes at a commit (header, name_all: as `uci export` prints)."""
    lines = [f"package {package.name}"] if header else []
    for section in package.sections.values():
        name = "" if section.anonymous and not name_all else " " + quote(section.name)
        lines += ["", f"config {section.type}{name}"]
        for option, value in section.options.items():
            if isinstance(value, list):
                lines += [f"\tlist {option} {quote(item)}" for item in value]
            else:
                lines.append(f"\toption {option} {quote(value)}")
    return "\n".join(lines) + "\n\n"
