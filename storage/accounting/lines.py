"""Rows of the ledger as lines of text that PostgreSQL writes, as NDJSON or CSV.

The server passes a portion of lines on as one value, so that its event loop does not handle single rows. No column is a
text that a user wrote, so CSV needs no quotes, and no cell begins a formula.
"""

from collections.abc import Mapping
from typing import Literal, NamedTuple

from domain.billing.posting import Kind
from storage.ledger.statements import SYSTEM_WALLETS

Form = Literal["ndjson", "csv"]


class Portion(NamedTuple):
    """Some lines, each with its end, in the order of the export, and how to go on behind them."""

    text: bytes
    rows: int
    last: str | None  # identifies the last row; None without a row
    ended: bool  # whether no row can follow


def header(columns: Mapping[str, str], form: Form) -> bytes:
    """Return the first line of an export, empty for NDJSON, whose lines name their fields."""
    return (",".join(columns) + "\n").encode() if form == "csv" else b""


def lines(columns: Mapping[str, str], form: Form, rows: str, order: str) -> str:
    """Return the SQL of one text with a line for each of the `rows`, in their `order`.

    `columns` has an SQL expression for each name. NULL is null in NDJSON, and nothing between two commas in CSV.
    """
    named = ", ".join(f'{expression} AS "{name}"' for name, expression in columns.items())
    parts = ", ',', ".join(f'e."{name}"' for name in columns)
    line = "concat(row_to_json(e)::text, E'\\n')" if form == "ndjson" else f"concat({parts}, E'\\n')"
    return (
        f"SELECT convert_to(coalesce(string_agg({line}, '' ORDER BY {order}), ''), 'UTF8')"
        f" FROM {rows} r, LATERAL (SELECT {named}) e"
    )


def name_of_wallet(column: str) -> str:
    """Return the SQL of a wallet's name: the id of its user, or the name of a system wallet."""
    system = " ".join(f"WHEN '{wallet}' THEN '{name}'" for wallet, name in SYSTEM_WALLETS.items())
    return f"CASE {column} {system} ELSE {column}::text END"


def name_of_kind(column: str) -> str:
    """Return the SQL of the name of a kind; NULL for NULL."""
    return f"(ARRAY[{', '.join(repr(kind.name.lower()) for kind in Kind)}])[{column}]"


def time_text(column: str) -> str:
    """Return the SQL of a time as RFC 3339 in UTC with milliseconds, as `rfc3339_of` writes it."""
    return f"""to_char({column} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')"""


def day_text(column: str, zone: str) -> str:
    """Return the SQL of the local day of a time; `zone` is the SQL of an IANA time zone."""
    return f"to_char({column} AT TIME ZONE {zone}, 'YYYY-MM-DD')"
