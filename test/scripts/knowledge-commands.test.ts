import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { databaseUnavailable } from "../../core/directory/sql-failure.ts";
import { type AdminDatabase, openAdminDatabase } from "../../scripts/admin-database.ts";
import { ProgressDisplay } from "../../scripts/progress-display.ts";
import { runAdmin } from "../../scripts/run-admin.ts";
import { readStartSettings } from "../../scripts/start-settings.ts";
import { copyEmptyDatabase } from "../support/database-template.ts";

const LIMIT_MS = 120_000;
let folder = "";
let documents = "";
let database: AdminDatabase;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "parley-knowledge-"));
  documents = join(folder, "documents");
  mkdirSync(join(documents, "deeper", ".hidden"), { recursive: true });
  writeFileSync(join(documents, "a.md"), "# A\n\nalpacas hum");
  writeFileSync(join(documents, "deeper", "b.html"), "<title>B</title><p>zebras bark");
  writeFileSync(join(documents, "deeper", ".hidden", "c.md"), "hidden");
  writeFileSync(join(documents, "picture.png"), "no document");
  await copyEmptyDatabase(join(folder, "postgres"));
  database = await openAdminDatabase(readStartSettings({ DATA_DIRECTORY: folder }, folder));
}, LIMIT_MS);
afterAll(async () => {
  await database.close();
  rmSync(folder, { recursive: true, force: true });
}, LIMIT_MS);

const admin = (...args: string[]) => adminOn(database.sql, args);

async function adminOn(sql: AdminDatabase["sql"], args: readonly string[]) {
  const output: string[] = [];
  const complaints: string[] = [];
  const code = await runAdmin({
    arguments: [...args, "--json"],
    openDatabase: async () => ({ sql, close: async () => undefined }),
    print: (text) => output.push(text),
    complain: (text) => complaints.push(text),
  });
  return { code, result: output[0] ? JSON.parse(output[0]) : undefined, complaints: complaints.join("\n") };
}

describe("npm run admin -- knowledge", () => {
  const ingest = () => admin("knowledge", "ingest", documents, "--collection", "zoo");

  it(
    "takes in a directory, skips what is unchanged, says what it leaves out, and lists and deletes what is there",
    async () => {
      const result = { files: 2, indexed: 2, unchanged: 0, leftOut: 1 };
      expect(await ingest()).toMatchObject({ code: 0, result });
      expect(await ingest()).toMatchObject({ code: 0, result: { files: 2, indexed: 0, unchanged: 2 } });
      const { result: listed } = await admin("knowledge", "list", "--collection", "zoo");
      expect(listed.documents).toMatchObject([
        { id: "a.md", title: "A", state: "ready", chunks: 1 },
        { id: "deeper/b.html", title: "B", state: "ready" },
      ]);
      expect((await admin("knowledge", "delete", "a.md", "--collection", "zoo")).code).toBe(0);
      expect((await admin("knowledge", "delete", "a.md", "--collection", "zoo")).complaints).toMatch(
        /not_found/,
      );
      expect((await admin("knowledge", "list", "--collection", "zoo")).result.documents).toHaveLength(1);
      expect((await admin("knowledge", "drop", "zoo")).code).toBe(0);
      const gone = await admin("knowledge", "list", "--collection", "zoo");
      expect(gone.code).toBe(1);
      expect(gone.complaints).toMatch(/not_found: there is no collection "zoo"; check its name/);
      const [row] = await database.sql.query<{ n: number }>(
        "SELECT count(*)::int AS n FROM knowledge_chunks",
        [],
      );
      expect(row?.n).toBe(0);
    },
    LIMIT_MS,
  );

  it(
    "ends with 1 and names the files that were refused, and takes the others",
    async () => {
      writeFileSync(join(documents, "broken.pdf"), "no pdf");
      const { code, result } = await ingest();
      expect(code).toBe(1);
      expect(result).toMatchObject({
        files: 3,
        indexed: 2,
        problems: [expect.stringMatching(/^broken\.pdf: the PDF is broken/)],
      });
    },
    LIMIT_MS,
  );

  it(
    "says that it is to be run again when the database goes away meanwhile, and then takes the rest",
    async () => {
      const many = join(folder, "many");
      mkdirSync(many);
      for (let n = 10; n < 30; n++) writeFileSync(join(many, `${n}.md`), `# Herd ${n}\n\nalpaca${n} hums`);
      let taken = 0;
      const leaving: AdminDatabase["sql"] = {
        query: async (text, params, abort) => {
          if (/INSERT INTO knowledge_documents/.test(text) && ++taken > 18) throw databaseUnavailable("gone");
          return database.sql.query(text, params, abort);
        },
      };
      const args = ["knowledge", "ingest", many, "--collection", "herd"];
      const { code, complaints } = await adminOn(leaving, args);
      expect(code).toBe(1);
      expect(complaints).toMatch(/unavailable: .* run the command again/);
      expect(await adminOn(database.sql, args)).toMatchObject({
        code: 0,
        result: { files: 20, indexed: 2, unchanged: 18 },
      });
    },
    LIMIT_MS,
  );

  it("ends with 2 for a directory that is not there", async () => {
    expect((await admin("knowledge", "ingest", "/nonexistent", "--collection", "zoo")).code).toBe(2);
  });
});

describe("the display of progress", () => {
  it("draws one bar again and again at a terminal, and few lines elsewhere", () => {
    const written: string[] = [];
    const write = (text: string) => written.push(text);
    const bar = new ProgressDisplay({ isTTY: true, write }, () => 0);
    bar.show(1, 2, "a\u001b[2J");
    expect(written.join("")).toBe(`\r[${"#".repeat(15)}${".".repeat(15)}] 1/2 a [2J\u001b[K`);
    written.length = 0;
    let now = 0;
    const lines = new ProgressDisplay({ write }, () => now);
    for (; now < 12_000; now += 1_000) lines.show(now, 12_000, "x");
    expect(written).toEqual(["0/12000 x\n", "5000/12000 x\n", "10000/12000 x\n"]);
  });
});
