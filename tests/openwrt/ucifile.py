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


def parse(name: str, text: str) -> Package:
    """Read a configuration file.  Raises UciError with line and byte of the first mistake."""
    package = Package(name)
    section: Section | None = None
    for words, where in _commands(text):
        command, arguments = words[0], words[1:]
        if command in ("package", "p"):
            if not arguments or not is_package(arguments[0]):
                raise where.error("package without name")
        elif command in ("config", "c"):
            section = _config(package, arguments, where)
        elif command in ("option", "o", "list", "l"):
            if section is None:
                raise where.error("option/list command found before the first section")
            _option(section, arguments, command.startswith("l"), where)
        else:
            raise where.error("invalid command")
    return package


@dataclass(frozen=True)
class _Where:
    line: int
    byte: int

    def error(self, reason: str) -> UciError:
        return UciError(reason, self.line, self.byte)


def _config(package: Package, arguments: list[str], where: _Where) -> Section:
    if not arguments or not arguments[0]:
        raise where.error("insufficient arguments")
    if not is_type(arguments[0]):
        raise where.error("invalid character in type field")
    name = arguments[1] if len(arguments) > 1 else ""
    if name and not is_name(name):
        raise where.error("invalid character in name field")
    if len(arguments) > 2 and arguments[2]:
        raise where.error("too many arguments")
    known = package.sections.get(name) if name else None
    if known is None:
        return package.add(arguments[0], name)
    if known.type != arguments[0]:
        raise where.error("section of different type overwrites prior section with same name")
    return known


def _option(section: Section, arguments: list[str], append: bool, where: _Where) -> None:
    if not arguments or not arguments[0]:
        raise where.error("insufficient arguments")
    if not is_name(arguments[0]):
        raise where.error("invalid character in name field")
    if len(arguments) > 2 and arguments[2]:
        raise where.error("too many arguments")
    name, value = arguments[0], arguments[1] if len(arguments) > 1 else ""
    if append:
        section.append(name, value)
    elif value:
        section.options[name] = value
    else:
        section.options.pop(name, None)  # an empty value is no value


def _commands(text: str) -> Iterator[tuple[list[str], _Where]]:
    """The words of each command; `;` separates commands, `#` starts a comment."""
    reader = _Reader(text)
    while not reader.at_end():
        words: list[str] = []
        while (word := reader.word()) is not None:
            words.append(word)
        if words:
            yield words, _Where(reader.line, reader.column)
        reader.next_command()


def words(text: str) -> Iterator[str]:
    """Every word of the text, quotes and escapes taken off."""
    for command, _ in _commands(text):
        yield from command


class _Reader:
    """A cursor over the text; words end at blanks, commands at newline or `;`."""

    def __init__(self, text: str) -> None:
        self._text = text.replace("\r\n", "\n")
        self._at = 0
        self._line_start = 0
        self.line = 1

    @property
    def column(self) -> int:
        return self._at - self._line_start

    def at_end(self) -> bool:
        return self._at >= len(self._text)

    def _peek(self) -> str:
        return self._text[self._at] if self._at < len(self._text) else ""

    def _take(self) -> str:
        char = self._text[self._at]
        self._at += 1
        if char == "\n":
            self.line += 1
            self._line_start = self._at
        return char

    def next_command(self) -> None:
        if self._peek() == "#":
            while self._peek() not in ("\n", ""):
                self._take()
        if self._peek():
            self._take()

    def word(self) -> str | None:
        """The next word of this command, None at its end."""
        while self._peek() not in ("\n", "") and self._peek().isspace():
            self._take()
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
        return "".join(chars)

    def _quoted(self, chars: list[str]) -> None:
        """Single quotes keep everything, double quotes know the backslash; lines may break."""
        quote = self._take()
        while (char := self._peek()) != quote:
            if not char:
                raise UciError(f"EOF with unterminated {quote}", self.line, self.column)
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
