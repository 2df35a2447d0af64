from django.db import migrations


class Migration(migrations.Migration):
    """Runs that wait on the queue of ticks would keep its workers from them, and lack the endpoints' keys there."""

    dependencies = [("training", "0002_progress_of_a_claim")]

    operations = [
        migrations.RunSQL(
            "UPDATE training_run SET queue = 'endpoints' WHERE queue = 'default'"
            " AND state IN ('queued', 'running')",
            migrations.RunSQL.noop,
        )
    ]
