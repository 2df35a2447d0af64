"""Log lines say what they are about."""

from __future__ import annotations

import io
import logging
import logging.config
import subprocess
import sys

import pytest
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.test import Client, override_settings
from django.urls import path

import config.urls
from config import environment
from config.logs import bind, configuration


def lines_of(level: str = "INFO") -> tuple[logging.Logger, io.StringIO]:
    settings = configuration(level)
    stream = io.StringIO()
    settings["handlers"]["console"]["stream"] = stream
    settings["root"] = {"level": "NOTSET"}
    settings["loggers"] = {"tests.logs": {"handlers": ["console"], "level": level, "propagate": False}}
    logging.config.dictConfig({**settings, "incremental": False})
    return logging.getLogger("tests.logs"), stream


def test_a_line_carries_what_is_bound_around_it_and_nothing_after() -> None:
    logger, stream = lines_of()
    with bind(project=3), bind(run="abc", round=None):
        logger.info("inside")
    logger.info("outside")
    inside, outside = stream.getvalue().splitlines()
    assert inside.endswith("tests.logs project=3 run=abc: inside")
    assert outside.endswith("tests.logs: outside")


def test_an_exception_unbinds() -> None:
    logger, stream = lines_of()
    try:
        with bind(run="abc"):
            raise ValueError
    except ValueError:
        logger.info("after")
    assert "run=" not in stream.getvalue()


def _refuse(request: HttpRequest) -> HttpResponse:
    raise PermissionDenied("Managers only.")


def _fail(request: HttpRequest) -> HttpResponse:
    raise ValueError("a fault")


urlpatterns = [*config.urls.urlpatterns, path("refused/", _refuse), path("failing/", _fail)]


@override_settings(ROOT_URLCONF=__name__)
def test_a_refused_page_is_one_line_in_the_log_and_a_fault_keeps_its_traceback(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    handler = logging.getLogger("django").handlers[0]
    stream = io.StringIO()
    monkeypatch.setattr(handler, "stream", stream)
    client = Client(raise_request_exception=False)

    assert client.get("/refused/").status_code == 403
    assert len(stream.getvalue().splitlines()) == 1
    assert "WARNING django.request: Forbidden" in stream.getvalue()

    assert client.get("/failing/").status_code == 500
    assert "ValueError: a fault" in stream.getvalue()


def test_workers_of_root_do_not_talk_over_the_address() -> None:
    told = subprocess.run(
        [
            sys.executable,
            "-c",
            "import config.celery, os; from celery import platforms;"
            "os.getuid = os.geteuid = os.getgid = os.getegid = lambda: 0; platforms.check_privileges(['json'])",
        ],
        cwd=environment.ROOT,
        capture_output=True,
        text=True,
    )
    assert (told.returncode, told.stderr) == (0, "")
