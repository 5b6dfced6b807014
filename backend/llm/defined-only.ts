/** Leaves out what is undefined: the SDKs' types take a missing field, not an undefined one. */

/** The same fields, none of them undefined. */
export type DefinedOnly<T> = { [K in keyof T]?: Exclude<T[K], undefined> };

/** A copy without the fields that are undefined. */
export function definedOnly<T extends object>(fields: T): DefinedOnly<T> {
  return Object.fromEntries(
    Object.entries(fields).filter(([, value]) => value !== undefined),
  ) as DefinedOnly<T>;
}
