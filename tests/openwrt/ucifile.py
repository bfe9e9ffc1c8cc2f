"""UCI configuration text: what libuci reads and writes.  No files, no directories.

Source: `uci/file.c` (parser, writer), `uci/list.c` (anonymous names), `uci/util.c` (checks).

    config TYPE ['NAME']
        option NAME 'VALUE'
        list NAME 'VALUE'        # again: appends

An anonymous section is called cfgXXYYYY: XX counts the sections of the package in hex, YYYY is a
hash of the type (the options come later and are not in it, whatever the comment in libuci says).
"""

from __future__ import annotations

from collections.abc import Iterator
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
        arguments = reader.arguments()
        match command.text:
            case "package" | "p":
                name_word = _argument(arguments, 0, command)
                if not is_package(name_word.text):
                    raise name_word.error("invalid character in name field")
            case "config" | "c":
                section = _config(package, arguments, command)
            case "option" | "o" | "list" | "l":
                if section is None:
                    raise command.error("option/list command found before the first section")
                _option(section, arguments, command)
            case _:
                raise command.error("invalid command")
    return package


def words(text: str) -> Iterator[str]:
    """Every word of the text, quotes and escapes taken off."""
    reader = _Reader(text)
    while not reader.at_end():
        for word in reader.arguments():
            yield word.text


def _argument(arguments: list[_Word], at: int, command: _Word) -> _Word:
    if len(arguments) <= at or not arguments[at].text:
        raise (arguments or [command])[-1].error("insufficient arguments")
    return arguments[at]


def _config(package: Package, arguments: list[_Word], command: _Word) -> Section:
    kind = _argument(arguments, 0, command)
    if not is_type(kind.text):
        raise kind.error("invalid character in type field")
    name = arguments[1].text if len(arguments) > 1 else ""
    if name and not is_name(name):
        raise arguments[1].error("invalid character in name field")
    _no_more(arguments)
    known = package.sections.get(name) if name else None
    if known is None:
        return package.add(kind.text, name)
    if known.type != kind.text:
        raise arguments[-1].error(
            "section of different type overwrites prior section with same name"
        )
    return known


def _option(section: Section, arguments: list[_Word], command: _Word) -> None:
    name = _argument(arguments, 0, command)
    if not is_name(name.text):
        raise name.error("invalid character in name field")
    _no_more(arguments)
    value = arguments[1].text if len(arguments) > 1 else ""
    if command.text.startswith("l"):
        section.append(name.text, value)
    elif value:
        section.options[name.text] = value
    else:
        section.options.pop(name.text, None)  # an empty value is no value


def _no_more(arguments: list[_Word]) -> None:
    if len(arguments) > 2 and arguments[2].text:
        raise arguments[2].error("too many arguments")


class _Reader:
    """A cursor over the text; words end at blanks, commands at a line's end or `;`.

    A line goes on where a quote is open or a backslash ends it.
    """

    def __init__(self, text: str) -> None:
        self._text = text.replace("\r\n", "\n")
        self._at = 0
        self._line_start = 0
        self._line = 1

    def at_end(self) -> bool:
        return self._at >= len(self._text)

    def _peek(self) -> str:
        return self._text[self._at] if self._at < len(self._text) else ""

    def _take(self) -> str:
        char = self._text[self._at]
        self._at += 1
        self._line += char == "\n"
        return char

    def _skip_blanks(self) -> None:
        while self._peek() not in ("\n", "") and self._peek().isspace():
            self._take()

    def command(self) -> _Word | None:
        """The first word of the next command, which may not be quoted; None at the end."""
        while True:
            self._skip_blanks()
            if self._peek() == "#":
                while self._peek() not in ("\n", ""):
                    self._take()
            if not self._peek():
                return None
            if self._peek() != "\n":
                break
            self._take()
            self._line_start = self._at
        byte = self._at - self._line_start
        start = self._at
        while self._peek() not in (" ", "\t", "\n", ""):
            self._take()
        text = self._text[start : self._at]
        if self._peek() == "\n" or not text:
            raise UciError("invalid command", self._line, byte)
        if not self._peek():
            full = {"c": "config", "p": "package"}.get(text[0], "option")
            raise UciError(f"{full} without name", self._line, byte)
        return _Word(text, self._line, byte)

    def arguments(self) -> list[_Word]:
        """The other words of the command, up to and with its end."""
        found = []
        while (word := self._word()) is not None:
            found.append(word)
        if self._peek() == "#":
            while self._peek() not in ("\n", ""):
                self._take()
        if self._peek() == "\n":
            self._take()
            self._line_start = self._at
        elif self._peek():
            self._take()
        return found

    def _word(self) -> _Word | None:
        self._skip_blanks()
        if self._peek() in ("\n", "", ";", "#"):
            return None
        chars: list[str] = []
        while (char := self._peek()) and not char.isspace() and char not in ";#":
            if char in "'\"":
                self._quoted(chars)
            elif char == "\\":
                self._backslash(chars)
            else:
                chars.append(self._take())
        after = self._peek() not in ("", ";", "#")  # one more is taken, as a terminator
        return _Word("".join(chars), self._line, self._at - self._line_start + after)

    def _quoted(self, chars: list[str]) -> None:
        """Single quotes keep everything, double quotes know the backslash; lines may break."""
        quote = self._take()
        while (char := self._peek()) != quote:
            if not char:
                lines = self._line - self._text.endswith("\n")
                byte = self._at - self._line_start
                raise UciError(f"EOF with unterminated {quote}", lines, byte)
            if char == "\\" and quote == '"':
                self._backslash(chars)
            else:
                chars.append(self._take())
        self._take()

    def _backslash(self, chars: list[str]) -> None:
        """The next character as it is; a backslash at the end of a line joins the lines."""
        self._take()
        if self._peek() in ("\n", ""):
            if self._peek():
                self._take()
        else:
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
