"""The Celery application: `celery -A config.celery worker -Q accelerator`, `-Q default`, and `beat`."""

import logging.config
import os
from typing import Any

from celery import Celery
from celery.signals import setup_logging

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

app = Celery("rankloop")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@setup_logging.connect
def _log_like_every_process(**_: Any) -> None:
    """Connecting to this signal keeps Celery from configuring logging in its own way."""
    from django.conf import settings

    logging.config.dictConfig(settings.LOGGING)
