"""What this room announces. A process may die after the commit, so receivers must also look by themselves."""

from django.dispatch import Signal

run_ended = Signal()
"""A run has succeeded, failed or been cancelled; sent on commit with ``run`` (`training.models.Run`)."""
