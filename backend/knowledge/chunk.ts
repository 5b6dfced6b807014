/**
 * What knowledge is made of once a document has been cut: chunks, each with its place in the document. A chunk is
 * what is indexed, found, quoted and cited.
 */
import { createHash } from "node:crypto";
import { estimateTextTokens, TokenCounter } from "./estimate-text-tokens.ts";

/** A value of a document's metadata; lists and objects cannot be filtered by, so there are none. */
export type MetadataValue = string | number | boolean;

/** Fields of one document's metadata. */
export const METADATA_FIELDS_MAX = 64;
/** Longest text of a chunk, UTF-16 code units: several times what ingestion makes, and what every engine can hold. */
export const CHUNK_CHARACTERS_MAX = 20_000;

/** Of title and headings before a chunk's text: with the longest chunk, 400 tokens, what a model of 512 takes. */
export const PATH_TOKENS_MAX = 100;
const PATH_SEPARATOR = " › ";

/** What the owner says of a document, at most {@link METADATA_FIELDS_MAX} fields; every chunk of it has the same. */
export type Metadata = Readonly<Record<string, MetadataValue>>;

/** A piece of a document as it is stored. */
export interface Chunk {
  /** See {@link chunkId}. */
  readonly chunkId: string;
  /** Id of the document within its collection, e.g. `docs/architecture.md`. */
  readonly documentId: string;
  /** Its place among the chunks of the document, from 0. */
  readonly ordinal: number;
  readonly title: string;
  /** Path of headings above the piece, outermost first, without the title; may be empty. */
  readonly headings: readonly string[];
  /** The piece itself, as it stands in the document's text; at most {@link CHUNK_CHARACTERS_MAX} long. */
  readonly text: string;
  /** Offsets of `text` in the document's text, UTF-16 code units: [startOffset, endOffset). */
  readonly startOffset: number;
  readonly endOffset: number;
  /** SHA-256 of `text`, lower-case hex: chunks with the same text have the same. */
  readonly contentHash: string;
  readonly metadata: Metadata;
}

/** A chunk on its way into an index. */
export interface EmbeddedChunk extends Chunk {
  /** Of its {@link embeddedText}, by its generation's model. Undefined: it is found by its words alone. */
  readonly embedding: Float32Array | undefined;
}

/**
 * The id of a chunk within its collection, 32 hex digits: the same document cut the same way gives the same ids, so
 * that storing it again replaces and never doubles.
 */
export function chunkId(documentId: string, contentHash: string, ordinal: number): string {
  const name = JSON.stringify([documentId, contentHash, ordinal]);
  return createHash("sha256").update(name).digest("hex").slice(0, 32);
}

/** SHA-256 of a text, lower-case hex. */
export function hashContent(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}

/**
 * What of a chunk is embedded and searched: the text under its path, because a piece out of the middle of a document
 * rarely says what it is about. Of a path longer than {@link PATH_TOKENS_MAX} the title and the inmost headings are left.
 */
export function embeddedText({ title, headings, text }: Pick<Chunk, "title" | "headings" | "text">): string {
  const path = [title, ...headings].filter((heading, at, all) => heading !== "" && heading !== all[at - 1]);
  while (path.length > 2 && estimateTextTokens(path.join(PATH_SEPARATOR)) > PATH_TOKENS_MAX)
    path.splice(1, 1);
  if (path.length === 0) return text;
  return `${cutToTokens(path, PATH_TOKENS_MAX)}\n\n${text}`;
}

/** A path that is too long still gives each of its parts the same share. */
function cutToTokens(path: readonly string[], tokensMax: number): string {
  const whole = path.join(PATH_SEPARATOR);
  if (estimateTextTokens(whole) <= tokensMax) return whole;
  return path.map((part) => cutPart(part, Math.floor(tokensMax / path.length) - 2)).join(PATH_SEPARATOR);
}

function cutPart(part: string, tokensMax: number): string {
  const counter = new TokenCounter();
  for (let position = 0; position < part.length; position++) {
    counter.add(part.charCodeAt(position));
    if (counter.tokens > tokensMax) return `${part.slice(0, position).toWellFormed().trimEnd()}…`;
  }
  return part;
}
