"""A dataset's row never changes, and it is never deleted."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("alignment", "0002_initial"), ("annotation", "0002_invariants")]
    operations = [
        migrations.RunSQL(
            "CREATE TRIGGER dataset_never_changes BEFORE UPDATE OR DELETE ON alignment_dataset "
            "FOR EACH ROW EXECUTE FUNCTION rankloop_refuse_change();",
            "DROP TRIGGER dataset_never_changes ON alignment_dataset;",
        )
    ]
