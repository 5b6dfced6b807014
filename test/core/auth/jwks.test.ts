/** The issuer's keys: fetched from a real endpoint, by a fake clock. */
import type http from "node:http";
import { afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { Jwks } from "../../../core/auth/jwks.ts";
import {
  type IssuerKey,
  type JwksServer,
  makeIssuerKey,
  startJwksServer,
} from "../../support/jwks-server.ts";

const MINUTE_MS = 60_000;

let first: IssuerKey;
let second: IssuerKey;
let endpoint: JwksServer;
let jwks: Jwks;
let nowMs: number;
beforeAll(async () => {
  [first, second] = await Promise.all([makeIssuerKey("first"), makeIssuerKey("second")]);
});
beforeEach(async () => {
  endpoint = await startJwksServer(first);
  nowMs = 1_000_000;
  jwks = new Jwks({ url: endpoint.url, fetch, now: () => nowMs });
});
afterEach(() => endpoint.stop());

const find = (kid?: string, alg = "ES256") => jwks.find({ alg, kid });
const answer =
  (status: number, body: string, headers: http.OutgoingHttpHeaders = {}) =>
  (_: http.IncomingMessage, response: http.ServerResponse) =>
    response.writeHead(status, headers).end(body);
const bigKeys = (count: number) =>
  JSON.stringify({ keys: Array.from({ length: count }, (_, i) => ({ ...second.jwk, kid: `k${i}` })) });

/** Everything that an endpoint can say in place of keys. */
const BAD_ANSWERS: [string, () => NonNullable<JwksServer["misbehave"]>][] = [
  ["an error", () => answer(500, "oops")],
  ["HTML", () => answer(200, "<html><body>Sign in</body></html>", { "content-type": "text/html" })],
  ["garbage", () => answer(200, "\u0000\u0001{]")],
  ["null", () => answer(200, "null")],
  ["keys that are no list", () => answer(200, '{"keys":{"0":{}}}')],
  ["no keys", () => answer(200, '{"keys":[]}')],
  ["only a secret key", () => answer(200, '{"keys":[{"kty":"oct","k":"AAAA","kid":"second"}]}')],
  ["a published private key", () => answer(200, JSON.stringify({ keys: [{ ...second.jwk, d: "AAAA" }] }))],
  ["more keys than anybody has", () => answer(200, bigKeys(33))],
  ["10 MB", () => answer(200, JSON.stringify({ keys: [first.jwk], pad: "x".repeat(10_000_000) }))],
  ["a redirect", () => answer(302, "", { location: "/elsewhere" })],
  ["nothing", () => (request) => request.socket.destroy()],
];

describe("the keys of an issuer", () => {
  it("are fetched once and found by name and type", async () => {
    expect(await find("first")).toMatchObject({ type: "public" });
    expect(await find()).toBe(await find("first"));
    expect(await find("first", "RS256")).toBeUndefined();
    expect(await find("first", "constructor")).toBeUndefined();
    expect(endpoint.requests).toBe(1);
  });

  it("are not guessed at when a token names none and several fit", async () => {
    endpoint.keys.push(second.jwk);
    expect(await find()).toBeUndefined();
  });

  it("that were rotated are picked up", async () => {
    await find("first");
    endpoint.keys = [second.jwk];
    nowMs += 30_000;
    expect(await find("second")).toMatchObject({ type: "public" });
    expect(await find("first")).toBeUndefined();
    expect(endpoint.requests).toBe(2);
  });

  it("that were withdrawn are refused after ten minutes", async () => {
    endpoint.keys.push(second.jwk);
    await find("first");
    endpoint.keys = [second.jwk];
    nowMs += 10 * MINUTE_MS;
    expect(await find("first")).toBeUndefined();
  });

  it("are fetched at most once in 30 s, whatever keys a flood of tokens names", async () => {
    for (let i = 0; i < 300; i++) {
      expect(await find(`made-up-${i}`)).toBeUndefined();
      nowMs += 100;
    }
    expect(endpoint.requests).toBe(1);
    await Promise.allSettled(Array.from({ length: 100 }, (_, i) => find(`at-once-${i}`)));
    expect(endpoint.requests).toBe(2);
    expect(await find("first")).toBeDefined();
  });

  it("are asked for by many at once without a storm", async () => {
    const outcomes = await Promise.allSettled(Array.from({ length: 200 }, () => find("first")));
    expect(endpoint.requests).toBeLessThanOrEqual(32);
    for (const outcome of outcomes) {
      if (outcome.status === "rejected") expect(outcome.reason).toMatchObject({ code: "unavailable" });
    }
  });
});

describe.each(BAD_ANSWERS)("an endpoint that answers with %s", (_, misbehavior) => {
  it("makes tokens unavailable, not refused, until it is back", async () => {
    endpoint.misbehave = misbehavior();
    await expect(find("first")).rejects.toMatchObject({ code: "unavailable", retryable: true });
    await expect(find("first")).rejects.toMatchObject({ code: "unavailable" });
    expect(endpoint.requests).toBe(1);
    endpoint.misbehave = undefined;
    nowMs += 2_000;
    expect(await find("first")).toBeDefined();
  });

  it("never takes known keys away for a day", async () => {
    await find("first");
    endpoint.misbehave = misbehavior();
    nowMs += 11 * MINUTE_MS;
    expect(await find("first")).toBeDefined();
    await expect(find("second")).rejects.toMatchObject({ code: "unavailable" });
    expect(endpoint.requests).toBe(2);
    nowMs += 23 * 60 * MINUTE_MS;
    expect(await find("first")).toBeDefined();
    nowMs += 60 * MINUTE_MS;
    await expect(find("first")).rejects.toMatchObject({ code: "unavailable" });
  });
});

describe("an endpoint that hangs", () => {
  it("is waited for two seconds", async () => {
    endpoint.misbehave = () => undefined;
    const startedAtMs = performance.now();
    await expect(find("first")).rejects.toMatchObject({ code: "unavailable" });
    expect(performance.now() - startedAtMs).toBeLessThan(3_000);
  });
});

describe("a redirect of the endpoint", () => {
  it("is not followed", async () => {
    endpoint.misbehave = answer(302, "", { location: endpoint.url.replace("/jwks", "/elsewhere") });
    await expect(find("first")).rejects.toMatchObject({ code: "unavailable" });
    expect(endpoint.requests).toBe(1);
  });
});
