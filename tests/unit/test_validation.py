# SPDX-License-Identifier: GPL-2.0-or-later
"""A second opinion on generated files, which never repeats what they hold."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from unit.examples import BRIDGE_BOTH, ISP, ISP_CLIENT, MEANS, READY, SECRET, config, plan

from mptcp_agent.cli.validation import check_generated, load_schema
from mptcp_agent.errors import FileError


def generated(directory: Path) -> Path:
    """The client's file of a router with a password."""
    (file,) = plan(config(ISP_CLIENT), ISP, READY, MEANS).state.files
    path = directory / Path(file.path).name
    path.write_text(file.content, "utf-8")
    return path


def test_what_the_agent_writes_is_valid(tmp_path: Path) -> None:
    for file in plan(config(BRIDGE_BOTH), ISP, READY, MEANS).state.files:
        (tmp_path / Path(file.path).name).write_text(file.content, "utf-8")
    rows = list(check_generated(tmp_path))
    assert [(Path(name).name, result, message) for name, result, message, _ in rows] == [
        ("sing-box-client.json", "ok", "valid"),
        ("sing-box-server.json", "ok", "valid"),
    ]


def test_nothing_generated_is_nothing_to_say(tmp_path: Path) -> None:
    assert list(check_generated(tmp_path)) == []
    assert list(check_generated(tmp_path / "missing")) == []


def test_a_password_in_the_wrong_place_is_not_repeated(tmp_path: Path) -> None:
    path = generated(tmp_path)
    assert SECRET in path.read_text()
    content = json.loads(path.read_text())
    content["outbounds"][0]["password"] = [SECRET]
    content["outbounds"][0]["server_port"] = SECRET
    content["inbounds"][0]["listen"] = {SECRET: SECRET}
    path.write_text(json.dumps(content))
    ((name, result, message, hint),) = check_generated(tmp_path)
    assert result == "failed" and hint
    assert "outbounds.0.password breaks 'type'" in message
    assert SECRET not in name + message + hint


@pytest.mark.parametrize("content", [b"{", b"", b"\xff\xfe{}"])
def test_a_damaged_file_is_one_failed_row(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "sing-box-client.json").write_bytes(content)
    ((_, result, message, hint),) = check_generated(tmp_path)
    assert (result, bool(message), bool(hint)) == ("failed", True, True)


def test_a_file_of_nobody_knows_whom(tmp_path: Path) -> None:
    (tmp_path / "mystery.json").write_text("{}")
    ((_, result, message, _),) = check_generated(tmp_path)
    assert result == "failed"
    assert "engines/mystery.schema.json" in message


def test_a_missing_schema_says_where_it_was_looked_for() -> None:
    with pytest.raises(FileError, match="install mptcp-agent again"):
        load_schema("no-such")
