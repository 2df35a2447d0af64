from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("annotation", "0007_prompt_retired_at")]

    operations = [
        migrations.AlterModelOptions(name="apitoken", options={"verbose_name": "API token"}),
        migrations.AlterModelOptions(
            name="batch", options={"ordering": ["-pk"], "verbose_name_plural": "batches"}
        ),
    ]
