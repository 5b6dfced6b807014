/**
 * Conditions on metadata as Milvus expressions in which nothing that a caller wrote stands: names and values become
 * hashes, texts that are ordered become hexadecimal, numbers are written by us. So the same expressions are safe on
 * every Milvus; Milvus Lite has no filter templates.
 */
import { createHash } from "node:crypto";
import type { Metadata, MetadataValue } from "./chunk.ts";
import type { FilterCondition, MetadataFilter, MetadataRange } from "./metadata-filter.ts";

const OPERATORS = { gt: ">", gte: ">=", lt: "<", lte: "<=" } as const;

/** What is stored of a document's metadata so that it can be filtered. */
export interface FilterFields {
  /** One hash for each field with its value. */
  readonly facets: string[];
  /** Fields with numbers, by the hash of their name. */
  readonly numbers: Record<string, number>;
  /** Fields with texts, hexadecimal, by the hash of their name. */
  readonly texts: Record<string, string>;
}

/** The fields of a row. */
export function filterFields(metadata: Metadata): FilterFields {
  const entries = Object.entries(metadata);
  const pick = <T>(type: string, convert: (value: MetadataValue) => T) =>
    Object.fromEntries(
      entries
        .filter(([, value]) => typeof value === type)
        .map(([name, value]) => [hash(name), convert(value)]),
    );
  return {
    facets: entries.map(([name, value]) => facet(name, value)),
    numbers: pick("number", Number),
    texts: pick("string", (value) => hexOf(String(value))),
  };
}

/** ` and …` for each condition; empty for no filter. */
export function filterExpression(filter: MetadataFilter | undefined): string {
  return (filter ?? []).map((condition) => ` and ${conditionExpression(condition)}`).join("");
}

function conditionExpression(condition: FilterCondition): string {
  if ("equals" in condition) return `array_contains(facets, "${facet(condition.field, condition.equals)}")`;
  if ("range" in condition) return rangeExpression(condition.field, condition.range);
  const facets = condition.in.map((value) => `"${facet(condition.field, value)}"`);
  return `array_contains_any(facets, [${facets.join(", ")}])`;
}

function rangeExpression(field: string, range: MetadataRange): string {
  const tests = (Object.keys(OPERATORS) as (keyof typeof OPERATORS)[]).flatMap((bound) => {
    const limit = range[bound];
    if (limit === undefined) return [];
    return typeof limit === "number"
      ? `numbers["${hash(field)}"] ${OPERATORS[bound]} ${limit}`
      : `texts["${hash(field)}"] ${OPERATORS[bound]} "${hexOf(limit)}"`;
  });
  return `(${tests.join(" and ")})`;
}

/** Typed: 1 and "1" have different ones. */
function facet(field: string, value: MetadataValue): string {
  return hash(JSON.stringify([field, value]));
}

/** In the order of their bytes, which is the order of their code points. */
function hexOf(text: string): string {
  return Buffer.from(text, "utf8").toString("hex");
}

/** 32 hexadecimal digits; the `h` keeps engines from taking it for a number. */
export function hash(text: string): string {
  return `h${createHash("sha256").update(text).digest("hex").slice(0, 32)}`;
}
