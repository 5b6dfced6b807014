/**
 * A new embedded database takes up to 9 s to make, and nearly every end-to-end test begins with one. So one is made,
 * by the backend's own code, kept below `node_modules/.cache`, and copied.
 */
import { createHash } from "node:crypto";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { migrate, readMigrations } from "../../backend/stores/migrate.ts";
import { PgliteSqlClient } from "../../backend/stores/pglite-sql-client.ts";

const CACHE = fileURLToPath(new URL("../../node_modules/.cache/parley", import.meta.url));
const LOCKFILE = fileURLToPath(new URL("../../package-lock.json", import.meta.url));

/** Puts a database with all migrations and no rows of its own at `databaseDirectory`, which does not exist yet. */
export async function copyEmptyDatabase(databaseDirectory: string): Promise<void> {
  const migrations = await readMigrations();
  const identity = createHash("sha256")
    .update(JSON.stringify(migrations))
    .update(readFileSync(LOCKFILE))
    .digest("hex")
    .slice(0, 16);
  const template = join(CACHE, `database-${identity}`);
  if (!existsSync(template)) await makeTemplate(template);
  mkdirSync(dirname(databaseDirectory), { recursive: true });
  cpSync(template, databaseDirectory, { recursive: true });
}

/** Tests run side by side: each makes its own, and the first one that is whole stays. */
async function makeTemplate(template: string): Promise<void> {
  mkdirSync(CACHE, { recursive: true });
  const workshop = mkdtempSync(join(CACHE, "making-"));
  try {
    const made = join(workshop, "postgres");
    const database = await PgliteSqlClient.open({ dataDirectory: made, onEvent: () => undefined });
    await migrate(database, await readMigrations());
    await database.close();
    renameSync(made, template);
  } catch (error) {
    if (!existsSync(template)) throw error;
  } finally {
    rmSync(workshop, { recursive: true, force: true });
  }
}
