/**
 * BM25 in PostgreSQL, in two ways: by pg_textsearch's index, and over PostgreSQL's own text search, which finds but
 * cannot rank so. Both give rows of chunk_id and score, best first.
 */

/** Chunks of one term that are looked at. A term that more chunks have says little; the rarer ones find the chunk. */
const CHUNKS_PER_TERM_MAX = 1_000;
/**
 * Chunks that are scored for each one asked for: those whose terms have the most idf together. How often a term stands
 * in a chunk is told only by reading all its words, which for the thousands that common terms hit takes most of a
 * second. What is left out has fewer or commoner terms, or as many as the last of the others.
 */
const SCORED_PER_RESULT = 10;
/** Term frequency saturation and length normalisation (Robertson & Zaragoza 2009, section 3.4). */
const K1 = 1.2;
const B = 0.75;

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

/** What {@link rankByTextSearch} needs. */
export interface TextSearchOptions {
  /** Placeholder of the terms, separated by spaces. */
  readonly question: string;
  readonly where: string;
  readonly limit: number;
  /** Placeholder of the number of chunks of the scope. */
  readonly chunks: string;
}

/**
 * Okapi BM25 over the column `words`. Every chunk that has a term is a hit of it, so counting the hits gives the
 * term's exact document frequency within scope and filter; a term with too many is taken to be in half of them.
 * The number of different words stands for a chunk's length.
 */
export function rankByTextSearch({ question, where, limit, chunks }: TextSearchOptions): string {
  return `
    WITH term AS MATERIALIZED (
      SELECT lexeme, quote_literal(lexeme)::tsquery AS query FROM unnest(to_tsvector('simple', ${question}))
    ), hit AS MATERIALIZED (
      SELECT term.lexeme, found.chunk_id FROM term CROSS JOIN LATERAL (
        SELECT chunk_id FROM knowledge_chunks k WHERE ${where} AND words @@ term.query LIMIT ${CHUNKS_PER_TERM_MAX}
      ) found
    ), frequency AS MATERIALIZED (
      SELECT lexeme,
        CASE WHEN count(*) < ${CHUNKS_PER_TERM_MAX} THEN count(*) ELSE greatest(count(*), ${chunks}::int / 2) END AS df
        FROM hit GROUP BY lexeme
    ), weight AS MATERIALIZED (
      SELECT lexeme, ln(1 + (greatest(${chunks}::int, df) - df + 0.5::float8) / (df + 0.5::float8)) AS idf FROM frequency
    ), likely AS MATERIALIZED (
      SELECT chunk_id FROM hit JOIN weight USING (lexeme)
       GROUP BY chunk_id ORDER BY sum(idf) DESC, chunk_id LIMIT ${limit * SCORED_PER_RESULT}
    ), candidate AS MATERIALIZED (
      SELECT chunk_id, words, length(words) AS size FROM knowledge_chunks k
       WHERE ${where} AND chunk_id IN (SELECT chunk_id FROM likely)
    ), average AS (
      SELECT avg(size) AS size FROM candidate
    )
    SELECT candidate.chunk_id, sum(
        idf * cardinality(word.positions) * ${K1 + 1}
        / (cardinality(word.positions) + ${K1} * (${1 - B} + ${B} * candidate.size / average.size))
      )::float8 AS score
      FROM candidate CROSS JOIN average CROSS JOIN LATERAL unnest(candidate.words) word
      JOIN weight USING (lexeme)
     GROUP BY candidate.chunk_id ORDER BY score DESC, candidate.chunk_id LIMIT ${limit}`;
}
