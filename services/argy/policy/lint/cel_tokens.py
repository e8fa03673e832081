"""What a condition's text shows without running it: the facts that it reads, and constants in it.

Only as much of CEL's grammar as that needs (https://github.com/google/cel-spec, langdef.md): the
text is known to compile, so tokens are enough.
"""

import re
from collections.abc import Sequence
from typing import Final

VARIABLES: Final = frozenset(("ctx", "sub", "obj", "act", "tenant", "org", "now"))

_TOKEN = re.compile(
    r"""(?P<string>[rRbB]{0,2}(?:\"\"\"(?:\\.|[^\\])*?\"\"\"|'''(?:\\.|[^\\])*?'''
        |"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'))
      |(?P<name>[A-Za-z_][A-Za-z0-9_]*)
      |(?P<other>&&|\|\||[^\s])""",
    re.VERBOSE | re.DOTALL,
)
_LOGIC = ("&&", "||")
_BEFORE = ("", "(", *_LOGIC)
_AFTER = ("", ")", *_LOGIC)


def tokens(text: str) -> list[str]:
    """The condition's tokens; white space is left out, a string keeps its quotes."""
    return [match[0] for match in _TOKEN.finditer(text)]


def is_constant(text: str) -> bool:
    """Whether the condition reads nothing of the request."""
    found = tokens(text)
    return not any(token in VARIABLES and _at(found, n - 1) != "." for n, token in enumerate(found))


def constant_operands(text: str) -> list[str]:
    """The literals ``true`` and ``false`` that stand as a whole side of ``&&`` or ``||``."""
    found = tokens(text)
    operands = []
    for n, token in enumerate(found):
        if token not in ("true", "false"):
            continue
        before, after = _at(found, n - 1), _at(found, n + 1)
        called = before == "(" and _is_name(_at(found, n - 2))
        if before in _BEFORE and after in _AFTER and not called:
            operands += [token] * (before in _LOGIC or after in _LOGIC)
    return operands


def unguarded_facts(text: str) -> list[str]:
    """Facts ``ctx.x`` that are read though nothing asks ``has(ctx.x)`` or ``"x" in ctx``."""
    found = tokens(text)
    places = [n for n, word in enumerate(found) if word == "ctx" and _at(found, n - 1) != "."]
    guarded = {_unquoted(_at(found, n - 2)) for n in places if _at(found, n - 1) == "in"}
    read: dict[str, None] = {}
    for n in places:
        mark, name, end = (_at(found, n + offset) for offset in (1, 2, 3))
        if mark == "." and _is_name(name):
            if [_at(found, n - 2), _at(found, n - 1), end] == ["has", "(", ")"]:
                guarded.add(name)
            else:
                read[name] = None
        elif mark == "[" and name[:1] in ("'", '"'):
            read[_unquoted(name)] = None
    return [name for name in read if name not in guarded]


def _at(found: Sequence[str], n: int) -> str:
    return found[n] if 0 <= n < len(found) else ""


def _is_name(token: str) -> bool:
    return token.isidentifier()


def _unquoted(token: str) -> str:
    return token.strip("'\"")
