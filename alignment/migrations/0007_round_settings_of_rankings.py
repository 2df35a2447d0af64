"""Rounds under way know nothing of `gradient_accumulation` any more: how many passes a step takes follows from its
tokens."""

from django.db import migrations

ENDED = ["promoted", "rejected", "cancelled"]


def drop_gradient_accumulation(apps, schema_editor):
    for round in apps.get_model("alignment", "Round").objects.exclude(state__in=ENDED):
        if round.settings.get("training", {}).pop("gradient_accumulation", None) is not None:
            round.save(update_fields=["settings"])


class Migration(migrations.Migration):
    dependencies = [("alignment", "0006_round_prompts")]
    operations = [migrations.RunPython(drop_gradient_accumulation, migrations.RunPython.noop)]
