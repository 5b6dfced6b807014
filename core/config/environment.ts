/** What the readers of environments share: how an empty variable is taken, and the schemas built on that. */
import * as z from "zod";

/** A TCP port as text; 0 is any free one. */
export const port = z.coerce.number().int().min(0).max(65_535);

/** `FOO=` in an environment file means the same as no line at all. */
export function emptyAsUnset(value: unknown): unknown {
  return value === "" ? undefined : value;
}

/** A variable that may be absent. */
export function optional<T extends z.ZodType>(schema: T) {
  return z.preprocess(emptyAsUnset, schema.optional());
}

/** A variable whose absence means `text`, which the schema then reads. */
export function withDefault<T extends z.ZodType>(schema: T, text: string) {
  return z.preprocess((value) => emptyAsUnset(value) ?? text, schema);
}
