"""A private PostgreSQL cluster: selects the user that it runs as, creates it atomically, and starts its postmaster.

A cluster is PostgreSQL's word for the data directory of one server. The guardian process calls these functions; they
block, and wait with the `pause` that the guardian gives them.
"""

import ctypes
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from storage.embedded.data_directory import DataDir

USER = "halfminute"
DATABASE = "halfminute"
PORT = 5432  # only part of the socket's name; nothing listens on it
SOCKET_NAME = f".s.PGSQL.{PORT}"

MAKE_SECONDS_MAX = 240.0  # it takes less than a second on a good disk; the sync of a slow one takes a minute
PROBE_SECONDS_MAX = 10.0  # for a program that prints its version
CHECK_SECONDS = 0.05  # between two checks for the server's end while initdb runs

NOBODY = 65534
PR_SET_PDEATHSIG = 1

# The journal's indexes are written in random order: pages outside of the buffers cost a read and a write a posting.
BUFFERS_MB_MAX = 512
BUFFERS_PART_OF_MEMORY = 0.25  # the advice of PostgreSQL's manual

# Not a superuser, so that the private database allows no more than a hosted one. CREATEDB lets tests copy a template.
FIRST_STATEMENTS = f"CREATE ROLE {USER} LOGIN CREATEDB;\nCREATE DATABASE {DATABASE} OWNER {USER};\n"

SETTINGS = {
    "listen_addresses": "",
    "port": str(PORT),
    "unix_socket_permissions": "0700",
    "max_connections": "60",  # for one server's pool, an audit and psql
    "fsync": "on",
    "max_wal_size": "4GB",  # fewer checkpoints under load, since each makes every changed page be logged in full once
    "jit": "off",  # compilation costs more than any of our statements
    "timezone": "UTC",
    "log_timezone": "UTC",
    "lc_messages": "C",  # the guardian searches the log for English words
    "log_destination": "stderr",
    "logging_collector": "off",  # the guardian bounds the log
    "log_line_prefix": "%m [%p] ",
}


class CannotRun(Exception):
    """PostgreSQL cannot be run; the text is the reason, in one line."""


class Launch(NamedTuple):
    """How to start a program of PostgreSQL, which refuses to run as root: a command prefix, and its files' owner."""

    prefix: tuple[str, ...]
    owner_uid: int


IN_A_NAMESPACE = Launch(("unshare", "--user", f"--map-user={NOBODY}", f"--map-group={NOBODY}", "--"), 0)
# dac_override grants access to PostgreSQL's libraries inside of a home directory of mode 0700. A change of user clears
# the death signal, so setpriv sets it again.
AS_NOBODY = Launch(
    (
        *("setpriv", "--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups"),
        *("--securebits", "+no_setuid_fixup", "--inh-caps", "-all,+dac_override"),
        *("--ambient-caps", "-all,+dac_override", "--bounding-set", "-all,+dac_override"),
        *("--pdeathsig", "INT", "--"),
    ),
    NOBODY,
)


def choose_launch(bin_dir: Path, data_dir: Path) -> Launch:
    """Return how to start PostgreSQL here: directly, or without the rights of root if we are root.

    A container often runs everything as root, and PostgreSQL refuses that. A user namespace is preferred, since root
    remains the owner of the files.
    Raises CannotRun if we are root and neither a user namespace nor another user works.
    """
    if os.geteuid() != 0:
        return Launch((), os.geteuid())
    for launch in (IN_A_NAMESPACE, AS_NOBODY):
        if _can_start(launch, bin_dir, data_dir):
            return launch
    raise CannotRun("PostgreSQL refuses to run as root, and neither unshare nor setpriv works here: use another user")


def prepare_cluster(files: DataDir, bin_dir: Path, launch: Launch, pause: Callable[[float], None]) -> None:
    """Create the cluster if there is none, and give its files to the user that PostgreSQL runs as.

    `pause` waits for the given seconds, and raises to stop the work; a cluster that is not finished is then removed.
    Raises CannotRun if a program of PostgreSQL fails, or the cluster belongs to a user that we cannot act for.
    """
    if not files.cluster.exists():
        _make(files, bin_dir, launch, pause)
    owner_uid = files.cluster.stat().st_uid
    if owner_uid == launch.owner_uid:
        return
    if os.geteuid() != 0 or owner_uid not in (IN_A_NAMESPACE.owner_uid, AS_NOBODY.owner_uid):
        raise CannotRun(f"{files.cluster} belongs to user {owner_uid}: start halfminute as that user")
    _give_to(launch.owner_uid, files.cluster)


def start_postmaster(files: DataDir, bin_dir: Path, launch: Launch, socket_dir: Path) -> subprocess.Popen[bytes]:
    """Start PostgreSQL on the cluster, and return its postmaster process without waiting.

    The file postmaster.pid shows when it is ready. It listens on a Unix socket in `socket_dir` and on no port. The
    kernel stops it if the guardian dies. Raises OSError.
    """
    settings = {**SETTINGS, "shared_buffers": f"{_buffers_mb()}MB", "unix_socket_directories": str(socket_dir)}
    options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    return _start(launch, [str(bin_dir / "postgres"), "-D", str(files.cluster), *options])


def _buffers_mb() -> int:
    """The size of PostgreSQL's buffers in MiB, by the memory of this machine."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min(BUFFERS_MB_MAX, int(memory * BUFFERS_PART_OF_MEMORY) // 2**20)


def _can_start(launch: Launch, bin_dir: Path, data_dir: Path) -> bool:
    """Return whether a program started so can write to the data directory, and PostgreSQL finds its libraries."""
    check = 'test -w "$1" && exec "$2" --version'
    command = [*launch.prefix, "/bin/sh", "-c", check, "sh", str(data_dir), str(bin_dir / "postgres")]
    devnull = subprocess.DEVNULL
    try:
        probe = subprocess.run(command, stdin=devnull, stdout=devnull, timeout=PROBE_SECONDS_MAX)  # noqa: S603 - as below
    except (OSError, subprocess.TimeoutExpired):
        return False
    return probe.returncode == 0


def _make(files: DataDir, bin_dir: Path, launch: Launch, pause: Callable[[float], None]) -> None:
    """Create the cluster under another name, and rename it once it is synced: a kill leaves no partial cluster."""
    for partial in files.unfinished_clusters():
        shutil.rmtree(partial, ignore_errors=True)
    new = files.new_unfinished_cluster()
    initdb = [str(bin_dir / "initdb"), "-D", str(new)]
    locale = ["--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    # The socket's directory controls access; "peer" does not work, since a user namespace hides the client's user.
    access = ["--username=postgres", "--auth-local=trust", "--auth-host=reject"]
    single = [str(bin_dir / "postgres"), "--single", "-F", "-D", str(new), "-c", "exit_on_error=on", "postgres"]
    deadline = time.monotonic() + MAKE_SECONDS_MAX
    try:
        _run(launch, [*initdb, *locale, *access, "--data-checksums", "--no-sync", "--no-instructions"], deadline, pause)
        _run(launch, single, deadline, pause, FIRST_STATEMENTS)
        _run(launch, [*initdb, "--sync-only"], deadline, pause)  # one sync of all files
    except BaseException:
        shutil.rmtree(new, ignore_errors=True)
        raise
    new.rename(files.cluster)
    _sync_directory(files.path)


def _run(
    launch: Launch, command: Sequence[str], deadline: float, pause: Callable[[float], None], text: str = ""
) -> None:
    """Run one program of PostgreSQL to its end, and kill it if `pause` raises or the deadline passes.

    Raises CannotRun unless it exits with 0.
    """
    program = _start(launch, command, stdin=subprocess.PIPE)
    assert program.stdin is not None
    try:
        with suppress(BrokenPipeError), program.stdin as stdin:  # the exit status tells of a program that failed early
            stdin.write(text.encode())
        while program.poll() is None and time.monotonic() < deadline:
            pause(CHECK_SECONDS)
    finally:
        if program.returncode is None:
            os.killpg(program.pid, signal.SIGKILL)  # initdb has children of its own
            program.wait()
    if program.returncode != 0:
        raise CannotRun("the database cannot be made")


def _start(launch: Launch, command: Sequence[str], stdin: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
    """Start a program in a process group of its own; the kernel sends it SIGINT when the guardian dies."""
    guardian_pid = os.getpid()
    prctl = ctypes.CDLL(None).prctl

    def die_with_guardian() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGINT, 0, 0, 0)
        if os.getppid() != guardian_pid:  # the guardian died before prctl took effect
            os._exit(1)

    # The output goes to the log. The guardian's own output is a pipe to the server, which must see its end of file.
    return subprocess.Popen(  # noqa: S603 - our own words, and paths that the operator configures
        [*launch.prefix, *command], stdin=stdin, stdout=2, preexec_fn=die_with_guardian, process_group=0, cwd="/"
    )


def _give_to(uid: int, cluster: Path) -> None:
    """Change the owner of the cluster's files, its directory last, so that the next start resumes after a kill."""
    for directory, _, names in os.walk(cluster, topdown=False):
        for name in names:
            os.chown(os.path.join(directory, name), uid, uid, follow_symlinks=False)
        os.chown(directory, uid, uid)


def _sync_directory(directory: Path) -> None:
    """Write the names in a directory to disk, so that a rename in it survives a loss of power."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
