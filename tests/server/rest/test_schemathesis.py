"""Schemathesis reads the document that a live server serves, and tries everything that it allows and forbids."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import pytest

from domain.refusals import Code
from server.access.tokens import issue_token
from tests.support.clients import SECRET, Phone, ring_and_join
from tests.support.openapi import operation_at, read_document
from tests.support.processes import ServerProcess

TOOL = Path(sys.executable).parent / "schemathesis"
# Statuses of a request that fits the schema, whatever the operation; schemathesis knows no others.
USUAL = ["2xx", "401", "403", "404", "409", "429"]
SPENDING = (Code.VALIDATION_FAILED, Code.INSUFFICIENT_TOKENS, Code.SELF_PAYMENT, Code.IDEMPOTENCY_CONFLICT)
# Per operation, the further errors with which a request that fits the schema may be refused.
BEYOND: dict[str, tuple[Code, ...]] = {
    # A cursor is a text, and only those that the server issued are cursors.
    "getAdminRooms": (Code.VALIDATION_FAILED,),
    "getCreators": (Code.VALIDATION_FAILED,),
    "getCreatorsMeBlocks": (Code.VALIDATION_FAILED,),
    "getCallsHistory": (Code.VALIDATION_FAILED,),
    "getWalletLedger": (Code.VALIDATION_FAILED,),
    "getStreams": (Code.VALIDATION_FAILED,),
    "getTips": (Code.VALIDATION_FAILED,),  # also for a call and a stream at once
    "getTipsLeaderboard": (Code.VALIDATION_FAILED,),  # neither a room nor a creator is named, or both are
    "getBillingHistory": (Code.VALIDATION_FAILED,),  # also for a call and a stream at once
    "getTokensPurchases": (Code.VALIDATION_FAILED,),
    "getPayouts": (Code.VALIDATION_FAILED,),
    "getAdminPayouts": (Code.VALIDATION_FAILED,),
    "getAdminReports": (Code.VALIDATION_FAILED,),
    "getAdminActions": (Code.VALIDATION_FAILED,),
    "getAdminBans": (Code.VALIDATION_FAILED,),
    "getAdminDebts": (Code.VALIDATION_FAILED,),
    "getAdminPayments": (Code.VALIDATION_FAILED,),
    "getAdminPurchases": (Code.VALIDATION_FAILED,),
    "getAdminReversals": (Code.VALIDATION_FAILED,),
    "getAdminCredits": (Code.VALIDATION_FAILED,),
    "getAdminRefunds": (Code.VALIDATION_FAILED,),
    "getAdminReads": (Code.VALIDATION_FAILED,),
    "getAdminUsers": (Code.VALIDATION_FAILED,),
    "getAdminStreamsStreamIdBlocks": (Code.VALIDATION_FAILED,),
    "getAdminUsersUserIdSessions": (Code.VALIDATION_FAILED,),
    "getAdminUsersUserIdLedger": (Code.VALIDATION_FAILED,),
    "getAdminUsersUserIdBlocks": (Code.VALIDATION_FAILED,),
    "getAdminUsersUserIdTips": (Code.VALIDATION_FAILED,),
    "getAdminUsersUserIdCalls": (Code.VALIDATION_FAILED,),
    "getAdminUsersUserIdStreams": (Code.VALIDATION_FAILED,),
    "getAdminUsersUserIdPurchases": (Code.VALIDATION_FAILED,),
    "getAdminUsersUserIdPayouts": (Code.VALIDATION_FAILED,),
    "getAdminUsersUserIdReports": (Code.VALIDATION_FAILED,),
    "getAdminUsersUserIdBans": (Code.VALIDATION_FAILED,),
    "getBillingStats": (Code.VALIDATION_FAILED,),  # a zone is a text, and only those of the IANA database are zones
    "getAdminOverview": (Code.VALIDATION_FAILED,),  # the same, and its days have an order
    # A period has texts for its ends, and a cursor must be one of the rows.
    "getAdminJournal": (Code.VALIDATION_FAILED,),
    "getWalletExport": (Code.VALIDATION_FAILED,),
    "getWalletStatement": (Code.VALIDATION_FAILED,),
    "getAdminWalletsWalletIdExport": (Code.VALIDATION_FAILED,),
    "getAdminWalletsWalletIdStatement": (Code.VALIDATION_FAILED,),
    "getOverlayTokens": (Code.VALIDATION_FAILED,),
    "postTokensPurchases": (Code.VALIDATION_FAILED, Code.IDEMPOTENCY_CONFLICT),
    "postPayouts": (Code.VALIDATION_FAILED, Code.INSUFFICIENT_TOKENS, Code.IDEMPOTENCY_CONFLICT),
    "postAdminPayoutsPayoutId": (Code.VALIDATION_FAILED,),
    "postAdminPaymentsPaymentIdSettle": (Code.VALIDATION_FAILED, Code.IDEMPOTENCY_CONFLICT),
    "postAdminPurchasesPurchaseIdSettle": (Code.VALIDATION_FAILED, Code.IDEMPOTENCY_CONFLICT),
    "postAdminReversalsReversalIdSettle": (Code.VALIDATION_FAILED, Code.IDEMPOTENCY_CONFLICT),
    "postReports": (Code.VALIDATION_FAILED,),
    "postOverlayTokens": (Code.VALIDATION_FAILED,),
    "postAdminBans": (Code.VALIDATION_FAILED,),
    # In JSON Schema 5.0 is an integer; a text may consist of control characters alone.
    "putCreatorsMe": (Code.VALIDATION_FAILED,),
    "putMe": (Code.VALIDATION_FAILED,),
    "putWalletLimits": (Code.VALIDATION_FAILED,),
    "postStreams": (Code.VALIDATION_FAILED,),  # also for a price that its type does not take
    "postCallsInit": SPENDING,
    "postCallsInitiate": SPENDING,
    "postTipsSend": SPENDING,
    "postStreamsStreamIdTickets": SPENDING,  # also for a stream that has none
    # The payment to refund is named in one way of four.
    "postAdminRefunds": (Code.VALIDATION_FAILED, Code.IDEMPOTENCY_CONFLICT),
    "postAdminCredits": (Code.VALIDATION_FAILED, Code.INSUFFICIENT_TOKENS, Code.IDEMPOTENCY_CONFLICT),
}
IN_PLACES = (
    ("path", "callId"),
    ("path", "streamId"),
    ("path", "userId"),
    ("body", "userId"),
    ("body", "creatorId"),
    ("body", "toCreatorId"),
    ("body", "callId"),
    ("body", "streamId"),
    ("body", "ticketId"),
    ("body", "tipId"),
)


class PreparedServer(NamedTuple):
    """A server with users, one of them in each role."""

    server: ServerProcess
    tokens: dict[str, str]
    ids: dict[str, list[str]]  # by the name under which requests carry them


@pytest.fixture
def prepared(data_dir: Path) -> Iterator[PreparedServer]:
    settings = {"HALFMINUTE_JWT_SECRET": SECRET, "HALFMINUTE_CALLS_RING_COOLDOWN_SECONDS": "0"}
    with ServerProcess(data_dir, "--demo", settings=settings) as server:  # where tokens can be bought
        phones = [Phone(server.http_port, server.websocket_port) for _ in range(3)]
        fan, creator, other = phones
        operator = uuid4()
        tokens = {"fan": fan.token, "creator": creator.token, "operator": _token(operator)}
        with fan, creator, other:
            for each in (creator, other):
                assert each.http.put("/creators/me", json={"rateTokensPerMin": 2}).status_code == 200
            _give(server, tokens["operator"], fan.user_id, creator.user_id)
            call_id = str(ring_and_join(fan, other)["callId"])
            stream = creator.http.post("/streams", json={"title": "Soon", "type": "public"}).json()["stream"]
            show, ticket_id, tip_id = _sell(creator, fan)
            ids = {"callId": [call_id], "streamId": [stream["id"], show], "ticketId": [ticket_id], "tipId": [tip_id]}
            users = [str(each.user_id) for each in phones]
            yield PreparedServer(
                server, tokens, {"userId": users, "creatorId": users[1:], "toCreatorId": users[1:], **ids}
            )


def _sell(creator: Phone, fan: Phone) -> tuple[str, str, str]:
    """Make a stream that its creator can start and end, a ticket to it and a tip, which operators can refund."""
    terms = {"title": "Show", "type": "private", "ticketPriceTokens": 2, "rateTokensPerMin": 2}
    stream_id = creator.http.post("/streams", json=terms).json()["stream"]["id"]
    sold = fan.http.post(f"/streams/{stream_id}/tickets")
    tip = {"toCreatorId": str(creator.user_id), "amountTokens": 5}
    return stream_id, sold.json()["ticket"]["ticketId"], fan.http.post("/tips/send", json=tip).json()["tipId"]


def _token(user_id: UUID) -> str:
    return issue_token(SECRET, user_id, role="operator", ttl_seconds=36_000, now=time.time())


def _give(server: ServerProcess, token: str, *user_ids: UUID) -> None:
    for user_id in user_ids:
        gift = {"userId": str(user_id), "tokens": 1_000_000, "reason": "to spend"}
        assert server.post("/api/admin/credits", token, gift).status_code == 201


@pytest.mark.parametrize(
    ("role", "phases"), [("fan", "fuzzing,stateful"), ("creator", "fuzzing"), ("operator", "coverage,fuzzing")]
)
def test_a_live_server_does_what_its_document_says(
    prepared: PreparedServer, tmp_path: Path, role: str, phases: str
) -> None:
    asked = try_everything(prepared, tmp_path, role, f"--phases={phases}", "--max-examples=4", "--seed=1")
    assert len(asked) > 100


@pytest.mark.long
@pytest.mark.parametrize("role", ["fan", "creator", "operator"])
def test_a_live_server_does_what_its_document_says_thousands_of_times(
    prepared: PreparedServer, tmp_path: Path, role: str
) -> None:
    asked = try_everything(prepared, tmp_path, role, "--max-examples=150")
    assert len(asked) >= 4_000


def try_everything(prepared: PreparedServer, directory: Path, role: str, *options: str) -> list[tuple[str, int]]:
    """Return every operation that was requested, with the status of its answer; fail on what schemathesis reports."""
    (directory / "schemathesis.toml").write_text(_settings(prepared.ids))
    report, document = directory / "report.har", directory / "openapi.json"
    document.write_bytes(
        prepared.server.get("/api/openapi.json").content
    )  # read from its route, that route is left out
    done = subprocess.run(
        [
            *(TOOL, "run", document, f"--url=http://127.0.0.1:{prepared.server.http_port}", "--checks=all"),
            *("--header", f"Authorization: Bearer {prepared.tokens[role]}", "--continue-on-failure", "--no-color"),
            *("--report=har", f"--report-har-path={report}", "--generation-database=none", *options),
        ],
        cwd=directory,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-2000:]
    asked = list(_asked(json.loads(report.read_text())))
    assert [each for each in asked if each[1] >= 500] == []
    assert prepared.server.logged("http.fault") == []
    operations = [operation for path in read_document()["paths"].values() for operation in path.values()]
    assert {operation["operationId"] for operation in operations} <= {name for name, _ in asked}
    return asked


def _settings(ids: dict[str, list[str]]) -> str:
    """Write settings: half of all ids are those of existing users and calls, and the table above is included."""
    lines = [f"checks.positive_data_acceptance.expected-statuses = {json.dumps(USUAL)}"]
    for place, name in IN_PLACES:
        lines.append(f'parameters."{place}.{name}" = {{ dictionary = "{name}", probability = 0.5 }}')
    for name, values in ids.items():
        lines.append(f"dictionaries.{name}.values = {json.dumps(values)}")
    for operation_id, codes in BEYOND.items():
        statuses = [*USUAL, *sorted({str(code.status) for code in codes})]
        lines += ["[[operations]]", f'include-operation-id = "{operation_id}"']
        lines.append(f"checks.positive_data_acceptance.expected-statuses = {json.dumps(statuses)}")
    return "\n".join(lines)


def _asked(report: dict[str, Any]) -> Iterator[tuple[str, int]]:
    for entry in report["log"]["entries"]:
        request = entry["request"]
        operation = operation_at(read_document(), request["method"], urlsplit(request["url"]).path)
        yield ("" if operation is None else operation["operationId"]), entry["response"]["status"]


def test_each_exception_to_the_usual_statuses_is_documented() -> None:
    described = {
        operation["operationId"]: " ".join(str(response.get("$ref")) for response in operation["responses"].values())
        for path in read_document()["paths"].values()
        for operation in path.values()
    }
    for operation_id, codes in BEYOND.items():
        assert all(code.name in described[operation_id] for code in codes), operation_id
