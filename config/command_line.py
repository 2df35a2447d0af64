"""Django's command line, and `up`, which starts everything: `manage.py` in a checkout, `rankloop` once installed.

Without DATABASE_URL a command starts or joins the embedded PostgreSQL first.
"""

from __future__ import annotations

import os
import sys


def main() -> None:
    if sys.argv[1:2] == ["up"]:
        # Its checks come before there is a database, without which Django's settings do not load.
        from config.launching.up import main as up

        sys.exit(up(sys.argv[2:]))
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    import django
    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import execute_from_command_line

    from config import environment
    from config.embedded_postgres import provide_database

    for sentence in environment.unknown_names():
        print(f"rankloop: {sentence}", file=sys.stderr)
    try:
        environment.check()
        provide_database()
        django.setup()
    except ImproperlyConfigured as error:
        sys.exit(f"rankloop: {error}")
    execute_from_command_line(sys.argv)
