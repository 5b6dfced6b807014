/** One run of the operators' command line: arguments to a command, its result to standard output, an exit code. */
import { hostname } from "node:os";
import { type ParseArgsConfig, parseArgs } from "node:util";
import { readTenant } from "../core/administration/tenants.ts";
import type { Violation } from "../core/administration/violations.ts";
import { SCOPES } from "../core/auth/principal.ts";
import { ParleyError } from "../core/errors/parley-error.ts";
import { type AdminCommand, type OptionValues, UsageError } from "./admin-command.ts";
import { ADMIN_COMMANDS as ADMINISTRATION_COMMANDS } from "./admin-commands.ts";
import type { AdminDatabase } from "./admin-database.ts";
import { renderTable } from "./admin-output.ts";
import { KNOWLEDGE_COMMANDS } from "./knowledge-commands.ts";

const ADMIN_COMMANDS: Readonly<Record<string, AdminCommand>> = {
  ...ADMINISTRATION_COMMANDS,
  ...KNOWLEDGE_COMMANDS,
};
const TENANT_DEFAULT = "default";
/** How the record of changes names whoever sits at the command line. */
const ACTOR = "operator (command line)";

/** What the command line touches. */
export interface RunAdminOptions {
  /** Arguments without the program's own name. */
  readonly arguments: readonly string[];
  readonly openDatabase: () => Promise<AdminDatabase>;
  readonly print: (text: string) => void;
  readonly complain: (text: string) => void;
}

/** @returns 0 when it is done, 1 when it failed, 2 when the command line cannot be understood */
export async function runAdmin(options: RunAdminOptions): Promise<0 | 1 | 2> {
  try {
    return await run(options);
  } catch (error) {
    options.complain(describeFailure(error));
    return error instanceof UsageError ? 2 : 1;
  }
}

async function run({ arguments: given, openDatabase, print }: RunAdminOptions): Promise<0 | 1> {
  if (given.length === 0 || given.includes("--help") || given.includes("-h")) {
    print(help());
    return 0;
  }
  const { name, command } = findCommand(given);
  const { options, positionals } = readArguments(name, command, given.slice(name.split(" ").length));
  const { tenant = TENANT_DEFAULT, json, ...own } = options;
  const database = await openDatabase();
  try {
    const actor = {
      tenantId: tenant,
      subject: ACTOR,
      scopes: SCOPES,
      keyId: "",
      requestId: "",
      address: hostname(),
    };
    const call = { sql: database.sql, actor };
    // A mistyped one would seem to be empty, and not to take agents.
    if (options["tenant"] !== undefined) await readTenant(call, tenant);
    const result = await command.run(call, own, positionals);
    print(json === undefined ? renderTable(result) : JSON.stringify(result, undefined, 2));
    return command.failed?.(result) ? 1 : 0;
  } finally {
    await database.close();
  }
}

function findCommand(given: readonly string[]): { name: string; command: AdminCommand } {
  for (const name of [given.slice(0, 2).join(" "), given[0] ?? ""]) {
    const command = Object.hasOwn(ADMIN_COMMANDS, name) ? ADMIN_COMMANDS[name] : undefined;
    if (command) return { name, command };
  }
  throw new UsageError(`there is no command "${given.slice(0, 2).join(" ")}"\n\n${help()}`);
}

function readArguments(name: string, command: AdminCommand, args: readonly string[]) {
  const known: ParseArgsConfig["options"] = { json: { type: "boolean" } };
  for (const option of ["tenant", ...command.options]) known[option] = { type: "string" };
  const usage = `usage: ${usageOf(name, command)}`;
  let parsed: { values: object; positionals: string[] };
  try {
    parsed = parseArgs({ args: [...args], options: known, allowPositionals: true });
  } catch (error) {
    throw new UsageError(`${(error as Error).message}\n${usage}`);
  }
  const { positionals } = parsed;
  const values = parsed.values as OptionValues;
  const missing = [
    ...command.positionals.slice(positionals.length),
    ...(command.required ?? [])
      .filter((option) => values[option] === undefined)
      .map((option) => `--${option}`),
  ];
  if (missing.length > 0) throw new UsageError(`${missing.join(" and ")} must be given\n${usage}`);
  if (positionals.length > command.positionals.length) {
    throw new UsageError(`what is "${positionals[command.positionals.length]}"?\n${usage}`);
  }
  return { options: values, positionals };
}

function usageOf(name: string, { usage }: AdminCommand): string {
  return `npm run admin -- ${name} ${usage}`.trimEnd();
}

function help(): string {
  const commands = Object.entries(ADMIN_COMMANDS).map(
    ([name, command]) => `  ${`${name} ${command.usage}`.trimEnd()}\n      ${command.summary}`,
  );
  return `Manages tenants, API keys and agents directly in the database: the one of DATABASE_URL, else that of the
gateway running on this machine, else the embedded one of DATA_DIRECTORY.

usage: npm run admin -- COMMAND [--tenant ID] [--json]

${commands.join("\n")}

--tenant is "${TENANT_DEFAULT}" unless given. Scopes: ${SCOPES.join(", ")}.`;
}

/** For an operator at a terminal: with the cause, which callers over the network never see. */
function describeFailure(error: unknown): string {
  if (!(error instanceof ParleyError)) return error instanceof Error ? error.message : String(error);
  const violations = (error.details?.["violations"] ?? []) as unknown as Violation[];
  if (violations.length > 0) {
    const lines = violations.map(({ field, description }) => `  ${field || "input"}: ${description}`);
    return `the input is not valid:\n${lines.join("\n")}`;
  }
  const cause = error.cause instanceof Error ? `\ncause: ${error.cause.message}` : "";
  return `${error.code}: ${error.message}${cause}`;
}
