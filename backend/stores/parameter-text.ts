/** How values travel to PostgreSQL: as text, whatever their type there. */
import type { JsonValue } from "../../core/errors/parley-error.ts";

/**
 * The text of a parameter, null for NULL. Arrays become array literals (`{…}`), objects JSON; the same as
 * node-postgres and Neon's gateway (`json_to_pg_text` in its proxy) do.
 */
export function parameterText(value: JsonValue | readonly string[]): string | null {
  if (value === null) return null;
  if (typeof value === "string") return value;
  if (Array.isArray(value)) return arrayText(value);
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

function arrayText(values: readonly JsonValue[]): string {
  const elements = values.map((value) => {
    if (Array.isArray(value)) return arrayText(value);
    const text = parameterText(value);
    return text === null ? "NULL" : `"${text.replaceAll("\\", "\\\\").replaceAll('"', '\\"')}"`;
  });
  return `{${elements.join(",")}}`;
}
