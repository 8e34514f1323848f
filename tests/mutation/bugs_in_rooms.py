"""The guards that keep a fault inside its room, its connection or its round, and the tests that find them missing."""

from tests.mutation.bugs import Bug, Edit

SUPERVISION = "tests/server/rooms/test_supervision.py"
RESTART = "tests/server/rooms/test_room_restart.py"
CRASH = "tests/server/rooms/test_room_crash.py"

IN_ROOMS = (
    Bug(
        "rejoins",
        "the re-joins of a restarted room's members are never refused",
        "the restart of a large room loses most of its members",
        (
            Edit(
                "server/rooms/lifecycle.py",
                "room.inbox.deliver(inputs.Joined(member_id",
                "room.inbox.offer(inputs.Joined(member_id",
            ),
        ),
        f"{RESTART}::test_all_400_viewers_of_a_crashed_stream_are_members_again_and_receive_events",
        "TimeoutError",
        "some viewers never receive `room:joined` again",
    ),
    Bug(
        "rejoins-again",
        "a restart reads the meters of members whom an earlier try has set aside",
        "a payer is refused, and is no member any more",
        (
            Edit(
                "server/rooms/lifecycle.py",
                "[*room.returning.get(Audience.MEMBERS, ()), *room.fanout.members()]",
                "room.fanout.members()",
            ),
        ),
        "tests/server/rooms/test_stream_restart.py::"
        "test_a_payer_is_a_member_again_though_the_first_restart_raises_at_their_rejoin",
        "it did not come",
        "the viewer never receives `room:joined` again",
    ),
    Bug(
        "spawned",
        "an exception in a room's background task is contained",
        "one tip whose key cannot be looked up ends the process",
        (
            Edit(
                "server/rooms/registry.py",
                "self._nursery.start_soon, self._faults.run, where, work, on_fault)",
                "self._nursery.start_soon, work)",
            ),
        ),
        f"{SUPERVISION}::test_a_tip_whose_key_cannot_be_looked_up_is_answered_and_nothing_else_happens",
        "PlantedFault",
        "the server has ended",
    ),
    Bug(
        "observer",
        "an exception in an observer cannot end the storage actor",
        "a bug of one room stops every payment of every room",
        (
            Edit(
                "server/changes/wallet_events.py",
                "                self._send_for(receipt)",
                "                pass\n            self._send_for(receipt)",
            ),
        ),
        f"{SUPERVISION}::test_the_actor_outlives_an_observer_that_raises",
        "PlantedFault",
        "the actor has ended",
    ),
    Bug(
        "stray",
        "an unrequested cancellation counts as a fault",
        "it cancels every sibling task without a log line",
        (Edit("server/observability/faults.py", "trio.current_effective_deadline() != -inf", "False"),),
        f"{SUPERVISION}::test_an_unrequested_cancellation_is_a_fault_and_cancels_nothing_else",
        "assert",
        "the sibling task does not end as it should",
    ),
    Bug(
        "bad-row",
        "a failure to build a room from its row is contained",
        "one bad row keeps the server from starting",
        (
            Edit(
                "server/rooms/leases/adoption.py",
                '        with self._faults.contained("adoption", room=str(claim.room_id)):\n',
                "        if True:\n",
            ),
        ),
        "tests/server/leases/test_adoption.py::test_a_call_whose_row_the_rules_refuse_is_ended_and_the_others_are_adopted",
        "Error",
        "the server does not start",
    ),
    Bug(
        "moved",
        "the members of a room that has a later owner receive `room:closed`",
        "they wait in a dead room",
        (Edit("server/rooms/task.py", "                    if moved:", "                    if False:"),),
        f"{RESTART}::test_both_parties_of_a_call_that_moved_are_informed_and_join_it_again",
        "it did not come",
        "`room:closed` never arrives",
    ),
    Bug(
        "overtaken",
        "a room is built only under the epoch that this server claimed",
        "two servers run one room under one epoch",
        (
            Edit(
                "server/rooms/lifecycle.py",
                "stored is not None and stored.epoch == epoch and",
                "stored is not None and",
            ),
        ),
        f"{RESTART}::test_a_room_never_runs_under_an_epoch_that_another_server_has_claimed_meanwhile",
        "AssertionError",
        "the room runs under the other server's epoch",
    ),
    Bug(
        "one-record",
        "one record of a stream is being stored at a time",
        "each viewer who falls silent causes a record of all others",
        (Edit("domain/room/record_queue.py", "        if self._under_way:", "        if False:"),),
        "tests/domain/test_stream_many_silent.py",
        "assert",
        "the meters are read as often as the square of the number of viewers",
    ),
    Bug(
        "supervision-raises",
        "a room whose supervision raises is closed for its members",
        "its members wait in a dead room, and waiting commands are never answered",
        (
            Edit(
                "server/rooms/registry.py",
                'self._faults.contained("room", partial(room.close, MOVED), ',
                'self._faults.contained("room", ',
            ),
        ),
        f"{CRASH}::test_a_room_whose_supervision_raises_closes_its_members_and_answers_waiting_commands",
        "Code.STORAGE_UNAVAILABLE",
        "the waiting command has no answer",
    ),
    Bug(
        "end-kept",
        "the end of a call is repeated if its room crashes before the end is stored",
        "a call whose end was answered continues, and is charged",
        (Edit("server/rooms/task.py", "            self._inbox.put_back([self._ended_by])", "            pass"),),
        f"{CRASH}::test_an_end_that_was_answered_ends_a_call_though_the_room_crashes_before_it_is_stored",
        "it did not come",
        "the call continues",
    ),
    Bug(
        "taken-kept",
        "an accepted command is answered even if the room crashes before it is handled",
        "the client waits for an answer for ever",
        (
            Edit(
                "server/rooms/task.py",
                "self._taken = await self._inbox.next(self.room.next_deadline())",
                "taken = await self._inbox.next(self.room.next_deadline())",
            ),
            Edit(
                "server/rooms/task.py",
                "                    self._handle_taken()\n                    if not self._inbox",
                "                    self._taken = taken\n                    self._handle_taken()\n"
                "                    if not self._inbox",
            ),
        ),
        f"{CRASH}::test_a_command_is_answered_if_the_room_breaks_while_it_waits_for_its_lease",
        "Code.STORAGE_UNAVAILABLE",
        "the command has no answer",
    ),
    Bug(
        "late-kept",
        "commands that a room did not handle before a crash wait again, even if it crashes at one of them",
        "the commands behind that one have no answer",
        (Edit("server/rooms/task.py", "            self._inbox.put_back(waiting)\n", "            pass\n"),),
        f"{CRASH}::test_each_command_that_came_too_late_for_a_broken_room_is_answered",
        "assert",
        "the second is never answered",
    ),
)
