"""pycasbin's answer to a question, and the table of where ours differs on purpose."""

from collections.abc import Iterable, Mapping

from argy.policy.conditions import Facts
from argy.policy.globs import domain_of
from argy.policy.interpreted import Judge
from argy.policy.rules import Assignment, Membership, PolicySource, Rule

DIVERGENCES: tuple[tuple[str, str, str], ...] = (
    ("a condition without an answer", "raises, and nothing is decided", "denies: CONDITION_ERROR"),
    ("which rule explains an allow", "the last that matches", "the first that matches"),
    ("an effect in the wrong case (Deny)", "ignored, so allowed", "refused at load"),
    ("unknown row types", "dropped", "refused at load"),
    ("short rows", "loaded, raise on every check", "refused at load"),
    ("no rules and an empty request", "allowed", "denied"),
    ("an object that is not type:id", "matches *", "denied"),
    ("a subject named like a role", "has the role's rights", "is no subject, denied"),
    ("unknown subjects and domains", "each grows memory", "leave no trace"),
    ("a chain of ten links", "silently ignored", "counts; an eleventh is refused at load"),
)
"""(what, pycasbin, ours); each is a named test in ``tests/unit/policy/test_hazards.py``."""


class Oracle:
    """pycasbin over a policy and one tenant's assignments, with its own role manager.

    The assignments are those that hold at one moment: pycasbin has no closed notion of expiry.
    """

    def __init__(
        self,
        source: PolicySource,
        tenant: str,
        orgs: Iterable[str],
        assignments: Iterable[Assignment],
        memberships: Iterable[Membership] = (),
    ) -> None:
        self._tenant = tenant
        domains = [domain_of(tenant, org) for org in ("", *orgs)]
        links = {
            (link.child, link.parent, domain)
            for link in source.links
            for domain in domains
            if _covers(link.dom, domain)
        }
        for item in assignments:
            where = domain_of(tenant, item.org)
            links |= {(item.subject, item.role, d) for d in domains if _covers(where, d)}
        links |= {(item.member, item.group, d) for item in memberships for d in domains}
        self._judge = Judge(source.model, source.rules, links=sorted(links))

    def ask(
        self,
        subject: str,
        org: str,
        obj: str,
        act: str,
        ctx: Mapping[str, object] | None,
        now_ms: int,
    ) -> tuple[str, Rule | None]:
        """Reason and deciding rule."""
        return self._judge.judge(Facts(subject, self._tenant, org, obj, act, ctx, now_ms))


def _covers(wide: str, domain: str) -> bool:
    """Whether a grant or link for ``wide`` counts in ``domain``; written apart from the engine."""
    return wide in ("*", domain, domain.split("/")[0])
