"""The README's configuration reference is the schema's, word for word."""

from pathlib import Path

import reference

README = Path(__file__).parents[2] / "README.md"


def test_readme_has_the_reference_of_the_schema() -> None:
    page = README.read_text("utf-8")
    assert reference.renewed(page) == page, "run: make docs"
