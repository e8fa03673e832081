"""Checks a request against the rules that its proto declares, compiled once per message type."""

from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any, Final

import re2
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from argy.api.common.v1.rules_pb2 import FieldRules, rules
from argy.base.errors import FieldViolation, InvalidArgument
from argy.base.identifiers import identifier_problem

Violations = list[FieldViolation]
Check = Callable[[Any, str, Violations], None]
"""Looks at a message under a path prefix and appends what is wrong."""

_UUID: Final = re2.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_MAX_VIOLATIONS: Final = 20
_MAX_DEPTH: Final = 8
_MAX_KNOWN: Final = 4096
"""Strings that a rule remembers to have accepted."""
_MAX_KNOWN_LENGTH: Final = 512


class _Rule:
    """The rule of one field: ``check`` tells what is wrong with one message."""

    def __init__(self, check: Check) -> None:
        self.check = check

    def holds(self, messages: Sequence[Any]) -> bool:
        """Whether nothing is wrong with any of many messages: the same, in one pass."""
        found: Violations = []
        for message in messages:
            self.check(message, "", found)
        return not found


class _MessageRule(_Rule):
    """All rules of a message's fields."""

    def __init__(self, rules_: Sequence[_Rule]) -> None:
        super().__init__(self._check)
        self._rules = rules_
        self._checks = [rule.check for rule in rules_]

    def _check(self, message: Any, prefix: str, found: Violations) -> None:
        for check in self._checks:
            check(message, prefix, found)

    def holds(self, messages: Sequence[Any]) -> bool:
        return all(rule.holds(messages) for rule in self._rules)


def compile_rules(descriptor: Any) -> Callable[[Message], None]:
    """The validator of a message type: returns nothing, or raises InvalidArgument.

    The error holds the first twenty violations, each naming its field as ``a.b[2].c``.
    """
    rule = _message_rule(descriptor, 0)
    if rule is None:
        return lambda _: None
    check = rule.check

    def validate(message: Message) -> None:
        found: Violations = []
        check(message, "", found)
        if found:
            first = found[0]
            raise InvalidArgument(
                f"{first.field} {first.description}",
                reason="INVALID_FIELD",
                violations=found[:_MAX_VIOLATIONS],
            )

    return validate


def _message_rule(descriptor: Descriptor, depth: int) -> _Rule | None:
    if depth > _MAX_DEPTH or descriptor.file.package.startswith("google.protobuf"):
        return None
    found = [rule for field in descriptor.fields if (rule := _field_rule(field, depth))]
    return _MessageRule(found) if found else None


def _field_rule(field: FieldDescriptor, depth: int) -> _Rule | None:
    declared = field.GetOptions().Extensions[rules]
    ruled = field.GetOptions().HasExtension(rules)
    if field.is_repeated:
        return _repeated_rule(field, declared if ruled else None, depth)
    if field.message_type is not None:
        return _submessage_rule(field, declared if ruled else None, depth)
    if field.type == FieldDescriptor.TYPE_STRING:
        return _StringRule(field.name, declared)
    check = None
    if ruled and field.type == FieldDescriptor.TYPE_BYTES:
        check = _bytes_check(field.name, declared)
    elif ruled and field.enum_type is not None:
        check = _enum_check(field, declared)
    elif ruled:
        check = _number_check(field.name, declared)
    return None if check is None else _Rule(check)


class _StringRule(_Rule):
    """The rule of a string, and strings lately found to keep it: ids and verbs recur."""

    def __init__(self, name: str, declared: FieldRules) -> None:
        super().__init__(self._check)
        self._name = name
        self._get = attrgetter(name)
        self._required = declared.required
        self._least = declared.min_len
        self._most = declared.max_len or 65_536
        self._pattern = declared.pattern
        self._matches = re2.compile(declared.pattern).fullmatch if declared.pattern else None
        self._uuid = declared.uuid
        self._identifier = declared.identifier
        self._known: set[str] = set()

    def _check(self, message: Any, prefix: str, found: Violations) -> None:
        value = getattr(message, self._name)
        if value not in self._known and (problem := self._problem(value)) is not None:
            found.append(FieldViolation(prefix + self._name, problem))

    def holds(self, messages: Sequence[Any]) -> bool:
        if self._known.issuperset(map(self._get, messages)):
            return True
        # Several passes over the whole, so that strings seen for the first time are remembered.
        return all(self._problem(value) is None for value in map(self._get, messages))

    def _problem(self, value: str) -> str | None:
        """What is wrong with a string."""
        if len(value) > self._most:
            return f"must have at most {self._most} characters"
        if value:
            if "\x00" in value:
                return "must not contain NUL"
            if len(value) < self._least:
                return f"must have at least {self._least} characters"
            if self._identifier and (wrong := identifier_problem(value, self._most)):
                return wrong
            if self._matches is not None and self._matches(value) is None:
                return f"must match {self._pattern}"
            if self._uuid and _UUID.fullmatch(value) is None:
                return "must be a UUID in its canonical lower-case form"
        elif self._required:
            return "is required"
        if len(value) <= _MAX_KNOWN_LENGTH:
            if len(self._known) >= _MAX_KNOWN:
                self._known.clear()
            self._known.add(value)
        return None


def _bytes_check(name: str, declared: FieldRules) -> Check:
    required, least, most = declared.required, declared.min_len, declared.max_len

    def check(message: Any, prefix: str, found: Violations) -> None:
        value = getattr(message, name)
        if not value:
            if required:
                found.append(FieldViolation(prefix + name, "is required"))
        elif len(value) < least or (most and len(value) > most):
            found.append(FieldViolation(prefix + name, f"must have {least} to {most} bytes"))

    return check


def _enum_check(field: FieldDescriptor, declared: FieldRules) -> Check:
    name, required = field.name, declared.required
    enum: Any = field.enum_type
    known = frozenset(enum.values_by_number) if declared.defined_only else None

    def check(message: Any, prefix: str, found: Violations) -> None:
        value = getattr(message, name)
        if not value and required:
            found.append(FieldViolation(prefix + name, "is required"))
        elif known is not None and value not in known:
            found.append(FieldViolation(prefix + name, f"has the unknown value {value}"))

    return check


def _number_check(name: str, declared: FieldRules) -> Check:
    least = declared.gte if declared.HasField("gte") else None
    most = declared.lte if declared.HasField("lte") else None

    def check(message: Any, prefix: str, found: Violations) -> None:
        value = getattr(message, name)
        # "not >=", so that NaN is refused.
        if least is not None and not value >= least:
            found.append(FieldViolation(prefix + name, f"must be at least {least}"))
        elif most is not None and not value <= most:
            found.append(FieldViolation(prefix + name, f"must be at most {most}"))

    return check


class _SubmessageRule(_Rule):
    """The rule of a message within a message, and the rules of what is in it."""

    def __init__(self, name: str, required: bool, most: int, inner: _Rule | None) -> None:
        super().__init__(self._check)
        self._name = name
        self._required = required
        self._most = most
        self._inner = inner

    def _check(self, message: Any, prefix: str, found: Violations) -> None:
        name = self._name
        if not message.HasField(name):
            if self._required:
                found.append(FieldViolation(prefix + name, "is required"))
            return
        value = getattr(message, name)
        if self._most and value.ByteSize() > self._most:
            problem = f"must encode to at most {self._most} bytes"
            found.append(FieldViolation(prefix + name, problem))
        elif self._inner is not None:
            self._inner.check(value, f"{prefix}{name}.", found)

    def holds(self, messages: Sequence[Any]) -> bool:
        name = self._name
        given = [getattr(message, name) for message in messages if message.HasField(name)]
        if self._required and len(given) < len(messages):
            return False
        if self._most and any(value.ByteSize() > self._most for value in given):
            return False
        return self._inner is None or self._inner.holds(given)


def _submessage_rule(
    field: FieldDescriptor, declared: FieldRules | None, depth: int
) -> _Rule | None:
    required = declared is not None and declared.required
    most = declared.max_bytes if declared is not None else 0
    inner = _message_rule(_type_of(field), depth + 1)
    if inner is None and not required and not most:
        return None
    return _SubmessageRule(field.name, required, most, inner)


def _repeated_rule(field: FieldDescriptor, declared: FieldRules | None, depth: int) -> _Rule | None:
    name = field.name
    least = declared.min_items if declared is not None else 0
    most = declared.max_items if declared is not None else 0
    inner = _message_rule(_type_of(field), depth + 1) if field.message_type else None
    if inner is None and not least and not most:
        return None

    def check(message: Any, prefix: str, found: Violations) -> None:
        values = getattr(message, name)
        if len(values) < least:
            found.append(FieldViolation(prefix + name, f"must have at least {least} items"))
        elif most and len(values) > most:
            found.append(FieldViolation(prefix + name, f"must have at most {most} items"))
        elif inner is not None and not inner.holds(list(values)):
            before = len(found)
            for index, value in enumerate(values):
                inner.check(value, "", found)
                if len(found) > before:
                    _rename(found, before, f"{prefix}{name}[{index}].")
                    before = len(found)
                    if before >= _MAX_VIOLATIONS:
                        return

    return _Rule(check)


def _rename(found: Violations, start: int, prefix: str) -> None:
    found[start:] = [FieldViolation(prefix + v.field, v.description) for v in found[start:]]


def _type_of(field: FieldDescriptor) -> Descriptor:
    kind: Any = field.message_type
    assert isinstance(kind, Descriptor)  # noqa: S101 - narrows a type that the caller has checked
    return kind
