"""The Celery application: `celery -A config.celery worker -Q accelerator`, `-Q default`, and `beat`."""

import logging.config
import os
import warnings
from typing import Any

from celery import Celery
from celery.exceptions import SecurityWarning
from celery.signals import setup_logging

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

# Each worker of root's would say in eight lines, below the address to open, what is told once where it matters: the
# embedded PostgreSQL warns of root itself. That root unpickles messages, Celery refuses, and ours are JSON.
warnings.filterwarnings("ignore", category=SecurityWarning)

app = Celery("rankloop")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@setup_logging.connect
def _log_like_every_process(**_: Any) -> None:
    """Connecting to this signal keeps Celery from configuring logging in its own way."""
    from django.conf import settings

    logging.config.dictConfig(settings.LOGGING)
