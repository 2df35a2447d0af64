from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("annotation", "0006_shared_cache")]

    operations = [
        migrations.AddField(
            model_name="prompt",
            name="retired_at",
            field=models.DateTimeField(
                blank=True, help_text="Since when no new round or batch takes it.", null=True
            ),
        ),
    ]
