from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("alignment", "0007_round_settings_of_rankings")]

    operations = [
        migrations.AddField(
            model_name="round",
            name="queue",
            field=models.CharField(
                default="accelerator",
                help_text="Celery queue of its runs, but for those on endpoints.",
                max_length=50,
            ),
        ),
    ]
