/**
 * Brings a database to the schema that this code expects: ordered .sql files, each in its own transaction, each
 * recorded with its checksum. Safe when several backends start at once.
 */
import { createHash } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import { ParleyError } from "../../core/errors/parley-error.ts";
import type { SqlDatabase } from "./sql-database.ts";

/** One step of the schema. */
export interface Migration {
  /** The file's name without `.sql`, e.g. `0001_directory`; the order of names is the order of steps. */
  readonly version: string;
  readonly sql: string;
  /** SHA-256 of the text, lower-case hex. */
  readonly checksum: string;
}

interface AppliedMigration {
  version: string;
  checksum: string;
}

const FILE_NAME_PATTERN = /^(\d{4}_[a-z0-9_]+)\.sql$/;

/** Any number that nothing else in the database locks. */
const LOCK_KEY = 5_064_770_915;

/** The lock is held to the end of the transaction, and waiting for it may take longer than a statement may. */
const BEGIN_MIGRATION = `
  SET LOCAL statement_timeout = 0;
  SELECT pg_advisory_xact_lock(${LOCK_KEY});`;

const CREATE_LEDGER = `
  ${BEGIN_MIGRATION}
  CREATE TABLE IF NOT EXISTS schema_migrations (
    version text PRIMARY KEY,
    checksum text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
  );
  COMMENT ON TABLE schema_migrations IS 'Which steps of backend/stores/migrations this database has taken.';`;

/** The steps that belong to this code, in order. */
export async function readMigrations(): Promise<Migration[]> {
  const directory = new URL("./migrations/", import.meta.url);
  const fileNames = (await readdir(directory)).filter((name) => name.endsWith(".sql")).sort();
  return Promise.all(
    fileNames.map(async (fileName) => {
      const version = FILE_NAME_PATTERN.exec(fileName)?.[1];
      if (!version) throw new Error(`${fileName} is not named like a migration: 0001_what_it_does.sql`);
      return createMigration(version, await readFile(new URL(fileName, directory), "utf8"));
    }),
  );
}

/** A step with its checksum, which does not depend on how the checkout ends its lines. */
export function createMigration(version: string, text: string): Migration {
  const sql = text.replaceAll("\r\n", "\n");
  return { version, sql, checksum: createHash("sha256").update(sql).digest("hex") };
}

/**
 * Takes the steps that the database has not taken yet.
 *
 * @param migrations in order, see {@link readMigrations}
 * @returns the versions that this call applied
 * @throws ParleyError `failed_precondition` when the database and this code do not belong together (a newer
 *   database, a changed step); `unavailable` when the database cannot be reached
 */
export async function migrate(database: SqlDatabase, migrations: readonly Migration[]): Promise<string[]> {
  let applied = await readApplied(database);
  if (!applied) {
    await database.runScript(CREATE_LEDGER);
    applied = (await readApplied(database)) ?? [];
  }
  checkApplied(applied, migrations);

  const appliedHere: string[] = [];
  const known = new Set(applied.map(({ version }) => version));
  for (const migration of migrations.filter(({ version }) => !known.has(version))) {
    if (await apply(database, migration, migrations)) appliedHere.push(migration.version);
  }
  return appliedHere;
}

/** Whether this call took the step, and not another backend at the same time. */
async function apply(
  database: SqlDatabase,
  migration: Migration,
  migrations: readonly Migration[],
): Promise<boolean> {
  const { version, checksum, sql } = migration;
  try {
    // Recorded first: when another backend took the step while this one waited for the lock, the primary key
    // refuses the record and nothing of the step runs.
    await database.runScript(`
      ${BEGIN_MIGRATION}
      INSERT INTO schema_migrations (version, checksum) VALUES ('${version}', '${checksum}');
      ${sql}`);
    return true;
  } catch (error) {
    if (error instanceof ParleyError && error.code === "unavailable") throw error;
    const applied = (await readApplied(database)) ?? [];
    checkApplied(applied, migrations);
    if (applied.some((one) => one.version === version)) return false;
    throw new ParleyError("internal", `migration ${version} failed`, { cause: error });
  }
}

/** What the database records, by version; undefined when it has no record yet. */
async function readApplied(database: SqlDatabase): Promise<AppliedMigration[] | undefined> {
  const [ledger] = await database.query<{ exists: boolean }>(
    "SELECT to_regclass('schema_migrations') IS NOT NULL AS exists",
    [],
  );
  if (!ledger?.exists) return undefined;
  return database.query<AppliedMigration>(
    'SELECT version, checksum FROM schema_migrations ORDER BY version COLLATE "C"',
    [],
  );
}

function checkApplied(applied: readonly AppliedMigration[], migrations: readonly Migration[]): void {
  const byVersion = new Map(migrations.map((migration) => [migration.version, migration]));
  for (const { version, checksum } of applied) {
    const migration = byVersion.get(version);
    if (!migration) throw mismatch(`the database has migration ${version}, which this code does not know`);
    if (migration.checksum !== checksum) {
      throw mismatch(`migration ${version} was changed after it had been applied to the database`);
    }
  }
  const newest = applied.at(-1)?.version ?? "";
  const appliedVersions = new Set(applied.map(({ version }) => version));
  const skipped = migrations.find(({ version }) => version < newest && !appliedVersions.has(version));
  if (skipped)
    throw mismatch(`migration ${skipped.version} comes before ${newest}, which is already applied`);
}

function mismatch(what: string): ParleyError {
  return new ParleyError(
    "failed_precondition",
    `${what}; run the version of Parley that the database was last used with, or a newer one`,
    { reason: "schema-mismatch" },
  );
}
