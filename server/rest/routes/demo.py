"""The users of the demo with a token each: only with `serve --demo` on a loopback address."""

import time
from typing import Annotated

import msgspec
from msgspec import Meta

from domain.ids import UserId
from domain.refusals import Code, Refusal
from server.addresses import HOST_AND_PORT
from server.demo.portraits import portrait_of, portrait_path
from server.demo.users import DEMO_USERS, DemoRole, DemoUser, demo_token
from server.money.payments.demo import demo_url
from server.rest.request import Request
from server.rest.responses import Plain
from server.rest.route import Needs, Routes

NO_DEMO = Refusal(Code.NOT_FOUND, "No such path")
SVG = "image/svg+xml"

routes = Routes("")


class DemoUserCard(msgspec.Struct, frozen=True, rename="camel"):
    """A user of the demo, with a token of theirs."""

    user_id: Annotated[UserId, Meta(description="The id of the user.")]
    display_name: Annotated[str, Meta(description="The name of the user.", examples=["Finn"])]
    role: Annotated[DemoRole, Meta(description="Whether the user is a creator, a fan or an operator.")]
    picture_url: Annotated[str, Meta(description="The path of a portrait.")]
    automatic: Annotated[bool, Meta(description="Whether the server acts for the user, who answers calls by itself.")]
    token: Annotated[str, Meta(description="A token of the user, valid for 30 days.")]


class DemoUsers(msgspec.Struct, frozen=True, rename="camel"):
    """The users of the demo."""

    items: Annotated[list[DemoUserCard], Meta(description="All users of the demo.")]


@routes.get("/api/demo/users", needs=Needs.ANYONE, refuses=(Code.NOT_FOUND,))
async def list_demo_users(request: Request) -> DemoUsers | Refusal:
    """The users of the demo with their tokens; only with `serve --demo` on a loopback address, else NOT_FOUND."""
    secret = request.context.secrets.jwt_secret
    if request.context.payments.demo is None or secret is None or not _names_this_machine(request):
        return NO_DEMO
    now = time.time()
    return DemoUsers(
        [
            DemoUserCard(
                user.user_id, user.name, user.role, portrait_path(user), user.automatic, demo_token(user, secret, now)
            )
            for user in DEMO_USERS
        ]
    )


def _names_this_machine(request: Request) -> bool:
    """Return whether the address in the browser is this machine's.

    The name of another website can be made to point here (DNS rebinding), and its scripts would read the tokens.
    """
    host = HOST_AND_PORT.fullmatch(request.headers.get("Host", ""))
    return host is not None and demo_url(host[1].strip("[]"), request.context.http_port) is not None


def portrait_routes() -> Routes:
    """Return a route for the portrait of each user; like the files of the web client they are not documented."""
    portraits = Routes("")
    for user in DEMO_USERS:
        _declare(portraits, user)
    return portraits


def _declare(portraits: Routes, user: DemoUser) -> None:
    drawn = portrait_of(user).encode()

    @portraits.get(portrait_path(user), needs=Needs.ANYONE, media=SVG, refuses=(Code.NOT_FOUND,))
    async def show_portrait(request: Request) -> Plain | Refusal:
        """The portrait; only with `serve --demo` on a loopback address, else NOT_FOUND."""
        return NO_DEMO if request.context.payments.demo is None else Plain(drawn, SVG)
