import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models
from django.db.models import Q


class Migration(migrations.Migration):
    dependencies = [
        ("alignment", "0010_model_version_archived_at"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AddField(
            model_name="round",
            name="review_waived_by",
            field=models.ForeignKey(
                blank=True,
                help_text="Who went on without the review that the round's settings ask for.",
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddField(
            model_name="round",
            name="review_waived_at",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="round",
            name="review_left",
            field=models.PositiveIntegerField(
                blank=True,
                help_text="How many tasks still awaited their review then, or an amendment of a returned ranking.",
                null=True,
            ),
        ),
        migrations.AddConstraint(
            model_name="round",
            constraint=models.CheckConstraint(
                condition=Q(
                    review_waived_by__isnull=True, review_waived_at__isnull=True, review_left__isnull=True
                )
                | Q(review_waived_by__isnull=False, review_waived_at__isnull=False, review_left__isnull=False),
                name="round_review_waiver_complete",
            ),
        ),
    ]
