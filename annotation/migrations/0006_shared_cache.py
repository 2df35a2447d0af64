"""The table of the cache that all web processes share (``CACHES`` in the settings)."""

from django.core.management import call_command
from django.db import migrations


def create(apps, schema_editor):
    call_command("createcachetable", "shared_cache", database=schema_editor.connection.alias, verbosity=0)


class Migration(migrations.Migration):
    dependencies = [("annotation", "0005_rankings_rest_firmly")]

    operations = [
        migrations.RunPython(create, migrations.RunPython.noop),
        # Backwards only: createcachetable is what knows the table's form.
        migrations.RunSQL(migrations.RunSQL.noop, "DROP TABLE shared_cache"),
    ]
