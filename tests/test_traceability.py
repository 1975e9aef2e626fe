"""Every requirement of this version has a test, and the page that says so is up to date."""

from __future__ import annotations

import pytest

from tests.traceability import ROOT, Cover, Requirement, covers, covers_of, markdown, missing, requirements, unknown_ids

SOURCE = '''
import pytest
pytestmark = [pytest.mark.slow, pytest.mark.covers("a:1")]

@pytest.mark.covers("a:2", "a:3")
def test_one(): ...

class TestTwo:
    @pytest.mark.parametrize("x", [pytest.param(1, marks=pytest.mark.covers("a:4"))])
    async def test_inside(self, x): ...
'''


def test_markers_are_found_on_modules_functions_methods_and_parameters() -> None:
    assert [(cover.test, cover.id) for cover in covers_of(SOURCE, "tests/test_x.py")] == [
        ("tests/test_x.py", "a:1"),
        ("tests/test_x.py::test_one", "a:2"),
        ("tests/test_x.py::test_one", "a:3"),
        ("tests/test_x.py::TestTwo::test_inside", "a:4"),
    ]


def test_marker_with_a_computed_id_is_refused() -> None:
    with pytest.raises(ValueError, match=r"tests/test_x\.py:1: covers\(\) takes plain texts"):
        list(covers_of("pytestmark = pytest.mark.covers(NAME)", "tests/test_x.py"))


def test_requirement_without_a_test_and_unknown_id_are_named() -> None:
    known = [Requirement("a:1", "One", False), Requirement("a:2", "Two", True), Requirement("a:3", "Three", False)]
    found = [Cover("t.py", "test_x", "a:3"), Cover("t.py", "test_x", "a:33")]
    assert [requirement.id for requirement in missing(found, known)] == ["a:1"]
    assert unknown_ids(found, known) == ["t.py::test_x: a:33 is no requirement; nearest: ['a:3']"]
    assert "- **a:1** One. **No test.**" in markdown(found, known)


def test_every_marker_names_a_requirement() -> None:
    assert unknown_ids(covers(), requirements()) == []


def test_every_requirement_of_this_version_has_a_test() -> None:
    assert [requirement.id for requirement in missing(covers(), requirements())] == []


def test_page_of_requirements_is_up_to_date() -> None:
    written = (ROOT / "docs" / "traceability.md").read_text()
    assert written == markdown(covers(), requirements()), "run make docs to write docs/traceability.md again"
