"""What this room announces."""

from django.dispatch import Signal

run_ended = Signal()
"""A run has succeeded, failed or been cancelled; sent on commit with ``run`` (`training.models.Run`). A process may die
after the commit, so receivers must also look by themselves."""

run_ending = Signal()
"""The same, sent within the transaction, for what must be written with it: a receiver that raises undoes the end."""
