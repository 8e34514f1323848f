"""Prints the audit of the ledger: with a progress bar on a terminal, as plain lines elsewhere."""

from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from storage.ledger.audit import PROOFS, Finding, audit
from storage.postgres import Postgres


async def report_audit(postgres: Postgres) -> int:
    """Audit the ledger and print every proof as soon as it is checked, with the rows that violate it.

    Returns the exit code: 0 if everything holds, else 1. Only reads, and may run beside a live server.
    Raises StorageUnavailable.
    """
    console = Console(highlight=False, soft_wrap=True, emoji=False)
    columns: tuple[Any, ...] = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    failed = 0
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        proving = progress.add_task("proving the ledger", total=len(PROOFS))
        async for finding in audit(postgres):
            progress.advance(proving)
            _show(console, finding)
            failed += bool(finding.rows)
    console.print("the ledger is sound" if not failed else f"the ledger is NOT sound: {failed} of {len(PROOFS)} fail")
    return 1 if failed else 0


def _show(console: Console, finding: Finding) -> None:
    console.print(f"{'FAILS' if finding.rows else 'holds'}: {finding.sentence}", markup=False)
    for row in finding.rows:
        console.print("    " + ", ".join(f"{name}={value}" for name, value in row.items()), markup=False)
