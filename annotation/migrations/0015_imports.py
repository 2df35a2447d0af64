"""Imports of preferences: what each is and how far, whose opinions came, and batches of the kind imported."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models
from django.db.models.functions import Now


class Migration(migrations.Migration):
    dependencies = [("annotation", "0014_membership_measured_since")]
    operations = [
        migrations.AlterField(
            "batch",
            "kind",
            models.CharField(
                choices=[
                    ("annotation", "Annotation"),
                    ("evaluation", "Evaluation"),
                    ("qualification", "Qualification"),
                    ("gold", "Gold"),
                    ("imported", "Imported"),
                ],
                default="annotation",
                max_length=13,
            ),
        ),
        migrations.RemoveConstraint("batch", "batch_kind"),
        migrations.AddConstraint(
            "batch",
            models.CheckConstraint(
                condition=models.Q(("kind__in", ["annotation", "evaluation", "qualification", "gold", "imported"])),
                name="batch_kind",
            ),
        ),
        migrations.CreateModel(
            "Import",
            [
                (
                    "id",
                    models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID"),
                ),
                (
                    "name",
                    models.CharField(help_text="Of the batch that its rankings come in.", max_length=200),
                ),
                ("file_name", models.CharField(max_length=255)),
                ("file_bytes", models.BigIntegerField()),
                ("sha256", models.CharField(max_length=64)),
                (
                    "location",
                    models.CharField(
                        blank=True,
                        help_text="Where the file lies; empty once it is not needed any more.",
                        max_length=500,
                    ),
                ),
                ("form", models.CharField(max_length=40)),
                ("mapping", models.JSONField(blank=True, default=dict)),
                (
                    "skip_bad",
                    models.BooleanField(
                        default=False,
                        help_text="Whether bad lines are left out, rather than keep all others out.",
                    ),
                ),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("draft", "Draft"),
                            ("queued", "Queued"),
                            ("running", "Running"),
                            ("succeeded", "Succeeded"),
                            ("failed", "Failed"),
                            ("cancelled", "Cancelled"),
                        ],
                        default="draft",
                        max_length=9,
                    ),
                ),
                ("reason", models.TextField(blank=True)),
                ("phase", models.CharField(blank=True, max_length=60)),
                ("done", models.BigIntegerField(default=0)),
                ("total", models.BigIntegerField(default=0)),
                ("report", models.JSONField(blank=True, null=True)),
                ("bad", models.BigIntegerField(default=0, help_text="How many lines are wrong.")),
                (
                    "errors",
                    models.JSONField(
                        blank=True, default=list, help_text="The first of them: line, field, reason."
                    ),
                ),
                ("token", models.PositiveIntegerField(default=0)),
                ("lease_until", models.DateTimeField(blank=True, null=True)),
                (
                    "losses",
                    models.PositiveSmallIntegerField(default=0, help_text="How often its worker was lost."),
                ),
                ("cancel_requested", models.BooleanField(default=False)),
                ("created_at", models.DateTimeField(db_default=Now())),
                ("started_at", models.DateTimeField(blank=True, null=True)),
                ("ended_at", models.DateTimeField(blank=True, null=True)),
                (
                    "batch",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to="annotation.batch",
                    ),
                ),
                (
                    "created_by",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "project",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="imports",
                        to="annotation.project",
                    ),
                ),
            ],
            options={
                "ordering": ["-pk"],
                "indexes": [
                    models.Index(
                        condition=models.Q(("state__in", ["queued", "running"])),
                        fields=["state", "created_at"],
                        name="import_due",
                    )
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            ("state__in", ["draft", "queued", "running", "succeeded", "failed", "cancelled"])
                        ),
                        name="import_state",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("state", "running"), _negated=True),
                            ("lease_until__isnull", False),
                            _connector="OR",
                        ),
                        name="import_running_is_leased",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            "ImportedAnnotator",
            [
                (
                    "id",
                    models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID"),
                ),
                ("name", models.CharField(blank=True, max_length=200)),
                ("number", models.PositiveIntegerField(default=0)),
                (
                    "project",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="imported_annotators",
                        to="annotation.project",
                    ),
                ),
                (
                    "user",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="imported",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        fields=("project", "name", "number"), name="imported_annotator_once"
                    )
                ]
            },
        ),
    ]
