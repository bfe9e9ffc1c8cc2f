"""The configuration reference of the README, made from the schema: `make docs`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mptcp_agent.cli.validation import load_schema
from mptcp_agent.core.config.options import allowed

BEGIN, END = "<!-- reference: make docs -->", "<!-- end of reference -->"

ORDER = ("globals", "peer", "client", "server", "wan")


def reference() -> str:
    """Markdown tables, one per section type."""
    sections = load_schema("mptcp-proxy")["$defs"]
    return "\n".join(line for name in ORDER for line in _section(sections[name]))


def _section(schema: dict[str, Any]) -> Iterator[str]:
    yield f"**`config {schema['title']}`**: {schema['description']}"
    yield ""
    yield "| option | allowed | default | |"
    yield "|---|---|---|---|"
    for name, option in schema["properties"].items():
        kind = "list" if option["type"] == "array" else "option"
        what = allowed(option["items"] if kind == "list" else option).replace("|", "\\|")
        default = _default(option, name in schema.get("required", ()))
        yield f"| `{kind} {name}` | {what} | {default} | {option['description']} |"
    yield ""


def _default(option: dict[str, Any], required: bool) -> str:
    value = option.get("default")
    if required:
        return "(needed)"
    if value in (None, "", []):
        return "(empty)"
    if isinstance(value, bool):
        return f"`{int(value)}`"
    return " ".join(f"`{v}`" for v in (value if isinstance(value, list) else [value]))


def renewed(page: str) -> str:
    """The page with the reference between its marks made anew."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{reference()}\n{END}{after}"


if __name__ == "__main__":
    readme = Path(sys.argv[1])
    readme.write_text(renewed(readme.read_text("utf-8")), "utf-8")
