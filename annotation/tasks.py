"""What the scheduler, and hints, ask of this room."""

from celery import shared_task

from annotation import assigning
from annotation.intake import carrying_out, jobs


@shared_task
def expire_leases() -> int:
    """Open the places whose lease has passed."""
    return assigning.expire_leases()


@shared_task
def carry_out_import(import_id: int) -> None:
    """Carry out an import, if it still waits. The message is only a hint: lost, doubled or late, it does no harm."""
    carrying_out.carry_out(import_id)


@shared_task
def sweep_imports() -> None:
    """Send on the imports that wait or lost their worker."""
    jobs.sweep_imports()
