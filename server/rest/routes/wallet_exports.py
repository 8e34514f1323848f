"""Accountants, fans and creators: all entries of one wallet."""

from typing import Annotated

from msgspec import Meta

from domain.ids import UserId, WalletId
from domain.refusals import Code, Refusal
from server.rest.periods import range_of
from server.rest.query import Exported
from server.rest.request import Request
from server.rest.responses import Streamed
from server.rest.route import Needs, Routes
from server.rest.routes.admin_users import begin_read
from server.rest.routes.exports import ExportQuery, end_of_period, export, file_name
from storage.accounting.wallet_entries import WalletEntry, WalletReader
from storage.ledger.cutoff import cut_off
from storage.ledger.statements import MAX_N, SYSTEM_WALLETS, NumberRange, find_range

routes = Routes("/api")


class WalletExportQuery(ExportQuery, frozen=True, rename="camel"):
    """A period of a wallet's entries, and where to go on in it."""

    after: Annotated[
        int,
        Meta(ge=0, le=MAX_N, description="Only entries behind that with this number, the last one that has arrived."),
    ] = 0


@routes.get("/wallet/export", refuses=(Code.VALIDATION_FAILED, Code.OVERLOADED))
async def export_own_wallet(request: Request, query: WalletExportQuery) -> Exported[WalletEntry] | Streamed | Refusal:
    """Every entry of the caller's wallet in a period with the balance after it, oldest first, for a spreadsheet.

    With `format=csv` or `format=ndjson` the whole period in one response.
    """
    return await _export(request, request.user_id, query)


@routes.get(
    "/admin/wallets/{walletId}/export",
    needs=Needs.OPERATOR,
    refuses=(Code.VALIDATION_FAILED, Code.NOT_FOUND, Code.OVERLOADED),
)
async def export_wallet(
    request: Request, wallet_id: WalletId, query: WalletExportQuery
) -> Exported[WalletEntry] | Streamed | Refusal:
    """Every entry of one user's wallet, or of a system wallet, in a period with the balance after it, oldest first.

    With `format=csv` or `format=ndjson` the whole period in one response, of any length. To go on with a response that
    broke off, drop its last line if it has no end, and ask for the rest with `after`.
    """
    return await begin_wallet_read(request, wallet_id) or await _export(request, wallet_id, query)


async def begin_wallet_read(request: Request, wallet_id: WalletId) -> Refusal | None:
    """Record that the caller reads this wallet; refuses an unknown one. Raises StorageUnavailable."""
    if wallet_id not in SYSTEM_WALLETS:
        return await begin_read(request, UserId(wallet_id))
    await request.note_read()
    return None


async def _export(
    request: Request, wallet_id: WalletId, query: WalletExportQuery
) -> Exported[WalletEntry] | Streamed | Refusal:
    period = await range_of(query, request.context.time_zones)
    postgres = request.context.postgres
    through = end_of_period(period, await cut_off(postgres))
    low, high = await find_range(postgres, wallet_id, period.since, through)
    rest = NumberRange(min(max(low, query.after), high), high)
    reader = WalletReader(postgres, wallet_id, rest, period.zone.key)
    name = "wallet" if wallet_id == request.user_id else SYSTEM_WALLETS.get(wallet_id, f"wallet-{wallet_id}")
    return await export(request, query, reader, through, file_name(name, period, through))
