from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from argy.policy.equivalence import model_text
from argy.policy.errors import Problem
from argy.policy.fmt import format_file, format_rows, format_yaml
from argy.policy.loader import source_of
from argy.policy.model import Effect, parse_model
from argy.policy.rows import MAX_LINE

MODEL = parse_model(model_text(Effect.DENY_OVERRIDES))

VALUES = st.one_of(
    st.sampled_from(["p", "g", "a", "role:A", "role:B", "*", "acme", "doc:*", "read", "allow", ""]),
    st.sampled_from(["deny", "true", 'ctx.a == "x, y"', "a || b", "ctx.b in [1, 2]", '"', "#x"]),
)


@st.composite
def rows(draw: st.DrawFn) -> str:
    """A row as a careless author may write it: sound, odd or broken."""
    cells = []
    for value in draw(st.lists(VALUES, min_size=1, max_size=8)):
        quoted = draw(st.booleans())
        cell = '"' + value.replace('"', '""') + '"' if quoted else value
        cells.append(draw(st.sampled_from(["", " ", "  ", "\t"])) + cell)
    return ",".join(cells) + draw(st.sampled_from(["", " ", "\r", "\t "]))


SOUND = st.builds(
    "p{5}, {0},{1},{5}{2},{3}, {4},true".format,
    st.sampled_from(["role:A", "role:B"]),
    st.sampled_from(["*", "acme", '"acme/x"']),
    st.sampled_from(["doc:*", '"doc:a"', "*"]),
    st.sampled_from(["read", "wri*"]),
    st.sampled_from(["allow", "deny"]),
    st.sampled_from(["", " ", "   "]),
)
LINES = st.one_of(
    rows(), SOUND, st.just(""), st.text(max_size=20), st.text(max_size=9).map("# {}".format)
)
TEXTS = st.lists(LINES, max_size=12).map("\n".join)


def loaded(text: str) -> tuple[list[tuple[object, ...]], list[tuple[object, ...]], list[str]]:
    """What a file means: its rules, its links and its problems, without their lines."""
    problems: list[Problem] = []
    source = source_of(MODEL, {"services.csv": text}, problems)
    rules = [(r.role, r.dom, r.obj, r.act, r.effect, r.condition) for r in source.rules]
    links: list[tuple[object, ...]] = [(link.child, link.parent, link.dom) for link in source.links]
    return list(rules), links, [problem.message.split("services.csv")[0] for problem in problems]


@given(TEXTS)
def test_it_never_changes_what_is_loaded_and_is_idempotent(text: str) -> None:
    formatted = format_rows(text)
    assert loaded(formatted) == loaded(text)
    assert format_rows(formatted) == formatted


@given(TEXTS)
def test_comments_stay_and_blank_lines_are_single(text: str) -> None:
    formatted = format_rows(text)
    comments = [line.strip() for line in text.split("\n") if line.strip().startswith("#")]
    kept = [line for line in formatted.split("\n") if line.startswith("#")]
    assert kept == comments
    assert "\n\n\n" not in formatted
    assert not formatted.startswith("\n")
    assert formatted == "" or (formatted.endswith("\n") and not formatted.endswith("\n\n"))


@given(st.text(st.sampled_from("a: -|>\n\r\t#[]{}'\"1.+"), max_size=40))
def test_yaml_keeps_its_values(text: str) -> None:

    formatted = format_yaml(text)
    assert format_yaml(formatted) == formatted
    try:
        value = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError):
        assert formatted == text
    else:
        assert repr(yaml.safe_load(formatted)) == repr(value)


def test_the_policy_itself_has_the_canonical_form(policy_root: Path) -> None:
    for path in policy_root.rglob("*.*"):
        text = path.read_text()
        assert format_file(path.relative_to(policy_root).as_posix(), text) == text, path


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        ("p,role:A ,*,  doc:*,read,allow,true\n", "p, role:A, *, doc:*, read, allow, true\n"),
        ('p, "role:A", "*", b\n', "p, role:A, *, b\n"),
        ('p, "a == ""x, y"""\n', 'p, "a == ""x, y"""\n'),
        ("p, a in [1\\, 2]\n", "p, a in [1\\, 2]\n"),
        ("p, !a || b\n", 'p, "!a || b"\n'),
        ("z,1,2\n", "z, 1, 2\n"),
        ('"#p", a\n', '"#p", a\n'),
        ("\n\n# a  \n\n\n\np,b\n\n", "# a\n\np, b\n"),
        ("# a\r\np,b\r\n", "# a\np, b\n"),
        ('p, "open\n', 'p, "open\n'),
        ("p, a,\n", "p, a,\n"),
        ("\n \n", ""),
        ("", ""),
    ],
)
def test_rows(written: str, canonical: str) -> None:
    assert format_rows(written) == canonical


def test_a_row_at_the_limit_is_not_pushed_past_it() -> None:
    long = "p," + "a" * (MAX_LINE - 4) + ",b"
    assert format_rows(long) == long + "\n"


def test_space_that_counts_in_yaml_stays() -> None:
    assert format_yaml("a: 1  \n\n\n") == "a: 1\n"
    block = "a: |\n  x  \n  y\n"
    assert format_yaml(block) == block
    assert format_yaml("a: |+\n  x\n\n\n") == "a: |+\n  x\n\n\n"


def test_other_files_are_left_alone() -> None:
    assert format_file("model.conf", "a  \n\n\n") == "a  \n\n\n"
    assert format_file("other.yaml", "a:  \n\n\n") == "a:  \n\n\n"
