import django.core.validators
from django.db import migrations, models
from django.db.models import Q


class Migration(migrations.Migration):
    dependencies = [
        ("annotation", "0012_places_without_a_batch_in_their_address"),
    ]

    operations = [
        migrations.AddField(
            model_name="batch",
            name="control_share",
            field=models.FloatField(
                default=0.2,
                help_text="Where the most uncertain tasks come first: the share of places drawn by chance beside them.",
                validators=[
                    django.core.validators.MinValueValidator(0.0),
                    django.core.validators.MaxValueValidator(0.5),
                ],
            ),
        ),
        migrations.AddConstraint(
            model_name="batch",
            constraint=models.CheckConstraint(
                condition=Q(control_share__gte=0, control_share__lte=0.5), name="batch_control_share"
            ),
        ),
    ]
