"""Runs Autobahn's fuzzing client against the server's websocket, alone and beside a server's other work.

`python -m tests.autobahn [CASE…]`, cases as Autobahn names them (`1.1.1`, `9.*`). On standard output comes the table,
which is kept as `tests/autobahn/results.md`. Without Python 2.7 it is one line with the reason.
"""

import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.autobahn.client import Verdict, install, try_cases
from tests.autobahn.echo import BESIDE
from tests.autobahn.members import connect_members
from tests.support.lifeline import tied
from tests.support.processes import ROOT, environment, free_ports

ALONE = "alone"
CASES = ("1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "9.*", "10.*")  # 12 and 13 try compression: we offer none
SOUND = {"OK", "NON-STRICT", "INFORMATIONAL"}
SOUND_CLOSE = {"OK", "INFORMATIONAL"}

HEAD = """\
What Autobahn's fuzzing client thinks of our listener, outbox, frames and close, with an echo on top; alone, and beside
other connections that receive events meanwhile, with pings between the echoes ([`echo.py`](echo.py) describes it).
`python -m tests.autobahn` tries it all again and prints this file.

INFORMATIONAL are cases for which the RFC names no right answer. NON-STRICT may be those of groups 3 and 4 in which a
sound message is followed at once by a frame that breaks the protocol: the connection is failed at once, and it is a
matter of moments whether the message was answered before. Another run may find others of them so.
"""


def main(cases: Sequence[str]) -> int:
    with tempfile.TemporaryDirectory(prefix="halfminute-autobahn-") as directory:
        scratch = Path(directory)
        if (missing := install(scratch)) is not None:
            _report(f"Autobahn: left out, {missing}")
            return 0
        alone = _try_alone(scratch, cases or CASES)
        beside = _try_beside(scratch, cases or CASES)
    print(HEAD)
    for name, verdicts in ((ALONE, alone), (BESIDE, beside)):
        print(f"- {name}: {_counted(verdicts)}")
        _report(f"Autobahn, {name}: {_counted(verdicts)}")
    _print_table(alone, beside)
    bad = _bad(alone) + _bad(beside)
    _report(f"Autobahn: {len(bad)} failures: {' '.join(bad)}" if bad else "Autobahn: no failure")
    return 1 if bad else 0


def _try_alone(scratch: Path, cases: Sequence[str]) -> dict[str, Verdict]:
    with _echo(ALONE) as (port, _):
        return try_cases(scratch, port, cases)


def _try_beside(scratch: Path, cases: Sequence[str]) -> dict[str, Verdict]:
    with _echo(BESIDE) as (port, server), connect_members(port) as members:
        try:
            verdicts = try_cases(scratch, port, cases)
            members.end()
        finally:
            server.kill()
        received = members.received()
    _report(f"Autobahn: each of {len(received)} other members received {min(received):,} events or more without a gap")
    return verdicts


@contextmanager
def _echo(kind: str) -> Iterator[tuple[int, "subprocess.Popen[str]"]]:
    """Yield the echo server's port and its process once it listens."""
    port = free_ports(1)[0]
    words = [sys.executable, "-m", "tests.autobahn.echo", str(port), kind]
    with subprocess.Popen(
        words, cwd=ROOT, env=environment({}), stdout=subprocess.PIPE, text=True, preexec_fn=tied()
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "LISTENING\n", "the echo did not start"
            yield port, process
        finally:
            process.kill()


def _counted(verdicts: dict[str, Verdict]) -> str:
    behaviours = Counter(verdict.behaviour for verdict in verdicts.values())
    closes = Counter(verdict.close for verdict in verdicts.values())
    return f"{len(verdicts)} cases: {_listed(behaviours)}; closes: {_listed(closes)}"


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {word}" for word, count in counts.most_common())


def _print_table(alone: dict[str, Verdict], beside: dict[str, Verdict]) -> None:
    print("\n| case | alone | its close | beside | its close |\n|---|---|---|---|---|")
    for case in sorted(alone, key=lambda case: [int(number) for number in case.split(".")]):
        print(f"| {case} | {alone[case].behaviour} | {alone[case].close} ", end="")
        print(f"| {beside[case].behaviour} | {beside[case].close} |")


def _bad(verdicts: dict[str, Verdict]) -> list[str]:
    """Return the cases that failed; a case without a verdict counts as failed."""
    found = [
        case for case, verdict in verdicts.items() if verdict.behaviour not in SOUND or verdict.close not in SOUND_CLOSE
    ]
    return found or ([] if verdicts else ["no case was tried"])


def _report(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
