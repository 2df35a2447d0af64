"""A pytest plugin, loaded before settings are: files go to a temporary home, and without DATABASE_URL the
embedded PostgreSQL serves there.

Workers of pytest-xdist inherit the database server and each get a home of their own in the first process's, where
only the converted models are shared. Tests that need a broker run in one of them, one after another.
"""

from __future__ import annotations

import gc
import os
import shutil
import tempfile
from pathlib import Path

import pytest

_mine: Path | None = None

if "RANKLOOP_TEST_HOME" not in os.environ:
    _mine = Path(tempfile.mkdtemp(prefix="rankloop-test-"))
    os.environ["RANKLOOP_TEST_HOME"] = os.environ["RANKLOOP_HOME"] = str(_mine)
    (_mine / "models").mkdir()
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    # Child processes of the tests (engine, workers) must find the same packages.
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(Path.cwd()), os.environ.get("PYTHONPATH")]))
    from config.embedded_postgres import provide_database

    if not os.environ.get("DATABASE_URL"):
        import psycopg

        with psycopg.connect(provide_database(), autocommit=True) as _connection:
            # What a power cut would lose is nothing that a test wants back; a killed server loses nothing by this.
            for _setting in ("fsync", "synchronous_commit", "full_page_writes"):
                _connection.execute(f"ALTER SYSTEM SET {_setting} = off")
            _connection.execute("SELECT pg_reload_conf()")
elif "PYTEST_XDIST_WORKER" in os.environ:
    _shared = Path(os.environ["RANKLOOP_TEST_HOME"])
    _own = _shared / os.environ["PYTEST_XDIST_WORKER"]
    _own.mkdir(exist_ok=True)
    if not (_own / "models").is_symlink():
        (_own / "models").symlink_to(_shared / "models")
    os.environ["RANKLOOP_HOME"] = str(_own)
    # The processes share the cores: more threads than that only get in each other's way.
    _processes = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // _processes)))


# First, so that pytest-xdist sees the groups.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A file's tests share its fixtures, so they stay in one process; the long ones start first."""
    groups: dict[pytest.Item, str] = {}
    for item in items:
        own = item.get_closest_marker("xdist_group")
        if own is None:
            name = "broker" if item.get_closest_marker("broker") else item.nodeid.split("::")[0]
            item.add_marker(own := pytest.mark.xdist_group(name))
        groups[item] = own.args[0]
    long = {
        group for item, group in groups.items() if group == "broker" or item.get_closest_marker("real_model")
    }
    items.sort(key=lambda item: groups[item] not in long)


def pytest_collection_finish() -> None:
    """What was imported up to now lives to the end: no search for garbage need look at it again."""
    gc.collect()
    gc.freeze()


def pytest_unconfigure() -> None:
    if _mine is not None:
        from config import embedded_postgres

        embedded_postgres.stop(_mine / "postgres")
        shutil.rmtree(_mine, ignore_errors=True)
