"""From when gold tasks count is a fact of its own: it was the time at which somebody qualified, also where a pause was
lifted of somebody who was never tested. Whoever is held qualified by now stays so."""

from typing import Any

from django.db import migrations, models
from django.db.models import F


def since_they_qualified(apps: Any, schema_editor: Any) -> None:
    apps.get_model("annotation", "Membership").objects.update(measured_since=F("qualified_at"))


class Migration(migrations.Migration):
    dependencies = [("annotation", "0013_batch_control_share")]
    operations = [
        migrations.AddField(
            "membership", "measured_since", models.DateTimeField(blank=True, null=True)
        ),
        migrations.RunPython(since_they_qualified, migrations.RunPython.noop),
    ]
