/** Neon's SQL over HTTP as data: what its bodies and headers mean, without any server. */
import type { IncomingHttpHeaders } from "node:http";
import { z } from "zod";
import type { JsonValue } from "../../core/errors/parley-error.ts";
import { parameterText } from "./parameter-text.ts";
import {
  type BatchOptions,
  ISOLATION_LEVELS,
  type RawResult,
  type RawStatement,
  STATEMENT_ERROR_FIELDS,
  type StatementErrorFields,
} from "./raw-sql-executor.ts";

/** A transaction of more statements than this would keep the one session of PGlite for too long. */
const BATCH_STATEMENTS_MAX = 1_000;

const statementSchema = z.object({
  query: z.string(),
  params: z
    .array(z.json())
    .default([])
    .transform((params) => params.map((param) => parameterText(param as JsonValue))),
  arrayMode: z.boolean().optional(),
});

const payloadSchema = z.union([
  statementSchema,
  z.object({ queries: z.array(statementSchema).max(BATCH_STATEMENTS_MAX) }),
]);

/** A statement, and whether its rows are wanted as arrays; the header decides where it does not say. */
export interface NeonStatement extends RawStatement {
  readonly arrayMode: boolean | undefined;
}

/** The body of a request. */
export type NeonPayload =
  | { readonly kind: "single"; readonly statement: NeonStatement }
  | { readonly kind: "batch"; readonly statements: readonly NeonStatement[] };

/** Reads a body; undefined when it is neither a statement nor a batch. */
export function readPayload(text: string): NeonPayload | undefined {
  const payload = payloadSchema.safeParse(parseJson(text));
  if (!payload.success) return undefined;
  if ("queries" in payload.data) return { kind: "batch", statements: payload.data.queries.map(toStatement) };
  return { kind: "single", statement: toStatement(payload.data) };
}

/** The transaction that a batch wants; undefined for an isolation level that there is not. */
export function readBatchOptions(headers: IncomingHttpHeaders): BatchOptions | undefined {
  const level = headers["neon-batch-isolation-level"];
  if (level !== undefined && !isIsolationLevel(level)) return undefined;
  return {
    isolationLevel: level,
    readOnly: headers["neon-batch-read-only"] === "true",
    deferrable: headers["neon-batch-deferrable"] === "true",
  };
}

/** The body that answers a single statement. */
export function resultBody(result: RawResult, arrayMode: boolean): string {
  return JSON.stringify(toResult(result, arrayMode));
}

/** The body that answers a batch. */
export function batchBody(results: readonly RawResult[], arrayMode: (index: number) => boolean): string {
  return JSON.stringify({ results: results.map((result, index) => toResult(result, arrayMode(index))) });
}

/** The body of a failure: every field is there, null where the database says nothing. */
export function errorBody(message: string, fields: StatementErrorFields): string {
  const named = STATEMENT_ERROR_FIELDS.map((field) => [field, fields[field] ?? null] as const);
  return JSON.stringify({ message, ...Object.fromEntries(named) });
}

function toResult({ fields, rows, command, rowCount }: RawResult, arrayMode: boolean) {
  return {
    rowAsArray: arrayMode,
    fields: fields.map((field) => ({ ...field, format: "text" })),
    rows: arrayMode
      ? rows
      : rows.map((row) => Object.fromEntries(fields.map(({ name }, column) => [name, row[column]]))),
    command,
    rowCount,
  };
}

function toStatement({ query, params, arrayMode }: z.output<typeof statementSchema>): NeonStatement {
  return { text: query, params, arrayMode };
}

function isIsolationLevel(level: string | string[]): level is keyof typeof ISOLATION_LEVELS {
  return typeof level === "string" && Object.hasOwn(ISOLATION_LEVELS, level);
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
