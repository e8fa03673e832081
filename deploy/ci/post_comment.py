# ruff: noqa: INP001 - a script, run by itself with any Python
"""Posts one comment on a pull or merge request, or brings the one that is there up to date.

    python deploy/ci/post_comment.py github comment.md 17     # GITHUB_TOKEN, GITHUB_REPOSITORY
    python deploy/ci/post_comment.py gitlab comment.md 17     # POLICY_COMMENT_TOKEN, CI_PROJECT_ID

The first line of the file, an HTML comment, tells which comment it is. Only a comment of our own
counts: one that somebody else began with this line would stay theirs to change.
"""

import json
import os
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_PAGE = 100
_MAX_PAGES = 50
_TIMEOUT_S = 30


class Host:
    """The comments of one request on a code host."""

    def __init__(self, kind: str, number: int) -> None:
        env = os.environ
        if kind == "github":
            root = env.get("GITHUB_API_URL", "https://api.github.com")
            project = f"{root}/repos/{env['GITHUB_REPOSITORY']}"
            self.list = self.create = f"{project}/issues/{number}/comments"
            self.update, self.method = f"{project}/issues/comments/{{}}", "PATCH"
            self.headers = {
                "Authorization": f"Bearer {env['GITHUB_TOKEN']}",
                "Accept": "application/vnd.github+json",
            }
        else:
            root = env.get("CI_API_V4_URL", "https://gitlab.com/api/v4")
            project = f"{root}/projects/{env['CI_PROJECT_ID']}"
            self.list = self.create = f"{project}/merge_requests/{number}/notes"
            self.update, self.method = f"{self.create}/{{}}", "PUT"
            self.headers = {"PRIVATE-TOKEN": env["POLICY_COMMENT_TOKEN"]}
        self.me = None if kind == "github" else self.call("GET", f"{root}/user")["id"]

    def call(self, method: str, url: str, value: object = None) -> Any:
        """One call; its JSON answer."""
        data = None if value is None else json.dumps(value).encode()
        headers = {**self.headers, "Content-Type": "application/json"}
        request = urllib.request.Request(url, data, headers, method=method)  # noqa: S310 - https
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:  # noqa: S310
            return json.load(answer)

    def comments(self) -> Iterator[dict[str, Any]]:
        """Every comment that there is."""
        for page in range(1, _MAX_PAGES + 1):
            found = self.call("GET", f"{self.list}?per_page={_PAGE}&page={page}")
            yield from found
            if len(found) < _PAGE:
                return

    def ours(self, comment: dict[str, Any]) -> bool:
        """Whether the comment was posted with a token like ours: people can't change it."""
        if self.me is None:
            return bool(comment["user"]["login"] == "github-actions[bot]")
        return bool(comment["author"]["id"] == self.me)


def post(host: Host, body: str) -> str:
    """Post or update; says which."""
    mark = body.partition("\n")[0]
    if not mark.startswith("<!--"):
        raise SystemExit("post_comment: the first line is no mark")
    for comment in host.comments():
        if comment["body"].startswith(mark) and host.ours(comment):
            host.call(host.method, host.update.format(comment["id"]), {"body": body})
            return "updated"
    host.call("POST", host.create, {"body": body})
    return "posted"


def main(arguments: list[str]) -> None:
    """Post the file's text."""
    if len(arguments) != 3 or arguments[0] not in ("github", "gitlab"):
        raise SystemExit(__doc__)
    kind, file, number = arguments
    print(post(Host(kind, int(number)), Path(file).read_text(encoding="utf-8")))


if __name__ == "__main__":
    main(sys.argv[1:])
