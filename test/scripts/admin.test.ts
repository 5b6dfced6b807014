import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { SCOPES } from "../../core/auth/principal.ts";
import { type AdminDatabase, openAdminDatabase } from "../../scripts/admin-database.ts";
import { renderTable } from "../../scripts/admin-output.ts";
import { runAdmin } from "../../scripts/run-admin.ts";
import { readStartSettings } from "../../scripts/start-settings.ts";
import { copyEmptyDatabase } from "../support/database-template.ts";

const LIMIT_MS = 60_000;
let folder = "";
let database: AdminDatabase;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "parley-admin-"));
  await copyEmptyDatabase(join(folder, "postgres"));
  database = await openAdminDatabase(readStartSettings({ DATA_DIRECTORY: folder }, folder));
}, LIMIT_MS);
afterAll(async () => {
  await database.close();
  rmSync(folder, { recursive: true, force: true });
}, LIMIT_MS);

/** Runs a command line on the open database. */
async function admin(...args: string[]) {
  const output: string[] = [];
  const complaints: string[] = [];
  const code = await runAdmin({
    arguments: args,
    openDatabase: async () => ({ sql: database.sql, close: async () => undefined }),
    print: (text) => output.push(text),
    complain: (text) => complaints.push(text),
  });
  return { code, output: output.join("\n"), complaints: complaints.join("\n") };
}

const json = async (...args: string[]) => JSON.parse((await admin(...args, "--json")).output);

function writeJson(value: unknown): string {
  const file = join(folder, "agents.json");
  writeFileSync(file, JSON.stringify(value));
  return file;
}

describe("npm run admin", () => {
  it("opens the embedded database where nothing else is configured, and says who has it when it is in use", async () => {
    const settings = readStartSettings({ DATA_DIRECTORY: folder }, folder);
    await expect(openAdminDatabase(settings)).rejects.toThrow(`in use by process ${process.pid}`);
  });

  it("without a command, or asked for help, says what there is", async () => {
    const { code, output } = await admin();
    expect([code, (await admin("key", "--help")).output]).toEqual([0, output]);
    for (const command of ["key create", "agent apply", "tenant set-limits", "usage", "messages"]) {
      expect(output).toContain(command);
    }
  });

  it("makes, lists, rotates and revokes keys", async () => {
    const made = await json(
      "key",
      "create",
      "--subject",
      "bob",
      "--scopes",
      "messages:send, agents:read",
      "--expires",
      "30d",
      "--requests-per-minute",
      "9",
    );
    expect(made).toMatchObject({
      scopes: ["messages:send", "agents:read"],
      limits: { requestsPerMinute: 9 },
    });
    expect(Math.abs(Date.parse(made.expiresAt) - Date.now() - 30 * 86_400_000)).toBeLessThan(LIMIT_MS);
    const rotated = await json("key", "rotate", made.id, "--overlap", "1h");
    expect(rotated.replaces).toBe(made.id);
    expect((await admin("key", "revoke", made.id)).code).toBe(0);
    const { keys } = await json("key", "list");
    const statuses = keys.map(({ id, status }: { id: string; status: string }) => [id, status]);
    expect(statuses).toEqual([
      [rotated.id, "active"],
      [made.id, "revoked"],
    ]);
    expect((await json("key", "create", "--subject", "root", "--scopes", "all")).scopes).toEqual([...SCOPES]);
  });

  it("shows a new key whole in a table, however long its line", async () => {
    const { output } = await admin("key", "create", "--subject", "s", "--scopes", "operator");
    expect(output).toMatch(/^key +parley_[a-z0-9]{12}_[A-Za-z0-9]{43}$/m);
  });

  it("makes, replaces and leaves agents as a file says, and applies what it showed", async () => {
    const first = { id: "one", name: "One", config: { kind: "echo" } };
    const second = { ...first, id: "two" };
    const apply = () => json("agent", "apply", writeJson([first, second]));
    expect((await apply()).agents).toMatchObject([{ id: "one", status: "created" }, { status: "created" }]);
    expect((await apply()).agents).toMatchObject([{ id: "one", status: "unchanged", version: 1 }, {}]);
    first.name = "Uno";
    expect((await apply()).agents).toMatchObject([
      { id: "one", status: "replaced", version: 2 },
      { version: 1 },
    ]);
    const shown = await json("agent", "show", "one");
    expect((await json("agent", "apply", writeJson({ ...shown, name: "Eins" }))).agents).toMatchObject([
      { status: "replaced", version: 3 },
    ]);
    expect((await admin("agent", "delete", "two")).code).toBe(0);
    expect((await admin("agent", "list")).output).toMatch(/^one +Eins/m);
  });

  it("makes tenants, sets and takes away their limits, and works inside of them", async () => {
    expect((await admin("tenant", "create", "acme", "--name", "Acme")).code).toBe(0);
    const limited = await json(
      "tenant",
      "set-limits",
      "acme",
      "--requests-per-minute",
      "5",
      "--retention-days",
      "7",
    );
    expect(limited).toMatchObject({ limits: { requestsPerMinute: 5 }, retentionDays: 7 });
    const freed = await json(
      "tenant",
      "set-limits",
      "acme",
      "--requests-per-minute",
      "default",
      "--retention-days",
      "forever",
    );
    expect(freed).toMatchObject({ limits: {}, retentionDays: null });
    const { id } = await json(
      "key",
      "create",
      "--tenant",
      "acme",
      "--subject",
      "s",
      "--scopes",
      "messages:send",
    );
    expect((await json("key", "list", "--tenant", "acme")).keys).toHaveLength(1);
    expect((await admin("key", "revoke", id)).complaints).toContain("not_found");
    expect((await json("tenant", "list")).tenants.map(({ id }: { id: string }) => id)).toEqual([
      "acme",
      "default",
    ]);
  });

  it.each([
    ["agent", "list"],
    ["agent", "apply", "FILE"],
    ["key", "create", "--subject", "s", "--scopes", "operator"],
    ["usage"],
    ["audit"],
  ])("%s %s of a tenant that there is not is refused by its name, not empty", async (...words) => {
    const file = writeJson({ id: "one", name: "One", config: { kind: "echo" } });
    const args = words.map((word) => (word === "FILE" ? file : word));
    const { code, complaints } = await admin(...args, "--tenant", "acne");
    expect([code, complaints]).toEqual([1, expect.stringMatching(/^not_found: no tenant "acne"/)]);
  });

  it("reads usage, messages and its own changes", async () => {
    expect((await admin("usage", "--by", "day,model")).output).toBe("(none)");
    expect(await json("messages", "--agent", "echo", "--limit", "5")).toEqual({ messages: [] });
    const { entries } = await json("audit", "--target-kind", "tenant");
    expect(entries[0]).toMatchObject({ actor: "operator (command line)", targetId: "acme" });
  });

  it.each([
    ["an unknown command", ["key", "destroy"], /no command "key destroy"/],
    ["an unknown option", ["key", "list", "--colour", "red"], /usage: npm run admin -- key list/],
    ["a missing option", ["key", "create", "--subject", "s"], /--scopes must be given/],
    ["a missing id", ["key", "revoke"], /ID must be given/],
    ["one word too many", ["key", "revoke", "a", "b"], /what is "b"/],
    [
      "a wrong duration",
      ["key", "create", "--subject", "s", "--scopes", "operator", "--expires", "soon"],
      /30d/,
    ],
    ["a wrong number", ["tenant", "set-limits", "acme", "--requests-per-minute", "many"], /whole number/],
    ["a file that is not there", ["agent", "apply", "/nonexistent.json"], /cannot be read/],
    ["a prototype's name", ["constructor"], /no command/],
  ])("ends with 2 for %s", async (_, args, complaint) => {
    const { code, complaints } = await admin(...args);
    expect([code, complaints]).toEqual([2, expect.stringMatching(complaint)]);
  });

  it("ends with 1 for what the database refuses, with every problem on a line", async () => {
    const wrong = { id: "x!", config: { kind: "model", models: [{ provider: "no" }] } };
    const { code, complaints } = await admin("agent", "apply", writeJson(wrong));
    expect(code).toBe(1);
    expect(
      complaints
        .split("\n")
        .slice(1)
        .map((line) => line.trim().split(":")[0])
        .toSorted(),
    ).toEqual(["config.models.0.provider", "id", "name"].toSorted());
    expect((await admin("key", "create", "--subject", "s", "--scopes", "fly")).code).toBe(1);
    expect((await admin("agent", "show", "nobody")).complaints).toMatch(/^not_found: no agent "nobody"/);
  });
});

describe("a table", () => {
  it("cuts long cells and does not let a text steer the terminal", () => {
    const table = renderTable({ rows: [{ text: `\u001b[31m${"x".repeat(100)}` }] });
    expect(table).not.toContain("\u001b");
    expect(table).toContain("…");
  });
});
