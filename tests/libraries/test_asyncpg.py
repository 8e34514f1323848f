"""The private names of asyncpg that `storage/connections` and the tests rely on."""

from asyncpg.connection import Connection

from tests.libraries.reliance import Reliance, changes

READ_IN = ("0.32",)
BUDGETS = "tests/budget/loops.py"
RELIANCES = (
    Reliance(
        Connection,
        "_transport",
        "storage/connections/login.py",
        "`_prepare_session` takes the socket from it to set keep-alive options; check that it is asyncio's transport",
    ),
    Reliance(
        Connection,
        "_transport",
        "storage/connections/socket_reader.py",
        "`read_socket` pauses its reading and reads for its protocol; check that it is asyncio's transport",
    ),
    Reliance(
        Connection,
        "_do_execute",
        BUDGETS,
        "`counted_statements` replaces it, and would count too few statements; check that each statement with "
        "arguments comes by it",
        ("self", "query", "executor", "timeout", "retry", "ignore_custom_codec", "record_class"),
    ),
    Reliance(
        Connection,
        "_execute",
        BUDGETS,
        "`counted_statements` counts what fetch, fetchrow and fetchval send, which go by this to `_do_execute`",
        ("self", "query", "args", "limit", "timeout", "return_status", "ignore_custom_codec", "record_class"),
        ("await self.__execute(",),
    ),
    Reliance(Connection, "_Connection__execute", BUDGETS, "as `_execute`", None, ("await self._do_execute(",)),
)


def test_asyncpg_has_the_private_names_that_we_rely_on() -> None:
    assert changes("asyncpg", READ_IN, RELIANCES) == []
