"""Single figures of a server's metrics."""

from server.observability.metrics import Metrics


def figure(metrics: Metrics, line: str) -> float:
    """Return the value of a metric, by its name and labels as `/metrics` shows them."""
    shown = dict(each.rsplit(" ", 1) for each in metrics.exposition().decode().splitlines() if each[:1] != "#")
    return float(shown[line])
