"""How many exports run at once: each reads the database, and holds a portion in memory until its client has read it."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from domain.ids import UserId
from domain.refusals import Code, Refusal

OF_USER = 2  # at once: one that is broken may still be ending while its client resumes it
OF_ALL_USERS = 16  # at once, each with a portion of at most 0.7 MB; those of operators are not counted

BUSY = Refusal(Code.OVERLOADED, "Too many exports are running; wait until one ends", {"retryAfterSeconds": 5})


class TooManyExports(Exception):
    """No more exports may run now."""


class ExportSlots:
    """The running exports of one server."""

    def __init__(self) -> None:
        self._of_user: Counter[UserId] = Counter()
        self._of_all_users = 0

    @contextmanager
    def hold(self, user_id: UserId, *, is_operator: bool) -> Iterator[None]:
        """Count an export of this user as running inside of the block. Raises TooManyExports before it."""
        counted = 0 if is_operator else 1
        if self._of_user[user_id] >= OF_USER or self._of_all_users + counted > OF_ALL_USERS:
            raise TooManyExports
        self._of_user[user_id] += 1
        self._of_all_users += counted
        try:
            yield
        finally:
            self._of_user[user_id] -= 1
            self._of_all_users -= counted
            if not self._of_user[user_id]:
                del self._of_user[user_id]

    def __len__(self) -> int:
        """Return the number of running exports."""
        return self._of_user.total()
