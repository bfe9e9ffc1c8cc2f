# SPDX-License-Identifier: GPL-2.0-or-later
"""What is made from the schema is the schema's, word for word."""

import reference


def test_readme_has_the_reference_of_the_schema() -> None:
    page = reference.README.read_text("utf-8")
    assert reference.renewed(page) == page, "run: make docs"


def test_the_pages_of_luci_have_the_options_of_the_schema_and_the_ciphers_of_the_engines() -> None:
    assert reference.MODULE.read_text("utf-8") == reference.module(), "run: make docs"
