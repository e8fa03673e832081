"""What the OpenID AuthZEN working group published for interoperability, written down as facts.

From github.com/openid/authzen: the scenarios "Todo" (interop/authzen-todo-backend, decisions of the
1.1 preview), "API gateway" (interop/authzen-api-gateways/test-harness), "Search"
(interop/authzen-search-demo) and "IdP" (interop/authzen-idp), and the certification scenario of the
Authorization API 1.0 (certification/authorization-api-1_0-scenario.md). Every type, id, action and
property is theirs. Each vector is a name, an endpoint, a request and what is expected.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Vector:
    """One request; ``expected`` is as the published tests hold it against the answer."""

    name: str
    endpoint: str
    request: Any
    expected: Any


# --- Todo and API gateway -------------------------------------------------------------------------

_PID: Final = "CiRmZD{}2MTRkMy1jMzlhLTQ3ODEtYjdiZC04Yjk2ZjVhNTEwMGQSBWxvY2Fs"
PIDS: Final = {
    name: _PID.format(letter)
    for name, letter in zip(("rick", "morty", "summer", "beth", "jerry"), "AEIMQ", strict=True)
}
"""What the scenario's identity provider calls its people."""
EMAILS: Final = {
    "rick": "rick@the-citadel.com",
    "morty": "morty@the-citadel.com",
    "summer": "summer@the-smiths.com",
    "beth": "beth@the-smiths.com",
    "jerry": "jerry@the-smiths.com",
}
TODO_ROLES: Final = {
    "rick": ("admin", "evil_genius"),
    "morty": ("editor",),
    "summer": ("editor",),
    "beth": ("viewer",),
    "jerry": ("viewer",),
}
_TODO: Final = "7240d0db-8ff0-41ec-98b2-34a096273b9f"
# Whose: "self" is who asks, "own" what they own; Rick is asked about his own and Morty's.
_TODO_ASKED: Final = (
    ("can_read_user", "beth"),
    ("can_read_user", "self"),
    ("can_read_todos", ""),
    ("can_create_todo", ""),
    ("can_update_todo", "rick"),
    ("can_update_todo", "own"),
    ("can_delete_todo", "rick"),
    ("can_delete_todo", "own"),
)
_TODO_DECISIONS: Final = {
    "rick": "++++++++",
    "morty": "++++-+-+",
    "summer": "++++-+-+",
    "beth": "+++-----",
    "jerry": "+++-----",
}
_TODO_BATCHES: Final = (
    ("rick", ("rick", "jerry"), (True, True)),
    ("morty", ("rick", "morty"), (False, True)),
    ("jerry", ("rick", "jerry"), (False, False)),
)
_GATEWAY_ASKED: Final = (
    ("GET", "/users/{userId}"),
    ("GET", "/todos"),
    ("POST", "/todos"),
    ("PUT", "/todos/{todoId}"),
    ("DELETE", "/todos/{todoId}"),
)
_GATEWAY_DECISIONS: Final = {
    "rick": "+++++",
    "morty": "+++++",
    "summer": "+++++",
    "beth": "++---",
    "jerry": "++---",
}


def _owned(owner: str) -> Json:
    return {"type": "todo", "id": _TODO, "properties": {"ownerID": EMAILS[owner]}}


def _todo_resource(name: str, action: str, whose: str) -> Json:
    if action == "can_read_user":
        return {"type": "user", "id": EMAILS[name if whose == "self" else whose]}
    if not whose:
        return {"type": "todo", "id": "todo-1"}
    return _owned(whose if whose != "own" else {"rick": "morty"}.get(name, name))


def todo() -> Iterator[Vector]:
    """Forty decisions."""
    for name, decisions in _TODO_DECISIONS.items():
        subject = {"type": "user", "id": PIDS[name]}
        for (action, whose), letter in zip(_TODO_ASKED, decisions, strict=True):
            request = {
                "subject": subject,
                "action": {"name": action},
                "resource": _todo_resource(name, action, whose),
            }
            yield Vector(f"{name} {action} {whose}", "evaluation", request, letter == "+")


def todo_batches() -> Iterator[Vector]:
    """The three batches, whose answers are compared as a whole."""
    for name, owners, decisions in _TODO_BATCHES:
        request = {
            "subject": {"type": "user", "id": PIDS[name]},
            "action": {"name": "can_update_todo"},
            "evaluations": [{"resource": _owned(owner)} for owner in owners],
        }
        expected = [{"decision": decision} for decision in decisions]
        yield Vector(name, "evaluations", request, expected)


def gateway() -> Iterator[Vector]:
    """Twenty-five decisions about methods and routes."""
    for name, decisions in _GATEWAY_DECISIONS.items():
        for (method, route), letter in zip(_GATEWAY_ASKED, decisions, strict=True):
            request = {
                "subject": {"type": "identity", "id": PIDS[name]},
                "action": {"name": method},
                "resource": {"type": "route", "id": route},
            }
            yield Vector(f"{name} {method} {route}", "evaluation", request, letter == "+")


# --- Search and IdP -------------------------------------------------------------------------------

USERS: Final = {
    "alice": ("manager", "Sales"),
    "bob": ("employee", "Legal"),
    "carol": ("contractor", "Legal"),
    "dan": ("manager", "Finance"),
    "erin": ("employee", "Finance"),
    "felix": ("contractor", "Accounting"),
}
"""Role and department."""
_RECORDS: Final = """
101 Legal      alice  abcd  a  a
102 Legal      bob    abcd  b  b
103 Legal      carol  abcd  c  c
104 Accounting dan    adf   d  d
105 Legal      erin   abcde e  e
106 Accounting felix  adf   f  f
107 Sales      alice  ad    a  a
108 Legal      bob    abcd  b  b
109 Accounting carol  acdf  c  c
110 Sales      dan    ad    ad d
111 Accounting erin   adef  e  e
112 Legal      felix  abcdf f  f
113 Sales      alice  ad    a  a
114 Accounting bob    abdf  b  b
115 Finance    carol  acde  cd c
116 Legal      dan    abcd  d  d
117 Legal      erin   abcde e  e
118 Accounting felix  adf   f  f
119 Legal      alice  abcd  a  a
120 Accounting bob    abdf  b  b
"""
_ROWS: Final = [line.split() for line in _RECORDS.strip().splitlines()]
RECORDS: Final = {record: (department, owner) for record, department, owner, *_ in _ROWS}
"""Department and owner of each record."""
_VERBS: Final = ("view", "edit", "delete")
_ALL: Final = "101 102 103 104 105 106 107 108 109 110 111 112 113 114 115 116 117 118 119 120"
_RESOURCES: Final = {
    "alice": (_ALL, "101 107 110 113 119", "101 107 113 119"),
    "bob": (
        "101 102 103 105 108 112 114 116 117 119 120",
        "102 108 114 120",
        "102 108 114 120",
    ),
    "carol": ("101 102 103 105 108 109 112 115 116 117 119", "103 109 115", "103 109 115"),
    "dan": (_ALL, "104 110 115 116", "104 110 116"),
    "erin": ("105 111 115 117", "105 111 117", "105 111 117"),
    "felix": ("104 106 109 111 112 114 118 120", "106 112 118", "106 112 118"),
}
# A digit a record, 101 to 120: how many of view, edit and delete, in this order.
_ACTIONS: Final = {
    "alice": "31111131121131111131",
    "bob": "13101003000103011013",
    "carol": "11301001300100311010",
    "dan": "11131111131111231111",
    "erin": "00003000003000103000",
    "felix": "00010300101301000301",
}
_IDP: Final = {
    "alice": "101 107 113 119",
    "bob": "102 108 114 120",
    "carol": "103 109 115",
    "dan": "104 110 116",
    "erin": "105 111 117",
    "felix": "106 112 118",
}


def _people(letters: str) -> list[Json]:
    return [{"type": "user", "id": name} for name in USERS if name[0] in letters]


def _records(ids: str) -> list[Json]:
    return [{"type": "record", "id": record} for record in ids.split()]


def _subject(name: str) -> Json:
    return {"type": "user", "id": name}


def search() -> Iterator[Vector]:
    """Sixty searches for subjects, eighteen for resources, a hundred and twenty for actions."""
    for record, _, _, *found in _ROWS:
        resource = {"type": "record", "id": record}
        for verb, letters in zip(_VERBS, found, strict=True):
            request = {"subject": {"type": "user"}, "action": {"name": verb}, "resource": resource}
            yield Vector(f"{record} {verb}", "search/subject", request, _people(letters))
    for name, lists in _RESOURCES.items():
        for verb, ids in zip(_VERBS, lists, strict=True):
            request = {
                "subject": _subject(name),
                "action": {"name": verb},
                "resource": {"type": "record"},
            }
            yield Vector(f"{name} {verb}", "search/resource", request, _records(ids))
    for name, digits in _ACTIONS.items():
        for record, digit in zip(RECORDS, digits, strict=True):
            request = {"subject": _subject(name), "resource": {"type": "record", "id": record}}
            expected = [{"name": verb} for verb in _VERBS[: int(digit)]]
            yield Vector(f"{name} {record}", "search/action", request, expected)


def idp() -> Iterator[Vector]:
    """Which records each of the six may delete, as an identity provider asks for a token."""
    for name, ids in _IDP.items():
        request = {
            "subject": _subject(name),
            "action": {"name": "delete"},
            "resource": {"type": "record"},
        }
        yield Vector(name, "search/resource", request, _records(ids))


# --- certification --------------------------------------------------------------------------------

_ALICE: Final[Json] = {"type": "user", "id": "alice"}
_BOB: Final[Json] = {"type": "user", "id": "bob"}
_ADMIN: Final[Json] = {**_BOB, "properties": {"role": "admin"}}
_READ: Final[Json] = {"name": "read"}
_WRITE: Final[Json] = {"name": "write"}
_ONE: Final[Json] = {"type": "record", "id": "record-1"}
_TWO: Final[Json] = {"type": "record", "id": "record-2"}
_ACTIVE: Final[Json] = {**_ONE, "properties": {"status": "active"}}
_ARCHIVED: Final[Json] = {**_TWO, "properties": {"status": "archived"}}
_ASKED: Final[Json] = {"subject": _ALICE, "action": _READ, "resource": _ONE}
_BASIC: Final = "evaluation"
_BATCH: Final = "evaluations"


def _without(name: str) -> Json:
    return {key: value for key, value in _ASKED.items() if key != name}


def _delete(*, soft: bool) -> Json:
    return {**_ASKED, "action": {"name": "delete", "properties": {"soft": soft}}}


def decisions() -> Iterator[Vector]:
    """Single evaluations of the certification scenario that are answered with a decision."""
    yield Vector("2.2.1", _BASIC, _ASKED, True)
    yield Vector("2.2.2", _BASIC, {**_ASKED, "subject": _BOB, "action": _WRITE}, False)
    context = {"time": "2025-06-27T18:03-07:00", "ip": "192.168.1.1"}
    yield Vector("2.2.3", _BASIC, {**_ASKED, "context": context}, True)
    archived = {"action": _WRITE, "resource": _ARCHIVED}
    yield Vector("2.2.4", _BASIC, {"subject": _ALICE, **archived}, False)
    yield Vector("2.2.5", _BASIC, {"subject": _ADMIN, **archived}, True)
    yield Vector("2.2.6", _BASIC, _delete(soft=True), True)
    yield Vector("2.2.7", _BASIC, _delete(soft=False), False)
    more = {
        "subject": {**_ALICE, "properties": {"department": "Sales", "role": "manager"}},
        "action": {**_READ, "properties": {"method": "GET"}},
        "resource": {**_ONE, "properties": {"status": "active", "owner": "bob"}},
    }
    yield Vector("2.2.8", _BASIC, more, True)
    yield Vector("2.2.9", _BASIC, {**_ASKED, "foo": "bar", "futureField": {"nested": True}}, True)
    # The rules of the fixture that no request of its own holds.
    yield Vector("1.4 rule 2", _BASIC, {**_ASKED, "action": _WRITE}, True)
    yield Vector("1.4 rule 3", _BASIC, {**_ASKED, "subject": _BOB}, True)
    yield Vector("3.4.2", _BATCH, _ASKED, True)
    yield Vector("3.4.3", _BATCH, {**_ASKED, "evaluations": []}, True)


def batches() -> Iterator[Vector]:
    """Batches of the certification scenario; None where no decision is expected of the fixture."""
    both = [{"resource": _ONE}, {"resource": _TWO}]
    reading = {"subject": _ALICE, "action": _READ}
    yield Vector("3.2.1", _BATCH, {**reading, "evaluations": both}, [None, None])
    verbs = [{"action": _READ}, {"action": _WRITE}]
    asked = {"subject": _BOB, "resource": _ONE, "evaluations": verbs}
    yield Vector("3.2.2", _BATCH, asked, [True, False])
    states = [{"resource": _ACTIVE}, {"resource": _ARCHIVED}]
    asked = {"subject": _ALICE, "action": _WRITE, "evaluations": states}
    yield Vector("3.2.3", _BATCH, asked, [True, False])
    who = [{"subject": _ALICE}, {"subject": _ADMIN}]
    asked = {"action": _WRITE, "resource": _ARCHIVED, "evaluations": who}
    yield Vector("3.2.4", _BATCH, asked, [False, True])
    whole = [_ASKED, {"subject": _BOB, "action": _WRITE, "resource": _ONE}]
    yield Vector("3.2.5", _BATCH, {"evaluations": whole}, [True, False])
    override = {"time": "2025-06-27T19:00-07:00", "source": "batch-override"}
    asked = {
        **reading,
        "context": {"time": "2025-06-27T18:03-07:00"},
        "evaluations": [{"resource": _ONE}, {"resource": _TWO, "context": override}],
    }
    yield Vector("3.2.6", _BATCH, asked, [None, None])
    merged = [
        {"resource": {"id": "record-1", "properties": {"status": "active"}}},
        {"resource": _ARCHIVED},
    ]
    asked = {
        "subject": _ALICE,
        "action": _WRITE,
        "resource": {"type": "record"},
        "evaluations": merged,
    }
    yield Vector("3.2.7", _BATCH, asked, [True, False])
    failing = {**reading, "evaluations": [{"resource": _ONE}, {}]}
    yield Vector("3.4.1", _BATCH, failing, [None, False])


def refusals() -> Iterator[Vector]:
    """Requests of the certification scenario that are answered with a status."""
    for name in _ASKED:
        yield Vector(f"2.4.1 {name}", _BASIC, _without(name), 400)
    parts: Mapping[str, Json] = {
        "subject type": {"subject": {"id": "alice"}},
        "subject id": {"subject": {"type": "user"}},
        "action name": {"action": {}},
        "resource type": {"resource": {"id": "record-1"}},
        "resource id": {"resource": {"type": "record"}},
    }
    for name, part in parts.items():
        yield Vector(f"2.4.2 {name}", _BASIC, {**_ASKED, **part}, 400)
    yield Vector("2.4.4", _BASIC, b'{"subject": ', 400)
    yield Vector("2.4.5", _BASIC, b"", 400)
    yield Vector("2.4.6 subject", _BASIC, {**_ASKED, "subject": "alice"}, 400)
    yield Vector("2.4.6 action", _BASIC, {**_ASKED, "action": {"name": 123}}, 400)
    anybody, record = {"type": "user"}, {"type": "record"}
    searched = {"subject": anybody, "resource": _ONE}
    yield Vector("4.7.1 subject", "search/subject", searched, 400)
    searched = {"action": _READ, "resource": record}
    yield Vector("4.7.1 resource", "search/resource", searched, 400)
    yield Vector("4.7.1 action", "search/action", {"subject": _ALICE}, 400)
    searched = {"subject": anybody, "action": _READ, "resource": record}
    yield Vector("4.7.2 subject", "search/subject", searched, 400)
    yield Vector("4.7.2 resource", "search/resource", searched, 400)


def findings() -> Iterator[Vector]:
    """Searches of the certification scenario, and what they find at least; None for nothing."""
    anybody, record, context = {"type": "user"}, {"type": "record"}, {"context": {"ip": "1.1.1.1"}}
    who = {"subject": anybody, "action": _READ, "resource": _ONE}
    yield Vector("4.2.1", "search/subject", who, [_ALICE, _BOB])
    yield Vector("4.2.2", "search/subject", {**who, **context}, [])
    archived = {"subject": anybody, "action": _WRITE, "resource": _ARCHIVED}
    yield Vector("4.2.4", "search/subject", archived, [_BOB])
    which = {"subject": _ALICE, "action": _READ, "resource": record}
    yield Vector("4.3.1", "search/resource", which, [_ONE])
    asked = {"subject": _ADMIN, "action": _WRITE, "resource": record}
    yield Vector("4.3.3", "search/resource", asked, [_TWO])
    what = {"subject": _ALICE, "resource": _ONE}
    yield Vector("4.4.1", "search/action", what, [_READ, _WRITE])
    yield Vector("4.4.2", "search/action", {**what, **context}, [])
    asked = {"subject": _ADMIN, "resource": _ARCHIVED}
    yield Vector("4.4.3", "search/action", asked, [_WRITE])
    nobody = {"subject": {"type": "user", "id": "nonexistent-user"}, "resource": _ONE}
    yield Vector("4.6.1", "search/action", nobody, None)
    spaceship = {**who, "subject": {"type": "spaceship"}}
    yield Vector("4.6.2", "search/subject", spaceship, None)
    unheard = {**which, "resource": {"type": "Space Ship"}}
    yield Vector("4.6.2 no type of ours", "search/resource", unheard, None)
