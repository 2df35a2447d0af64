"""Places get a random public id, and a verdict keeps the version that it judged."""

import django.contrib.postgres.functions
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("annotation", "0011_answers_never_change")]
    operations = [
        migrations.AddField(
            model_name="assignment",
            name="public_id",
            field=models.UUIDField(
                db_default=django.contrib.postgres.functions.RandomUUID(), editable=False, unique=True
            ),
        ),
        migrations.AddField(
            model_name="review",
            name="version",
            field=models.CharField(blank=True, editable=False, max_length=100),
        ),
        migrations.AddConstraint(
            model_name="review",
            constraint=models.UniqueConstraint(
                condition=models.Q(("version", ""), _negated=True),
                fields=("task", "version"),
                name="review_version_once",
            ),
        ),
    ]
