-- The documents of collections, and the work that is to be done on them.

CREATE SEQUENCE knowledge_revisions;

CREATE TABLE knowledge_documents (
  tenant_id text NOT NULL,
  collection text NOT NULL,
  id text NOT NULL,
  revision bigint NOT NULL DEFAULT nextval('knowledge_revisions'),
  title text NOT NULL,
  media_type text NOT NULL,
  content_hash text NOT NULL,
  size_bytes integer NOT NULL,
  metadata jsonb NOT NULL DEFAULT '{}',
  format text NOT NULL CHECK (format IN ('markdown', 'plain', 'pages')),
  text text NOT NULL,
  state text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'words-only', 'ready', 'failed')),
  error text,
  chunks_count integer NOT NULL DEFAULT 0,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant_id, collection, id)
);
COMMENT ON TABLE knowledge_documents IS
  'Documents of collections with their whole text, so that a collection can be built anew with another embedding '
  'model. states: pending (not searched yet, or an older version is), words-only (its embeddings are to come), ready, failed.';
COMMENT ON COLUMN knowledge_documents.revision IS
  'Another one for each version of each document: what was begun for an older version is not finished.';
COMMENT ON COLUMN knowledge_documents.content_hash IS
  'SHA-256 over all that makes the version: bytes, media type, encoding, title as given, metadata.';
COMMENT ON COLUMN knowledge_documents.text IS
  'What was in it: text and Markdown as sent, HTML as Markdown, PDF as pages parted by form feeds. Chunks are places in it.';

CREATE TABLE knowledge_jobs (
  position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  tenant_id text NOT NULL,
  job_id text NOT NULL,
  collection text NOT NULL,
  kind text NOT NULL CHECK (kind IN ('index', 'remove', 'activate', 'drop')),
  document_id text,
  revision bigint,
  generation integer,
  state text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'running', 'done', 'failed', 'superseded')),
  attempts integer NOT NULL DEFAULT 0,
  error text,
  not_before timestamptz NOT NULL DEFAULT now(),
  lease_until timestamptz,
  created_at timestamptz NOT NULL DEFAULT now(),
  finished_at timestamptz
);
COMMENT ON TABLE knowledge_jobs IS
  'Steps of ingestion; those of one request share job_id. index: a document into the generations that are in use, or '
  'into one; remove: a document out of them; activate: a generation whose documents are all in; drop: a generation. '
  'A running step whose lease has run out is taken by another backend.';
CREATE INDEX knowledge_jobs_open ON knowledge_jobs (position) WHERE state IN ('pending', 'running');
CREATE INDEX knowledge_jobs_document ON knowledge_jobs (tenant_id, collection, document_id)
  WHERE state IN ('pending', 'running');
CREATE INDEX knowledge_jobs_job ON knowledge_jobs (tenant_id, job_id);
CREATE INDEX knowledge_jobs_finished ON knowledge_jobs (finished_at) WHERE finished_at IS NOT NULL;
