/**
 * Conditions on the metadata of documents: typed values, never an expression. Each adapter hands them to its engine
 * as parameters; nothing a caller writes becomes part of a statement.
 */
import { z } from "zod";

/** More conditions than a person writes; each one is a test on every candidate. */
export const FILTER_CONDITIONS_MAX = 16;
/** Values of one list. */
export const FILTER_VALUES_MAX = 100;
/** Longest text that is compared, characters. */
export const FILTER_TEXT_CHARACTERS_MAX = 512;

/** Names of metadata fields. */
export const METADATA_FIELD_PATTERN = /^[A-Za-z_][A-Za-z0-9_.-]{0,63}$/;
/** The same in words. */
export const METADATA_FIELD_RULE = "1 to 64 of A-Z a-z 0-9 _ . -, beginning with a letter or _";

/** Engines cannot hold NUL and halves of surrogate pairs: no document has them, and no engine is asked for them. */
const text = z
  .string()
  .max(FILTER_TEXT_CHARACTERS_MAX)
  .refine((value) => value.isWellFormed() && !value.includes("\0"), "must be Unicode without NUL");
const number = z.number();
const value = z.union([text, number, z.boolean()]);
const field = z.string().regex(METADATA_FIELD_PATTERN, `must be ${METADATA_FIELD_RULE}`);
const bound = z.union([number, text]).optional();

/**
 * One condition. A document without the field meets none; a value of another type than the document's does not
 * either (`1` is not `"1"`). Texts are ordered by their code points, so that ISO 8601 dates order as dates do.
 */
export const filterConditionSchema = z.union(
  [
    z.strictObject({ field, equals: value }),
    z.strictObject({ field, in: z.array(value).min(1).max(FILTER_VALUES_MAX) }),
    z.strictObject({
      field,
      range: z
        .strictObject({ gt: bound, gte: bound, lt: bound, lte: bound })
        .refine(
          (range) => Object.values(range).some((limit) => limit !== undefined),
          "needs at least one bound",
        )
        .refine(
          (range) => new Set(Object.values(range).map((limit) => typeof limit)).size === 1,
          "needs bounds of one type",
        ),
    }),
  ],
  {
    error:
      `must be one of {"field":…,"equals":…}, {"field":…,"in":[…]} with 1 to ${FILTER_VALUES_MAX} values and ` +
      '{"field":…,"range":{…}} with gt, gte, lt or lte of one type; a field is 1 to 64 of A-Z a-z 0-9 _ . -, and ' +
      `what it is compared with a text of up to ${FILTER_TEXT_CHARACTERS_MAX} characters, a number or, except in a range, a boolean`,
  },
);

/** Conditions that all have to be met; an empty list is no filter. */
export const metadataFilterSchema = z.array(filterConditionSchema).max(FILTER_CONDITIONS_MAX);

/** One validated condition. */
export type FilterCondition = z.output<typeof filterConditionSchema>;

/** Bounds of one type; at least one is there. */
export type MetadataRange = Extract<FilterCondition, { range: unknown }>["range"];

/** Validated conditions. */
export type MetadataFilter = readonly FilterCondition[];
