# SPDX-License-Identifier: GPL-2.0-or-later
"""Whatever the settings, the generated files are strict JSON that ``schema/engines`` allows."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import NoReturn, cast

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from mptcp_agent.engines import (
    ENGINES,
    Build,
    ClientSettings,
    Engine,
    LogLevel,
    Rendered,
    ServerSettings,
)

SCHEMAS = Path(__file__).parents[2] / "schema" / "engines"
LEVELS = cast("list[LogLevel]", ["error", "warning", "info", "debug"])

ports = st.integers(1, 65535)
addresses = st.ip_addresses().map(str)
passwords = st.text(st.characters(blacklist_categories=["C", "Z"])).map("secret-{}".format)
common = {
    "password": passwords,
    "timeout": st.integers(10, 86400),
    "fast_open": st.booleans(),
    "log_level": st.sampled_from(LEVELS),
}
builds = st.builds(
    Build,
    engine=st.just("any"),
    client=st.just("/usr/bin/client"),
    server=st.just("/usr/bin/server"),
    version=st.just("1.2.3"),
    mptcp=st.sampled_from([True, False, None]),
    plain_listener=st.booleans(),
    mptcpize=st.sampled_from([None, "/usr/bin/mptcpize"]),
    hangs=st.frozensets(st.tuples(st.just("none"), st.booleans())),
)


def clients(engine: Engine) -> st.SearchStrategy[ClientSettings]:
    return st.builds(
        ClientSettings,
        server=addresses,
        server_port=ports,
        method=st.sampled_from(engine.methods),
        local_port=ports,
        listen=st.sampled_from(["::", "0.0.0.0"]),
        tproxy=st.booleans(),
        **common,
    )


def servers(engine: Engine) -> st.SearchStrategy[ServerSettings]:
    return st.builds(
        ServerSettings,
        listen=st.lists(addresses, min_size=1, max_size=4).map(tuple),
        port=ports,
        method=st.sampled_from(engine.methods),
        **common,
    )


def check(rendered: Rendered) -> None:
    assert rendered.config.endswith("}\n")
    parsed = json.loads(rendered.config, parse_constant=no_constant)
    validator(rendered.file_name).validate(parsed)
    command = rendered.command("/var/etc/mptcp-proxy/x.json")
    assert "secret" not in " ".join(command)
    assert command[-2:] == ("-c", "/var/etc/mptcp-proxy/x.json")


@cache
def validator(file_name: str) -> Draft202012Validator:
    name = file_name.removesuffix(".json")
    return Draft202012Validator(json.loads((SCHEMAS / f"{name}.schema.json").read_text()))


def no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON")


@pytest.mark.parametrize("name", ENGINES)
@hypothesis_settings(deadline=None)  # a busy machine is no failure
@given(data=st.data())
def test_client_documents(name: str, data: st.DataObject) -> None:
    engine = ENGINES[name]
    settings, build = data.draw(clients(engine)), data.draw(builds)
    rendered = engine.client(settings, build)
    check(rendered)
    assert rendered == engine.client(replace(settings), replace(build))


@pytest.mark.parametrize("name", ENGINES)
@hypothesis_settings(deadline=None)  # a busy machine is no failure
@given(data=st.data())
def test_server_documents(name: str, data: st.DataObject) -> None:
    engine = ENGINES[name]
    settings, build = data.draw(servers(engine)), data.draw(builds)
    rendered = engine.server(settings, build)
    check(rendered)
    # The order in which addresses are listed changes nothing, so it restarts nothing.
    turned = replace(settings, listen=tuple(reversed(settings.listen)))
    assert rendered == engine.server(turned, build)


@pytest.mark.parametrize("name", ENGINES)
@hypothesis_settings(deadline=None)  # a busy machine is no failure
@given(data=st.data())
def test_secrets_are_not_in_any_repr(name: str, data: st.DataObject) -> None:
    settings = data.draw(clients(ENGINES[name]))
    assert "secret" not in repr(settings)
    assert "secret" not in repr(ENGINES[name].client(settings, data.draw(builds)))


@pytest.mark.parametrize("name", ENGINES)
@hypothesis_settings(deadline=None)  # a busy machine is no failure
@given(data=st.data())
def test_problems_never_hold_a_password(name: str, data: st.DataObject) -> None:
    engine = ENGINES[name]
    secret = data.draw(st.text().map("secret-{}".format))
    method = data.draw(st.sampled_from([*engine.methods, "table", "2022-blake3-aes-128-gcm"]))
    settings = replace(data.draw(clients(engine)), method=method, password=secret)
    for problem in engine.problems(settings, data.draw(builds), "mptcp-proxy.peer"):
        assert "secret" not in str(problem)


@pytest.mark.parametrize("path", sorted(SCHEMAS.glob("*.json")), ids=lambda p: p.name)
def test_schemas_are_strict_and_explain_themselves(path: Path) -> None:
    schema = json.loads(path.read_text())
    Draft202012Validator.check_schema(schema)
    assert schema["title"] and schema["description"]

    def look(node: object) -> None:
        if isinstance(node, dict):
            if "properties" in node and "type" in node:
                assert node["additionalProperties"] is False
            for value in node.values():
                look(value)
        elif isinstance(node, list):
            for value in node:
                look(value)

    look(schema)


def test_every_document_has_its_schema() -> None:
    names = {f"{engine}-{role}.schema.json" for engine in ENGINES for role in ("client", "server")}
    assert {path.name for path in SCHEMAS.glob("*.json")} == names
