"""The linter of policies: what loads and still doesn't do what its author meant."""

from argy.policy.lint.catalogue import RULES, explained
from argy.policy.lint.run import lint, refusals

__all__ = ["RULES", "explained", "lint", "refusals"]
