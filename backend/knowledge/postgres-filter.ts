/** Conditions on metadata as SQL: the shape of the condition becomes text, every name and value a parameter. */
import type { SqlParam } from "../../core/directory/sql-client.ts";
import type { FilterCondition, MetadataFilter, MetadataRange } from "./metadata-filter.ts";

/** Collects a statement's parameters and gives out their placeholders. */
export class SqlParameters {
  readonly values: SqlParam[] = [];

  /** The placeholder `$n` for a value. */
  add(value: SqlParam): string {
    this.values.push(value);
    return `$${this.values.length}`;
  }
}

const OPERATORS = { gt: ">", gte: ">=", lt: "<", lte: "<=" } as const;

/** ` AND …` for each condition on the column `metadata` (jsonb); empty for no filter. */
export function filterSql(filter: MetadataFilter | undefined, params: SqlParameters): string {
  return (filter ?? []).map((condition) => ` AND ${conditionSql(condition, params)}`).join("");
}

function conditionSql(condition: FilterCondition, params: SqlParameters): string {
  if ("equals" in condition) {
    return `metadata @> ${params.add(JSON.stringify({ [condition.field]: condition.equals }))}::jsonb`;
  }
  if ("in" in condition) {
    const values = condition.in.map((value) => JSON.stringify(value));
    return `metadata -> ${params.add(condition.field)} = ANY(${params.add(values)}::jsonb[])`;
  }
  return rangeSql(condition.field, condition.range, params);
}

/** CASE, because nothing else keeps PostgreSQL from converting a value of another type first. */
function rangeSql(field: string, range: MetadataRange, params: SqlParameters): string {
  const name = params.add(field);
  const bounds = (Object.keys(OPERATORS) as (keyof typeof OPERATORS)[]).flatMap((bound) => {
    const limit = range[bound];
    return limit === undefined ? [] : [{ operator: OPERATORS[bound], limit }];
  });
  const isNumber = bounds.some(({ limit }) => typeof limit === "number");
  const [kind, value, type] = isNumber
    ? ["number", `(metadata ->> ${name})::numeric`, "numeric"]
    : ["string", `(metadata ->> ${name}) COLLATE "C"`, "text"];
  const tests = bounds.map(({ operator, limit }) => `${value} ${operator} ${params.add(limit)}::${type}`);
  return `CASE WHEN jsonb_typeof(metadata -> ${name}) = '${kind}' THEN ${tests.join(" AND ")} ELSE false END`;
}
