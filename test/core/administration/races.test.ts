/** What only a database with parallel transactions shows; PGlite runs one statement after another. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { migrate, readMigrations } from "../../../backend/stores/migrate.ts";
import { PgSqlClient } from "../../../backend/stores/pg-sql-client.ts";
import * as agents from "../../../core/administration/agents.ts";
import { listAudit } from "../../../core/administration/audit.ts";
import * as keys from "../../../core/administration/keys.ts";
import * as tenants from "../../../core/administration/tenants.ts";
import { SCOPES } from "../../../core/auth/principal.ts";
import { isPostgresAvailable, startPostgres, type TestPostgres } from "../../support/postgres.ts";

const LIMIT_MS = 60_000;
const CALLERS = 8;
const random = (bytes: Uint8Array<ArrayBuffer>) => crypto.getRandomValues(bytes);
let server: TestPostgres;
let client: PgSqlClient;

const call = () => ({
  sql: client,
  actor: { tenantId: "acme", subject: "alice", scopes: SCOPES, keyId: "", requestId: "", address: "" },
});

/** How many of several calls at once went well. */
async function succeeded(one: () => Promise<unknown>): Promise<number> {
  const outcomes = await Promise.allSettled(Array.from({ length: CALLERS }, one));
  return outcomes.filter(({ status }) => status === "fulfilled").length;
}

describe.skipIf(!isPostgresAvailable())("on PostgreSQL, of parallel calls", () => {
  beforeAll(async () => {
    server = await startPostgres();
    client = new PgSqlClient({
      connectionString: await server.createDatabase(),
      onIdleError: () => undefined,
    });
    await migrate(client, await readMigrations());
    await tenants.createTenant(call(), { id: "acme", name: "Acme" });
  }, LIMIT_MS);
  afterAll(async () => {
    await client.close();
    await server.stop();
  }, LIMIT_MS);

  it("one rotates a key, and one record says so", async () => {
    for (let round = 0; round < 5; round++) {
      const old = await keys.createKey(call(), { subject: "s", scopes: ["operator"] }, random, Date.now());
      expect(await succeeded(() => keys.rotateKey(call(), old.id, {}, random, Date.now()))).toBe(1);
      const successors = (await keys.listKeys(call())).filter(({ replaces }) => replaces === old.id);
      expect(successors).toHaveLength(1);
      const { entries } = await listAudit(call(), { targetId: successors[0]?.id });
      expect(entries).toHaveLength(1);
    }
  });

  it("one makes an agent, one replaces a version of it, and all patches take effect", async () => {
    const agent = { name: "A", config: { kind: "echo" } };
    expect(await succeeded(() => agents.createAgent(call(), { id: "a", ...agent }))).toBe(1);
    expect(await succeeded(() => agents.replaceAgent(call(), "a", agent, 1))).toBe(1);
    expect(await succeeded(() => agents.replaceAgent(call(), "a", agent))).toBe(CALLERS);
    const { version } = await agents.readAgent(call(), "a");
    expect(version).toBe(2 + CALLERS);
    expect(await agents.listAgentVersions(call(), "a")).toHaveLength(version);
    const { entries } = await listAudit(call(), { targetId: "a" });
    expect(entries).toHaveLength(version);
    expect(await succeeded(() => agents.deleteAgent(call(), "a"))).toBe(1);
  });
});
