"""The order in which a room handles inputs that arrived while the server was stalled, at unknown times."""

from uuid import UUID

from domain.protocol.commands import CallAccept, CallPause, CallResume
from domain.room import inputs


class StallOrder:
    """Decides for each input of a stall whether it counts from the start of the stall or from its end.

    An input that stops a meter counts from the start, so that no block that fell due later in the stall is charged.
    An input that starts a meter counts from the end, so that no time of the stall is billed.
    A later input of the same member that depends on one that counts from the end counts from the end as well.
    """

    def __init__(self) -> None:
        self._members: set[UUID] = set()  # joined, or were received again, in the stall
        self._resumed: set[UUID] = set()  # users who accepted or resumed in the stall

    def is_late(self, given: inputs.Input) -> bool:
        """Whether this input counts from the end of the stall. Call it once for each input, in order of arrival."""
        match given:
            case inputs.Joined(member_id=member_id) | inputs.OverlayJoined(member_id=member_id):
                self._members.add(member_id)
                return True
            case inputs.ConnectionResponsive(member_id) | inputs.RightsChanged(member_id, is_operator=False):
                self._members.add(member_id)
                return True
            case (
                inputs.Left(member_id)
                | inputs.ConnectionSilent(member_id)
                | inputs.RoomAction(member_id=member_id)
                | inputs.RightsChanged(member_id)
            ):
                return member_id in self._members
            case inputs.CallAction(user_id, CallAccept() | CallResume()):
                self._resumed.add(user_id)
                return True
            case inputs.CallAction(user_id, CallPause()):
                return user_id in self._resumed
        return False
