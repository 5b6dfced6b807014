/** What the directory and its seeds guarantee on every database. Needs the schema; the tenant is its own. */
import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { readMigrations } from "../../../backend/stores/migrate.ts";
import { seedDevelopmentKey, seedDirectory } from "../../../backend/stores/seed.ts";
import { parseApiKey, verifyApiKey } from "../../../core/auth/api-key.ts";
import { SCOPES } from "../../../core/auth/principal.ts";
import type { SqlClient } from "../../../core/directory/sql-client.ts";
import { type InvalidAgent, SqlDirectory } from "../../../core/directory/sql-directory.ts";
import { LIMITS_DEFAULT } from "../../../core/limits/limits.ts";

/** @param client the client under test; asked for only inside tests */
export function directoryContract(client: () => SqlClient): void {
  const invalid: InvalidAgent[] = [];
  const directory = () => new SqlDirectory(client(), (agent) => invalid.push(agent));
  const wipe = async () => {
    for (const table of ["messages", "agent_versions", "agents", "api_keys", "tenants"]) {
      await client().query(`DELETE FROM ${table}`, []);
    }
  };
  const addAgent = (tenantId: string, id: string, config: unknown) =>
    client().query(
      "INSERT INTO agents (tenant_id, id, name, config, updated_at) VALUES ($1, $2, $3, $4, $5)",
      [tenantId, id, `Agent ${id}`, JSON.stringify(config), "2026-11-22T10:20:30.123Z"],
    );

  describe("SqlDirectory", () => {
    beforeEach(async () => {
      await wipe();
      invalid.length = 0;
      await client().query("INSERT INTO tenants (id, name) VALUES ('acme', 'Acme'), ('other', 'Other')", []);
    });

    it("finds an API key with its times in milliseconds, its own limits and its tenant's", async () => {
      await client().query("UPDATE tenants SET limits = $1::jsonb WHERE id = 'acme'", [
        JSON.stringify({ requestsPerMinute: 60, tenantTokensPerMinute: 9_000 }),
      ]);
      await client().query(
        `INSERT INTO api_keys (id, tenant_id, subject, scopes, secret_sha256, expires_at, revoked_at, limits)
         VALUES ('abcdefghijkl', 'acme', 'alice', $1, $2, '2027-01-01T00:00:00.500Z', NULL,
                 '{"tokensPerMinute": 500}')`,
        [["messages:send", "agents:read"], "0".repeat(64)],
      );
      expect(await directory().findApiKey("abcdefghijkl")).toEqual({
        keyId: "abcdefghijkl",
        tenantId: "acme",
        subject: "alice",
        scopes: ["messages:send", "agents:read"],
        secretSha256: "0".repeat(64),
        expiresAtMs: Date.parse("2027-01-01T00:00:00.500Z"),
        revokedAtMs: undefined,
        limits: { tokensPerMinute: 500 },
        tenantLimits: { requestsPerMinute: 60, tenantTokensPerMinute: 9_000 },
      });
      expect(await directory().findApiKey("zzzzzzzzzzzz")).toBeUndefined();
    });

    it("finds a tenant with its limits, and takes limits that do not validate as not set", async () => {
      await client().query("UPDATE tenants SET limits = $1::jsonb WHERE id = 'acme'", [
        '{"tokensPerMinute": 7}',
      ]);
      expect(await directory().findTenant("acme")).toMatchObject({
        id: "acme",
        limits: { tokensPerMinute: 7 },
      });
      await client().query("UPDATE tenants SET limits = $1::jsonb WHERE id = 'acme'", [
        '{"tokensPerMinute": -7}',
      ]);
      expect(await directory().findTenant("acme")).toMatchObject({ id: "acme", limits: {} });
      expect(await directory().findTenant("nobody")).toBeUndefined();
      expect(await directory().findTenant("' or 1=1")).toBeUndefined();
    });

    it("finds an agent of the tenant, with the defaults of its configuration", async () => {
      await addAgent("acme", "helper", { kind: "model", models: [{ provider: "default" }] });
      expect(await directory().findAgent("acme", "helper")).toMatchObject({
        tenantId: "acme",
        id: "helper",
        name: "Agent helper",
        description: "",
        version: 1,
        config: { kind: "model", models: [{ provider: "default", limits: { attemptsMax: 2 } }] },
        updatedAtMs: Date.parse("2026-11-22T10:20:30.123Z"),
      });
    });

    it("does not find an agent of another tenant, a deleted one, or one whose id cannot be", async () => {
      await addAgent("other", "helper", { kind: "echo" });
      await addAgent("acme", "gone", { kind: "echo" });
      await client().query("UPDATE agents SET deleted_at = now() WHERE id = 'gone'", []);
      for (const id of ["helper", "gone", "", "no\u0000such", "x".repeat(128), "\ud800"]) {
        expect(await directory().findAgent("acme", id)).toBeUndefined();
      }
    });

    it("says what is wrong with an agent whose configuration is invalid", async () => {
      await addAgent("acme", "broken", { kind: "model", models: [] });
      await expect(directory().findAgent("acme", "broken")).rejects.toMatchObject({
        code: "failed_precondition",
        reason: "invalid-agent",
        message: expect.stringMatching(/^agent "broken" has an invalid configuration: models: /),
      });
    });

    it("lists a tenant's agents by id, and reports the invalid ones it leaves out", async () => {
      await addAgent("acme", "b-2", { kind: "echo" });
      await addAgent("acme", "a", { kind: "echo" });
      await addAgent("acme", "b.1", { kind: "echo" });
      await addAgent("acme", "broken", { kind: "telepathy" });
      await addAgent("other", "theirs", { kind: "echo" });
      await addAgent("acme", "gone", { kind: "echo" });
      await client().query("UPDATE agents SET deleted_at = now() WHERE id = 'gone'", []);
      expect((await directory().listAgents("acme")).map(({ id }) => id)).toEqual(["a", "b-2", "b.1"]);
      expect(invalid).toEqual([{ tenantId: "acme", agentId: "broken", problem: expect.any(String) }]);
    });
  });

  describe("seedDirectory", () => {
    beforeEach(wipe);

    it("adds a tenant with three agents that all validate", async () => {
      await seedDirectory(client());
      const agents = await directory().listAgents("default");
      expect(agents.map(({ id, config }) => [id, config.kind])).toEqual([
        ["assistant", "model"],
        ["echo", "echo"],
        ["guide", "model"],
      ]);
      expect(agents[2]?.config).toMatchObject({
        models: [{ provider: "builtin", model: "extractive" }],
        knowledge: { collection: "parley-docs" },
      });
    });

    it("gives the guide of an older version its new preset reply, unless an operator has changed it", async () => {
      const migration = (await readMigrations()).find(({ version }) => version === "0012_guide_preset");
      const old =
        "Parley's documents do not tell. Please ask in other words, or look into the folder `docs` yourself.";
      await seedDirectory(client());
      const fresh = (await directory().listAgents("default"))[2];
      for (const [presetReply, isChanged] of [
        [old, true],
        ["Ask Ann.", false],
      ] as const) {
        const set = "UPDATE agents SET version = 1, config = config || $1::jsonb WHERE id = 'guide'";
        await client().query(set, [JSON.stringify({ presetReply })]);
        await client().query(migration?.sql ?? "", []);
        const guide = (await directory().listAgents("default"))[2];
        expect(guide?.config).toMatchObject(isChanged ? (fresh?.config ?? {}) : { presetReply });
        expect(guide?.version).toBe(isChanged ? 2 : 1);
      }
    });

    it("leaves alone what an operator changed or deleted", async () => {
      await seedDirectory(client());
      await client().query("UPDATE agents SET name = 'Mine' WHERE id = 'assistant'", []);
      await client().query("UPDATE agents SET deleted_at = now() WHERE id = 'echo'", []);
      await seedDirectory(client());
      const agents = await directory().listAgents("default");
      expect(agents.map(({ id, name }) => [id, name])).toEqual([
        ["assistant", "Mine"],
        ["guide", "Guide"],
      ]);
    });
  });

  describe("seedDevelopmentKey", () => {
    let folder = "";
    const keyFile = () => join(folder, "secrets", "development-key");
    const now = Date.now();
    const liveKeys = () =>
      client().query<{ id: string }>("SELECT id FROM api_keys WHERE revoked_at IS NULL", []);

    beforeAll(() => {
      folder = mkdtempSync(join(tmpdir(), "parley-key-"));
    });
    afterAll(() => rmSync(folder, { recursive: true, force: true }));
    beforeEach(async () => {
      rmSync(keyFile(), { force: true });
      await wipe();
      await seedDirectory(client());
    });

    it("writes a key that verifies, with every scope, readable by its owner only", async () => {
      const key = await seedDevelopmentKey(client(), keyFile(), now);
      expect(key.isNew).toBe(true);
      expect(readFileSync(keyFile(), "utf8")).toBe(`${key.text}\n`);
      expect(statSync(keyFile()).mode & 0o777).toBe(0o600);
      const presented = parseApiKey(key.text);
      if (!presented) throw new Error("not a key");
      const record = await directory().findApiKey(presented.keyId);
      expect(await verifyApiKey(presented, record, now)).toEqual({
        ok: true,
        principal: {
          tenantId: "default",
          subject: "developer",
          scopes: [...SCOPES],
          keyId: presented.keyId,
        },
        limits: LIMITS_DEFAULT,
      });
    });

    it("keeps a key that verifies", async () => {
      const key = await seedDevelopmentKey(client(), keyFile(), now);
      expect(await seedDevelopmentKey(client(), keyFile(), now)).toEqual({ text: key.text, isNew: false });
      expect(await liveKeys()).toHaveLength(1);
    });

    it.each([
      ["is missing", () => rmSync(keyFile())],
      ["holds something else", () => writeFileSync(keyFile(), "parley_nonsense\n")],
      [
        "holds a wrong secret",
        () => writeFileSync(keyFile(), readFileSync(keyFile(), "utf8").replace(/.\n$/, "!\n")),
      ],
    ])("makes a new key and revokes the previous one when the file %s", async (_, spoil) => {
      const previous = await seedDevelopmentKey(client(), keyFile(), now);
      spoil();
      const key = await seedDevelopmentKey(client(), keyFile(), now);
      expect(key.isNew).toBe(true);
      expect(await liveKeys()).toEqual([{ id: parseApiKey(key.text)?.keyId }]);
      expect(parseApiKey(previous.text)?.keyId).not.toBe(parseApiKey(key.text)?.keyId);
    });

    it("makes a new key when the old one was revoked, and gives a kept one the scopes that it lacks", async () => {
      const revoked = await seedDevelopmentKey(client(), keyFile(), now);
      await client().query("UPDATE api_keys SET revoked_at = now() - interval '1 hour'", []);
      const lacking = await seedDevelopmentKey(client(), keyFile(), now);
      expect(lacking.text).not.toBe(revoked.text);
      await client().query("UPDATE api_keys SET scopes = $1 WHERE revoked_at IS NULL", [["agents:read"]]);
      expect(await seedDevelopmentKey(client(), keyFile(), now)).toEqual({
        text: lacking.text,
        isNew: false,
      });
      const keyId = parseApiKey(lacking.text)?.keyId ?? "";
      const record = await new SqlDirectory(client(), () => undefined).findApiKey(keyId);
      expect(record?.scopes).toEqual([...SCOPES]);
    });

    it("does not touch other keys", async () => {
      await client().query(
        "INSERT INTO api_keys (id, tenant_id, subject, label, secret_sha256) VALUES ('other', 'default', 'developer', 'mine', $1)",
        ["a".repeat(64)],
      );
      await seedDevelopmentKey(client(), keyFile(), now);
      expect((await liveKeys()).map(({ id }) => id)).toContain("other");
    });

    it("fails without a half-written file when the folder cannot be written", async () => {
      const blocked = join(folder, "blocked");
      writeFileSync(blocked, "a file, not a folder");
      chmodSync(blocked, 0o400);
      await expect(seedDevelopmentKey(client(), join(blocked, "key"), now)).rejects.toThrow();
    });
  });
}
