"""The batches of a dataset are those that its settings name, and stay so."""

from django.db import migrations

TRIGGERS = """
CREATE TRIGGER dataset_batches_never_change BEFORE UPDATE OR DELETE ON alignment_dataset_batches
    FOR EACH ROW EXECUTE FUNCTION rankloop_refuse_change();

CREATE FUNCTION rankloop_batch_of_dataset() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM alignment_dataset
                   WHERE id = NEW.dataset_id AND settings -> 'batches' @> to_jsonb(NEW.batch_id)) THEN
        RAISE EXCEPTION 'batch % is none that dataset % was built from', NEW.batch_id, NEW.dataset_id
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER dataset_batches_are_its_settings BEFORE INSERT ON alignment_dataset_batches
    FOR EACH ROW EXECUTE FUNCTION rankloop_batch_of_dataset();
"""

UNDO = """
DROP TRIGGER dataset_batches_are_its_settings ON alignment_dataset_batches;
DROP FUNCTION rankloop_batch_of_dataset;
DROP TRIGGER dataset_batches_never_change ON alignment_dataset_batches;
"""


class Migration(migrations.Migration):
    dependencies = [
        ("alignment", "0004_round_tasks_of_both_splits"),
        ("annotation", "0002_invariants"),
    ]
    operations = [migrations.RunSQL(TRIGGERS, UNDO)]
