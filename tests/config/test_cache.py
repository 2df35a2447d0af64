"""What limits count is shared: a caller who is refused by one web process is refused by all."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest
from django.core.cache import cache
from django.db import connection

from config import environment

READ = """
import os, django
django.setup()
from django.core.cache import cache
print(cache.get(os.environ["KEY"]))
"""


@pytest.mark.django_db(transaction=True)
def test_another_process_sees_what_this_one_counted(settings: Any) -> None:
    cache.set("asked", 7, 60)
    parts = connection.get_connection_params()
    address = f"host={parts['host']} dbname={parts['dbname']} user={parts['user']}"
    address += f" port={parts['port']}" if parts.get("port") else ""
    address += f" password={parts['password']}" if parts.get("password") else ""
    variables = os.environ | {
        "DATABASE_URL": address,
        "KEY": "asked",
        "DJANGO_SETTINGS_MODULE": "config.settings",
    }
    try:
        read = subprocess.run(
            [sys.executable, "-c", READ], cwd=environment.ROOT, env=variables, capture_output=True, text=True
        )
    finally:
        cache.delete("asked")
    assert read.stdout.strip() == "7", read.stderr
