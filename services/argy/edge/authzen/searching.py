"""The three searches. Whatever is told was decided by the policy for this very question.

A policy decision point holds no resources and no catalogue of actions, only rules. So resources and
actions are those that the subject's rules name: a rule for ``project:*`` names no project, and one
for the action ``*`` names no action.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from argy.edge.authzen.decider import Decider
from argy.edge.authzen.domain import Evaluation, Search, action_candidates, resource_candidates
from argy.edge.authzen.pages import Asker, PageTokens, Place
from argy.edge.authzen.wire import entity_json

MAX_LISTED: Final = 10
"""Most pages of the services' list that one page of subjects reads."""
NOTHING_FOUND: Final = {"page": {"next_token": "", "count": 0, "total": 0}, "results": []}


async def search(
    decider: Decider, pages: PageTokens, asker: Asker, asked: Search
) -> dict[str, Any]:
    """One page of a search, as the API's JSON.

    Raises:
        ArgyError: when the caller may not search, or the token is another search's.
    """
    place = pages.decode(asker, asked)
    if asked.kind == "subject":
        results, following = await _subjects(decider, asked, place)
        total = None
    else:
        found = await _named(decider, asked)
        end = place.skip + place.limit
        results = [_entity(asked, one) for one in found[place.skip : end]]
        following = replace(place, skip=end) if end < len(found) else None
        total = len(found)
    page: dict[str, Any] = {
        "next_token": pages.encode(asker, asked, following) if following else "",
        "count": len(results),
    }
    if total is not None:
        page["total"] = total
    return {"page": page, "results": results}


async def _named(decider: Decider, asked: Search) -> Sequence[Evaluation]:
    """The questions about what rules name that the policy answers with ALLOW."""
    held = await decider.held(asked.subject)
    if asked.kind == "action":
        questions = [
            Evaluation(asked.subject, action, asked.resource, asked.facts)
            for action in action_candidates(held, asked.resource)
        ]
    else:
        kind = asked.resource.partition(":")[0]
        questions = [
            Evaluation(asked.subject, asked.action, resource, asked.facts)
            for resource in resource_candidates(held, kind)
        ]
    return await decider.allowed(questions)


async def _subjects(
    decider: Decider, asked: Search, place: Place
) -> tuple[list[dict[str, str]], Place | None]:
    """A page of the subjects of one type, out of the services' list of all types.

    The list is read a page at a time until this page is full: the rest of a page read is read again
    for the next one, which is why a place is that page and how much of it was told.
    """
    results: list[dict[str, str]] = []
    token, skip = place.upstream, place.skip
    for _ in range(MAX_LISTED):
        listed = await decider.subjects(asked.action, asked.resource, asked.facts, token)
        named = [name for name in listed.subjects if name.startswith(asked.subject)]
        room = place.limit - len(results)
        results += [entity_json(name) for name in named[skip : skip + room]]
        if skip + room < len(named):
            return results, Place(place.limit, token, skip + room)
        if not listed.next_page_token:
            return results, None
        if len(results) == place.limit:
            return results, Place(place.limit, listed.next_page_token)
        token, skip = listed.next_page_token, 0
    # Few of this type among many: the page is short, and its token goes on.
    return results, Place(place.limit, token)


def _entity(asked: Search, found: Evaluation) -> dict[str, str]:
    return {"name": found.action} if asked.kind == "action" else entity_json(found.resource)
