-- The agent "guide" says by itself that its documents do not tell; its first preset reply said so once more.

WITH changed AS (
  UPDATE agents
     SET config = jsonb_set(
           config, '{presetReply}',
           '"Please ask in other words, or look into the folder `docs` of Parley yourself."'),
         version = version + 1, updated_at = now()
   WHERE id = 'guide'
     AND config ->> 'presetReply' =
       'Parley''s documents do not tell. Please ask in other words, or look into the folder `docs` yourself.'
  RETURNING *
)
INSERT INTO agent_versions (tenant_id, id, version, name, description, config, created_by, created_at)
SELECT tenant_id, id, version, name, description, config, 'parley', updated_at FROM changed;
