"""Named SQL, kept in ``queries.sql`` beside the store that runs it.

Each query opens with ``-- name: find_user`` and at least one comment line that tells its purpose.
"""

import re
from collections.abc import Iterator, Mapping
from importlib import resources
from typing import Final

from argy.base.errors import ArgyError

_NAME: Final = re.compile(r"^--\s*name:\s*(\S*)\s*$")
_IDENTIFIER: Final = re.compile(r"^[a-z][a-z0-9_]*$")


class QueriesRefused(ArgyError):
    """A ``queries.sql`` file that breaks its format; raised at load."""

    default_reason = "QUERIES_REFUSED"


class Queries(Mapping[str, str]):
    """The queries of one file, by name: ``Q["find_user"]`` or ``Q.find_user``."""

    __slots__ = ("_queries", "_source")

    def __init__(self, queries: Mapping[str, str], *, source: str) -> None:
        self._queries = dict(queries)
        self._source = source

    @classmethod
    def load(cls, package: str, filename: str = "queries.sql") -> "Queries":
        """Read the file beside a package's modules (pass ``__package__``).

        Raises:
            QueriesRefused: naming file and line.
        """
        text = resources.files(package).joinpath(filename).read_text(encoding="utf-8")
        return cls.parse(text, source=f"{package}/{filename}")

    @classmethod
    def parse(cls, text: str, *, source: str) -> "Queries":
        """Split a file's text into queries.

        Raises:
            QueriesRefused: for a bad or repeated name, a query without purpose comment, an empty
                query, or SQL before the first name.
        """
        queries: dict[str, str] = {}
        name, purpose, body, opened = "", False, list[str](), 0

        def close() -> None:
            if not name:
                return
            sql = "\n".join(body).strip().removesuffix(";").rstrip()
            if not sql:
                raise QueriesRefused(f"{source}:{opened}: query {name} is empty")
            queries[name] = sql

        for number, line in enumerate(text.splitlines(), start=1):
            found = _NAME.match(line)
            if found:
                close()
                name, purpose, body, opened = found[1], False, [], number
                if not _IDENTIFIER.match(name):
                    raise QueriesRefused(f"{source}:{number}: bad query name {name!r}")
                if name in queries:
                    raise QueriesRefused(f"{source}:{number}: query {name} is defined twice")
            elif line.lstrip().startswith("--"):
                purpose = purpose or not body
            elif line.strip():
                if not name:
                    raise QueriesRefused(f"{source}:{number}: SQL before the first '-- name:'")
                if not purpose:
                    raise QueriesRefused(f"{source}:{number}: query {name} has no purpose comment")
                body.append(line)
        close()
        return cls(queries, source=source)

    def __getitem__(self, name: str) -> str:
        try:
            return self._queries[name]
        except KeyError:
            raise KeyError(f"no query {name!r} in {self._source}") from None

    def __getattr__(self, name: str) -> str:
        try:
            return self._queries[name]
        except KeyError:
            raise AttributeError(f"no query {name!r} in {self._source}") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._queries)

    def __len__(self) -> int:
        return len(self._queries)
