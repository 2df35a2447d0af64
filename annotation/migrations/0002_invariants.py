"""What Django's constraints cannot say: places within the overlap, and rows that never change."""

from django.db import migrations

PLACES = """
ALTER TABLE annotation_assignment ADD CONSTRAINT assignment_overlap_is_the_tasks
    FOREIGN KEY (task_id, overlap) REFERENCES annotation_task (id, overlap) DEFERRABLE INITIALLY DEFERRED;
"""

REFUSE = """
CREATE FUNCTION rankloop_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% of % is refused: its rows never change', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'integrity_constraint_violation';
END $$;

CREATE TRIGGER ranking_never_changes BEFORE UPDATE OR DELETE ON annotation_ranking
    FOR EACH ROW EXECUTE FUNCTION rankloop_refuse_change();
CREATE TRIGGER aspect_rating_never_changes BEFORE UPDATE OR DELETE ON annotation_aspectrating
    FOR EACH ROW EXECUTE FUNCTION rankloop_refuse_change();
CREATE TRIGGER prompt_never_changes BEFORE UPDATE OF messages, context, digest, split ON annotation_prompt
    FOR EACH ROW EXECUTE FUNCTION rankloop_refuse_change();
CREATE TRIGGER response_never_changes BEFORE UPDATE OF text, prompt_id, source_id ON annotation_response
    FOR EACH ROW EXECUTE FUNCTION rankloop_refuse_change();
"""

UNDO = """
DROP TRIGGER response_never_changes ON annotation_response;
DROP TRIGGER prompt_never_changes ON annotation_prompt;
DROP TRIGGER aspect_rating_never_changes ON annotation_aspectrating;
DROP TRIGGER ranking_never_changes ON annotation_ranking;
DROP FUNCTION rankloop_refuse_change;
ALTER TABLE annotation_assignment DROP CONSTRAINT assignment_overlap_is_the_tasks;
"""


class Migration(migrations.Migration):
    dependencies = [("annotation", "0001_initial")]
    operations = [migrations.RunSQL(PLACES + REFUSE, UNDO)]
