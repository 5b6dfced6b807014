/** What a command of the operators' command line is, and how its options are read. */
import type { AdministrationCall } from "../core/administration/actor.ts";

/** The command line cannot be understood; exit code 2. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/** Options as they were given, by name. */
export type OptionValues = Readonly<Record<string, string | undefined>>;

/** One command. */
export interface AdminCommand {
  /** What follows the name, for the help: positionals, then options. */
  readonly usage: string;
  readonly summary: string;
  /** Names of what must follow the command. */
  readonly positionals: readonly string[];
  /** Options that take a value, beside `tenant`. */
  readonly options: readonly string[];
  /** Options without which the command makes no sense. */
  readonly required?: readonly string[];
  /** Whether a result that is printed like any other tells of failures: exit code 1. */
  failed?(result: object): boolean;
  /** Does it; what it returns is printed as JSON, or as a table of its one list or of itself. */
  run(call: AdministrationCall, options: OptionValues, positionals: readonly string[]): Promise<object>;
}

const UNITS_MS: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** A span such as `30d`, `12h`, `90s` in milliseconds. @throws UsageError */
export function readDurationMs(option: string, text: string): number {
  const [, amount, unit] = /^(\d{1,6})([smhd])$/.exec(text) ?? [];
  if (amount === undefined || unit === undefined) {
    throw new UsageError(`--${option} must be a number with s, m, h or d, e.g. 30d`);
  }
  return Number(amount) * (UNITS_MS[unit] ?? 0);
}

/** A number, or `null` for the word that stands for "not set". @throws UsageError */
export function readNumber(option: string, text: string, unsetWord: string): number | null {
  if (text === unsetWord) return null;
  if (/^-?\d{1,15}$/.test(text)) return Number(text);
  throw new UsageError(`--${option} must be a whole number or "${unsetWord}"`);
}

/** The options that are there, under the names that a schema knows. */
export function given(entries: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(entries).filter(([, value]) => value !== undefined));
}
