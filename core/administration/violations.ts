/** Input of administrators, checked as a whole: every problem at once, each with its place. */
import type * as z from "zod";
import { ParleyError } from "../errors/parley-error.ts";

/** One problem of an input. */
export interface Violation {
  /** Path in the input, e.g. `config.models.0.provider`; empty for the input as a whole. */
  field: string;
  description: string;
}

/** More problems than anybody reads; the rest is cut off. */
const VIOLATIONS_MAX = 100;
/** Longest field that is repeated: names of unknown fields are the caller's text. */
const FIELD_CHARACTERS_MAX = 200;
/** Deeper JSON is no input of ours; the schemas refuse it anyway. */
const DEPTH_MAX = 32;

/**
 * The input as its schema returns it.
 *
 * @param further problems that the schema cannot see, found in the raw input
 * @throws ParleyError `invalid_argument` with `details.violations`
 */
export function validate<Schema extends z.ZodType>(
  schema: Schema,
  input: unknown,
  further: readonly Violation[] = [],
): z.output<Schema> {
  const result = schema.safeParse(input);
  const violations = [
    ...(result.success ? [] : meaningful(result.error.issues).flatMap(issueViolations)),
    ...further,
    ...unstorableTexts(input, "", 0),
  ];
  if (violations.length > 0 || !result.success) throw invalid(violations);
  return result.data;
}

/** The error for an input with these problems; its message names the first few of them. */
export function invalid(violations: readonly Violation[]): ParleyError {
  const shown = violations.slice(0, VIOLATIONS_MAX);
  const [first] = shown;
  const more = violations.length > 1 ? ` (and ${violations.length - 1} more; see details.violations)` : "";
  return new ParleyError(
    "invalid_argument",
    `the input is not valid: ${first?.field ? `${first.field}: ` : ""}${first?.description}${more}`,
    { reason: "invalid-input", details: { violations: shown.map((violation) => ({ ...violation })) } },
  );
}

/** Zod measures whatever has a length: of a text in place of a list it would also say that it is too long. */
function meaningful(issues: readonly z.core.$ZodIssue[]): z.core.$ZodIssue[] {
  const ofWrongType = new Set(
    issues.filter(({ code }) => code === "invalid_type").map(({ path }) => path.join("\0")),
  );
  return issues.filter(({ code, path }) => code === "invalid_type" || !ofWrongType.has(path.join("\0")));
}

function issueViolations(issue: z.core.$ZodIssue): Violation[] {
  const path = issue.path.map(String);
  if (issue.code === "unrecognized_keys") {
    return issue.keys.map((key) => ({
      field: fieldOf([...path, key]),
      description: "there is no such field",
    }));
  }
  return [{ field: fieldOf(path), description: issue.message }];
}

function fieldOf(path: readonly string[]): string {
  return path.join(".").slice(0, FIELD_CHARACTERS_MAX).replaceAll("\0", "\uFFFD").toWellFormed();
}

/** PostgreSQL stores neither NUL nor halves of surrogate pairs; refused here, they are not an internal error there. */
function unstorableTexts(value: unknown, field: string, depth: number): Violation[] {
  if (typeof value === "string") {
    const isStorable = value.isWellFormed() && !value.includes("\0");
    return isStorable
      ? []
      : [{ field, description: "has characters that cannot be stored (NUL, half pairs)" }];
  }
  if (typeof value !== "object" || value === null || depth >= DEPTH_MAX) return [];
  return Object.entries(value).flatMap(([key, child]) => {
    const place = fieldOf([...(field === "" ? [] : [field]), key]);
    return [...unstorableTexts(key, place, depth + 1), ...unstorableTexts(child, place, depth + 1)];
  });
}
