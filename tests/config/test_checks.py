"""What cannot start says so in a sentence that names the way out."""

from __future__ import annotations

import shutil
import socket
from collections import namedtuple
from pathlib import Path

import pytest

from config.launching.checks import CannotStart, check_port, claim_home, write_record


def test_a_taken_port_names_the_variable_and_a_free_one_passes() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(CannotStart, match=f"Port {port} is taken .*RANKLOOP_PORT={port + 1} make run"):
            check_port("127.0.0.1", port)
    check_port("127.0.0.1", port)


def test_an_address_that_is_not_this_machines_names_the_variable() -> None:
    with pytest.raises(CannotStart, match="RANKLOOP_BIND"):
        check_port("192.0.2.1", 8000)


def test_a_home_is_held_by_one_at_a_time(tmp_path: Path) -> None:
    home = tmp_path / "new" / "home"
    with claim_home(home):
        write_record(home, {"pid": 123, "address": "http://localhost:8000"})
        with pytest.raises(CannotStart, match=r"process 123, http://localhost:8000.*make stop"):
            claim_home(home)
    claim_home(home).close()


def test_a_home_that_cannot_be_written_names_the_variable(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CannotStart, match="Set RANKLOOP_HOME to a folder of your own"):
        claim_home(tmp_path / "file" / "home")


def test_a_nearly_full_disk_is_refused_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10 * 2**30, 9 * 2**30, 2**30))
    with pytest.raises(CannotStart, match=r"1\.0 GiB free, and Rankloop needs 2 GiB"):
        claim_home(tmp_path)
