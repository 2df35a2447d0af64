from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("training", "0005_sample_scores")]

    operations = [
        migrations.AlterField(
            model_name="run",
            name="kind",
            field=models.CharField(
                choices=[
                    ("sample", "Sample"),
                    ("sft", "Sft"),
                    ("reward", "Reward"),
                    ("dpo", "Dpo"),
                    ("ppo", "Ppo"),
                    ("evaluate", "Evaluate"),
                    ("score", "Score"),
                ],
                max_length=8,
            ),
        ),
    ]
