-- Chunks are fetched by the primary key. Beside an index that begins with the same columns, a planner without
-- statistics of a tenant may read all of the tenant's chunks for each of them.
CREATE INDEX knowledge_chunks_by_document ON knowledge_chunks (document_id, tenant_id, collection, generation);
DROP INDEX knowledge_chunks_document;
