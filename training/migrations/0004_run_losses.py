from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("training", "0003_runs_of_endpoints_have_a_queue")]

    operations = [
        migrations.AddField(
            model_name="run",
            name="losses",
            field=models.PositiveSmallIntegerField(
                default=0, help_text="Claims in a row whose worker was lost before any progress."
            ),
        ),
    ]
