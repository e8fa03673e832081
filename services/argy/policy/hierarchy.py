"""Links between roles: checked when a policy loads, so that following them always ends.

pycasbin follows nine links and silently ignores the tenth; here a chain may have ``MAX_DEPTH``
links, all of which count, and a longer one is refused.
"""

from collections.abc import Iterable, Iterator, Mapping

from argy.policy.errors import Problem
from argy.policy.globs import domain_match
from argy.policy.rules import Link
from argy.policy.texts import meant

MAX_DEPTH = 10
"""Links from a role or service to the farthest role it inherits."""


def check_links(links: Iterable[Link], defined: frozenset[str]) -> Iterator[Problem]:
    """Yield unknown roles, repeated links, cycles and chains that are too deep."""
    by_child: dict[str, list[Link]] = {}
    seen: dict[tuple[str, str, str], Link] = {}
    for link in links:
        by_child.setdefault(link.child, []).append(link)
    for link in links:
        first = seen.setdefault((link.child, link.parent, link.dom), link)
        if first is not link:
            yield _problem(link, f"the same link as {first.file}:{first.line}", "remove one")
        if link.parent not in defined and link.parent not in by_child:
            fix = meant(link.parent, {*defined, *by_child}, "name a role that has a rule")
            yield _problem(link, f"unknown role {link.parent}", fix)
    yield from _check_depth(by_child)


def _check_depth(by_child: Mapping[str, list[Link]]) -> Iterator[Problem]:
    """Depth-first and iterative; ``depth`` holds finished nodes, ``path`` those under way."""
    depth: dict[str, int] = {}
    reported: set[Link] = set()
    for start in sorted(by_child):
        path: set[str] = set()
        stack = [(start, False)]
        while stack:
            node, leaving = stack.pop()
            if leaving:
                path.discard(node)
                below = [depth.get(link.parent, 0) + 1 for link in by_child.get(node, ())]
                depth[node] = max(below, default=0)
                if depth[node] == MAX_DEPTH + 1:
                    yield _problem(by_child[node][0], f"{node} has more than {MAX_DEPTH} links "
                                   "above it", "link to the upper roles directly")  # fmt: skip
                continue
            if node in depth or node in path:
                continue
            path.add(node)
            stack.append((node, True))
            for link in by_child.get(node, ()):
                if link.parent in path and link not in reported:
                    reported.add(link)
                    yield _problem(link, f"{link.child} inherits itself", "remove a link")
                stack.append((link.parent, False))


def _problem(link: Link, message: str, fix: str) -> Problem:
    return Problem(link.file, link.line, message, fix)


def expand(
    base: Iterable[str], by_child: Mapping[str, tuple[Link, ...]], domain: str
) -> dict[str, tuple[str, ...]]:
    """Everything that ``base`` inherits in ``domain``: {name: path from a base name to it}.

    Breadth first, so that each path is a shortest one; ties fall to the earlier name and link.
    """
    paths: dict[str, tuple[str, ...]] = {name: (name,) for name in sorted(base)}
    edge = list(paths)
    while edge:
        following: list[str] = []
        for name in edge:
            for link in by_child.get(name, ()):
                if link.parent not in paths and domain_match(domain, link.dom):
                    paths[link.parent] = (*paths[name], link.parent)
                    following.append(link.parent)
        edge = following
    return paths
