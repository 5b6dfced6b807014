-- When the contents of collections change, so that answers from older contents are not given again.

ALTER TABLE knowledge_collections
  ADD COLUMN revision bigint NOT NULL DEFAULT nextval('knowledge_revisions'),
  ADD COLUMN revised_at timestamptz NOT NULL DEFAULT now();
COMMENT ON COLUMN knowledge_collections.revision IS
  'Another one each time a step of ingestion has changed what searches find.';
