/**
 * Cuts the blocks of a section into chunks of bounded length: neighbours are joined, code and tables stay whole where
 * they fit, what is too long is cut at the end of a line, else of a sentence, else of a word, else anywhere, and
 * never inside a character.
 */
import { type Block, beforeSurrogate, type Span, WORD } from "./document-structure.ts";
import { estimateTextTokens, TokenCounter } from "./estimate-text-tokens.ts";

/** Longest chunk: with the title and headings before it, it fits an embedding model that takes 512 tokens. */
export const CHUNK_TOKENS_MAX = 400;
/** A chunk that has so many may end where a block does; a shorter one only with its section. */
export const CHUNK_TOKENS_MIN = 256;

/** Where to cut, best first. */
const BOUNDARIES = ["\n", ". ", "。", " "];

/** A piece of a block that fits a chunk, and its length. */
interface Piece extends Span {
  readonly tokens: number;
}

/** The chunks of one section, in order; none without a letter or a digit. Linear in the section's length. */
export function packChunks(text: string, blocks: readonly Block[]): Span[] {
  const pieces = blocks.flatMap((block) => cutBlock(text, block));
  const total = pieces.reduce((sum, { tokens }) => sum + tokens, 0);
  // Of equal length rather than full ones and a rest of a few words.
  const target = Math.max(CHUNK_TOKENS_MIN, total / Math.ceil(total / CHUNK_TOKENS_MAX));
  const chunks: Span[] = [];
  let tokens = 0;
  let gapTokens = 0;
  for (const piece of pieces) {
    const last = chunks.at(-1);
    if (last) gapTokens += countTokens(text, last.end, piece.start);
    if (last && tokens < target && tokens + piece.tokens + gapTokens <= CHUNK_TOKENS_MAX) {
      last.end = piece.end;
      tokens += piece.tokens;
    } else {
      chunks.push({ start: piece.start, end: piece.end });
      tokens = piece.tokens;
      gapTokens = 0;
    }
  }
  return chunks
    .map((chunk) => trimEnd(text, chunk))
    .filter(({ start, end }) => WORD.test(text.slice(start, end)));
}

/** A block that fits as it is; a paragraph in its sentences' or lines' order, each piece as long as may be. */
function cutBlock(text: string, block: Block): Piece[] {
  const pieces: Piece[] = [];
  let { start } = block;
  while (start < block.end) {
    const window = fillWindow(text, start, block.end);
    const end = window.end === block.end ? block.end : cutPosition(text, start, window.end);
    const tokens = end === window.end ? window.tokens : estimateTextTokens(text, start, end);
    pieces.push({ start, end, tokens });
    start = skipGap(text, end, block.end);
  }
  return pieces;
}

/** Empty lines, else spaces between words; not what indents the next line. */
function skipGap(text: string, start: number, end: number): number {
  const gap = text[start] === "\n" || text[start] === "\r" ? "\r\n" : " ";
  let position = start;
  while (position < end && gap.includes(text[position] ?? "")) position++;
  return position;
}

/** As much as a chunk holds. */
function fillWindow(text: string, start: number, end: number): Piece {
  const counter = new TokenCounter();
  let position = start;
  let tokens = 0;
  while (position < end) {
    counter.add(text.charCodeAt(position));
    if (counter.tokens > CHUNK_TOKENS_MAX) break;
    tokens = counter.tokens;
    position++;
  }
  return { start, end: position, tokens };
}

/** Where to cut a full window. Not in its first half, lest a chunk be only a few words. */
function cutPosition(text: string, start: number, end: number): number {
  // Of the whole text, each search would go back to its beginning.
  const window = text.slice(start, end);
  for (const boundary of BOUNDARIES) {
    const position = window.lastIndexOf(boundary) + boundary.length;
    if (position > window.length / 2) return start + position;
  }
  return Math.max(start + 1, beforeSurrogate(text, end));
}

/** What is between two pieces may be a line end, or a million. */
function countTokens(text: string, start: number, end: number): number {
  const counter = new TokenCounter();
  for (let position = start; position < end; position++) counter.add(text.charCodeAt(position));
  return counter.tokens;
}

function trimEnd(text: string, { start, end }: Span): Span {
  return { start, end: start + text.slice(start, end).trimEnd().length };
}
