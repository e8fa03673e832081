"""An agent behind each backend, as each user."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from agent_stand import IDS, WALLS, Agent, an_agent


@pytest.fixture(params=WALLS, ids=IDS)
def agent(request: pytest.FixtureRequest) -> Iterator[Agent]:
    """Its folder is one that every user can reach: pytest's own are closed to others."""
    backend, who = request.param
    with tempfile.TemporaryDirectory(prefix="argy-agentd-") as folder:
        Path(folder).chmod(0o755)
        with an_agent(backend, who, Path(folder)) as made:
            yield made
