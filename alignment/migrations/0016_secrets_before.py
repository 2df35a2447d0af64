"""Several secrets before of a webhook, in place of one."""

from __future__ import annotations

from typing import Any

from django.db import migrations, models


def keep_old_secrets(apps: Any, schema_editor: Any) -> None:
    Webhook = apps.get_model("alignment", "Webhook")
    for webhook in Webhook.objects.exclude(old_secret_until=None):
        until = webhook.old_secret_until.isoformat()
        webhook.old_secrets = [{"secret": webhook.old_secret, "until": until}]
        webhook.save(update_fields=["old_secrets"])


class Migration(migrations.Migration):
    dependencies = [("alignment", "0015_webhooks")]

    operations = [
        migrations.AddField(
            model_name="webhook",
            name="old_secrets",
            field=models.JSONField(
                blank=True,
                default=list,
                help_text="Secrets before, by which what is sent is signed as well: of each, until when (ISO 8601).",
            ),
        ),
        migrations.RunPython(keep_old_secrets, migrations.RunPython.noop),
        migrations.RemoveField(model_name="webhook", name="old_secret"),
        migrations.RemoveField(model_name="webhook", name="old_secret_until"),
    ]
