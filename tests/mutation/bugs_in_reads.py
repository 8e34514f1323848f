"""The guards of operators' reads and of figures by time zone, and the tests that find them missing."""

from tests.mutation.bugs import Bug, Edit

QUARTERS, READS = (f"storage/migrations/{name}.sql" for name in ("0015_figures_by_quarter", "0014_operators_reads"))
BUSINESS = "storage/market/business_figures.py"
ZONE_TESTS, READS_TESTS = "tests/storage/test_overview.py", "tests/server/rest/test_personal_reads.py"

IN_READS = (
    Bug(
        "figures-zone",
        "the figures are summed by days of the requested time zone",
        "the evening of an American platform is in the next day's figures",
        (
            Edit(
                BUSINESS,
                "kind, (quarter AT TIME ZONE $3)::date",
                "kind, (quarter AT TIME ZONE (left($3, 0) || 'UTC'))::date",
            ),
        ),
        f"{ZONE_TESTS}::test_the_figures_of_a_zone_are_those_of_its_days",
        "assert",
        "the days of the blocks differ from those of the journal",
    ),
    Bug(
        "figures-quarter",
        "the stored sums are of quarters of an hour",
        "the days of Kathmandu begin at the wrong quarter of an hour",
        (Edit(QUARTERS, "date_bin('15 minutes', created_at", "date_bin('1 hour', created_at"),),
        f"{ZONE_TESTS}::test_the_figures_of_a_zone_are_those_of_its_days",
        "assert",
        "the days of the blocks differ from those of the journal",
    ),
    Bug(
        "read-recorded",
        "a read of users' data is recorded before it is answered",
        "an operator looks at users, and nobody ever learns of it",
        (
            Edit(
                "server/rest/request.py",
                "        await note_reads(self.context.postgres, self.user_id, self.route, users or (None,), room_id)",
                "        return",
            ),
        ),
        f"{READS_TESTS}::test_every_read_names_operator_user_route_and_time",
        "AssertionError",
        "the record is empty",
    ),
    Bug(
        "read-append-only",
        "the record of reads is append-only",
        "a read is taken out of the record",
        (Edit(READS, "BEFORE UPDATE OR DELETE OR TRUNCATE ON personal_reads", "BEFORE TRUNCATE ON personal_reads"),),
        f"{READS_TESTS}::test_the_record_is_append_only",
        "DID NOT RAISE",
        "the deletion succeeds",
    ),
)
