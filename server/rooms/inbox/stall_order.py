"""In which order a room handles what arrived while the server did nothing: the true moments are not known."""

from uuid import UUID

from domain.protocol.commands import CallAccept, CallPause, CallResume
from domain.room import inputs


class StallOrder:
    """Decides for each input that arrives in a stall whether it counts from the beginning of the stall or from its end.

    What stops a clock counts from the beginning, so that it costs nobody a block that fell due after it. What starts
    one counts from the end, so that nobody is billed for time in which the server heard nobody. Whatever a member sent
    after something that counts from the end, and that depends on it, counts from the end as well.
    """

    def __init__(self) -> None:
        self._members: set[UUID] = set()  # that joined, or were heard again, in the stall
        self._resumed: set[UUID] = set()  # users who accepted or resumed in the stall

    def is_late(self, given: inputs.Input) -> bool:
        """Whether this input counts from the end of the stall. Call it once for each, in the order of arrival."""
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
