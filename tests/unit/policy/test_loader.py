import os
from pathlib import Path

import pytest

from argy.policy import (
    Assignment,
    PolicyError,
    Problem,
    TenantSnapshot,
    compile_policy,
    load_policy,
)
from argy.policy.equivalence import model_text
from argy.policy.loader import MAX_FILE_BYTES, parse_policy
from argy.policy.model import Effect, parse_model
from argy.policy.rows import MAX_LINE

MODEL = model_text(Effect.DENY_OVERRIDES)
GOOD = "p, role:A, *, doc:*, read, allow, true"


def problems_of(files: dict[str, str]) -> tuple[Problem, ...]:
    with pytest.raises(PolicyError) as caught:
        parse_policy({"model.conf": MODEL, **files})
    return caught.value.problems


def problem_of(row: str, file: str = "roles/a.csv") -> Problem:
    (problem,) = problems_of({file: row})
    return problem


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "roles").mkdir()
    (tmp_path / "model.conf").write_text(MODEL)
    (tmp_path / "roles" / "a.csv").write_text(GOOD)
    return tmp_path


def test_the_products_policy_loads(policy_root: Path) -> None:
    source = load_policy(policy_root)
    assert source.model.compiled
    assert not source.warnings
    assert len(source.revision) == 64
    assert [(r.file, r.line) for r in source.rules] == sorted(
        (r.file, r.line) for r in source.rules
    )


@pytest.mark.parametrize(
    ("row", "message", "fix"),
    [
        ("q, role:A, *, doc:*, read, allow, true", "unknown row type 'q'", "start the row with p"),
        ("p2, role:A, *, doc:*, read, allow, true", "unknown row type 'p2'", "p (a rule)"),
        ("p, role:A, *, doc:*, read, allow", "too short", "sub, dom, obj, act, eft, cond"),
        ("p, role:A, *, doc:*, read, allow, true, x", "too long", "sub, dom"),
        ("g, role:A, role:B", "too short", "child, parent, dom"),
        ("<<<<<<< HEAD", "a merge conflict", "keep the rows you mean"),
        ("=======", "a merge conflict", "keep the rows you mean"),
        (">>>>>>> theirs, of them", "a merge conflict", "keep the rows you mean"),
        ("p\trole:A\t*\tdoc:*\tread\tallow\ttrue", "tabs between", "use commas"),
        ("p;role:A;*;doc:*;read;allow;true", "semicolons between", "use commas"),
        (
            'p, role:A, *, doc:*, read, allow, ctx.a in ["x", "y"]',
            "a comma outside quotes",
            'quote it: "ctx.a in [""x"", ""y""]"',
        ),
        ("p, role:A, *, doc:*, read, allow, nonsense(, 1", "too long", "sub, dom"),
        ("p, role:A, *, doc:*, read, Deny, true", "unknown effect 'Deny'", "write deny"),
        ("p, role:A, *, doc:*, read, block, true", "unknown effect 'block'", "allow or deny"),
        ("p, ADMIN, *, doc:*, read, allow, true", "'ADMIN' has no kind", "role:NAME"),
        ("p, role:admin, *, doc:*, read, allow, true", "has no kind", "capitals"),
        ("p, user:a, *, doc:*, read, allow, true", "'user:a' is not a role", "an assignment"),
        ("p, service:a, *, doc:*, read, allow, true", "is a service", "services.csv"),
        ("p, role:A, acme*, doc:*, read, allow, true", "bad domain", "tenant/org"),
        ("p, role:A, acme/x/y, doc:*, read, allow, true", "bad domain", "tenant/org"),
        ("p, role:A, Acme, doc:*, read, allow, true", "bad domain", "tenant/org"),
        ("p, role:A, *, doc, read, allow, true", "bad glob 'doc' in obj", "type:id"),
        (
            "p, role:A, *, doc:a\u0301, read, allow, true",
            "normalization form C",
            "as those who ask",
        ),
        (f"p, role:A, *, doc:{'é' * 255}, read, allow, true", "at most 512 bytes", "as those who"),
        ("p, role:A, *, doc:**, read, allow, true", "bad glob", "only wildcard"),
        ("p, role:A, *, doc:*a*b*c*d*e*f*g*h*i*, read, allow, true", "bad glob", "wildcard"),
        ("p, role:A, *, Doc:*, read, allow, true", "bad glob 'Doc:*' in obj", "type:id"),
        (f"p, role:A, *, doc:*, {'x' * 65}, allow, true", "at most 64 bytes", "as those who ask"),
        ("p, role:A, *, doc:*, read, allow, nonsense(", "bad condition", "CEL"),
        ("p, role:A, *, doc:*, read, allow, unknown == 1", "undeclared reference", "CEL"),
        ("p, role:A, *, doc:*, read, allow, sub", "gives STRING", "CEL"),
        ('p, role:A, *, doc:*, read, allow, "true', "not CSV", "quote a value"),
        ("p, role:A, *, doc:*, read, allow, 'a\x07'", "control character", "printable"),
        ("\ufeff" + GOOD, "control character", "printable"),
        ("p, " + "x" * MAX_LINE, "more than 4096 characters", "split"),
        ("g, role:A, ADMIN, *", "'ADMIN' is not a role", "role:NAME"),
        ("g, user:a, role:A, *", "is not a role", "an assignment"),
        (GOOD + "\ng, role:B, role:NOWHERE, *", "unknown role role:NOWHERE", "has a rule"),
        (GOOD + "\n" + GOOD, "the same rule as roles/a.csv:1", "remove one"),
        (GOOD + "\ng, role:B, role:A, *\ng, role:B, role:A, *", "the same link as", "remove one"),
        (GOOD + "\ng, role:A, role:B, *\ng, role:B, role:A, *", "inherits itself", "remove a link"),
        (GOOD + "\ng, role:A, role:A, *", "inherits itself", "remove a link"),
    ],
)
def test_a_bad_row_is_refused_with_its_line_and_a_remedy(row: str, message: str, fix: str) -> None:
    problem = problem_of("# a comment\n\n" + row) if row.startswith("\ufeff") else problem_of(row)
    assert problem.file == "roles/a.csv"
    assert problem.line > 0
    assert message in problem.message
    assert fix in problem.fix


def test_every_problem_is_told_at_once() -> None:
    found = problems_of(
        {
            "roles/a.csv": "# first\nx, y\n" + GOOD + "\np, role:A, *, doc:*, write, Allow, true",
            "roles/b.csv": "p, B, Nowhere, doc, READ**, maybe, (",
        }
    )
    assert [(p.file, p.line) for p in found] == [
        ("roles/a.csv", 2),
        ("roles/a.csv", 4),
        *[("roles/b.csv", 1)] * 6,
    ]


def test_a_tenants_file_speaks_about_that_tenant_only() -> None:
    for domain in ("*", "globex", "acme2", "globex/x"):
        row = f"p, role:A, {domain}, doc:*, read, allow, true"
        assert "outside tenant acme" in problem_of(row, "tenants/acme/a.csv").message
        link = f"{GOOD.replace('*', 'acme', 1)}\ng, role:B, role:A, {domain}"
        assert "outside tenant acme" in problem_of(link, "tenants/acme/a.csv").message
    for domain in ("acme", "acme/x"):
        row = f"p, role:A, {domain}, doc:*, read, allow, true"
        parse_policy({"model.conf": MODEL, "tenants/acme/a.csv": row})


@pytest.mark.parametrize("name", ["other/a.csv", "roles/a.txt", "a.csv", "tenants/a.csv",
                                  "tenants/Acme/a.csv", "roles/deep/a.csv"])  # fmt: skip
def test_a_file_in_an_unknown_place_is_refused(folder: Path, name: str) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(GOOD)
    with pytest.raises(PolicyError, match="no rules are read from here"):
        load_policy(folder)
    assert "no rules are read from here" in problems_of({name: GOOD})[0].message


def test_quotes_are_csv_quotes() -> None:
    row = 'p, role:A, *, doc:*, read, allow, "ctx.env in [""dev"", ""stage""]"'
    (rule,) = parse_policy({"model.conf": MODEL, "roles/a.csv": row}).rules
    assert rule.condition == 'ctx.env in ["dev", "stage"]'
    assert rule.text == row


def test_a_link_out_of_the_folder_is_refused(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    outside = tmp_path_factory.mktemp("outside") / "b.csv"
    outside.write_text("p, role:B, *, *, *, allow, true")
    (folder / "roles" / "b.csv").symlink_to(outside)
    with pytest.raises(PolicyError, match="a link out of the policy's folder"):
        load_policy(folder)


def test_a_linked_folder_is_not_followed(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    (folder / "tenants").symlink_to(tmp_path_factory.mktemp("elsewhere"))
    with pytest.raises(PolicyError, match="a link out of the policy's folder"):
        load_policy(folder)


def test_a_mounted_config_map_loads(folder: Path) -> None:
    (folder / "..data").mkdir()
    (folder / "..data" / "s.csv").write_text("p, service:s, *, doc:*, read, allow, true")
    (folder / "services.csv").symlink_to(Path("..data") / "s.csv")
    assert len(load_policy(folder).rules) == 2


def test_text_must_be_utf8(folder: Path) -> None:
    (folder / "roles" / "a.csv").write_bytes(GOOD.encode() + b"\n# caf\xe9")
    with pytest.raises(PolicyError) as caught:
        load_policy(folder)
    (problem,) = caught.value.problems
    assert (problem.file, problem.line, problem.message) == ("roles/a.csv", 2, "not UTF-8")


def test_sizes_are_bounded(folder: Path) -> None:
    with (folder / "roles" / "a.csv").open("wb") as file:
        os.truncate(file.fileno(), MAX_FILE_BYTES + 1)
    with pytest.raises(PolicyError, match="more than 8388608 bytes"):
        load_policy(folder)


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="the model is missing"):
        load_policy(tmp_path)
    with pytest.raises(PolicyError, match="not a folder"):
        load_policy(tmp_path / "none")


def test_the_revision_follows_the_content(folder: Path) -> None:
    first = load_policy(folder).revision
    assert load_policy(folder).revision == first
    (folder / "README.md").write_text("no rules here")
    assert load_policy(folder).revision == first
    (folder / "roles" / "a.csv").write_text(GOOD + "\n")
    assert load_policy(folder).revision != first


def test_chains_have_ten_links_at_most() -> None:
    def chain(links: int) -> dict[str, str]:
        rows = [f"p, role:R{links}, *, doc:*, read, allow, true"]
        rows += [f"g, role:R{i}, role:R{i + 1}, *" for i in range(links)]
        return {"roles/a.csv": "\n".join(rows)}

    parse_policy({"model.conf": MODEL, **chain(10)})
    assert "more than 10 links" in problems_of(chain(11))[0].message


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[matchers]", "[other]", "unknown or repeated section"),
        ("r = sub", "q = sub", "can't use"),
        (
            "r = sub, dom, obj, act, ctx",
            "r = sub, dom, obj, verb",
            "request fields of your own (verb)",
        ),
        ("p = sub, dom, obj, act, eft, cond", "p = sub, dom", "rules without obj or act"),
        ("g = _, _, _", "g = _, _, _, _", "roles of this kind"),
        ("some(where(p.eft==allow))&&", "any()&&", "effects of your own"),
        ("m = g(", "m = eval(p.cond) && g(", "eval()"),
    ],
)
def test_a_bad_model_is_refused(old: str, new: str, message: str) -> None:
    assert old in MODEL
    with pytest.raises(PolicyError) as caught:
        parse_model(MODEL.replace(old, new))
    assert any(message in problem.message for problem in caught.value.problems)


def test_white_space_does_not_change_the_shape(policy_root: Path) -> None:
    text = (policy_root / "model.conf").read_text()
    assert parse_model(text.replace(" && ", "\t&&   ").replace("\n", "  \n")).compiled
    assert parse_model(text).compiled


def with_matcher(matcher: str) -> dict[str, str]:
    model = f"{MODEL.partition('[matchers]')[0]}[matchers]\nm = {matcher}\n"
    return {"model.conf": model, "roles/r.csv": GOOD}


@pytest.mark.parametrize("matcher", ["g(r.sub, p.sub, r.dom) &&", "r.obj == (p.obj", "&& true"])
def test_a_matcher_that_pycasbin_cant_read_is_refused(matcher: str) -> None:
    with pytest.raises(PolicyError, match="the matcher can't be read"):
        parse_policy(with_matcher(matcher))


def test_a_matcher_with_a_bad_pattern_denies() -> None:
    policy = compile_policy(parse_policy(with_matcher("regexMatch(r.obj, '(')")))
    snapshot = TenantSnapshot(policy, "acme", [Assignment("user:a", "role:A")])
    decision = snapshot.check("user:a", "", "doc:1", "read", None, 0)
    assert (decision.allowed, decision.reason) == (False, "CONDITION_ERROR")


def test_a_misspelt_role_is_told_the_nearest() -> None:
    files = {"roles/a.csv": f"{GOOD}\np, role:PLATFORM_PM, *, doc:*, read, allow, true"}
    (link,) = problems_of({**files, "roles/b.csv": "g, role:A, role:PLATFORM_PN, *"})
    assert (link.message, link.fix) == (
        "unknown role role:PLATFORM_PN",
        "did you mean 'role:PLATFORM_PM'?",
    )
    line = "a, *, doc:*, read, 1, role:PLATFORM_PN, require, 24h, true"
    (approval,) = problems_of({**files, "approvals/b.csv": line})
    assert approval.fix == "did you mean 'role:PLATFORM_PM'?"
    (far,) = problems_of({**files, "roles/b.csv": "g, role:A, role:SOMETHING, *"})
    assert far.fix == "name a role that has a rule"


@pytest.mark.parametrize("saved", ["\ufeff{}", "{}\r\n# of Windows\r\n"])
def test_what_excel_saved_loads_as_what_it_says(folder: Path, saved: str) -> None:
    meant = load_policy(folder)
    (folder / "roles" / "a.csv").write_bytes(saved.format(GOOD).encode())
    assert load_policy(folder).rules == meant.rules
    (folder / "model.conf").write_bytes(f"\ufeff{MODEL}".replace("\n", "\r\n").encode())
    assert load_policy(folder).rules == meant.rules


def test_the_line_that_is_not_utf_8_counts_from_the_first_one(folder: Path) -> None:
    (folder / "roles" / "a.csv").write_bytes(b"\xef\xbb\xbf" + GOOD.encode() + b"\n\xff")
    with pytest.raises(PolicyError, match=r"a\.csv:2: not UTF-8"):
        load_policy(folder)
