"""What no file of the project may say, and what the README must.

The patterns are written so that they do not match themselves.
"""

import re

import pytest

MACHINE_PATH = r"/work/(?:main|shared|steering)|/far[m]/|/roo[t]/|/home/\w|/tmp/(?:bash|argy)"
REGISTRY_HOST = r"pypi[.]org|pythonhoste[d]|npmjs[.]|golang[.]org|debian[.]org"
UNFINISHED = r"\bTOD[O]\b|\bFIXM[E]\b|\bXX[X]\b|NotImplementedErro[r]|pragma: no cove[r]"
TRACKER = r"\b[Ii]ssues?\s+#?\d|\b(?:fix(?:es|ed)?|close[sd]?|resolve[sd]?|see|PR)\s+#\d"
NEVER_RUN = r"pytest[.](?:skip|importorskip|xfail)|mark[.](?:skip|xfail)"
MOCK = r"unittest[.]mock|(?:Magic|Async)Moc[k]|monkeypatch[.](?:setattr|setitem)"

CODE = (".py", ".pyi", ".proto", ".sql", ".yaml", ".yml", ".toml", ".sh", ".html", ".js", ".css")


def matches(pattern: str, texts: dict[str, str]) -> list[str]:
    expression = re.compile(pattern)
    return [
        f"{name}:{number}: {line.strip()}"
        for name, text in texts.items()
        for number, line in enumerate(text.splitlines(), 1)
        if expression.search(line)
    ]


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        (MACHINE_PATH, "path = '/" + "home/ada/argy'"),
        (REGISTRY_HOST, "https://pypi" + ".org/simple"),
        (UNFINISHED, "# TO" + "DO: later"),
        (TRACKER, "as in issue" + " 12"),
        (NEVER_RUN, "@pytest.mark" + ".skipif(True)"),
        (MOCK, "from unittest" + ".mock import call"),
    ],
)
def test_the_patterns_find_what_they_are_for(pattern: str, text: str) -> None:
    assert matches(pattern, {"some.py": f"x = 1\n{text}\n"}) == [f"some.py:2: {text}"]


@pytest.mark.parametrize("pattern", [MACHINE_PATH, REGISTRY_HOST, TRACKER])
def test_no_file_says(pattern: str, repo_texts: dict[str, str]) -> None:
    assert repo_texts
    assert matches(pattern, repo_texts) == []


def test_nothing_is_left_open(repo_texts: dict[str, str]) -> None:
    code = {name: text for name, text in repo_texts.items() if name.endswith(CODE)}
    assert code
    assert matches(UNFINISHED, code) == []


@pytest.mark.parametrize("pattern", [NEVER_RUN, MOCK])
def test_every_test_runs_on_real_parts(pattern: str, repo_texts: dict[str, str]) -> None:
    tests = {name: text for name, text in repo_texts.items() if name.startswith("tests/")}
    assert tests
    assert matches(pattern, tests) == []


def test_the_readme_opens_with_the_two_commands(repo_texts: dict[str, str]) -> None:
    first_screen = "\n".join(repo_texts["README.md"].splitlines()[:40])
    assert "make up" in first_screen
    assert "make test" in first_screen
