/** What migrating guarantees on every database. Wipes the database it is given. */
import { beforeEach, describe, expect, it } from "vitest";
import { createMigration, migrate, readMigrations } from "../../../backend/stores/migrate.ts";
import type { SqlDatabase } from "../../../backend/stores/sql-database.ts";

/** @param databases two ways to the same database (they may be one object), as two backends would have */
export function migrateContract(databases: () => readonly [SqlDatabase, SqlDatabase]): void {
  const first = createMigration("0001_first", "CREATE TABLE first (id int); INSERT INTO first VALUES (1);");
  const second = createMigration("0002_second", "CREATE TABLE second (id int);");
  const wipe = "DROP SCHEMA public CASCADE; CREATE SCHEMA public;";
  const database = () => databases()[0];
  const tables = async () => {
    const rows = await database().query<{ name: string }>(
      "SELECT tablename::text AS name FROM pg_tables WHERE schemaname = 'public' ORDER BY 1",
      [],
    );
    return rows.map(({ name }) => name);
  };

  describe("migrate", () => {
    beforeEach(() => database().runScript(wipe));

    it("takes every step once, in order, and records it", async () => {
      expect(await migrate(database(), [first])).toEqual(["0001_first"]);
      expect(await migrate(database(), [first, second])).toEqual(["0002_second"]);
      expect(await migrate(database(), [first, second])).toEqual([]);
      const ledger = await database().query(
        "SELECT version, checksum, applied_at IS NOT NULL AS dated FROM schema_migrations ORDER BY 1",
        [],
      );
      expect(ledger).toEqual([
        { version: "0001_first", checksum: first.checksum, dated: true },
        { version: "0002_second", checksum: second.checksum, dated: true },
      ]);
    });

    it("takes every step exactly once when several backends start at once", async () => {
      const [one, other] = databases();
      for (let round = 0; round < 10; round++) {
        await one.runScript(wipe);
        const starts = [one, other, one, other, one, other];
        const runs = await Promise.all(starts.map((each) => migrate(each, [first, second])));
        expect(runs.flat().sort()).toEqual(["0001_first", "0002_second"]);
        expect(await one.query("SELECT id FROM first", [])).toEqual([{ id: 1 }]);
      }
    });

    it("leaves nothing of a step that fails, and takes it when it is mended", async () => {
      const broken = createMigration("0002_second", "CREATE TABLE second (id int); SELECT 1 / 0;");
      await expect(migrate(database(), [first, broken])).rejects.toMatchObject({
        code: "internal",
        message: "migration 0002_second failed",
      });
      expect(await tables()).toEqual(["first", "schema_migrations"]);
      expect(await migrate(database(), [first, second])).toEqual(["0002_second"]);
    });

    it("refuses a database whose step was changed afterwards, naming it", async () => {
      await migrate(database(), [first, second]);
      const changed = createMigration("0001_first", `${first.sql} -- changed`);
      await expect(migrate(database(), [changed, second])).rejects.toMatchObject({
        code: "failed_precondition",
        message: expect.stringContaining("migration 0001_first was changed"),
      });
    });

    it("refuses a database that is newer than the code, naming the step", async () => {
      await migrate(database(), [first, second]);
      await expect(migrate(database(), [first])).rejects.toMatchObject({
        code: "failed_precondition",
        message: expect.stringContaining("0002_second, which this code does not know"),
      });
    });

    it("refuses a step that was put in before one already taken", async () => {
      await migrate(database(), [second]);
      await expect(migrate(database(), [first, second])).rejects.toMatchObject({
        code: "failed_precondition",
        message: expect.stringContaining("0001_first comes before 0002_second"),
      });
      expect(await tables()).toEqual(["schema_migrations", "second"]);
    });

    it("does not see a change in how the lines of a step end", () => {
      expect(createMigration("0001_first", "a;\r\nb;\r\n").checksum).toBe(
        createMigration("0001_first", "a;\nb;\n").checksum,
      );
    });

    it("makes the tables of this version, each with a comment", async () => {
      await migrate(database(), await readMigrations());
      expect(await tables()).toEqual([
        "agent_versions",
        "agents",
        "api_keys",
        "audit_log",
        "backends",
        "knowledge_chunks",
        "knowledge_collections",
        "knowledge_documents",
        "knowledge_jobs",
        "messages",
        "model_attempts",
        "schema_migrations",
        "task_claims",
        "tenants",
      ]);
      const uncommented = await database().query(
        `SELECT relname FROM pg_class
          WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND obj_description(oid) IS NULL`,
        [],
      );
      expect(uncommented).toEqual([]);
    });
  });
}
