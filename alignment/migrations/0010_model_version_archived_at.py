from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("alignment", "0009_reward_models")]

    operations = [
        migrations.AddField(
            model_name="modelversion",
            name="archived_at",
            field=models.DateTimeField(
                blank=True, help_text="Since then new rounds and sources cannot choose it.", null=True
            ),
        ),
    ]
