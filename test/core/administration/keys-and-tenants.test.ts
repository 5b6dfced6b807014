import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { listAudit } from "../../../core/administration/audit.ts";
import * as keys from "../../../core/administration/keys.ts";
import * as tenants from "../../../core/administration/tenants.ts";
import { parseApiKey, verifyApiKey } from "../../../core/auth/api-key.ts";
import { SCOPES, type Verification } from "../../../core/auth/principal.ts";
import { SqlDirectory } from "../../../core/directory/sql-directory.ts";
import type { ParleyError } from "../../../core/errors/parley-error.ts";
import { type AdministrationFixture, openAdministration } from "./administration-fixture.ts";

const LIMIT_MS = 60_000;
const HOUR_MS = 3_600_000;
const random = (bytes: Uint8Array<ArrayBuffer>) => crypto.getRandomValues(bytes);
let fixture: AdministrationFixture;

beforeAll(async () => {
  fixture = await openAdministration();
}, LIMIT_MS);
afterAll(() => fixture.close(), LIMIT_MS);

const wanted = { subject: "robot", label: "nightly", scopes: ["messages:send"] };
const create = (input: object = wanted, actor = {}) =>
  keys.createKey(fixture.as(actor), input, random, Date.now());
const rotate = (id: string, input: object = {}, actor = {}) =>
  keys.rotateKey(fixture.as(actor), id, input, random, Date.now());

/** The outcome for a key's text at a time, as edge and backend come to it. */
async function verify(text: string, nowMs = Date.now()): Promise<Verification> {
  const presented = parseApiKey(text);
  if (!presented) return { ok: false, reason: "malformed" };
  const record = await new SqlDirectory(fixture.pglite, () => undefined).findApiKey(presented.keyId);
  return verifyApiKey(presented, record, nowMs);
}

async function verdict(text: string, nowMs = Date.now()): Promise<string> {
  const verification = await verify(text, nowMs);
  return verification.ok ? "ok" : verification.reason;
}

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

describe("an API key", () => {
  it("works, is listed without its secret, and remembers who made it", async () => {
    const made = await create({ ...wanted, limits: { requestsPerMinute: 5 } });
    expect(await verdict(made.key)).toBe("ok");
    const listed = (await keys.listKeys(fixture.as())).find(({ id }) => id === made.id);
    expect(listed).toMatchObject({
      ...wanted,
      limits: { requestsPerMinute: 5 },
      status: "active",
      createdBy: "alice",
    });
    const secret = parseApiKey(made.key)?.secret ?? "";
    expect(JSON.stringify(await keys.listKeys(fixture.as()))).not.toContain(secret);
    const { entries } = await listAudit(fixture.as(), { targetId: made.id });
    expect(entries).toMatchObject([{ action: "key.create", actor: "alice", details: wanted }]);
    expect(JSON.stringify(entries)).not.toContain(secret);
  });

  it("ends when it expires", async () => {
    const made = await create({ ...wanted, expiresAt: new Date(Date.now() + HOUR_MS).toISOString() });
    expect([await verdict(made.key), await verdict(made.key, Date.now() + 2 * HOUR_MS)]).toEqual([
      "ok",
      "expired",
    ]);
  });

  it("cannot have scopes that its maker lacks, and every problem is named", async () => {
    const error = await failureOf(
      create(
        {
          subject: "",
          scopes: ["operator", "nonsense", "keys:manage"],
          limits: { requestsPerMinute: -1 },
          expiresAt: "2020-01-01T00:00:00Z",
        },
        { scopes: ["keys:manage"] },
      ),
    );
    expect(fieldsOf(error).toSorted()).toEqual(
      ["expiresAt", "limits.requestsPerMinute", "scopes.0", "scopes.1", "subject"].toSorted(),
    );
  });

  it("is refused for a field of the wrong type once, not for the field's length as well", async () => {
    const error = await failureOf(create({ subject: "s", scopes: "messages:send" }));
    expect(error.details).toEqual({
      violations: [{ field: "scopes", description: expect.stringContaining("expected array") }],
    });
  });

  it("has limits within the tenant's, else, unless an operator makes it, the defaults", async () => {
    await fixture.pglite.query(
      `UPDATE tenants SET limits = '{"requestsPerMinute": 10}' WHERE id = 'acme'`,
      [],
    );
    const limits = { requestsPerMinute: 11, tokensPerMinute: 200_001 };
    const manager = { scopes: ["keys:manage", "messages:send"] };
    const error = await failureOf(create({ ...wanted, limits }, manager));
    expect(fieldsOf(error)).toEqual(["limits.requestsPerMinute", "limits.tokensPerMinute"]);
    expect((await create({ ...wanted, limits: { requestsPerMinute: 10 } }, manager)).status).toBe("active");
    expect(fieldsOf(await failureOf(create({ ...wanted, limits })))).toEqual(["limits.requestsPerMinute"]);
    const raised = { requestsPerMinute: 10, tokensPerMinute: 200_001 };
    expect((await create({ ...wanted, limits: raised })).limits).toEqual(raised);
  });

  it("that is rotated works on through the overlap, and no longer", async () => {
    const old = await create({ ...wanted, limits: { tokensPerMinute: 7 } });
    const replacement = await rotate(old.id, { overlapSeconds: 3_600 });
    expect(replacement).toMatchObject({
      ...wanted,
      limits: { tokensPerMinute: 7 },
      replaces: old.id,
      expiresAt: null,
    });
    expect([await verdict(old.key), await verdict(replacement.key)]).toEqual(["ok", "ok"]);
    const later = Date.now() + 2 * HOUR_MS;
    expect([await verdict(old.key, later), await verdict(replacement.key, later)]).toEqual(["expired", "ok"]);
    const { entries } = await listAudit(fixture.as(), { targetId: replacement.id });
    expect(entries).toMatchObject([{ action: "key.rotate", details: { replaces: old.id } }]);
  });

  it("is bound by its tenant's limits, set before or after it was made and rotated", async () => {
    const made = await create({ ...wanted, limits: { tokensPerMinute: 5_000 } });
    const rotated = await rotate(made.id);
    const limitOf = async (text: string) => {
      const verification = await verify(text);
      return verification.ok ? verification.limits.tokensPerMinute : undefined;
    };
    expect([await limitOf(made.key), await limitOf(rotated.key)]).toEqual([5_000, 5_000]);
    await tenants.patchTenant(fixture.as(), "acme", { limits: { tokensPerMinute: 70 } });
    expect([await limitOf(made.key), await limitOf(rotated.key)]).toEqual([70, 70]);
    await tenants.patchTenant(fixture.as(), "acme", { limits: { tokensPerMinute: null } });
    expect(await limitOf(rotated.key)).toBe(5_000);
  });

  it("is given a day of overlap and a life as long as before, unless told otherwise", async () => {
    const old = await create({
      ...wanted,
      expiresAt: new Date(Date.now() + 100 * 24 * HOUR_MS).toISOString(),
    });
    const replacement = await rotate(old.id);
    const lifeMs = Date.parse(replacement.expiresAt ?? "") - Date.now();
    expect(Math.abs(lifeMs - 100 * 24 * HOUR_MS)).toBeLessThan(LIMIT_MS);
    expect(await verdict(old.key, Date.now() + 23 * HOUR_MS)).toBe("ok");
    expect(await verdict(old.key, Date.now() + 25 * HOUR_MS)).toBe("expired");
  });

  it("is rotated once: in parallel too, and the second is told the successor", async () => {
    const old = await create();
    const outcomes = await Promise.allSettled([rotate(old.id), rotate(old.id), rotate(old.id)]);
    expect(outcomes.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
    const error = await failureOf(rotate(old.id));
    expect(error.code).toBe("failed_precondition");
    expect(error.message).toMatch(/rotated to [a-z0-9]{12}/);
  });

  it("with more scopes than the caller cannot be rotated by it", async () => {
    const strong = await create({ ...wanted, scopes: ["operator"] });
    const error = await failureOf(rotate(strong.id, {}, { scopes: ["keys:manage"] }));
    expect(error.code).toBe("permission_denied");
    expect(await verdict(strong.key, Date.now() + 48 * HOUR_MS)).toBe("ok");
  });

  it("made or rotated by a key that expires ends by then, unless an operator makes it", async () => {
    const endMs = Date.now() + HOUR_MS;
    const expiring = { expiresAtMs: endMs, scopes: ["keys:manage", "messages:send"] };
    const iso = (ms: number) => new Date(ms).toISOString();
    const eternal = await create();
    const long = await create({ ...wanted, expiresAt: iso(endMs + HOUR_MS) });
    for (const attempt of [
      () => create(wanted, expiring),
      () => create({ ...wanted, expiresAt: iso(endMs + 1) }, expiring),
      () => rotate(eternal.id, {}, expiring),
      () => rotate(long.id, {}, expiring),
      () => rotate(long.id, { expiresAt: iso(endMs + 1) }, expiring),
    ]) {
      const error = await failureOf(attempt());
      expect([error.code, fieldsOf(error)]).toEqual(["invalid_argument", ["expiresAt"]]);
      expect(error.message).toContain(`at most ${iso(endMs)}`);
    }
    const expiresAt = iso(endMs);
    expect((await create({ ...wanted, expiresAt }, expiring)).expiresAt).toBe(expiresAt);
    expect((await rotate(eternal.id, { expiresAt }, expiring)).expiresAt).toBe(expiresAt);
    expect((await create(wanted, { ...expiring, scopes: SCOPES })).expiresAt).toBeNull();
  });

  it("made with a token, which is renewed again and again, lives for at most 90 days", async () => {
    const token = { keyId: "", expiresAtMs: Date.now() + 60_000, scopes: ["keys:manage", "messages:send"] };
    const inDays = (days: number) => new Date(Date.now() + days * 24 * HOUR_MS).toISOString();
    expect(fieldsOf(await failureOf(create(wanted, token)))).toEqual(["expiresAt"]);
    expect(fieldsOf(await failureOf(create({ ...wanted, expiresAt: inDays(91) }, token)))).toEqual([
      "expiresAt",
    ]);
    expect((await create({ ...wanted, expiresAt: inDays(90) }, token)).status).toBe("active");
  });

  it("with more scopes than the caller cannot be revoked by it, unless it is an operator", async () => {
    const strong = await create({ ...wanted, scopes: ["messages:send", "usage:read"] });
    const weak = { scopes: ["keys:manage", "messages:send"] };
    const error = await failureOf(keys.revokeKey(fixture.as(weak), strong.id));
    expect(error).toMatchObject({ code: "permission_denied", message: expect.stringContaining(strong.id) });
    expect(await verdict(strong.key)).toBe("ok");
    const { entries } = await listAudit(fixture.as(), { targetId: strong.id });
    expect(entries.map(({ action }) => action)).toEqual(["key.create"]);
    await keys.revokeKey(fixture.as({ scopes: ["keys:manage", "operator"] }), strong.id);
    expect(await verdict(strong.key)).toBe("revoked");
  });

  it("that is revoked is refused at once; revoking it again changes and records nothing", async () => {
    const made = await create();
    await keys.revokeKey(fixture.as(), made.id);
    await keys.revokeKey(fixture.as(), made.id);
    expect(await verdict(made.key)).toBe("revoked");
    const { entries } = await listAudit(fixture.as(), { targetId: made.id });
    expect(entries.map(({ action }) => action)).toEqual(["key.revoke", "key.create"]);
    expect((await failureOf(rotate(made.id))).code).toBe("failed_precondition");
  });

  it("that has ended makes and rotates none, also where it is still honoured from a cache", async () => {
    const target = await create();
    const revoked = await create();
    await keys.revokeKey(fixture.as(), revoked.id);
    const expired = await create();
    const expire = "UPDATE api_keys SET expires_at = now() - interval '1 s' WHERE id = $1";
    await fixture.pglite.query(expire, [expired.id]);
    const before = (await keys.listKeys(fixture.as())).length;
    for (const { id: keyId } of [revoked, expired]) {
      expect(await failureOf(create(wanted, { keyId }))).toMatchObject({ code: "unauthenticated" });
      expect(await failureOf(rotate(target.id, {}, { keyId }))).toMatchObject({ code: "unauthenticated" });
    }
    expect(await keys.listKeys(fixture.as())).toHaveLength(before);
    expect(await verdict(target.key, Date.now() + 48 * HOUR_MS)).toBe("ok");
    expect(await verdict((await create(wanted, { keyId: target.id })).key)).toBe("ok");
  });

  it("of another tenant is not found, in the words for one that does not exist, and keeps working", async () => {
    const made = await create();
    const missing = "000000000000";
    const stranger = { tenantId: "umbrella" };
    for (const operation of [
      (id: string) => rotate(id, {}, stranger),
      (id: string) => keys.revokeKey(fixture.as(stranger), id),
    ]) {
      const [foreign, absent] = [await failureOf(operation(made.id)), await failureOf(operation(missing))];
      expect([foreign.code, foreign.message.replace(made.id, missing)]).toEqual([
        "not_found",
        absent.message,
      ]);
    }
    expect(await keys.listKeys(fixture.as(stranger))).toEqual([]);
    expect(await verdict(made.key)).toBe("ok");
  });

  it("takes SQL in every field as text", async () => {
    const sql = `x'); DROP TABLE api_keys; --`;
    expect(await create({ ...wanted, subject: sql, label: sql })).toMatchObject({ subject: sql, label: sql });
    expect((await failureOf(rotate(sql))).code).toBe("not_found");
    expect((await failureOf(create(wanted, { tenantId: sql }))).code).toBe("not_found");
  });
});

describe("a tenant", () => {
  it("is made, read, listed, and changed by merge patch", async () => {
    const made = await tenants.createTenant(fixture.as(), {
      id: "initech",
      name: "Initech",
      limits: { requestsPerMinute: 10, tokensPerMinute: 20 },
    });
    expect(made).toMatchObject({ id: "initech", retentionDays: null });
    const patched = await tenants.patchTenant(fixture.as(), "initech", {
      limits: { requestsPerMinute: null, tenantTokensPerMinute: 30 },
      retentionDays: 90,
    });
    expect(patched).toMatchObject({
      name: "Initech",
      limits: { tokensPerMinute: 20, tenantTokensPerMinute: 30 },
      retentionDays: 90,
    });
    expect(
      await tenants.patchTenant(fixture.as(), "initech", { name: "I", limits: null, retentionDays: null }),
    ).toMatchObject({ name: "I", limits: {}, retentionDays: null });
    expect(await tenants.readTenant(fixture.as(), "initech")).toMatchObject({ name: "I" });
    const { tenants: listed } = await tenants.listTenants(fixture.as(), {});
    expect(listed.map(({ id }) => id)).toEqual(["acme", "initech", "umbrella"]);
    expect((await tenants.listTenants(fixture.as(), { cursor: "initech" })).tenants).toMatchObject([
      { id: "umbrella" },
    ]);
  });

  it("is refused when its id is taken or reserved, or its limits are wrong", async () => {
    const taken = await failureOf(tenants.createTenant(fixture.as(), { id: "acme", name: "A" }));
    expect(taken.code).toBe("conflict");
    const wrong = await failureOf(
      tenants.createTenant(fixture.as(), {
        id: "system",
        name: "",
        limits: { requestsPerMinute: -5 },
        retentionDays: 0,
      }),
    );
    expect(fieldsOf(wrong)).toEqual(["id", "name", "limits.requestsPerMinute", "retentionDays"]);
    expect((await failureOf(tenants.patchTenant(fixture.as(), "nobody", { name: "N" }))).code).toBe(
      "not_found",
    );
  });

  it("that changes is recorded with its operators, out of its own sight", async () => {
    await tenants.patchTenant(fixture.as(), "umbrella", { name: "Umbrella Corp" });
    const { entries } = await listAudit(fixture.as(), { targetKind: "tenant", targetId: "umbrella" });
    expect(entries).toMatchObject([
      { action: "tenant.patch", actor: "alice", details: { name: "Umbrella Corp" } },
    ]);
    expect(await listAudit(fixture.as({ tenantId: "umbrella" }), { targetKind: "tenant" })).toEqual({
      entries: [],
    });
  });
});

describe("the record of changes", () => {
  it("comes in pages, each entry once", async () => {
    const pager = fixture.as({ tenantId: "umbrella" });
    for (let i = 0; i < 5; i++) await create(wanted, { tenantId: "umbrella" });
    const seen: string[] = [];
    let cursor: string | undefined;
    do {
      const page = await listAudit(pager, { limit: "2", ...(cursor && { cursor }) });
      seen.push(...page.entries.map(({ targetId }) => targetId));
      cursor = page.nextCursor;
    } while (cursor);
    expect(seen.length).toBe(new Set(seen).size);
    expect(seen.length).toBe(5);
  });

  it("of another tenant is for operators only", async () => {
    const query = { tenant: "acme" };
    const operator = fixture.as({ tenantId: "umbrella" });
    expect((await listAudit(operator, query)).entries.length).toBeGreaterThan(0);
    const manager = fixture.as({ tenantId: "umbrella", scopes: ["keys:manage"] });
    expect((await listAudit(manager, query)).entries).toEqual([]);
  });
});
