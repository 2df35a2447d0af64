"""Makes the demo project and its accounts, and prints how to log in."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from alignment.demo import ensure_demo


class Command(BaseCommand):
    help = "Makes the demo project and its accounts in an installation without an administrator; prints how to log in."

    def handle(self, *args: Any, **options: Any) -> None:
        self.stdout.write(f"Log in {ensure_demo()}")
