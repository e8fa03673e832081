"""Checks a request against the rules that its proto declares, compiled once per message type."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

import re2
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from argy.api.common.v1.rules_pb2 import FieldRules, rules
from argy.base.errors import FieldViolation, InvalidArgument

Violations = list[FieldViolation]
Check = Callable[[Any, str, Violations], None]
"""Looks at a message under a path prefix and appends what is wrong."""

_UUID: Final = re2.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_MAX_VIOLATIONS: Final = 20
_MAX_DEPTH: Final = 8


def compile_rules(descriptor: Any) -> Callable[[Message], None]:
    """The validator of a message type: returns nothing, or raises InvalidArgument.

    The error holds the first twenty violations, each naming its field as ``a.b[2].c``.
    """
    check = _message_check(descriptor, 0)

    def validate(message: Message) -> None:
        if check is None:
            return
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


def _message_check(descriptor: Descriptor, depth: int) -> Check | None:
    if depth > _MAX_DEPTH or descriptor.file.package.startswith("google.protobuf"):
        return None
    checks = [check for field in descriptor.fields if (check := _field_check(field, depth))]
    if not checks:
        return None

    def check_all(message: Any, prefix: str, found: Violations) -> None:
        for check in checks:
            check(message, prefix, found)

    return check_all


def _field_check(field: FieldDescriptor, depth: int) -> Check | None:
    declared = field.GetOptions().Extensions[rules]
    ruled = field.GetOptions().HasExtension(rules)
    if field.is_repeated:
        return _repeated_check(field, declared if ruled else None, depth)
    if field.message_type is not None:
        return _submessage_check(field, declared if ruled else None, depth)
    if field.type == FieldDescriptor.TYPE_STRING:
        return _string_check(field.name, declared)
    if field.type == FieldDescriptor.TYPE_BYTES:
        return _bytes_check(field.name, declared) if ruled else None
    if field.enum_type is not None:
        return _enum_check(field, declared) if ruled else None
    return _number_check(field.name, declared) if ruled else None


def _string_check(name: str, declared: FieldRules) -> Check:
    accepts = _string_rule(
        declared.required,
        declared.min_len,
        declared.max_len,
        declared.pattern,
        declared.uuid,
    )

    def check(message: Any, prefix: str, found: Violations) -> None:
        value = getattr(message, name)
        if (problem := accepts(value)) is not None:
            found.append(FieldViolation(prefix + name, problem))

    return check


def _string_rule(
    required: bool, min_len: int, max_len: int, pattern: str, uuid: bool
) -> Callable[[str], str | None]:
    """What is wrong with a string, remembered for strings seen lately: ids and verbs recur."""
    matches = re2.compile(pattern).fullmatch if pattern else None
    limit = max_len or 65_536

    @lru_cache(maxsize=4096)
    def judge(value: str) -> str | None:
        if not value:
            return "is required" if required else None
        if "\x00" in value:
            return "must not contain NUL"
        if len(value) < min_len:
            return f"must have at least {min_len} characters"
        if matches is not None and matches(value) is None:
            return f"must match {pattern}"
        if uuid and _UUID.fullmatch(value) is None:
            return "must be a UUID in its canonical lower-case form"
        return None

    def accepts(value: str) -> str | None:
        # Before the cache, so that nothing long is ever kept in it.
        if len(value) > limit:
            return f"must have at most {limit} characters"
        return judge(value) if len(value) <= 512 else judge.__wrapped__(value)

    return accepts


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


def _submessage_check(
    field: FieldDescriptor, declared: FieldRules | None, depth: int
) -> Check | None:
    name = field.name
    required = declared is not None and declared.required
    most = declared.max_bytes if declared is not None else 0
    inner = _message_check(_type_of(field), depth + 1)
    if inner is None and not required and not most:
        return None

    def check(message: Any, prefix: str, found: Violations) -> None:
        if not message.HasField(name):
            if required:
                found.append(FieldViolation(prefix + name, "is required"))
            return
        value = getattr(message, name)
        if most and value.ByteSize() > most:
            found.append(FieldViolation(prefix + name, f"must encode to at most {most} bytes"))
        elif inner is not None:
            inner(value, f"{prefix}{name}.", found)

    return check


def _repeated_check(
    field: FieldDescriptor, declared: FieldRules | None, depth: int
) -> Check | None:
    name = field.name
    least = declared.min_items if declared is not None else 0
    most = declared.max_items if declared is not None else 0
    inner = _message_check(_type_of(field), depth + 1) if field.message_type else None
    if inner is None and not least and not most:
        return None

    def check(message: Any, prefix: str, found: Violations) -> None:
        values = getattr(message, name)
        if len(values) < least:
            found.append(FieldViolation(prefix + name, f"must have at least {least} items"))
        elif most and len(values) > most:
            found.append(FieldViolation(prefix + name, f"must have at most {most} items"))
        elif inner is not None:
            before = len(found)
            for index, value in enumerate(values):
                # The path is only spelt out when something is wrong.
                inner(value, "", found)
                if len(found) > before:
                    _rename(found, before, f"{prefix}{name}[{index}].")
                    before = len(found)
                    if before >= _MAX_VIOLATIONS:
                        return

    return check


def _rename(found: Violations, start: int, prefix: str) -> None:
    found[start:] = [FieldViolation(prefix + v.field, v.description) for v in found[start:]]


def _type_of(field: FieldDescriptor) -> Descriptor:
    kind: Any = field.message_type
    assert isinstance(kind, Descriptor)  # noqa: S101 - narrows a type that the caller has checked
    return kind
