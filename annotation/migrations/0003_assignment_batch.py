"""Assigning reads one index a batch: a place knows its task's batch, and a trigger holds the two equal."""

import django.db.models.deletion
from django.db import migrations, models

FILL = """
UPDATE annotation_assignment SET batch_id = task.batch_id FROM annotation_task task WHERE task.id = task_id;
-- The foreign keys' deferred checks must be done before the table can be altered again.
SET CONSTRAINTS ALL IMMEDIATE;
SET CONSTRAINTS ALL DEFERRED;

CREATE FUNCTION rankloop_batch_of_task() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    SELECT batch_id INTO NEW.batch_id FROM annotation_task WHERE id = NEW.task_id;
    RETURN NEW;
END $$;

CREATE TRIGGER assignment_batch_is_the_tasks BEFORE INSERT OR UPDATE OF task_id, batch_id ON annotation_assignment
    FOR EACH ROW EXECUTE FUNCTION rankloop_batch_of_task();
"""

UNDO = """
DROP TRIGGER assignment_batch_is_the_tasks ON annotation_assignment;
DROP FUNCTION rankloop_batch_of_task;
"""


class Migration(migrations.Migration):
    dependencies = [("annotation", "0002_invariants")]
    operations = [
        migrations.AddField(
            "assignment",
            "batch",
            models.ForeignKey(
                editable=False,
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="assignments",
                to="annotation.batch",
            ),
        ),
        migrations.RunSQL(FILL, UNDO),
        migrations.AlterField(
            "assignment",
            "batch",
            models.ForeignKey(
                editable=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="assignments",
                to="annotation.batch",
            ),
        ),
        migrations.AlterField(
            "assignment",
            "leased_at",
            models.DateTimeField(
                blank=True,
                help_text="When it was last leased; stays when the lease ends, so null is: never yet.",
                null=True,
            ),
        ),
        migrations.RemoveIndex("assignment", "assignment_open"),
        migrations.AddIndex(
            "assignment",
            models.Index(
                condition=models.Q(("leased_at__isnull", False), ("state", "open")),
                fields=["batch", "task", "place"],
                name="assignment_given_back",
            ),
        ),
        migrations.AddIndex(
            "assignment",
            models.Index(
                condition=models.Q(("leased_at__isnull", True), ("state", "open")),
                fields=["batch", "task", "place"],
                name="assignment_fresh",
            ),
        ),
        migrations.AddIndex(
            "assignment",
            models.Index(fields=["annotator", "batch", "task"], name="assignment_progress"),
        ),
    ]
