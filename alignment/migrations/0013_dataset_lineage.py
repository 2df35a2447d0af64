"""Which rankings a dataset holds, what was withdrawn, and the held-out set that is locked.

The rankings of datasets that are there already are found as they counted when each was built.
"""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models
from django.db.models.functions import Now

RANKINGS = """
INSERT INTO alignment_datasetranking (dataset_id, ranking_id)
SELECT dataset.id, counted.id
FROM alignment_dataset dataset
JOIN alignment_dataset_batches link ON link.dataset_id = dataset.id
JOIN annotation_task task ON task.batch_id = link.batch_id
JOIN LATERAL (
    SELECT DISTINCT ON (assignment_id) id FROM annotation_ranking
    WHERE task_id = task.id AND submitted_at <= dataset.created_at
    ORDER BY assignment_id, revision DESC) counted ON true;
"""

TABLES = ("datasetranking", "heldoutlock", "heldoutlock_prompts")
TRIGGERS = "".join(
    f"CREATE TRIGGER {table}_never_changes BEFORE UPDATE OR DELETE ON alignment_{table} "
    "FOR EACH ROW EXECUTE FUNCTION rankloop_refuse_change();\n"
    for table in TABLES
)
UNDO = "".join(f"DROP TRIGGER {table}_never_changes ON alignment_{table};\n" for table in TABLES)


def user(**options):
    return models.ForeignKey(
        settings.AUTH_USER_MODEL, django.db.models.deletion.PROTECT, null=True, blank=True, **options
    )


def key():
    return ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID"))


class Migration(migrations.Migration):
    dependencies = [
        ("alignment", "0011_round_review_waiver"),
        ("annotation", "0011_answers_never_change"),
    ]

    operations = [
        migrations.CreateModel(
            name="DatasetRanking",
            fields=[
                key(),
                (
                    "dataset",
                    models.ForeignKey(
                        "alignment.dataset",
                        django.db.models.deletion.PROTECT,
                        related_name="lineage",
                        db_index=False,
                    ),
                ),
                (
                    "ranking",
                    models.ForeignKey(
                        "annotation.ranking", django.db.models.deletion.PROTECT, related_name="in_datasets"
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=["dataset", "ranking"], name="dataset_ranking_once")
                ]
            },
        ),
        migrations.CreateModel(
            name="Withdrawal",
            fields=[
                key(),
                (
                    "project",
                    models.ForeignKey(
                        "annotation.project", django.db.models.deletion.CASCADE, related_name="withdrawals"
                    ),
                ),
                ("annotator", user(related_name="withdrawals")),
                (
                    "prompt",
                    models.ForeignKey(
                        "annotation.prompt",
                        django.db.models.deletion.PROTECT,
                        null=True,
                        blank=True,
                        related_name="withdrawals",
                    ),
                ),
                ("reason", models.CharField(blank=True, max_length=500)),
                ("created_by", user(related_name="+")),
                ("created_at", models.DateTimeField(db_default=Now())),
                (
                    "ended_at",
                    models.DateTimeField(
                        blank=True, help_text="Since when new datasets may hold it again.", null=True
                    ),
                ),
            ],
            options={
                "ordering": ["-pk"],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(annotator__isnull=True, prompt__isnull=False)
                        | models.Q(annotator__isnull=False, prompt__isnull=True),
                        name="withdrawal_of_one_thing",
                    ),
                    models.UniqueConstraint(
                        fields=["project", "annotator", "prompt"],
                        condition=models.Q(ended_at__isnull=True),
                        nulls_distinct=False,
                        name="withdrawal_once",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="HeldOutLock",
            fields=[
                key(),
                (
                    "project",
                    models.OneToOneField(
                        "annotation.project", django.db.models.deletion.PROTECT, related_name="held_out_lock"
                    ),
                ),
                ("prompts", models.ManyToManyField("annotation.prompt", related_name="+")),
                ("created_by", user(related_name="+")),
                ("created_at", models.DateTimeField(db_default=Now())),
            ],
        ),
        migrations.RunSQL(RANKINGS, migrations.RunSQL.noop),
        migrations.RunSQL(TRIGGERS, UNDO),
    ]
