# SPDX-License-Identifier: GPL-2.0-or-later
"""What others say of the schema, made from it: `make docs`.

The configuration reference of the README, and the module by which LuCI's pages know options
and ciphers.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mptcp_agent.cli.validation import load_schema
from mptcp_agent.core.config import MAX_WANS
from mptcp_agent.core.config.options import BOOLEANS, allowed
from mptcp_agent.engines import ENGINES
from mptcp_agent.engines.base import IDENTITY_KEYS, KEY_BYTES

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
MODULE = ROOT / "luci-app-mptcp-proxy/htdocs/luci-static/resources/mptcp-proxy/schema.js"

BEGIN, END = "<!-- reference: make docs -->", "<!-- end of reference -->"

ORDER = ("globals", "peer", "client", "server", "wan")


# --- README -------------------------------------------------------------------------------------


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


# --- LuCI ---------------------------------------------------------------------------------------

HEAD = """\
// SPDX-License-Identifier: GPL-2.0-or-later
'use strict';
'require baseclass';

/*
 * Made by `make docs` from schema/mptcp-proxy.schema.json and the agent's engines: do not edit.
 */

"""

#: Keywords of an option's schema that a form has no use for.
NOT_IN_FORMS = {"description", "x-allowed", "minItems", "uniqueItems"}


def module() -> str:
    """A module of LuCI's with options, ciphers and what else the agent and the pages share."""
    sections = load_schema("mptcp-proxy")["$defs"]
    words = {
        truth: [word for word, value in BOOLEANS.items() if value is truth]
        for truth in (True, False)
    }
    parts = (
        ("Section types, and their options as in the schema", "OPTIONS", _options(sections)),
        (
            "Shadowsocks methods that each engine knows",
            "METHODS",
            {name: list(engine.methods) for name, engine in ENGINES.items()},
        ),
        ("Bytes of key behind the password, where it is one in base64", "KEY_BYTES", KEY_BYTES),
        (
            "Methods that take several keys, joined by colons",
            "SEVERAL_KEYS",
            sorted(IDENTITY_KEYS),
        ),
        ("The words for yes and no in UCI", "YES", words[True]),
        ("", "NO", words[False]),
        ("Most wan sections", "MAX_WANS", MAX_WANS),
    )
    body = ",\n".join(
        (f"\n\t/* {comment} */\n" if comment else "") + f"\t{name}: {_js(value, 1)}"
        for comment, name, value in parts
    )
    return f"{HEAD}return baseclass.extend({{{body}\n}});\n"


def _options(sections: dict[str, Any]) -> dict[str, Any]:
    return {
        kind: {
            name: {
                **{word: value for word, value in option.items() if word not in NOT_IN_FORMS},
                **({"required": True} if name in sections[kind].get("required", ()) else {}),
            }
            for name, option in sections[kind]["properties"].items()
        }
        for kind in ORDER
    }


def _js(value: Any, depth: int) -> str:
    """The literal as LuCI's code is written: a line for each member where these are objects or
    lists themselves, else one line."""
    if isinstance(value, str):
        text = json.dumps(value, ensure_ascii=False)[1:-1].replace('\\"', '"')
        return "'" + text.replace("'", "\\'") + "'"
    if isinstance(value, list):
        return f"[ {', '.join(_js(item, depth) for item in value)} ]" if value else "[]"
    if not isinstance(value, dict):
        return json.dumps(value)
    members = [f"{_key(name)}: {_js(item, depth + 1)}" for name, item in value.items()]
    flat = any(not isinstance(item, dict | list) for item in value.values())
    if flat:
        return f"{{ {', '.join(members)} }}"
    inner = "\t" * (depth + 1)
    return "{\n" + ",\n".join(inner + member for member in members) + "\n" + "\t" * depth + "}"


def _key(name: str) -> str:
    return name if re.fullmatch(r"[a-z_]+", name) else _js(name, 0)


if __name__ == "__main__":
    README.write_text(renewed(README.read_text("utf-8")), "utf-8")
    MODULE.write_text(module(), "utf-8")
