"""The table of routes, from which the contract as served is generated."""

import msgspec

from domain.refusals import Refusal
from server.rest.app import ROUTES
from server.rest.responses import Plain


def test_no_two_routes_answer_the_same_request() -> None:
    asked = [(route.method, route.path) for route in ROUTES]
    assert len(set(asked)) == len(asked) >= 30


def test_every_route_has_a_summary() -> None:
    for route in ROUTES:
        assert (route.handler.__doc__ or "").strip(), route.path


def test_every_body_query_and_answer_can_be_described() -> None:
    types = [kind for route in ROUTES for kind in (route.body, route.query, route.answer) if kind not in (None, Plain)]
    schemas, components = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    assert len(schemas) == len(types)
    assert {"CallView", "CallWanted", "CreditWanted", "Sweep"} <= components.keys()


def test_an_answer_is_never_an_error() -> None:
    assert all(Refusal not in getattr(route.answer, "__args__", ()) for route in ROUTES)


def test_the_older_name_of_init_is_marked_as_such() -> None:
    retired = {route.path for route in ROUTES if route.retired is not None}
    assert retired == {"/api/calls/initiate"}


def test_routes_that_move_tokens_or_ring_take_a_key() -> None:
    keyed = {route.path for route in ROUTES if route.takes_key}
    assert keyed == {
        "/api/calls/init",
        "/api/calls/initiate",
        "/api/streams/{streamId}/tickets",
        "/api/tips/send",
        "/api/admin/credits",
        "/api/admin/refunds",
        "/api/admin/payments/{paymentId}/settle",
        "/api/admin/purchases/{purchaseId}/settle",
        "/api/admin/reversals/{reversalId}/settle",
        "/api/tokens/purchases",
        "/api/payouts",
    }
