"""The billing webhook: a cron job has every due block committed. Rooms own their clocks and do not depend on it.

It exists for operators whose older system was driven by such a job, and as a check from outside: its answer shows
whether every live call could be brought up to date.
"""

import base64
import hashlib
import hmac
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import trio
from msgspec import UNSET, UnsetType

from domain.refusals import Code, Refusal
from domain.room import inputs
from server.access.webhook_signatures import MAX_SIGNATURES, is_recent
from server.broadcast.replies import WaitingReply
from server.rest.request import Request
from server.rest.route import Needs, Routes
from storage.database_errors import StatementRefused, StorageUnavailable

MAX_RESULTS = 1000  # calls in one answer

UNAUTHORIZED = Refusal(Code.UNAUTHORIZED, "Wrong or missing billing secret")

routes = Routes("/api/billing/meter")


class SweptCall(msgspec.Struct, frozen=True, rename="camel"):
    """The result for one call. `reason` is the code of the refusal, for a call that could not be brought up to date."""

    call_id: str
    success: bool
    platform_fee: int = 0
    block_cost: int | UnsetType = UNSET
    creator_cut: int | UnsetType = UNSET
    reason: str | UnsetType = UNSET
    call_ended: bool | UnsetType = UNSET


class Sweep(msgspec.Struct, frozen=True, rename="camel"):
    """`metered` counts the blocks that this sweep committed, other fields count calls; failures are listed first."""

    success: bool
    metered: int
    already_current: int
    ended: int
    failed: int
    results: list[SweptCall]


def _why_not_sweep(request: Request) -> Refusal | None:
    if _may_sweep(request):
        return None
    request.context.metrics.swept("refused")
    return UNAUTHORIZED


@routes.post(
    needs=Needs.ANYONE,
    refuses=(Code.UNAUTHORIZED,),
    serves_while_draining="none",
    proofs=(("X-Billing-Secret",), ("Webhook-Id", "Webhook-Timestamp", "Webhook-Signature")),
    verify=_why_not_sweep,
)
async def sweep(request: Request) -> Sweep:
    """Commit every due block of every live call, and adopt calls that no room owns.

    Authenticated by the secret in `X-Billing-Secret` or by a Standard Webhooks signature made with it, at most five
    minutes old. A sweep makes no block due: two sweeps at once, or none at all, charge the same.
    """
    metrics = request.context.metrics
    try:
        swept = await _bring_up_to_date(request)
    except (StorageUnavailable, StatementRefused):
        metrics.swept("failed")
        raise
    metrics.swept("failed" if swept.failed else "done")
    return swept


async def _bring_up_to_date(request: Request) -> Sweep:
    """Ask every room and wait for all answers within one deadline. Raises StorageUnavailable."""
    context = request.context
    await request.background_tasks.run(context.orphans.adopt)
    asked = []
    for room in context.registry.calls():
        reply = WaitingReply()
        room.inbox.deliver(inputs.SettleDueBlocks(reply))
        asked.append((str(room.id), reply))
    deadline = trio.current_time() + context.settings.http.answer_seconds
    return summary([(call_id, await reply.wait(max(0, deadline - trio.current_time()))) for call_id, reply in asked])


def summary(answers: Sequence[tuple[str, Any]]) -> Sweep:
    """Sum up the answers of the rooms, given as pairs of call id and answer."""
    lines = [_line(call_id, answer) for call_id, answer in answers]
    metered = [0 if isinstance(answer, Refusal) else int(answer["metered"]) for _, answer in answers]
    current = sum(
        line.success and line.call_ended is UNSET and not blocks for line, blocks in zip(lines, metered, strict=True)
    )
    return Sweep(
        success=True,
        metered=sum(metered),
        already_current=current,
        ended=sum(line.call_ended is True for line in lines),
        failed=sum(not line.success for line in lines),
        results=sorted(lines, key=lambda line: line.success)[:MAX_RESULTS],
    )


def _line(call_id: str, answer: Any) -> SweptCall:
    if isinstance(answer, Refusal):
        return SweptCall(call_id, success=False, reason=answer.code.name)
    return msgspec.convert(answer, SweptCall)


# Authentication


def _may_sweep(request: Request) -> bool:
    """Return whether the caller has proved the billing secret; False for all if none is configured."""
    secret = request.context.secrets.billing_webhook_secret
    if secret is None:
        return False
    given = request.headers.get("X-Billing-Secret")
    if given is not None:
        return hmac.compare_digest(given.encode("latin-1"), secret.encode())
    return _is_signed(request, secret)


def _is_signed(request: Request, secret: str) -> bool:
    """Verify a Standard Webhooks signature: `v1,` and base64 of the HMAC-SHA256 of id, timestamp and body.

    One valid signature of several suffices. The scheme is that of https://www.standardwebhooks.com.
    """
    webhook_id, timestamp = request.headers.get("Webhook-Id", ""), request.headers.get("Webhook-Timestamp", "")
    if not webhook_id or not is_recent(timestamp, request.context.clock.now() // 1_000_000):
        return False
    signed = b".".join((webhook_id.encode("latin-1"), timestamp.encode(), request.raw))
    given = [
        signature.encode() for signature in request.headers.get("Webhook-Signature", "").split(" ")[:MAX_SIGNATURES]
    ]
    is_valid = False
    for key in _keys(secret):
        expected = b"v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256))
        for signature in given:
            is_valid |= hmac.compare_digest(signature, expected)  # compare all of them, so that timing reveals nothing
    return is_valid


def _keys(secret: str) -> Iterator[bytes]:
    """Yield the secret as it is and, as libraries of Standard Webhooks do, decoded from base64 after `whsec_`."""
    yield secret.encode()
    try:
        yield base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except ValueError:
        return
