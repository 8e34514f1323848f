"""Records every plan that PostgreSQL executes, also those inside of functions and triggers."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import asyncpg
import pytest

from storage.connections import login
from tests.support.databases import Databases

# auto_explain sends each plan to the client before the result, so no log must be read and no plan is late.
EXPLAINING = {
    "session_preload_libraries": "auto_explain",
    "auto_explain.log_min_duration": "0",
    "auto_explain.log_nested_statements": "on",
    "auto_explain.log_format": "json",
    "auto_explain.log_level": "notice",
}


class Plan(NamedTuple):
    """A recorded plan: the statement, the step of the test, and the plan's nodes."""

    tried: str
    sql: str
    tree: dict[str, Any]

    @property
    def scanned(self) -> set[str]:
        """The tables that are scanned sequentially."""
        return {node["Relation Name"] for node in _nodes(self.tree) if node["Node Type"] == "Seq Scan"}


class Plans(list[Plan]):
    """All recorded plans, in the order in which their statements ended."""

    tried = "nothing"

    def trying(self, name: str) -> None:
        """Assign the plans that follow to this step of the test."""
        self.tried = name


@contextmanager
def recorded_plans(databases: Databases, dsn: str, monkeypatch: pytest.MonkeyPatch, **settings: str) -> Iterator[Plans]:
    """Record the plans of every connection that is opened in the block, with these database settings."""
    plans = Plans()

    class PlanReader(asyncpg.Connection):
        def _process_log_message(self, fields: dict[str, str], last_query: str) -> None:
            message = fields["M"]
            if message.startswith("duration: "):
                plan = json.loads(message[message.index("{") :])
                plans.append(Plan(plans.tried, plan["Query Text"], plan["Plan"]))

    monkeypatch.setitem(login._SETTINGS, "connection_class", PlanReader)
    name = urlsplit(dsn).path[1:]
    for setting, value in (EXPLAINING | settings).items():
        databases.execute(f"ALTER DATABASE {name} SET {setting} = '{value}'")
    try:
        yield plans
    finally:
        databases.execute(f"ALTER DATABASE {name} RESET ALL")


def _nodes(tree: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield tree
    for below in tree.get("Plans", ()):
        yield from _nodes(below)
