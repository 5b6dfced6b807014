/** Lines of the log: one JSON object each, on the console, which is where the Workers runtime collects them. */

/**
 * What looks like a credential is masked wherever it stands: texts of foreign errors end up in the log, and what
 * they quote is not ours to choose.
 */
const CREDENTIALS: readonly [RegExp, string][] = [
  [/(parley_[a-z0-9]{12})_[A-Za-z0-9]{43}/g, "$1_***"],
  [/(:\/\/)[^\s/@"\\]+@/g, "$1***@"],
  [/\beyJ[\w-]+\.[\w-]+\.[\w-]+/g, "***"],
];

/** One line of JSON, without its line end; undefined fields are left out. */
export function jsonLine(fields: object): string {
  return CREDENTIALS.reduce((line, [pattern, mask]) => line.replace(pattern, mask), JSON.stringify(fields));
}

/** Writes a line to the console. */
export function writeConsoleLine(line: string): void {
  // biome-ignore lint/suspicious/noConsole: the console is the Workers runtime's log
  console.log(line);
}
