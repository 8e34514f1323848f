"""Operators: figures of this server at this moment, for charts that follow it."""

from typing import Annotated

import msgspec
from msgspec import Meta

from domain.instant import rfc3339
from server.rest.request import Request
from server.rest.route import Needs, Routes

routes = Routes("/api/admin/figures")

SINCE_START = "since the start of the server"


class LiveFigures(msgspec.Struct, frozen=True, rename="camel"):
    """One server at one moment. A rate is the difference of two counts, divided by that of their times."""

    at: Annotated[str, Meta(description="The time of the figures.", examples=["2026-01-31T12:00:00.000Z"])]
    draining: Annotated[bool, Meta(description="Whether the server is stopping.")]
    connections: Annotated[int, Meta(description="Open websockets.")]
    calls: Annotated[int, Meta(description="Ringing and running calls.")]
    streams: Annotated[int, Meta(description="Live streams.")]
    waiting_commands: Annotated[int, Meta(description="Commands that wait for the storage actor.")]
    batches: Annotated[int, Meta(description=f"Committed transactions of postings {SINCE_START}.")]
    postings: Annotated[int, Meta(description=f"Postings in these transactions {SINCE_START}.")]
    commit_seconds: Annotated[float, Meta(description=f"The sum of the durations of these transactions {SINCE_START}.")]
    blocks: Annotated[int, Meta(description=f"Blocks that rooms have posted {SINCE_START}.")]
    block_lateness_seconds: Annotated[
        float, Meta(description=f"The sum of their delays {SINCE_START}, from the due time to the posting.")
    ]
    deliveries: Annotated[
        int, Meta(description=f"Events sent to members {SINCE_START}; one that goes to five members counts five times.")
    ]
    tokens_spent: Annotated[int, Meta(description=f"Tokens of blocks, tips and tickets {SINCE_START}.")]


@routes.get(needs=Needs.OPERATOR)
async def show_live_figures(request: Request) -> LiveFigures:
    """The present load of this server, and counts since its start; other servers on the database have their own."""
    context, totals = request.context, request.context.metrics.totals()
    calls = sum(room.call is not None for room in context.registry)
    return LiveFigures(
        at=rfc3339(context.clock.now()),
        draining=context.draining,
        connections=context.sessions.connected,
        calls=calls,
        streams=len(context.registry) - calls,
        waiting_commands=context.actor.waiting,
        batches=int(totals["halfminute_commit_seconds_count"]),
        postings=int(totals["halfminute_batch_postings_sum"]),
        commit_seconds=totals["halfminute_commit_seconds_sum"],
        blocks=int(totals["halfminute_block_lateness_seconds_count"]),
        block_lateness_seconds=totals["halfminute_block_lateness_seconds_sum"],
        deliveries=int(totals["halfminute_deliveries_total"]),
        tokens_spent=int(totals["halfminute_tokens_spent_total"]),
    )
