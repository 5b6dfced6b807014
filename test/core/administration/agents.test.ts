import { afterAll, beforeAll, describe, expect, it } from "vitest";
import * as agents from "../../../core/administration/agents.ts";
import { listAudit } from "../../../core/administration/audit.ts";
import type { ParleyError } from "../../../core/errors/parley-error.ts";
import { type AdministrationFixture, openAdministration } from "./administration-fixture.ts";

const LIMIT_MS = 60_000;
let fixture: AdministrationFixture;
let nextId = 1;

beforeAll(async () => {
  fixture = await openAdministration();
}, LIMIT_MS);
afterAll(() => fixture.close(), LIMIT_MS);

const echo = { name: "Echo", config: { kind: "echo" } };
const model = {
  name: "Model",
  config: { kind: "model", models: [{ provider: "builtin" }], systemPrompt: "Be brief." },
};

async function make(document: object = model): Promise<agents.AgentVersion> {
  return agents.createAgent(fixture.as(), { id: `agent-${nextId++}`, ...document });
}

/** The failure of a call, as far as callers see it. */
async function failureOf(call: Promise<unknown>): Promise<ParleyError> {
  return call.then(
    () => expect.fail("it succeeded"),
    (error: ParleyError) => error,
  );
}

function fieldsOf(error: ParleyError): unknown[] {
  const violations = (error.details?.["violations"] ?? []) as { field: string }[];
  return violations.map(({ field }) => field);
}

describe("an agent", () => {
  it("is made with version 1 and read as it was written", async () => {
    const made = await make();
    expect(made).toMatchObject({ ...model, version: 1, description: "" });
    expect(await agents.readAgent(fixture.as(), made.id)).toEqual(made);
    expect((await agents.listAgents(fixture.as())).map(({ id }) => id)).toContain(made.id);
  });

  it("keeps every version when it is replaced and patched", async () => {
    const { id } = await make();
    await agents.replaceAgent(fixture.as(), id, echo, 1);
    const patched = await agents.patchAgent(fixture.as({ subject: "bob" }), id, {
      description: "says it again",
    });
    expect(patched).toMatchObject({ version: 3, name: "Echo", description: "says it again" });
    const versions = await agents.listAgentVersions(fixture.as(), id);
    expect(versions.map(({ version, config }) => [version, config])).toEqual([
      [3, echo.config],
      [2, echo.config],
      [1, model.config],
    ]);
  });

  it("that no administrator made has its first version kept when it is changed", async () => {
    await fixture.pglite.query(
      `INSERT INTO agents (tenant_id, id, name, config) VALUES ('acme', 'seeded', 'Seeded', '{"kind":"echo"}')`,
      [],
    );
    expect(await agents.listAgentVersions(fixture.as(), "seeded")).toMatchObject([{ version: 1 }]);
    await agents.patchAgent(fixture.as(), "seeded", { name: "Other" });
    const versions = await agents.listAgentVersions(fixture.as(), "seeded");
    expect(versions.map(({ version, name }) => [version, name])).toEqual([
      [2, "Other"],
      [1, "Seeded"],
    ]);
  });

  it("is patched as RFC 7396 says: null takes away, arrays are replaced, the result is validated", async () => {
    const { id } = await make();
    const patched = await agents.patchAgent(fixture.as(), id, {
      config: { systemPrompt: null, models: [{ provider: "openai" }, { provider: "builtin" }] },
    });
    expect(patched.config).toEqual({
      kind: "model",
      models: [{ provider: "openai" }, { provider: "builtin" }],
    });
    const error = await failureOf(
      agents.patchAgent(fixture.as(), id, { name: null, config: { models: null } }),
    );
    expect([error.code, fieldsOf(error)]).toEqual(["invalid_argument", ["name", "config.models"]]);
  });

  it("is changed by one of two callers who mean the same version; the other gets a conflict", async () => {
    const { id } = await make();
    const outcomes = await Promise.allSettled([
      agents.replaceAgent(fixture.as(), id, echo, 1),
      agents.replaceAgent(fixture.as(), id, { ...echo, name: "Other" }, 1),
    ]);
    expect(outcomes.map(({ status }) => status).toSorted()).toEqual(["fulfilled", "rejected"]);
    const error = await failureOf(agents.deleteAgent(fixture.as(), id, 1));
    expect(error).toMatchObject({ code: "conflict", reason: "version-mismatch", details: { version: 2 } });
  });

  it("takes parallel patches that name no version, every one of them", async () => {
    const { id } = await make();
    await Promise.all([
      agents.patchAgent(fixture.as(), id, { name: "Renamed" }),
      agents.patchAgent(fixture.as(), id, { description: "described" }),
    ]);
    expect(await agents.readAgent(fixture.as(), id)).toMatchObject({
      name: "Renamed",
      description: "described",
      version: 3,
    });
  });

  it("that was deleted is not found, and its id stays taken", async () => {
    const { id } = await make();
    await agents.deleteAgent(fixture.as(), id);
    for (const call of [
      agents.readAgent(fixture.as(), id),
      agents.deleteAgent(fixture.as(), id),
      agents.replaceAgent(fixture.as(), id, echo),
      agents.listAgentVersions(fixture.as(), id),
    ]) {
      expect((await failureOf(call)).code).toBe("not_found");
    }
    expect((await failureOf(agents.createAgent(fixture.as(), { id, ...echo }))).code).toBe("conflict");
  });

  it("of another tenant is not found, in the words for one that does not exist", async () => {
    const { id } = await make();
    const stranger = fixture.as({ tenantId: "umbrella" });
    const operations = [
      agents.readAgent,
      agents.deleteAgent,
      agents.listAgentVersions,
      (call: typeof stranger, agentId: string) => agents.replaceAgent(call, agentId, echo),
      (call: typeof stranger, agentId: string) => agents.patchAgent(call, agentId, { name: "Mine" }),
    ];
    for (const operation of operations) {
      const foreign = await failureOf(operation(stranger, id));
      const missing = await failureOf(operation(stranger, "missing"));
      expect([foreign.code, foreign.message.replace(id, "missing")]).toEqual(["not_found", missing.message]);
    }
    expect(await agents.listAgents(stranger)).toEqual([]);
    expect(await agents.createAgent(stranger, { id, ...echo })).toMatchObject({ version: 1 });
    expect(await agents.readAgent(fixture.as(), id)).toMatchObject({ name: "Model" });
  });

  it("leaves a record of each change: who, what, when, from where", async () => {
    const { id } = await make();
    await agents.replaceAgent(fixture.as({ subject: "bob", keyId: "bobkey000001" }), id, echo);
    await agents.deleteAgent(fixture.as(), id);
    const { entries } = await listAudit(fixture.as(), { targetKind: "agent", targetId: id });
    expect(entries.map(({ action }) => action)).toEqual(["agent.delete", "agent.replace", "agent.create"]);
    expect(entries[1]).toMatchObject({
      tenantId: "acme",
      actor: "bob",
      actorKeyId: "bobkey000001",
      details: { version: 2, name: "Echo" },
      requestId: "request-1",
      address: "203.0.113.7",
    });
    expect(Math.abs(Date.now() - Date.parse(entries[1]?.at ?? ""))).toBeLessThan(LIMIT_MS);
    expect(await listAudit(fixture.as({ tenantId: "umbrella" }), { targetId: id })).toEqual({ entries: [] });
  });

  it("takes SQL in every field as text", async () => {
    const sql = `'); DROP TABLE agents; --`;
    const made = await make({
      name: sql,
      description: sql,
      config: { kind: "model", models: [{ provider: "openai", model: sql }], systemPrompt: sql },
    });
    expect(await agents.readAgent(fixture.as(), made.id)).toMatchObject({ name: sql, description: sql });
    expect((await failureOf(agents.readAgent(fixture.as(), sql))).code).toBe("not_found");
    expect((await failureOf(agents.createAgent(fixture.as(), { id: sql, ...echo }))).code).toBe(
      "invalid_argument",
    );
  });
});

describe("a configuration", () => {
  it("that is wrong is refused with every problem at once", async () => {
    const error = await failureOf(
      agents.createAgent(fixture.as(), {
        id: "-no-",
        name: "",
        secret: true,
        config: {
          kind: "model",
          models: [
            { provider: "skynet", limits: { attemptsMax: -1 } },
            { provider: "openai", parameters: { temperature: 9 } },
            { provider: "openai", parameters: { temperature: 9 } },
          ],
          systemPrompt: "a\0b",
          fallback: "openai",
          contextWindowFallbacks: [{ provider: "openai", contextTokens: 1 }],
          contentPolicyFallbacks: "openai",
          hedge: { afterMs: 1 },
          knowledge: { collection: "NO" },
        },
      }),
    );
    expect(error).toMatchObject({ code: "invalid_argument", reason: "invalid-input" });
    expect(fieldsOf(error).toSorted()).toEqual(
      [
        "id",
        "name",
        "secret",
        "config.models.0.provider",
        "config.models.0.limits.attemptsMax",
        "config.models.1.parameters.temperature",
        "config.models.2.parameters.temperature",
        "config.models.2",
        "config.systemPrompt",
        "config.fallback",
        "config.contextWindowFallbacks.0.contextTokens",
        "config.contentPolicyFallbacks",
        "config.hedge.afterMs",
        "config.knowledge.collection",
      ].toSorted(),
    );
  });

  it.each([
    ["no object", "config", 5],
    ["of an unknown kind", "config.kind", { kind: "human" }],
    ["with no models", "config.models", { kind: "model", models: [] }],
    [
      "with too long a chain",
      "config.models",
      {
        kind: "model",
        models: Array.from({ length: 9 }, (_, seed) => ({ provider: "openai", parameters: { seed } })),
      },
    ],
    ["with too long a prompt", "config.systemPrompt", { ...model.config, systemPrompt: "x".repeat(100_001) }],
    [
      "that falls back to the link before",
      "config.models.1",
      {
        kind: "model",
        models: [
          { provider: "openai", model: "m", parameters: { seed: 1, topP: 1 } },
          { model: "m", provider: "openai", parameters: { topP: 1, seed: 1 } },
        ],
      },
    ],
    [
      "that falls back for long texts to the link before",
      "config.contextWindowFallbacks.1",
      { ...model.config, contextWindowFallbacks: [{ provider: "ollama" }, { provider: "ollama" }] },
    ],
    [
      "whose fallback for refused texts is its only model again",
      "config.contentPolicyFallbacks.0",
      {
        kind: "model",
        models: [{ provider: "openai", model: "m" }],
        contentPolicyFallbacks: [{ provider: "openai", model: "m", parameters: { seed: 1 } }],
      },
    ],
    [
      "that asks a second model which it does not have",
      "config.hedge",
      { kind: "model", models: [{ provider: "openai" }], hedge: { afterMs: 1_000 } },
    ],
    ["with half a character", "config.presetReply", { ...model.config, presetReply: "\ud800" }],
  ])("%s is refused", async (_, field, config) => {
    const error = await failureOf(make({ name: "Bad", config }));
    expect([error.code, fieldsOf(error)]).toEqual(["invalid_argument", [field]]);
  });

  it("may name the same model twice, with other parameters or later in the chain", async () => {
    const openai = { provider: "openai", model: "m" };
    const cold = { ...openai, parameters: { temperature: 0 } };
    const made = await make({ ...model, config: { kind: "model", models: [openai, cold, openai] } });
    expect(made.version).toBe(1);
  });

  it("may name models for long and for refused texts, what they take, and when a second one is asked", async () => {
    const openai = { provider: "openai", model: "m", contextTokens: 128_000 };
    const large = { provider: "openai", model: "large", contextTokens: 1_000_000 };
    const config = {
      kind: "model",
      models: [openai, { provider: "ollama" }],
      contextWindowFallbacks: [large],
      contentPolicyFallbacks: [{ provider: "ollama" }],
      hedge: { afterMs: 800 },
    };
    expect((await make({ ...model, config })).config).toEqual(config);
  });

  it.each(["parley", "system", "gateway"])("cannot take the reserved name %s", async (id) => {
    expect(fieldsOf(await failureOf(agents.createAgent(fixture.as(), { id, ...echo })))).toEqual(["id"]);
  });

  it.each([[null], ["text"], [[]], [undefined]])("that is %j as a whole is refused", async (input) => {
    expect((await failureOf(agents.createAgent(fixture.as(), input))).code).toBe("invalid_argument");
  });
});
