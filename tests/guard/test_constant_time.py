"""What proves who is calling is compared in constant time: `==` tells by its duration how much of a guess is right.

Looked at is whatever decides about a request from outside: what a plugin's `verify` is made of, the door, the keys.
"""

from __future__ import annotations

import ast
import re

from support.repository import parse, product_code, relative, report

PROOF = re.compile(r"signature|digest|hmac|secret|token|password|api_key", re.IGNORECASE)
DECIDES = re.compile(r"verify|signature|jwt|push_auth|gateway/security/|gateway/api/(door|deps)|pipeline/accept")
"""Files and functions."""


def test_nothing_that_proves_is_compared_with_equals() -> None:
    found = []
    looked_at = 0
    for path in product_code():
        place = relative(path)
        if any(part in place for part in ("/twin", "/testing/", "/authoring/", "/demo/", "/audit/")):
            continue
        for function in ast.walk(parse(path)):
            if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            if not DECIDES.search(f"{place}:{function.name}"):
                continue
            looked_at += 1
            for node in ast.walk(function):
                if isinstance(node, ast.Compare) and _compares(node):
                    found.append(f"{place}:{node.lineno}: {ast.unparse(node)}")
    assert looked_at > 50
    assert not found, report(found, "compare with hmac.compare_digest, or with verify_hmac and verify_token")


def _compares(node: ast.Compare) -> bool:
    """Whether two things are compared with `==`, of which one proves something, and none stands in the code."""
    sides = [node.left, *node.comparators]
    return (
        any(isinstance(one, ast.Eq | ast.NotEq) for one in node.ops)
        and not any(isinstance(side, ast.Constant) for side in sides)
        and any(_proves(side) for side in sides)
    )


def _proves(node: ast.expr) -> bool:
    """Whether the last name of an expression is that of something secret."""
    if isinstance(node, ast.Call):
        return _proves(node.func)
    name = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
    return bool(PROOF.search(name))
