"""What there is to say about every rule of the linter, for ``--explain`` and for SARIF."""

from typing import Final

from argy.base.errors import NotFound
from argy.policy.findings import FindingRule
from argy.policy.lint import ids

RULES: Final = (
    FindingRule(
        ids.REFUSED,
        "error",
        "The loader refuses this.",
        "A policy with anything unreadable in it is never in force, not even in part: Casbin "
        "itself would drop such a row in silence.",
        "p, role:PLATFORM_USER, *, run:*, read, Allow, true",
        "The finding says what to write instead.",
    ),
    FindingRule(
        ids.UNREADABLE,
        "error",
        "A file of cases or invariants is not YAML.",
        "What can't be read is not tested.",
        'cases: [{ask: "user:eva read run:1", expect: ALLOW',
        "Mend the YAML; policy/README.md shows the format.",
    ),
    FindingRule(
        ids.UNKNOWN_ROLE,
        "error",
        "A role is named that has neither a rule nor a link.",
        "Nothing can be allowed by a role that the policy doesn't know: it is misspelt, or "
        "was removed.",
        "g, role:PLATFORM_PM, role:PLATFROM_USER, *",
        "Write the role's name as its rules do.",
    ),
    FindingRule(
        ids.UNTRIED_ROLE,
        "note",
        "No case grants the role and no role inherits it.",
        "Nobody has written down what must come out for somebody who holds it.",
        "p, role:BUILD_BOT, *, run:*, start, allow, true     (and no case with role:BUILD_BOT)",
        "Add a case with an assignment of the role, or remove its rules.",
    ),
    FindingRule(
        ids.EMPTY_ROLE,
        "warning",
        "Nothing is allowed to whoever holds the role.",
        "All its rules deny, and it inherits none that allows. That may be meant as a "
        "restriction, but more often the rule that allows is missing.",
        "p, role:AUDITOR, *, secret:*, read, deny, true      (its only rule)",
        "Add what the role may do, or silence this and say that it only restricts.",
    ),
    FindingRule(
        ids.UNKNOWN_ACTION,
        "warning",
        "An action that nothing else in the policy knows.",
        "A misspelt action allows or denies nothing, and no test fails. An action counts as "
        "known when two rules or cases name it.",
        "p, role:PLATFORM_USER, *, run:*, raed, allow, true",
        "Mend the spelling, or add a case that asks for the action.",
    ),
    FindingRule(
        ids.UNKNOWN_TYPE,
        "warning",
        "An object type that nothing else in the policy knows.",
        "A misspelt type allows or denies nothing, and no test fails. A type counts as known "
        "when two rules or cases name it.",
        "p, role:PLATFORM_USER, *, projcet:*, read, allow, true",
        "Mend the spelling, or add a case that asks about an object of the type.",
    ),
    FindingRule(
        ids.DUPLICATE_RULE,
        "error",
        "The same row stands twice.",
        "Whoever removes one of them believes that the permission is gone. The policy is refused.",
        "p, role:A, *, run:*, read, allow, true\np, role:A, *, run:*, read, allow, true",
        "Remove one.",
    ),
    FindingRule(
        ids.UNREACHABLE_RULE,
        "warning",
        "A wider rule says the same already.",
        "A rule of the same role, or of one that it inherits wherever this rule applies, "
        "matches everything that this one matches, with the same effect and the same or no "
        "condition. Removing this one changes no decision, though a reader would think so.",
        "p, role:A, *, run:*, *, allow, true\np, role:A, acme, run:gpu-*, start, allow, true",
        "Remove the narrower rule, or narrow the wider one.",
    ),
    FindingRule(
        ids.SHADOWED_ALLOW,
        "warning",
        "A denial takes away all that this rule allows.",
        "A denial without a condition, of the same role or one that it inherits, matches "
        "everything that this rule matches. Denials win, so the rule never allows anything.",
        "p, role:A, *, run:gpu-*, start, allow, true\np, role:A, *, run:*, *, deny, true",
        "Remove the rule, or narrow the denial.",
    ),
    FindingRule(
        ids.IDLE_DENY,
        "warning",
        "Nothing that this denial matches is allowed to anybody.",
        "Nothing is allowed unless a rule allows it, so there is nothing to deny. Often the "
        "object or the action of the denial is misspelt, and what it should forbid is "
        "allowed.",
        "p, role:A, *, secrets:*, read, deny, true           (the type is called secret)",
        "Compare object and action with the rules that allow; remove the denial if it has no "
        "purpose.",
    ),
    FindingRule(
        ids.REDUNDANT_LINK,
        "warning",
        "Other links give the same.",
        "The child has the parent through other links wherever this one applies. Removing it "
        "takes nothing away, though a reader would think so.",
        "g, role:A, role:B, *\ng, role:A, role:B, acme",
        "Remove the narrower link.",
    ),
    FindingRule(
        ids.WILD_ACTION,
        "error",
        "A wildcard for the action on something sensitive.",
        "The rule allows every action on secrets, policies, roles, audit events or "
        "identities, also those that will only be invented.",
        "p, role:A, *, secret:*, *, allow, true",
        "List the actions, one rule each; or silence this and say why all of them are meant.",
    ),
    FindingRule(
        ids.WILD_OBJECT,
        "error",
        "A wildcard for the type of object reaches something sensitive.",
        "The rule doesn't name secrets, policies, roles, audit events or identities, but it "
        "covers them.",
        "p, role:A, *, *, read, allow, true",
        "Name the types, one rule each; or silence this and say why all of them are meant.",
    ),
    FindingRule(
        ids.ESCALATION,
        "error",
        "Whoever holds this can become more than it is.",
        "It can grant roles, add members to groups (which hold roles), act for other "
        "subjects, or take a role itself without approval. The path shows through which roles"
        " and which rule.",
        "p, role:A, *, directory.group:*, add_member, allow, true",
        "Leave it to PLATFORM_ADMIN, ask for approvals in approvals/*.csv, or silence it with"
        " the reason.",
    ),
    FindingRule(
        ids.OWN_APPROVAL,
        "error",
        "One role both proposes policies and approves them.",
        "Four eyes need two people. A condition on the author holds only as long as the "
        "author is told.",
        "p, role:A, *, policy:*, propose, allow, true\n"
        "p, role:A, *, policy:*, approve, allow, true",
        "Deny one of both to the role.",
    ),
    FindingRule(
        ids.NAMED_ONLY,
        "warning",
        "A wildcard that does not match act_for.",
        "Acting for others is granted by name: no wildcard of an action matches act_for, in a "
        "rule that allows, in one that denies, or in a line of the approvals.",
        "p, role:A, *, authz.subject:*, *, deny, true",
        "Write a row whose action is act_for beside it; or silence this and say that act_for is "
        "not meant.",
    ),
    FindingRule(
        ids.CONSTANT,
        "warning",
        "The condition, or a part of it, doesn't depend on the request.",
        "`false` switches a rule off, `|| true` switches a check off. Both are left over from"
        " trying.",
        "p, role:A, *, run:*, start, allow, has(ctx.owner) || true",
        "Write true for no condition; remove a rule that never applies.",
    ),
    FindingRule(
        ids.UNGUARDED_ALLOW,
        "warning",
        "The condition reads a fact that may not have been sent.",
        "Without the fact the condition has no answer and the request is denied "
        "(CONDITION_ERROR), even if another rule allows it.",
        "p, role:A, *, run:*, cancel, allow, ctx.owner == sub",
        "Ask first: has(ctx.owner) && ctx.owner == sub",
    ),
    FindingRule(
        ids.UNGUARDED_DENY,
        "warning",
        "A denial whose condition reads a fact that may not have been sent.",
        "Without the fact the condition has no answer, and everything that the denial matches"
        " is denied (CONDITION_ERROR). That is safe, but people get a reason that nobody "
        "wrote.",
        "p, role:A, *, module:*, delete, deny, ctx.core",
        "Say what a missing fact means: !has(ctx.core) || ctx.core",
    ),
    FindingRule(
        ids.OVERLAPPING_APPROVALS,
        "warning",
        "Two lines of approvals match the same action.",
        "Each line that matches must be met: approvals add up, and an auto line doesn't take "
        "away what a require line asks for.",
        "a, *, run:*, start, 1, role:A, auto, 1h, true\n"
        "a, *, run:gpu-*, start, 1, role:A, require, 1h, true",
        "Make their objects, actions or domains differ; or silence this and say that both are"
        " meant.",
    ),
    FindingRule(
        ids.IDLE_APPROVAL,
        "warning",
        "Nothing that this line matches is allowed to anybody.",
        "Approvals allow nothing by themselves: without a rule that allows it, nobody can ask.",
        "a, *, deploymnt:*, promote, 1, role:A, require, 1h, true",
        "Compare object and action with the rules that allow.",
    ),
    FindingRule(
        ids.MISPLACED_TENANT,
        "warning",
        "A shared file speaks about one tenant.",
        "Reviewers look for what a tenant may do in tenants/<tenant>/, where no other tenant "
        "can be named by mistake.",
        "roles/engineer.csv: p, role:PLATFORM_ENGINEER, acme, run:*, start, allow, true",
        "Move the row to tenants/<tenant>/.",
    ),
    FindingRule(
        ids.FOREIGN_ROLE,
        "error",
        "A tenant's file uses a role that only another tenant has rules for.",
        "Those rules don't apply here, so the row gives nothing; or one tenant depends on another.",
        "tenants/globex/a.csv: g, role:GLOBEX_LEAD, role:ACME_RELEASE_MANAGER, globex",
        "Give this tenant a role of its own, or move the shared rules to roles/.",
    ),
    FindingRule(
        ids.INTERPRETED,
        "warning",
        "The matcher is not one that compiles.",
        "Every decision then walks all rules on pycasbin: about 10 µs a rule instead of 1 µs "
        "in all. Rules are not linted.",
        "m = g(r.sub, p.sub, r.dom) && r.obj == p.obj && r.act == p.act",
        "Use the matcher of the policy that Argy ships.",
    ),
    FindingRule(
        ids.ALLOW_OVERRIDES,
        "error",
        "Denials have no effect.",
        "Under `some(where (p.eft == allow))` a rule that allows wins over every rule that denies.",
        "e = some(where (p.eft == allow))",
        "e = some(where (p.eft == allow)) && !some(where (p.eft == deny))",
    ),
    FindingRule(
        ids.ALLOWED_BY_DEFAULT,
        "error",
        "Whatever no rule denies is allowed.",
        "Under `!some(where (p.eft == deny))` a stranger may do everything that nobody thought of.",
        "e = !some(where (p.eft == deny))",
        "e = some(where (p.eft == allow)) && !some(where (p.eft == deny))",
    ),
    FindingRule(
        ids.PRIORITY,
        "warning",
        "The order of rules decides.",
        "Under `priority(p.eft) || deny` the first rule that matches wins: sorting or moving "
        "rows changes decisions, and files are read in the order of their names.",
        "e = priority(p.eft) || deny",
        "e = some(where (p.eft == allow)) && !some(where (p.eft == deny))",
    ),
    FindingRule(
        ids.PATTERN_FUNCTION,
        "warning",
        "A pattern function that matches more than it seems to.",
        "regexMatch is not anchored: `read` matches `spread`. keyMatch2 and its kin leave `.`"
        " a wildcard.",
        "m = g(r.sub, p.sub, r.dom) && regexMatch(r.obj, p.obj) && r.act == p.act",
        "Use objMatch and actMatch: anchored, * is the only wildcard.",
    ),
    FindingRule(
        ids.UNASKABLE,
        "warning",
        "No question can ever meet this.",
        "Questions name subjects and objects by type and id (user:…, project:alpha), and roles "
        "are given as role:NAME. A model that runs on pycasbin loads rows of any names, and "
        "compares them as they stand: alice and data1 match nobody and nothing.",
        "p, alice, data1, read",
        "Write type:id for objects and role:NAME for who may; give people the role by an "
        "assignment.",
    ),
    FindingRule(
        ids.BAD_SILENCE,
        "error",
        "A comment that silences a rule is not complete.",
        "It names a rule that exists, gives a reason, and stands above the row that it speaks of.",
        "# lint: allow P301",
        "# lint: allow P301 – administrators run the whole tenant",
    ),
    FindingRule(
        ids.UNUSED_SILENCE,
        "warning",
        "A comment silences a rule that has nothing to report.",
        "It would hide the next mistake in this row.",
        "# lint: allow P301 – administrators run the whole tenant\n"
        "p, role:A, *, run:*, read, allow, true",
        "Remove the comment.",
    ),
)


def explained(name: str) -> FindingRule:
    """The rule that ``name`` names: ``P301`` or ``P301-wildcard-action``, in any case.

    Raises:
        NotFound: listing the ids that there are.
    """
    wanted = name.strip().upper().partition("-")[0]
    for rule in RULES:
        if rule.id.partition("-")[0] == wanted:
            return rule
    known = ", ".join(rule.id for rule in RULES)
    raise NotFound(f"there is no rule {name!r}; there are {known}", field="explain")
