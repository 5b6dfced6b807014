/** JWTs, revocation and slowed guessing at the edge. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import {
  AUDIENCE,
  ISSUER,
  type IssuerKey,
  type JwksServer,
  makeIssuerKey,
  signToken,
  startJwksServer,
} from "../../support/jwks-server.ts";
import { createEdgeHarness, type EdgeHarness, type ErrorAnswer } from "../support/edge-harness.ts";

let key: IssuerKey;
let issuer: JwksServer;
let edge: EdgeHarness;
beforeAll(async () => {
  key = await makeIssuerKey("k1");
});
beforeEach(async () => {
  issuer = await startJwksServer(key);
  edge = await createEdgeHarness({ JWT_ISSUER: ISSUER, JWT_AUDIENCE: AUDIENCE, JWT_JWKS_URL: issuer.url });
  edge.directory.tenants.set("default", { id: "default", name: "Default", limits: {} });
  edge.directory.tenants.set("other", { id: "other", name: "Other", limits: {} });
});
afterEach(() => issuer.stop());
afterAll(() => issuer.stop());

const agents = (credential: string, headers: Record<string, string> = {}) =>
  edge.request("/api/v1/agents", { headers: { authorization: `Bearer ${credential}`, ...headers } });
const failure = async (answer: Response) => ((await answer.json()) as ErrorAnswer).error;

describe("a JWT at the edge", () => {
  it("lets its subject in, to its own tenant", async () => {
    const answer = await agents(await signToken(key));
    expect(answer.status).toBe(200);
    expect(edge.lines.at(-1)).toMatchObject({ tenantId: "default", subject: "tess", keyId: "" });
    const foreign = await agents(await signToken(key, { tenant: "other" }));
    expect(await foreign.json()).toMatchObject({ agents: [{ id: "secret" }] });
  });

  it("does only what its scopes allow", async () => {
    const answer = await agents(await signToken(key, { scope: "messages:send" }));
    expect(answer.status).toBe(403);
  });

  it.each<[string, () => Promise<string> | string, string]>([
    ["that has expired", () => signToken(key, { exp: 1 }), "expired"],
    ["for another audience", () => signToken(key, { aud: "x" }), "wrong-audience"],
    ["of another issuer", () => signToken(key, { iss: "x" }), "wrong-issuer"],
    ["of an unknown key", () => signToken({ ...key, kid: "k9" }), "unknown-key"],
    ["of a tenant that there is not", () => signToken(key, { tenant: "nobody" }), "unknown-tenant"],
    ["without signature", () => "eyJhbGciOiJub25lIn0.e30.", "wrong-algorithm"],
    [
      "signed with the public key as a secret",
      () => signToken({ alg: "HS256", kid: "k1", privateKey: Buffer.from(JSON.stringify(key.jwk)) }),
      "wrong-algorithm",
    ],
    ["of 100 kB", async () => `${await signToken(key)}${"x".repeat(100_000)}`, "missing"],
  ])("(%s) gets the answer that every refusal gets", async (_, token, reason) => {
    const answer = await agents(await token());
    expect(answer.status).toBe(401);
    expect(await failure(answer)).toMatchObject({
      code: "unauthenticated",
      message: "a valid API key is needed: send it as `Authorization: Bearer parley_…`",
    });
    expect(edge.lines.at(-1)).toMatchObject({ status: 401, authFailure: reason });
  });

  it("is unavailable, not refused, while the issuer's keys cannot be had", async () => {
    issuer.misbehave = (_, response) => response.end("<html>");
    const answer = await agents(await signToken(key));
    expect(answer.status).toBe(503);
    expect(answer.headers.get("retry-after")).toBe("2");
    expect((await agents(edge.apiKey)).status).toBe(200);
  });
});

describe("guessing at the edge", () => {
  const guess = `parley_${"a".repeat(12)}_${"B".repeat(43)}`;
  const from = (address: string) => ({ "cf-connecting-ip": address });

  it("is answered with 429 and a time to wait, by the address that the configured header tells", async () => {
    edge = await createEdgeHarness({ CLIENT_ADDRESS_HEADER: "CF-Connecting-IP" });
    for (let i = 0; i < 10; i++) expect((await agents(guess, from("192.0.2.1"))).status).toBe(401);
    const forwarded = { ...from("192.0.2.1"), "x-forwarded-for": "192.0.2.99", "x-real-ip": "192.0.2.99" };
    const answer = await agents(guess, forwarded);
    expect(answer.status).toBe(429);
    expect(answer.headers.get("retry-after")).toBe("1");
    expect(await failure(answer)).toMatchObject({ code: "resource_exhausted", reason: "too-many-attempts" });
    expect((await agents(guess, from("192.0.2.2"))).status).toBe(401);
    expect((await agents(edge.apiKey, from("192.0.2.1"))).status).toBe(200);
  });

  it("goes by the last entry of a header that proxies append to: callers choose those before it", async () => {
    edge = await createEdgeHarness({ CLIENT_ADDRESS_HEADER: "X-Forwarded-For" });
    const by = (text: string) => agents(guess, { "x-forwarded-for": text });
    for (let i = 0; i < 10; i++) expect((await by(`203.0.113.${i}, 192.0.2.1`)).status).toBe(401);
    expect((await by("203.0.113.99, 192.0.2.1")).status).toBe(429);
    expect((await by("192.0.2.1, 203.0.113.99")).status).toBe(401);
  });

  it("believes no header where none is configured", async () => {
    for (let i = 0; i < 10; i++) expect((await agents(guess, from(`192.0.2.${i}`))).status).toBe(401);
    expect((await agents(guess, from("192.0.2.99"))).status).toBe(429);
  });

  it("is slowed also where no address is known", async () => {
    for (let i = 0; i < 10; i++) await agents(guess);
    expect((await agents(guess)).status).toBe(429);
    expect((await agents(edge.apiKey)).status).toBe(200);
  });
});

describe("a revoked key", () => {
  it("is refused at the edge within 60 s, however often it is used meanwhile", async () => {
    edge = await createEdgeHarness({}, { cached: true });
    expect((await agents(edge.apiKey)).status).toBe(200);
    const [[keyId, record] = []] = edge.directory.keys;
    if (!keyId || !record) throw new Error("no key");
    edge.directory.keys.set(keyId, { ...record, revokedAtMs: 1 });
    let usableForMs = 0;
    while ((await agents(edge.apiKey)).status === 200 && edge.clock.aheadMs < 120_000) {
      usableForMs = edge.clock.aheadMs;
      edge.clock.aheadMs += 1_000;
    }
    expect(usableForMs).toBeGreaterThan(0);
    expect(usableForMs).toBeLessThan(60_000);
  });
});
