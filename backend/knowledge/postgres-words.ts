/**
 * The table `knowledge_words`: the words of each chunk for PostgreSQL's own text search, in rows so narrow that
 * scoring a chunk costs one page. In `knowledge_chunks` they would be moved out of the row, and fetching them from
 * there takes four times as long as the rest of the search. Each word begins with a mark of its scope, so that the
 * words of others are not looked through.
 */
import { createHash } from "node:crypto";
import type { SqlClient } from "../../core/directory/sql-client.ts";
import type { SqlParameters } from "./postgres-filter.ts";
import type { IndexScope } from "./vector-index.ts";

const KEY = "tenant_id, collection, generation, chunk_id";

/** Of 65,536 marks, letters only; two scopes with the same one are told apart by the key. The same as {@link scopeMark}. */
const MARK = `translate(
  left(encode(sha256(convert_to(concat_ws('/', tenant_id, collection, generation), 'UTF8')), 'hex'), 4),
  '0123456789abcdef', 'ghijklmnopqrstuv')`;
const WORDS = `to_tsvector('simple', replace(' ' || terms, ' ', ' ' || ${MARK}))`;

/** What the words of a scope begin with. */
export function scopeMark({ tenantId, collection, generation }: IndexScope): string {
  const hex = createHash("sha256")
    .update(`${tenantId}/${collection}/${generation}`)
    .digest("hex")
    .slice(0, 4);
  return Array.from(hex, (digit) => String.fromCharCode(LETTER_G + Number.parseInt(digit, 16))).join("");
}

const LETTER_G = 0x67;

/**
 * Triggers keep it, so that whoever writes chunks or deletes them leaves nothing behind. 8,160 bytes are the longest
 * row: up to there words stay in it, as they are. The chunks that an older version has stored are taken over; backends
 * of that version go on with the column that they kept the words in.
 *
 * EXECUTE plans the deletion each time: a plan made for many chunks, and kept by the connection, would read the whole
 * table for each one.
 *
 * Runs in a transaction that others wait for; see {@link HAS_WORDS}.
 */
export const PREPARE_WORDS = `
  CREATE TABLE IF NOT EXISTS knowledge_words (
    tenant_id text NOT NULL,
    collection text NOT NULL,
    generation integer NOT NULL,
    chunk_id text NOT NULL,
    words tsvector NOT NULL,
    PRIMARY KEY (${KEY})
  ) WITH (toast_tuple_target = 8160);
  COMMENT ON TABLE knowledge_words IS
    'The words of each row of knowledge_chunks, where PostgreSQL''s own text search finds them. Kept by triggers.';

  CREATE OR REPLACE FUNCTION knowledge_words_store() RETURNS trigger LANGUAGE plpgsql AS $$
  BEGIN
    INSERT INTO knowledge_words AS w SELECT ${KEY}, ${WORDS} FROM stored
      ON CONFLICT (${KEY}) DO UPDATE SET words = excluded.words WHERE w.words IS DISTINCT FROM excluded.words;
    RETURN NULL;
  END $$;
  CREATE OR REPLACE FUNCTION knowledge_words_delete() RETURNS trigger LANGUAGE plpgsql AS $$
  BEGIN
    EXECUTE 'DELETE FROM knowledge_words w USING deleted d WHERE w.tenant_id = d.tenant_id
      AND w.collection = d.collection AND w.generation = d.generation AND w.chunk_id = d.chunk_id';
    RETURN NULL;
  END $$;
  CREATE OR REPLACE TRIGGER knowledge_words_insert AFTER INSERT ON knowledge_chunks
    REFERENCING NEW TABLE AS stored FOR EACH STATEMENT EXECUTE FUNCTION knowledge_words_store();
  CREATE OR REPLACE TRIGGER knowledge_words_update AFTER UPDATE ON knowledge_chunks
    REFERENCING NEW TABLE AS stored FOR EACH STATEMENT EXECUTE FUNCTION knowledge_words_store();
  CREATE OR REPLACE TRIGGER knowledge_words_delete AFTER DELETE ON knowledge_chunks
    REFERENCING OLD TABLE AS deleted FOR EACH STATEMENT EXECUTE FUNCTION knowledge_words_delete();

  INSERT INTO knowledge_words SELECT ${KEY}, ${WORDS} FROM knowledge_chunks ON CONFLICT DO NOTHING;
  CREATE INDEX IF NOT EXISTS knowledge_words_words ON knowledge_words USING gin (words);`;

/** Whether that has been done, as `words`. */
export const HAS_WORDS = `EXISTS (
  SELECT FROM pg_trigger WHERE tgrelid = 'knowledge_chunks'::regclass AND tgname = 'knowledge_words_delete') AS words`;

/**
 * The condition that keeps a search for words in its scope, as no index can take it: the words lead to the scope's
 * chunks, where a planner that underestimates the scope would look through all of them.
 */
export function wordsScopeSql(
  { tenantId, collection, generation }: IndexScope,
  params: SqlParameters,
): string {
  const scope = `${params.add(tenantId)}, ${params.add(collection)}, ${params.add(generation)}::int`;
  return `(k.tenant_id, k.collection, k.generation) IS NOT DISTINCT FROM (${scope})`;
}

/** How long searches may have to wait because others, such as a backup, use the table and this waits for them. */
const DROP_WAIT_MS = 500;

/** Drops what older versions kept the words in; only they use it. False when the table was in use; nothing is changed then. */
export async function dropWordsColumn(client: SqlClient): Promise<boolean> {
  const find = "SELECT FROM pg_attribute WHERE attrelid = 'knowledge_chunks'::regclass AND attname = 'words'";
  const isThere = async () => (await client.query(find, [])).length > 0;
  if (!(await isThere())) return true;
  const text = `DO $$ BEGIN
    SET LOCAL lock_timeout = '${DROP_WAIT_MS}ms';
    ALTER TABLE knowledge_chunks DROP COLUMN IF EXISTS words;
  EXCEPTION WHEN lock_not_available THEN NULL;
  END $$`;
  await client.query(text, []);
  return !(await isThere());
}
