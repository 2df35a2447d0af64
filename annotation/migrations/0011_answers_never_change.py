"""Flags, demonstrations and reviews rest as rankings do: their rows never change."""

from django.db import migrations

TABLES = ("flag", "demonstration", "review")
REFUSE = "".join(
    f"CREATE TRIGGER {table}_never_changes BEFORE UPDATE OR DELETE ON annotation_{table} "
    "FOR EACH ROW EXECUTE FUNCTION rankloop_refuse_change();\n"
    for table in TABLES
)
UNDO = "".join(f"DROP TRIGGER {table}_never_changes ON annotation_{table};\n" for table in TABLES)


class Migration(migrations.Migration):
    dependencies = [("annotation", "0010_workbench_and_quality")]
    operations = [migrations.RunSQL(REFUSE, UNDO)]
