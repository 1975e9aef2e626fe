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


def test_each_check_finds_what_is_planted_for_it(visitor: Visitor) -> None:
    page = visitor.open("account")
    for check, fault in PLANTED.items():
        assert visitor.check(check) == []
        page.evaluate(f"() => {{ {fault}; one.className = 'planted'; document.querySelector('main').append(one); }}")
        assert visitor.check(check) != [], check
        page.evaluate("document.querySelector('.planted').remove()")
