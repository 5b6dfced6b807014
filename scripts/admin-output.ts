/** What the command line prints: JSON for programs, tables for people. */

/** Longest cell; the rest is left to `--json`. */
const CELL_CHARACTERS_MAX = 60;

/** A result as text: its one list as a table, or itself as a list of fields. */
export function renderTable(result: object): string {
  const list = Object.values(result).find(
    (value): value is object[] => Array.isArray(value) && isRows(value),
  );
  const rows = list ?? Object.entries(result).map(([field, value]) => ({ field, value }));
  const more = "nextCursor" in result ? `\n\nmore: --cursor ${result.nextCursor}` : "";
  return (rows.length === 0 ? "(none)" : tableOf(rows)) + more;
}

function isRows(value: unknown[]): boolean {
  return value.every((row) => typeof row === "object" && row !== null && !Array.isArray(row));
}

function tableOf(rows: readonly object[]): string {
  const columns = [...new Set(rows.flatMap(Object.keys))];
  const lines = [columns, ...rows.map((row) => columns.map((column) => cellOf(row, column)))];
  const widths = columns.map((_, index) => Math.max(...lines.map((line) => line[index]?.length ?? 0)));
  return lines
    .map((line) =>
      line
        .map((cell, index) => cell.padEnd(widths[index] ?? 0))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}

/** A secret is never cut: it is shown this once. */
function cellOf(row: object, column: string): string {
  const value: unknown = (row as Record<string, unknown>)[column];
  const text = typeof value === "object" && value !== null ? compact(value) : String(value ?? "");
  // Control characters in a label or a message must not steer the terminal.
  const clean = text.replaceAll(/\p{Cc}+/gu, " ");
  const isSecret = clean.startsWith("parley_");
  return clean.length > CELL_CHARACTERS_MAX && !isSecret
    ? `${clean.slice(0, CELL_CHARACTERS_MAX - 1)}…`
    : clean;
}

function compact(value: object): string {
  if (Array.isArray(value) && value.every((item) => typeof item === "string")) return value.join(",");
  return JSON.stringify(value);
}
