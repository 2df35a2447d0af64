"""A ranking is of its place's task and by its place's annotator, and what its tiers name never changes."""

from django.db import migrations, models

RANKING = """
ALTER TABLE annotation_ranking ADD CONSTRAINT ranking_is_of_its_place
    FOREIGN KEY (assignment_id, task_id, annotator_id)
    REFERENCES annotation_assignment (id, task_id, annotator_id) DEFERRABLE INITIALLY DEFERRED;
"""

# A batch's tasks and their responses come in by COPY, so additions are checked a statement, not a row.
TASK = """
CREATE TRIGGER task_never_changes BEFORE UPDATE ON annotation_task
    FOR EACH ROW WHEN (
        (OLD.batch_id, OLD.prompt_id, OLD.overlap, OLD.seed) IS DISTINCT FROM
        (NEW.batch_id, NEW.prompt_id, NEW.overlap, NEW.seed))
    EXECUTE FUNCTION rankloop_refuse_change();
CREATE TRIGGER task_response_never_changes BEFORE UPDATE ON annotation_taskresponse
    FOR EACH ROW EXECUTE FUNCTION rankloop_refuse_change();

CREATE FUNCTION rankloop_refuse_if_ranked() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM changed JOIN annotation_ranking ranking ON ranking.task_id = changed.task_id) THEN
        RAISE EXCEPTION '% of % is refused: the responses of a ranked task never change', TG_OP, TG_TABLE_NAME
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER task_response_never_joins_rankings AFTER INSERT ON annotation_taskresponse
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION rankloop_refuse_if_ranked();
CREATE TRIGGER task_response_never_leaves_rankings AFTER DELETE ON annotation_taskresponse
    REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION rankloop_refuse_if_ranked();
"""

UNDO = """
DROP TRIGGER task_response_never_leaves_rankings ON annotation_taskresponse;
DROP TRIGGER task_response_never_joins_rankings ON annotation_taskresponse;
DROP FUNCTION rankloop_refuse_if_ranked;
DROP TRIGGER task_response_never_changes ON annotation_taskresponse;
DROP TRIGGER task_never_changes ON annotation_task;
ALTER TABLE annotation_ranking DROP CONSTRAINT ranking_is_of_its_place;
"""


class Migration(migrations.Migration):
    dependencies = [("annotation", "0004_redundant_indexes")]
    operations = [
        migrations.AddConstraint(
            "assignment",
            models.UniqueConstraint(fields=["id", "task", "annotator"], name="assignment_id_task_annotator"),
        ),
        migrations.RunSQL(RANKING + TASK, UNDO),
    ]
