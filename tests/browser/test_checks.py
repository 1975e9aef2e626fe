"""The checks of checks.js see what they are for: planted faults, each found by its check."""

from __future__ import annotations

import pytest

from tests.browser.browsing import Visitor

pytestmark = [pytest.mark.system, pytest.mark.covers("dashboard:everybody")]

PLANTED = {
    "names": "const one = document.createElement('button'); one.append(document.createElementNS('http://www.w3.org/2000/svg', 'svg'))",
    "structure": "const one = document.createElement('p'); one.id = 'main'; one.textContent = 'again'",
    "outline": "const one = document.createElement('h4'); one.textContent = 'too deep'",
    "targets": "const one = document.createElement('button'); one.textContent = 'x'; one.style.cssText = 'min-height: 10px; height: 10px'",
    "overflow": "const one = document.createElement('div'); one.textContent = 'wide'; one.style.width = '3000px'",
    "contrast": "const one = document.createElement('p'); one.textContent = 'pale'; one.style.color = '#c0c8d0'",
    "foreign": "const one = document.createElement('img')",
}


@pytest.mark.parametrize("check", PLANTED)
def test_check_finds_what_is_planted(visitor: Visitor, check: str) -> None:
    page = visitor.open("account")
    assert visitor.check(check) == []
    page.evaluate(f"() => {{ {PLANTED[check]}; one.textContent ||= ' '; document.getElementById('main').append(one); }}")
    assert visitor.check(check) != []
