import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type OpenPglite, openPglite } from "../../../backend/stores/pglite-engine.ts";
import { PgliteStatements } from "../../../backend/stores/pglite-statements.ts";
import { copyEmptyDatabase } from "../../support/database-template.ts";

const folder = mkdtempSync(join(tmpdir(), "parley-statements-"));
let open: OpenPglite;
let statements: PgliteStatements;

beforeAll(async () => {
  await copyEmptyDatabase(join(folder, "postgres"));
  open = await openPglite(join(folder, "postgres"));
  await open.db.exec("CREATE TABLE things (id integer PRIMARY KEY, name text)");
  statements = new PgliteStatements(open.db);
});
afterAll(async () => {
  await open.db.close();
  rmSync(folder, { recursive: true });
});

const run = (text: string, ...params: (string | null)[]) => statements.run({ text, params });
/** Unprepared, prepared, and prepared already. */
const thrice = async (text: string, ...params: (string | null)[]) => [
  await run(text, ...params),
  await run(text, ...params),
  await run(text, ...params),
];

describe("a statement that comes again", () => {
  it.each<[string, (string | null)[]]>([
    ["SELECT $1::text AS a, 2 AS b, $2::jsonb AS c, NULL AS d, true AS e", ["x", '{"f":[1]}']],
    ["SELECT $1::text AS a", [null]],
    ["SELECT * FROM generate_series(1, 3)", []],
    ["SELECT 1 AS a WHERE false", []],
    ["INSERT INTO things SELECT g, $1 FROM generate_series(1, 0) g", ["none"]],
    ["UPDATE things SET name = $1 WHERE id < 0", ["none"]],
    ["SET LOCAL statement_timeout = 0", []],
  ])("gives what it gave the first time: %s", async (text, params) => {
    const [first, ...others] = (await thrice(text, ...params)).map(({ fields, ...result }) => ({
      ...result,
      fields: fields.map(({ name, dataTypeID }) => ({ name, dataTypeID })),
    }));
    expect(others).toEqual([first, first]);
  });

  it("is refused as the first time, and works again after that", async () => {
    const insert = "INSERT INTO things VALUES ($1, $2) RETURNING name";
    for (const id of ["1", "2", "3"]) expect((await run(insert, id, "a")).rows).toEqual([["a"]]);
    await expect(run(insert, "1", "a")).rejects.toMatchObject({ code: "23505", severity: "ERROR" });
    await expect(run(insert, "one", "a")).rejects.toMatchObject({ code: "22P02" });
    expect(open.db.isInTransaction()).toBe(false);
    expect((await run(insert, "4", null)).rows).toEqual([[null]]);
  });

  it("knows a table that has changed meanwhile", async () => {
    const select = "SELECT * FROM things WHERE id = $1";
    await thrice(select, "1");
    await open.db.exec("ALTER TABLE things ADD COLUMN size integer DEFAULT 7");
    for (const { rows } of await thrice(select, "1")) expect(rows).toEqual([["1", "a", "7"]]);
  });

  it("fails its transaction when the table changed within it, and works after that", async () => {
    const select = "SELECT * FROM things WHERE id = $1";
    await thrice(select, "1");
    await open.db.exec("BEGIN; ALTER TABLE things DROP COLUMN size");
    await expect(run(select, "1")).rejects.toMatchObject({ code: "0A000" });
    await open.db.exec("ROLLBACK");
    for (const { rows } of await thrice(select, "1")) expect(rows).toEqual([["1", "a", "7"]]);
  });

  it("works when somebody has dropped what was prepared", async () => {
    const select = "SELECT name FROM things WHERE id = $1";
    await thrice(select, "1");
    await open.db.exec("DEALLOCATE ALL");
    for (const { rows } of await thrice(select, "1")) expect(rows).toEqual([["a"]]);
  });

  it("is forgotten with all others when there are more than 500", async () => {
    const count = async () =>
      Number(
        (await open.db.query<{ n: number }>("SELECT count(*) AS n FROM pg_prepared_statements")).rows[0]?.n,
      );
    for (let n = 0; n < 600; n++) for (const _ of [1, 2]) await run(`SELECT ${n}`);
    expect(await count()).toBeLessThan(500);
    expect((await run("SELECT 599")).rows).toEqual([["599"]]);
  });
});
