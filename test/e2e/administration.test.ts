/** Operators and tenants manage agents, keys and tenants over the API, and it has its effect on the next message. */
import { spawnSync } from "node:child_process";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { SCOPES } from "../../core/auth/principal.ts";
import * as views from "../../edge/openapi/views.ts";
import { type Gateway, startGateway } from "../support/gateway.ts";
import { api, eventually, makeKey } from "./administration-client.ts";
import { ask, type Json } from "./ask.ts";

const LIMIT_MS = 120_000;
/** What is promised: 30 s, and what polling and a busy machine add. */
const LIVE_WITHIN_MS = 40_000;
const REVOKED_WITHIN_MS = 60_000;
const good = { receiverId: "echo", text: "still here" };
let gateway: Gateway;

beforeAll(async () => {
  gateway = await startGateway();
}, LIMIT_MS);
afterAll(async () => {
  await gateway.stop();
  gateway.remove();
}, LIMIT_MS);

const statusWith = async (key: string) => (await ask(gateway, good, { key })).status;
const textOf = async (receiverId: string): Promise<string> =>
  (await ask(gateway, { receiverId, text: "hi" })).body.text;

describe("the development key", () => {
  it("has every scope of this version", async () => {
    const { body } = await api(gateway, "GET /api/v1/keys");
    expect(views.keyListSchema.parse(body)).toBeTruthy();
    const own = body.keys.find(({ id }: Json) => gateway.key.startsWith(`parley_${id}_`));
    expect(own.scopes.toSorted()).toEqual(SCOPES.toSorted());
  });
});

describe("an API key", () => {
  it(
    "is made, used, rotated with overlap, and revoked",
    async () => {
      const old = await makeKey(gateway, { label: "e2e", limits: { requestsPerMinute: 1_000 } });
      expect(await statusWith(old.text)).toBe(200);
      const rotation = await api(gateway, `POST /api/v1/keys/${old.id}/rotate`, {
        body: { overlapSeconds: 2 },
      });
      expect(rotation.status).toBe(201);
      expect(views.newKeyAnswerSchema.parse(rotation.body)).toMatchObject({ label: "e2e", replaces: old.id });
      expect([await statusWith(old.text), await statusWith(rotation.body.key)]).toEqual([200, 200]);
      await eventually(10_000, async () => (await statusWith(old.text)) === 401);
      expect(await statusWith(rotation.body.key)).toBe(200);
      expect((await api(gateway, `DELETE /api/v1/keys/${rotation.body.id}`)).status).toBe(204);
      await eventually(REVOKED_WITHIN_MS, async () => (await statusWith(rotation.body.key)) === 401);
      const listed = (await api(gateway, "GET /api/v1/keys")).body.keys;
      const stateOf = (id: string) => listed.find((key: Json) => key.id === id).status;
      expect([stateOf(old.id), stateOf(rotation.body.id)]).toEqual(["expired", "revoked"]);
      expect(JSON.stringify(listed)).not.toContain(rotation.body.key);
    },
    LIMIT_MS,
  );

  it("is rotated without a body, with a day of overlap", async () => {
    const { id } = await makeKey(gateway);
    const rotation = await api(gateway, `POST /api/v1/keys/${id}/rotate`);
    expect(rotation.status).toBe(201);
    const old = (await api(gateway, "GET /api/v1/keys")).body.keys.find((key: Json) => key.id === id);
    expect(Date.parse(old.expiresAt) - Date.now()).toBeGreaterThan(23 * 3_600_000);
  });

  it("cannot make one that may do more than itself", async () => {
    const manager = await makeKey(gateway, { scopes: ["keys:manage", "messages:send"] });
    const answer = await api(gateway, "POST /api/v1/keys", {
      key: manager.text,
      body: { subject: "s", scopes: ["messages:send", "operator"] },
    });
    expect(answer.status).toBe(400);
    expect(answer.body.error.details.violations).toMatchObject([{ field: "scopes.1" }]);
    expect((await api(gateway, "GET /api/v1/tenants", { key: manager.text })).status).toBe(403);
  });
});

describe("an agent", () => {
  it(
    "that is made can be talked to, and its change is live within 30 s",
    async () => {
      const config = { kind: "model", models: [{ provider: "openai", model: "m" }], presetReply: "One." };
      const made = await api(gateway, "POST /api/v1/agents", {
        body: { id: "newcomer", name: "New", config },
      });
      expect(made.status).toBe(201);
      expect(made.headers.get("etag")).toBe('"1"');
      expect(made.headers.get("location")).toBe("/api/v1/agents/newcomer");
      expect(views.agentVersionSchema.parse(made.body)).toMatchObject({ version: 1 });
      expect(await textOf("newcomer")).toBe("One.");
      const changed = await api(gateway, "PATCH /api/v1/agents/newcomer", {
        headers: { "content-type": "application/merge-patch+json", "if-match": '"1"' },
        body: { config: { presetReply: "Two." } },
      });
      expect([changed.status, changed.headers.get("etag")]).toEqual([200, '"2"']);
      await eventually(LIVE_WITHIN_MS, async () => (await textOf("newcomer")) === "Two.");
      const { body } = await api(gateway, "GET /api/v1/agents/newcomer/versions");
      expect(views.agentVersionListSchema.parse(body).versions.map(({ version }) => version)).toEqual([2, 1]);
      const late = await api(gateway, "PUT /api/v1/agents/newcomer", {
        headers: { "if-match": '"1"' },
        body: { name: "Late", config: { kind: "echo" } },
      });
      expect([late.status, late.body.error.code]).toEqual([412, "conflict"]);
      expect((await api(gateway, "DELETE /api/v1/agents/newcomer")).status).toBe(204);
      expect((await ask(gateway, { receiverId: "newcomer", text: "hi" })).status).toBe(404);
    },
    LIMIT_MS,
  );

  it("shows its configuration only to those who may change it", async () => {
    const reader = await makeKey(gateway);
    expect((await api(gateway, "GET /api/v1/agents/assistant")).body.config).toMatchObject({ kind: "model" });
    const { body } = await api(gateway, "GET /api/v1/agents/assistant", { key: reader.text });
    expect(body).not.toHaveProperty("config");
    expect((await api(gateway, "GET /api/v1/agents/assistant/versions", { key: reader.text })).status).toBe(
      403,
    );
  });

  it("with a bad configuration is refused with every problem at once", async () => {
    const { status, body } = await api(gateway, "POST /api/v1/agents", {
      body: {
        id: "Bad Id",
        name: "",
        config: { kind: "model", models: [{ provider: "hal", limits: { attemptsMax: -3 } }], fallback: {} },
      },
    });
    expect([status, body.error.code, body.error.reason]).toEqual([400, "invalid_argument", "invalid-input"]);
    expect(body.error.details.violations.map(({ field }: Json) => field).toSorted()).toEqual(
      [
        "config.fallback",
        "config.models.0.limits.attemptsMax",
        "config.models.0.provider",
        "id",
        "name",
      ].toSorted(),
    );
  });

  it.each([
    ["POST /api/v1/agents", "{"],
    ["POST /api/v1/keys", "[]"],
    ["POST /api/v1/tenants", '"text"'],
    ["PATCH /api/v1/agents/echo", "null"],
    ["PATCH /api/v1/tenants/default", "7"],
    ["PUT /api/v1/agents/echo", "{}"],
  ])("%s with %s is a bad request", async (route, body) => {
    const answer = await api(gateway, route, { body });
    expect([answer.status, answer.body.error.code]).toEqual([400, "invalid_argument"]);
  });
});

describe("a tenant", () => {
  it("is made and limited by operators, and has nothing of the others", async () => {
    const made = await api(gateway, "POST /api/v1/tenants", { body: { id: "acme", name: "Acme" } });
    expect(made.status).toBe(201);
    const changed = await api(gateway, "PATCH /api/v1/tenants/acme", {
      body: { limits: { requestsPerMinute: 50 }, retentionDays: 30 },
    });
    expect(views.tenantSchema.parse(changed.body)).toMatchObject({
      limits: { requestsPerMinute: 50 },
      retentionDays: 30,
    });
    expect((await api(gateway, "GET /api/v1/tenants/acme")).body).toEqual(changed.body);
    const listed = await api(gateway, "GET /api/v1/tenants");
    expect(views.tenantListSchema.parse(listed.body).tenants.map(({ id }) => id)).toEqual([
      "acme",
      "default",
    ]);
  });
});

describe("the records", () => {
  it("say who changed what, when and from where", async () => {
    const admin = await makeKey(gateway, { subject: "carol", scopes: ["agents:write", "keys:manage"] });
    await api(gateway, "POST /api/v1/agents", {
      key: admin.text,
      headers: { "x-request-id": "request-of-carol" },
      body: { id: "carols", name: "Carol's", config: { kind: "echo" } },
    });
    const { body } = await api(gateway, "GET /api/v1/audit?targetId=carols", { key: admin.text });
    expect(views.auditListSchema.parse(body).entries).toMatchObject([
      { actor: "carol", actorKeyId: admin.id, action: "agent.create", requestId: "request-of-carol" },
    ]);
  });

  it("find messages and count them", async () => {
    const asked = await ask(gateway, { ...good, contextId: "records-e2e" });
    expect(asked.status).toBe(200);
    await eventually(10_000, async () => {
      const { body } = await api(gateway, "GET /api/v1/messages?context=records-e2e&limit=1");
      return views.messagePageSchema.parse(body).messages.length === 1 && body.nextCursor !== undefined;
    });
    const { body } = await api(gateway, "GET /api/v1/usage?groupBy=day,agent");
    const rows = views.usageSchema.parse(body).usage;
    expect(rows.find(({ agentId }) => agentId === "echo")?.replies).toBeGreaterThan(0);
  });

  it.each([
    "GET /api/v1/messages?limit=201",
    "GET /api/v1/messages?limit=x",
    "GET /api/v1/messages?cursor=x",
    "GET /api/v1/messages?from=yesterday",
    "GET /api/v1/messages?context=%00",
    "GET /api/v1/usage?groupBy=price",
    "GET /api/v1/usage?from=2026-01-02&to=2026-01-01",
    "GET /api/v1/audit?cursor=-1",
    "GET /api/v1/tenants?cursor=../..",
    "GET /api/v1/audit?nonsense=1",
  ])("refuse %s", async (route) => {
    const answer = await api(gateway, route);
    expect([answer.status, answer.body.error.code]).toEqual([400, "invalid_argument"]);
  });

  it.each(["'; DROP TABLE messages; --", "' OR '1'='1", "$1", "%"])("take %s as text", async (sql) => {
    const text = encodeURIComponent(sql);
    for (const query of [`context=${text}`, `agent=${text}`, `sender=${text}`]) {
      const { status, body } = await api(gateway, `GET /api/v1/messages?${query}`);
      expect([status, body.messages]).toEqual([200, []]);
    }
    expect((await api(gateway, `GET /api/v1/audit?targetId=${text}`)).body).toEqual({ entries: [] });
    expect((await api(gateway, `DELETE /api/v1/keys/${text}`)).status).toBe(404);
  });
});

describe("the command line", () => {
  const admin = (...args: string[]) =>
    spawnSync(process.execPath, ["scripts/admin.ts", ...args], {
      env: { PATH: process.env["PATH"] ?? "", DATA_DIRECTORY: gateway.dataDirectory },
      encoding: "utf8",
    });

  it("works on the running gateway, and its changes are recorded", async () => {
    const made = admin("key", "create", "--subject", "shell", "--scopes", "messages:send", "--json");
    expect([made.status, made.stderr]).toEqual([0, ""]);
    expect(await statusWith(JSON.parse(made.stdout).key)).toBe(200);
    const { body } = await api(gateway, `GET /api/v1/audit?targetId=${JSON.parse(made.stdout).id}`);
    expect(body.entries).toMatchObject([{ actor: "operator (command line)", action: "key.create" }]);
  });
});
