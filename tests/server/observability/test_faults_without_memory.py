"""A contained error stays contained when there is not enough memory to log it."""

from collections.abc import MutableMapping
from typing import Any

import pytest
import structlog

from server.observability.faults import Faults
from server.observability.metrics import Metrics


def test_a_fault_that_cannot_be_logged_for_want_of_memory_is_counted_and_contained(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(logger: Any, method: str, event: MutableMapping[str, Any]) -> str:
        raise MemoryError

    metrics = Metrics()
    monkeypatch.setattr("server.observability.faults.log", structlog.wrap_logger(None, processors=[refuse]))
    with Faults(metrics).contained("connection"):
        raise MemoryError
    assert b'halfminute_faults_total{where="connection"} 1.0' in metrics.exposition()
