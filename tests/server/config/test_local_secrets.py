"""Secrets in the data directory are private to their owner; one that another user could plant stops the start."""

import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from server.config.secret_files import read_secret_file, with_local_secrets
from server.config.secrets import Secrets
from server.config.settings import ConfigError
from tests.support.processes import run_command

KNOWN = "known-to-somebody-else-0123456789-0123456789"
USER = "0190a000-0000-7000-8000-00000000c1e0"


def plant(data: Path) -> Path:
    """Write a secret where `halfminute` keeps it, with a text that another user knows."""
    directory = data / "secrets"
    directory.mkdir(mode=0o700, parents=True)
    file = directory / "jwt_secret"
    file.write_text(KNOWN)
    file.chmod(0o600)
    return file


def anybody_writes(file: Path) -> None:
    file.chmod(0o666)


def the_group_reads(file: Path) -> None:
    file.chmod(0o640)


def anybody_writes_the_directory(file: Path) -> None:
    file.parent.chmod(0o777)


def the_group_writes_the_directory(file: Path) -> None:
    file.parent.chmod(0o770)


def symlink(file: Path) -> None:
    elsewhere = file.rename(file.parent.parent / "elsewhere")
    file.symlink_to(elsewhere)


def hard_link(file: Path) -> None:
    os.link(file, file.parent.parent / "elsewhere")


def fifo(file: Path) -> None:
    file.unlink()
    os.mkfifo(file, 0o600)


def directory(file: Path) -> None:
    file.unlink()
    file.mkdir(mode=0o700)


def symlinked_directory(file: Path) -> None:
    elsewhere = file.parent.rename(file.parent.parent / "elsewhere")
    file.parent.symlink_to(elsewhere)


def endless(file: Path) -> None:
    file.write_text("x" * 100_000)


PLANTED = [
    (anybody_writes, "is open to other users (mode 0666)"),
    (the_group_reads, "is open to other users (mode 0640)"),
    (anybody_writes_the_directory, "is in a directory that other users may write (mode 0777)"),
    (the_group_writes_the_directory, "is in a directory that other users may write (mode 0770)"),
    (symlink, "is a symbolic link"),
    (hard_link, "has another name elsewhere (a hard link)"),
    (fifo, "is no regular file"),
    (directory, "is no regular file"),
    (symlinked_directory, "is in a directory that is a symbolic link"),
    (endless, "has more than 4096 bytes"),
]


@pytest.mark.parametrize(("change", "why"), PLANTED, ids=lambda value: getattr(value, "__name__", ""))
def test_a_secret_that_others_could_have_planted_is_refused(
    change: Callable[[Path], None], why: str, tmp_path: Path
) -> None:
    file = plant(tmp_path)
    assert read_secret_file(file) == KNOWN
    change(file)
    for read in (lambda: read_secret_file(file), lambda: with_local_secrets(Secrets(), tmp_path)):
        with pytest.raises(ConfigError) as refused:
            read()
        assert (
            str(refused.value) == f"{file} {why}, so its secret is not used: correct that, or remove it for a new one"
        )


@pytest.mark.parametrize("of_directory", [False, True])
def test_a_secret_of_another_user_is_refused(
    of_directory: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = plant(tmp_path)
    if os.geteuid() == 0:
        os.chown(file.parent if of_directory else file, 65534, 65534)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: os.stat(file).st_uid + 1)
        of_directory = True  # the directory is checked first, and another user owns both
    with pytest.raises(ConfigError) as refused:
        with_local_secrets(Secrets(), tmp_path)
    whose = "is in a directory of another user" if of_directory else "belongs to another user"
    assert whose in str(refused.value)


def test_the_start_is_refused_with_one_line(tmp_path: Path) -> None:
    file = plant(tmp_path / "data")
    anybody_writes(file)
    for command in (("serve",), ("token", "--sub", USER)):
        ended = run_command(*command, "--data", str(tmp_path / "data"), cwd=tmp_path)
        assert (ended.exit_code, ended.out, len(ended.errors)) == (1, "", 1)
        assert "mode 0666" in ended.errors[0]


def test_created_secrets_are_private_to_their_owner_and_no_other_file_is_left(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        secrets, made = with_local_secrets(Secrets(), tmp_path / "data")
    finally:
        os.umask(before)
    assert made == ["jwt_secret", "billing_webhook_secret"] and secrets.jwt_secret
    directory = tmp_path / "data" / "secrets"
    assert sorted(os.listdir(directory)) == sorted(made)
    modes = [stat.S_IMODE(os.stat(path).st_mode) for path in (directory, *(directory / name for name in made))]
    assert modes == [0o700, 0o600, 0o600]
    assert with_local_secrets(Secrets(), tmp_path / "data") == (secrets, [])


def test_a_copy_of_a_data_directory_keeps_its_secrets(tmp_path: Path) -> None:
    secrets, _ = with_local_secrets(Secrets(), tmp_path / "data")
    shutil.copytree(tmp_path / "data", tmp_path / "copy")
    assert with_local_secrets(Secrets(), tmp_path / "copy") == (secrets, [])
