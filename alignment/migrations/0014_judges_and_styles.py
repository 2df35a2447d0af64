import django.core.validators
import django.db.models.deletion
import django.db.models.functions.datetime
from django.conf import settings
from django.db import migrations, models

# Whatever decides a judge's answers stays as it was when they were given.
FIXED = """
CREATE TRIGGER judge_never_changes BEFORE UPDATE OF project_id, name, kind, endpoint_url, endpoint_model,
    endpoint_key_variable, reward_run_id, instructions, settings, orders ON alignment_judge
    FOR EACH ROW EXECUTE FUNCTION rankloop_refuse_change();
CREATE TRIGGER judgement_never_changes BEFORE UPDATE ON alignment_judgement
    FOR EACH ROW EXECUTE FUNCTION rankloop_refuse_change();
"""
CHANGEABLE = """
DROP TRIGGER judgement_never_changes ON alignment_judgement;
DROP TRIGGER judge_never_changes ON alignment_judge;
"""


class Migration(migrations.Migration):
    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
        ("alignment", "0013_dataset_lineage"),
        ("annotation", "0011_answers_never_change"),
        ("training", "0006_score_runs"),
    ]

    operations = [
        migrations.CreateModel(
            name="Judge",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=200)),
                (
                    "kind",
                    models.CharField(
                        choices=[("endpoint", "OpenAI-compatible endpoint"), ("reward", "reward model")], max_length=8
                    ),
                ),
                ("endpoint_url", models.URLField(blank=True)),
                ("endpoint_model", models.CharField(blank=True, max_length=200)),
                (
                    "endpoint_key_variable",
                    models.CharField(
                        blank=True,
                        help_text="Name of the environment variable that holds the endpoint's key.",
                        max_length=100,
                    ),
                ),
                (
                    "instructions",
                    models.TextField(blank=True, help_text="What an endpoint is told before each task."),
                ),
                (
                    "settings",
                    models.JSONField(blank=True, default=dict, help_text="temperature, top_p, max_tokens, seed."),
                ),
                (
                    "orders",
                    models.CharField(
                        choices=[
                            ("both", "an order and its reverse"),
                            ("each", "every response once at every place"),
                        ],
                        default="both",
                        help_text="In which orders an endpoint is shown the responses of a task.",
                        max_length=4,
                    ),
                ),
                ("created_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                (
                    "archived_at",
                    models.DateTimeField(
                        blank=True,
                        help_text="Since then it is asked nothing, and counts nowhere unless it is named.",
                        null=True,
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
                        related_name="judges",
                        to="annotation.project",
                    ),
                ),
                (
                    "reward_run",
                    models.ForeignKey(
                        blank=True,
                        help_text="What left the reward model.",
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="training.run",
                    ),
                ),
            ],
            options={
                "ordering": ["pk"],
                "constraints": [
                    models.UniqueConstraint(fields=("project", "name"), name="judge_once"),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(
                                ("kind", "endpoint"),
                                ("reward_run__isnull", True),
                                models.Q(("endpoint_url", ""), _negated=True),
                            ),
                            models.Q(("kind", "reward"), ("reward_run__isnull", False)),
                            _connector="OR",
                        ),
                        name="judge_kind_complete",
                    ),
                    models.CheckConstraint(condition=models.Q(("orders__in", ["both", "each"])), name="judge_orders"),
                ],
            },
        ),
        migrations.CreateModel(
            name="Judging",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "share",
                    models.FloatField(
                        validators=[
                            django.core.validators.MinValueValidator(0.0),
                            django.core.validators.MaxValueValidator(1.0),
                        ]
                    ),
                ),
                ("asked", models.PositiveIntegerField(help_text="How many tasks and orders.")),
                (
                    "layout",
                    models.TextField(blank=True, help_text="What an endpoint is asked after its instructions."),
                ),
                ("created_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                (
                    "ended_at",
                    models.DateTimeField(blank=True, help_text="When what its run left was taken in.", null=True),
                ),
                (
                    "batch",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="judgings",
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
                    "judge",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="judgings",
                        to="alignment.judge",
                    ),
                ),
                (
                    "run",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT, related_name="judging", to="training.run"
                    ),
                ),
            ],
            options={
                "ordering": ["-pk"],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("share__gt", 0), ("share__lte", 1)), name="judging_share"
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(("ended_at__isnull", True)),
                        fields=("judge",),
                        name="judging_one_at_a_time",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Judgement",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("order", models.PositiveSmallIntegerField(help_text="Which of the orders it was, from 0.")),
                ("shown_order", models.JSONField(help_text="Response numbers as they were shown.")),
                ("raw", models.TextField(blank=True)),
                ("tiers", models.JSONField(blank=True, null=True)),
                ("fault", models.CharField(blank=True, max_length=300)),
                ("prompt_tokens", models.PositiveIntegerField(blank=True, null=True)),
                ("tokens", models.PositiveIntegerField(blank=True, help_text="Of the answer.", null=True)),
                ("created_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                (
                    "judge",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="judgements",
                        to="alignment.judge",
                    ),
                ),
                (
                    "judging",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="judgements",
                        to="alignment.judging",
                    ),
                ),
                (
                    "task",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="judgements",
                        to="annotation.task",
                    ),
                ),
            ],
            options={
                "ordering": ["pk"],
                "constraints": [
                    models.UniqueConstraint(fields=("judge", "task", "order"), name="judgement_once"),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("tiers__isnull", True), models.Q(("fault", ""), _negated=True)),
                            models.Q(("fault", ""), ("tiers__isnull", False)),
                            _connector="OR",
                        ),
                        name="judgement_ranks_or_has_a_fault",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="ResponseStyle",
            fields=[
                (
                    "response",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="style",
                        serialize=False,
                        to="annotation.response",
                    ),
                ),
                ("words", models.PositiveIntegerField()),
                ("headings", models.PositiveIntegerField()),
                ("list_items", models.PositiveIntegerField()),
                ("bold", models.PositiveIntegerField()),
                ("code_blocks", models.PositiveIntegerField()),
            ],
        ),
        migrations.RunSQL(FIXED, CHANGEABLE),
    ]
