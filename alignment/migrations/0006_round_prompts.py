"""A round's choice of prompts is kept with it, not in a file that outlives the database."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("alignment", "0005_dataset_batches"),
        ("annotation", "0004_redundant_indexes"),
    ]
    operations = [
        migrations.AddField(
            model_name="round",
            name="prompts",
            field=models.ManyToManyField(
                blank=True,
                help_text="To be ranked; chosen when the round first samples.",
                related_name="rounds",
                to="annotation.prompt",
            ),
        ),
    ]
