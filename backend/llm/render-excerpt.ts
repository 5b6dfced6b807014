/** Writes a range of a passage's units as Markdown that stands by itself, and marks what is left out. */
import type { QuotationUnit } from "./quotation-units.ts";

/** Units that follow each other, by their places: both ends belong to it. */
export interface UnitRange {
  readonly first: number;
  readonly last: number;
}

/** How it is said that something is left out between two lines. A table ends at a line that is no row. */
const GAP_LINE = { row: "| … |", code: "…", text: "…\n" } as const satisfies Record<
  QuotationUnit["kind"],
  string
>;

/** The range with its table's header or its code's fence above it, and an ellipsis where something is left out. */
export function renderExcerpt(
  { text, units }: { readonly text: string; readonly units: readonly QuotationUnit[] },
  { first, last }: UnitRange,
): string {
  const from = units[first];
  const to = units[last];
  if (!from || !to) return "";
  const body = text.slice(from.start, to.end).trim();
  return `${beginning(text, from)}${body}${last === units.length - 1 ? "" : ending(to)}`;
}

function beginning(text: string, unit: QuotationUnit): string {
  const { start, kind, begins, lead } = unit;
  if (start === 0) return "";
  if (begins !== "line") return "… ";
  if (!lead) return `${GAP_LINE.text}\n`;
  const isBelowLead = text.slice(lead.end, start).trim() === "";
  return [
    ...(lead.start === 0 ? [] : [GAP_LINE.text]),
    text.slice(lead.start, lead.end),
    ...(isBelowLead ? [] : [GAP_LINE[kind]]),
    "",
  ].join("\n");
}

function ending({ kind }: QuotationUnit): string {
  return kind === "text" ? " …" : `\n${GAP_LINE[kind]}`;
}
