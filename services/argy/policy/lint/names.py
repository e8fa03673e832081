"""Names that the policy doesn't know: misspelt roles, actions and object types."""

from collections import Counter
from collections.abc import Collection, Iterator

from argy.policy.findings import Finding
from argy.policy.lint import ids
from argy.policy.lint.scope import Scope, found, kind_of
from argy.policy.lint.words import Word
from argy.policy.rules import ApprovalRule, Rule
from argy.policy.texts import meant, nearest

_KNOWN = 2
"""Times that a name must stand somewhere to count as meant."""


def check_roles(scope: Scope) -> Iterator[Finding]:
    """Roles that only cases name, that give nothing, or that nobody tries."""
    known = [name for name in scope.names if name.startswith("role:")]
    told: set[tuple[str, str]] = set()
    for word in scope.words.roles:
        if word.text not in scope.names and (word.file, word.text) not in told:
            told.add((word.file, word.text))
            yield found(
                ids.UNKNOWN_ROLE, word, f"unknown role {word.text}", meant(word.text, known)
            )
    tried = {word.text for word in scope.words.roles} | {link.parent for link in scope.source.links}
    tried |= {role for line in scope.source.approvals for role in line.roles}
    for role in known:
        first = next(scope.rules_of(role), None)
        row = first or next(link for link in scope.source.links if link.child == role)
        names = {reached.name for reached in scope.reached(role)}
        if not any(rule.effect == "allow" for name in names for rule in scope.rules_of(name)):
            yield found(ids.EMPTY_ROLE, row, f"nothing is allowed to {role}")
        if role not in tried:
            others = [name for name in known if name in tried]
            yield found(ids.UNTRIED_ROLE, row, f"no case grants {role}", meant(role, others))


def check_vocabulary(scope: Scope) -> Iterator[Finding]:
    """Actions and object types that only one row or case names."""
    rows: tuple[Rule | ApprovalRule, ...] = (*scope.source.rules, *scope.source.approvals)
    actions = [Word(row.act, row.file, row.line) for row in rows if "*" not in row.act]
    types = [
        Word(kind_of(row.obj), row.file, row.line) for row in rows if "*" not in kind_of(row.obj)
    ]
    yield from _rare(ids.UNKNOWN_ACTION, "action", actions, scope.words.actions)
    yield from _rare(ids.UNKNOWN_TYPE, "object type", types, scope.words.types)


def _rare(
    name: str, what: str, in_rows: Collection[Word], in_cases: Collection[Word]
) -> Iterator[Finding]:
    counts = Counter(word.text for word in (*in_rows, *in_cases))
    known = [text for text, number in counts.items() if number >= _KNOWN]
    for word in in_rows:
        if counts[word.text] < _KNOWN:
            message = f"nothing else knows the {what} {word.text!r}"
            yield found(name, word, message, meant(word.text, known))
    for word in in_cases:
        # Asking for what no rule names is how a denial is tested; only a near miss is suspicious.
        if counts[word.text] < _KNOWN and (near := nearest(word.text, known)):
            message = f"nothing else knows the {what} {word.text!r}"
            yield found(name, word, message, f"did you mean {near!r}?")
