/**
 * The words of a question in PostgreSQL, ranked by BM25 in two ways: by pg_textsearch's index, and over PostgreSQL's
 * own text search, which finds but cannot rank so. Both give rows of chunk_id and score, best first.
 */
import type { SqlParameters } from "./postgres-filter.ts";

/** Term frequency saturation and length normalisation (Robertson & Zaragoza 2009, section 3.4). */
const K1 = 1.2;
const B = 0.75;
/** Chunks that are read and scored, 5 µs each: a bound for when there are more of them than was estimated. */
const SCORED_MAX = 2_000;
/**
 * `ts_rank` of one lexeme that stands n times in a text, with all weights 1, is (1 + 1/4 + … + 1/n²) / 1.644934…, the
 * only thing that PostgreSQL tells of n without a look at all other words. The sum lacks 1 / (n + 1/2) of π²/6, nearly.
 */
const ONE_WEIGHT = "'{1,1,1,1}'";
const TS_RANK_SCALE = Math.PI ** 2 / 6;
/** Of n = 255, all that a tsvector keeps. Beyond it, the difference from 1 is rounding. */
const TS_RANK_MAX = 0.9976;

/**
 * pg_textsearch scores below zero, best first; a row that has none of the terms scores zero. Its idf counts the chunks
 * of the whole table, those of other scopes too.
 *
 * @param question placeholder of the terms, separated by spaces
 */
export function rankByExtension(question: string, where: string, limit: number): string {
  const score = `terms <@> to_bm25query(${question}, 'knowledge_chunks_bm25')`;
  return `
    SELECT chunk_id, -negative AS score FROM (
      SELECT chunk_id, ${score} AS negative FROM knowledge_chunks k WHERE ${where} ORDER BY ${score} LIMIT ${limit}
    ) ranked WHERE negative < 0`;
}

/** Words of no more bytes are in their row, unpacked; see PREPARE_WORDS. */
const INLINE_BYTES_MAX = 2_000;

/** A term as text search sees it. */
export interface TextSearchTerm {
  /** A tsquery. */
  readonly query: string;
  /** What a chunk is worth for having it. */
  readonly idf: number;
}

/** LIMIT, so that it is looked up for the chunks that were found, whatever the planner thinks of joining two tables. */
const METADATA = `
  SELECT metadata FROM knowledge_chunks c
   WHERE c.tenant_id = k.tenant_id AND c.collection = k.collection AND c.generation = k.generation
     AND c.chunk_id = k.chunk_id LIMIT 1`;

/** What {@link rankByTextSearch} needs. */
export interface TextSearchOptions {
  readonly terms: readonly TextSearchTerm[];
  /** The chunks to score: those that meet one of these, each a list of tsqueries. */
  readonly clauses: readonly (readonly string[])[];
  /** Of the scope, as `k`, and of the chunk's metadata. */
  readonly where: string;
  /** Whether `where` speaks of the metadata, which is not where the words are. */
  readonly isFiltered: boolean;
  readonly limit: number;
}

/**
 * Okapi BM25 over the table `knowledge_words`, of the chunks that meet a clause; their average length stands for that
 * of all. The number of different words stands for a chunk's length. Words that are too many for their row are copied,
 * or each term would fetch and unpack them anew.
 */
export function rankByTextSearch(
  { terms, clauses, where, isFiltered, limit }: TextSearchOptions,
  params: SqlParameters,
): string {
  const wanted = params.add(clauses.map((queries) => `(${queries.join(" & ")})`).join(" | "));
  const chunks = isFiltered
    ? `knowledge_words k CROSS JOIN LATERAL (${METADATA}) chunk`
    : "knowledge_words k";
  const scores = terms.map(({ query, idf }) => {
    const rank = `least(ts_rank(${ONE_WEIGHT}, words, ${params.add(query)}::tsquery), ${TS_RANK_MAX})`;
    const frequency = `round(1 / (${TS_RANK_SCALE}::float8 * (1 - ${rank})) - 0.5)`;
    return `${params.add(idf)}::float8 * (1 - norm / (${frequency} + norm))`;
  });
  return `
    WITH hit AS MATERIALIZED (
      SELECT chunk_id, CASE WHEN pg_column_size(words) < ${INLINE_BYTES_MAX} THEN words ELSE words || '' END AS words FROM ${chunks}
       WHERE ${where} AND words @@ ${wanted}::tsquery LIMIT ${SCORED_MAX}
    ), normed AS (
      SELECT chunk_id, words, ${K1} * (${1 - B} + ${B} * length(words) / avg(length(words)) OVER ())::float8 AS norm FROM hit
    )
    SELECT chunk_id, ${K1 + 1} * (${scores.join(" + ")}) AS score FROM normed
     ORDER BY score DESC, chunk_id LIMIT ${limit}`;
}
