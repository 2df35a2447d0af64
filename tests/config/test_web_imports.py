"""The web is light: no page, endpoint or task of the default worker loads torch."""

from __future__ import annotations

import os
import subprocess
import sys

from config import environment

LOAD_ALL = """
import sys
from config.wsgi import application
from django.urls import get_resolver
from config import celery_app

def visit(patterns):
    for pattern in patterns:
        if hasattr(pattern, "url_patterns"):
            visit(pattern.url_patterns)
        else:
            pattern.callback

visit(get_resolver().url_patterns)
celery_app.loader.import_default_modules()
heavy = {"torch", "transformers", "trl", "peft", "accelerate", "datasets"} & set(sys.modules)
sys.exit(f"loaded: {sorted(heavy)}" if heavy else 0)
"""


def test_every_page_and_task_loads_without_torch() -> None:
    result = subprocess.run(
        [sys.executable, "-c", LOAD_ALL], cwd=environment.ROOT, env=os.environ, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr


def test_the_rooms_import_one_way() -> None:
    result = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"],
        cwd=environment.ROOT,
        env=os.environ,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout
