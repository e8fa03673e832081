"""Models as the Casbin projects publish them: read as pycasbin does, or refused by a sentence."""

import casbin
import pytest

from argy.policy.errors import PolicyError
from argy.policy.model import Effect, parse_model

REQUEST = "[request_definition]\nr = sub, dom, obj, act, ctx\n"
RULES = "[policy_definition]\np = sub, dom, obj, act, eft, cond\n"
ROLES = "[role_definition]\ng = _, _, _\n"
EFFECT = "[policy_effect]\ne = some(where (p.eft == allow)) && !some(where (p.eft == deny))\n"
MATCHER = (
    "[matchers]\nm = g(r.sub, p.sub, r.dom) && domainMatch(r.dom, p.dom) && objMatch(r.obj, p.obj)"
    " && actMatch(r.act, p.act) && condition(p.cond, r.sub, r.dom, r.obj, r.act, r.ctx)\n"
)
SOUND = REQUEST + RULES + ROLES + EFFECT + MATCHER


def commented(text: str) -> str:
    """A comment at the end of the lines where Casbin takes one."""
    return "".join(
        f"{line}  # why it is so\n" if line[:3] in ("e =", "m =") else f"{line}\n"
        for line in text.splitlines()
    )


def test_a_comment_at_the_end_of_a_line_is_dropped_as_pycasbin_drops_it() -> None:
    found = parse_model(commented(SOUND))
    assert (found.effect, found.compiled) == (Effect.DENY_OVERRIDES, True)
    theirs = casbin.Model()
    theirs.load_model_from_text(commented(SOUND))
    plain = casbin.Model()
    plain.load_model_from_text(SOUND)
    for section in ("e", "m"):
        assert theirs[section][section].value == plain[section][section].value


def test_a_comment_can_change_no_effect() -> None:
    """What stands behind a # is no part of the effect, whichever effect it spells."""
    widened = SOUND.replace(
        " && !some(where (p.eft == deny))", " # && !some(where (p.eft == deny))"
    )
    assert parse_model(widened).effect is Effect.ALLOW_OVERRIDES


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (SOUND.replace(ROLES, ROLES + "g2 = _, _, _\n"), "resource roles (a second g)"),
        (SOUND.replace(RULES, RULES + "p2 = sub, act\n"), "a second definition"),
        (SOUND.replace(REQUEST, REQUEST + "r2 = sub, act\n"), "a second definition"),
        (SOUND.replace("p = sub,", "p = priority, sub,"), "explicit priority"),
        (
            SOUND.replace(EFFECT, "[policy_effect]\ne = subjectPriority(p.eft) || deny\n"),
            "subject priority",
        ),
        (SOUND.replace("condition(", "r.sub.Age > 18 && condition("), "r.sub.Age"),
        (SOUND.replace("g = _, _, _", "g = _, _, (_, _)"), "conditional and temporal roles"),
        (SOUND.replace("g = _, _, _", "g = _, _, _, _"), "roles of this kind (g = _,_,_,_)"),
        (SOUND.replace("p = sub,", "p = customized_priority, sub,"), "explicit priority"),
        (SOUND.replace("p = sub, dom", "p = sub_rule, dom"), "rule columns of your own (sub_rule)"),
        (SOUND.replace("p = sub, dom", "p = dom"), "rules without sub"),
        (
            SOUND.replace("r = sub,", "r = sub, sub_level,"),
            "request fields of your own (sub_level)",
        ),
        (SOUND.replace(" && !some", " || !some"), "effects of your own"),
        (SOUND.replace("condition(", "eval(p.cond) && condition("), "eval()"),
        (SOUND + "[constraint_definition]\nc = sod(a, b)\n", "constraints"),
    ],
)
def test_a_feature_that_is_not_here_is_named(text: str, named: str) -> None:
    with pytest.raises(PolicyError) as refused:
        parse_model(text)
    assert named in str(refused.value)
