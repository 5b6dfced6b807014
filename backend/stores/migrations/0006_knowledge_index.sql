-- Collections of documents, and the chunks that the index in PostgreSQL holds of them.

CREATE TABLE knowledge_collections (
  tenant_id text NOT NULL,
  name text NOT NULL,
  generations integer NOT NULL DEFAULT 1,
  active_generation integer NOT NULL DEFAULT 1,
  active_model text NOT NULL,
  active_dimension integer NOT NULL,
  building_generation integer,
  building_model text,
  building_dimension integer,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  deleted_at timestamptz,
  PRIMARY KEY (tenant_id, name)
);
COMMENT ON TABLE knowledge_collections IS
  'Collections of documents, the generation that is searched and the one being built beside it. The tenant _shared '
  'owns those that every tenant may read. A deleted one keeps its row, so that no generation number comes twice.';
COMMENT ON COLUMN knowledge_collections.generations IS
  'The highest generation number that was given.';

CREATE TABLE knowledge_chunks (
  tenant_id text NOT NULL,
  collection text NOT NULL,
  generation integer NOT NULL,
  chunk_id text NOT NULL,
  document_id text NOT NULL,
  ordinal integer NOT NULL,
  title text NOT NULL,
  headings jsonb NOT NULL,
  text text NOT NULL,
  start_offset integer NOT NULL,
  end_offset integer NOT NULL,
  content_hash text NOT NULL,
  metadata jsonb NOT NULL,
  terms text NOT NULL,
  PRIMARY KEY (tenant_id, collection, generation, chunk_id)
);
COMMENT ON TABLE knowledge_chunks IS
  'Chunks of documents, where PostgreSQL is the index. The backend adds the column embedding, and its indexes, as '
  'far as the database has the extensions for them (backend/knowledge/postgres-vector-index.ts).';
COMMENT ON COLUMN knowledge_chunks.terms IS
  'What lexical search compares: the terms of the chunk, separated by spaces (backend/knowledge/lexical-terms.ts).';
CREATE INDEX knowledge_chunks_document ON knowledge_chunks (tenant_id, collection, generation, document_id);
