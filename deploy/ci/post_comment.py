# ruff: noqa: INP001 - a script, run by itself with any Python
"""Posts one comment on a pull or merge request, or brings the one that is there up to date.

    python deploy/ci/post_comment.py github comment.md 17     # GITHUB_TOKEN, GITHUB_REPOSITORY
    python deploy/ci/post_comment.py gitlab comment.md 17     # POLICY_COMMENT_TOKEN, CI_PROJECT_ID
    python deploy/ci/post_comment.py gitlab-open policy policy-check/comment.md

The last one does it for every open merge request, with the file among the artifacts of the job
``policy`` of its newest commit.

The first line of the file, an HTML comment, tells which comment it is. Only a comment of our own
counts: one that somebody else began with this line would stay theirs to change. The file was
written by a job that ran what the request holds: it is bounded, and nothing in it is a command.
"""

import json
import os
import re
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_PAGE = 100
_MAX_PAGES = 50
_MAX_RUNS = 5
_TIMEOUT_S = 30
_MAX_CHARS = 65_000
"""GitHub refuses comments of more than 65,536 characters."""
_MAX_BYTES = 4 * _MAX_CHARS
_MARK = "<!-- argy policy-check: "
_QUICK_ACTION = re.compile(r"^([\s>]*)/", re.MULTILINE)
"""How a line begins that GitLab obeys instead of showing it, such as /merge."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Follows nothing: the token would go along to wherever it leads."""

    def redirect_request(self, *_: Any) -> None:
        return None


_OPENER = urllib.request.build_opener(_NoRedirect)


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
            self.project = project
        self.me = None if kind == "github" else self.call("GET", f"{root}/user")["id"]

    def call(self, method: str, url: str, value: object = None) -> Any:
        """One call; its JSON answer."""
        data = None if value is None else json.dumps(value).encode()
        with self._open(method, url, data) as answer:
            return json.load(answer)

    def artifact(self, job: int, path: str) -> str:
        """One file of a job's artifacts; empty when it is too long, not text or not there."""
        try:
            with self._open("GET", f"{self.project}/jobs/{job}/artifacts/{path}") as answer:
                content: bytes = answer.read(_MAX_BYTES + 1)
        except urllib.error.HTTPError as error:
            print(f"job {job} has no such file: {error.code}")
            return ""
        return "" if len(content) > _MAX_BYTES else content.decode(errors="replace")

    def _open(self, method: str, url: str, data: bytes | None = None) -> Any:
        headers = {**self.headers, "Content-Type": "application/json"}
        request = urllib.request.Request(url, data, headers, method=method)  # noqa: S310 - https
        return _OPENER.open(request, timeout=_TIMEOUT_S)

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
    if not mark.startswith(_MARK) or not mark.endswith("-->"):
        raise SystemExit("post_comment: the first line is no mark")
    if host.me is not None:
        body = _QUICK_ACTION.sub(r"\1\/", body.replace("\r", "\n"))
    if len(body) > _MAX_CHARS:
        raise SystemExit("post_comment: the text is too long for a comment")
    for comment in host.comments():
        if comment["body"].startswith(mark) and host.ours(comment):
            if comment["body"].strip() == body.strip():
                return "unchanged"
            host.call(host.method, host.update.format(comment["id"]), {"body": body})
            return "updated"
    host.call("POST", host.create, {"body": body})
    return "posted"


def post_open(job: str, path: str) -> None:
    """Post what the job left of each open merge request; one that fails stops no other."""
    lister = Host("gitlab", 0)
    for page in range(1, _MAX_PAGES + 1):
        query = f"state=opened&order_by=updated_at&per_page={_PAGE}&page={page}"
        found = lister.call("GET", f"{lister.project}/merge_requests?{query}")
        for request in found:
            host = Host("gitlab", int(request["iid"]))
            try:
                body = _newest(host, request, job, path)
                told = post(host, body) if body else "nothing to tell"
            except (SystemExit, urllib.error.HTTPError) as error:
                told = str(error)
            print(f"!{int(request['iid'])}: {told}")
        if len(found) < _PAGE:
            return


def _newest(host: Host, request: dict[str, Any], job: str, path: str) -> str:
    """The file that the newest run of a job for a merge request left; empty when there is none.

    Only a pipeline of our own project counts: a fork's is on its own.
    """
    iid = int(request["iid"])
    runs = host.call("GET", f"{host.project}/merge_requests/{iid}/pipelines?per_page={_PAGE}")
    ids = [int(run["id"]) for run in runs if run["project_id"] == request["project_id"]]
    # A pipeline of the branch, beside that of the merge request, has no such job.
    for run in sorted(ids, reverse=True)[:_MAX_RUNS]:
        for one in host.call("GET", f"{host.project}/pipelines/{run}/jobs?per_page={_PAGE}"):
            if one["name"] == job:
                return host.artifact(int(one["id"]), path) if one["finished_at"] else ""
    return ""


def main(arguments: list[str]) -> None:
    """Post the file's text."""
    if len(arguments) != 3 or arguments[0] not in ("github", "gitlab", "gitlab-open"):
        raise SystemExit(__doc__)
    kind, *rest = arguments
    if kind == "gitlab-open":
        post_open(*rest)
        return
    file, number = rest
    print(post(Host(kind, int(number)), Path(file).read_text(encoding="utf-8")))


if __name__ == "__main__":
    main(sys.argv[1:])
