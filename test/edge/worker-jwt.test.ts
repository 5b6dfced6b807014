/** JWTs in workerd, whose fetch, streams and Web Crypto are not Node's. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  AUDIENCE,
  ISSUER,
  type IssuerKey,
  type JwksServer,
  makeIssuerKey,
  signToken,
  startJwksServer,
} from "../support/jwks-server.ts";
import { buildDeployedWorker, type RunningWorkerd, startWorkerd } from "../support/workerd.ts";
import { TEST_ENV } from "./support/edge-harness.ts";
import { type FakeNeon, startFakeNeon } from "./support/fake-neon.ts";

let directory: string;
let modulePath: string;
let neon: FakeNeon;
let keys: IssuerKey[];

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "parley-worker-jwt-"));
  const algorithms = ["ES256", "RS256", "EdDSA"];
  [{ path: modulePath }, neon, keys] = await Promise.all([
    buildDeployedWorker(directory),
    startFakeNeon(),
    Promise.all(algorithms.map((alg) => makeIssuerKey(alg.toLowerCase(), alg))),
  ]);
}, 60_000);
afterAll(async () => {
  await Promise.all([neon?.stop(), rm(directory, { recursive: true })]);
});

async function inWorker(
  misbehave: JwksServer["misbehave"],
  check: (worker: RunningWorkerd, issuer: JwksServer) => Promise<void>,
): Promise<void> {
  const issuer = await startJwksServer(...keys);
  issuer.misbehave = misbehave;
  const bindings = { ...TEST_ENV, DATABASE_ENDPOINT: neon.url, JWT_ISSUER: ISSUER, JWT_AUDIENCE: AUDIENCE };
  const worker = await startWorkerd({ modulePath, bindings: { ...bindings, JWT_JWKS_URL: issuer.url } });
  try {
    await check(worker, issuer);
  } finally {
    await worker.stop();
    issuer.stop();
  }
}

const statusOf = async (worker: RunningWorkerd, token: string) => {
  const answer = await fetch(`${worker.url}/api/v1/agents/assistant`, {
    headers: { authorization: `Bearer ${token}` },
  });
  await answer.body?.cancel();
  return answer.status;
};
const firstKey = () => keys[0] as IssuerKey;

describe("JWTs in workerd", () => {
  it("are verified with every algorithm, also by many requests that come first at once", async () => {
    await inWorker(undefined, async (worker, issuer) => {
      const tokens = await Promise.all(keys.map((key) => signToken(key)));
      const first = Array.from({ length: 20 }, () => statusOf(worker, tokens[0] ?? ""));
      expect(new Set(await Promise.all(first))).toEqual(new Set([200]));
      const { requests } = issuer;
      expect(requests).toBeLessThanOrEqual(20);
      for (const token of tokens) expect(await statusOf(worker, token)).toBe(200);
      expect(await statusOf(worker, await signToken({ ...firstKey(), kid: "rs256" }))).toBe(401);
      expect(await statusOf(worker, await signToken(firstKey(), { tenant: "nobody" }))).toBe(401);
      expect(issuer.requests).toBe(requests);
    });
  });

  it.each<[string, NonNullable<JwksServer["misbehave"]>]>([
    ["redirects", (_, response) => response.writeHead(302, { location: "/elsewhere" }).end()],
    ["sends 10 MB", (_, response) => response.end("x".repeat(10_000_000))],
    ["sends HTML", (_, response) => response.end("<html>")],
    ["closes the connection", (request) => request.socket.destroy()],
  ])("are unavailable while the issuer %s, and work when it is back", async (_, misbehave) => {
    await inWorker(misbehave, async (worker, issuer) => {
      const token = await signToken(firstKey());
      expect(await statusOf(worker, token)).toBe(503);
      expect(await statusOf(worker, neon.apiKey)).toBe(200);
      expect(issuer.requests).toBe(1);
      issuer.misbehave = undefined;
      await expect.poll(() => statusOf(worker, token), { timeout: 5_000, interval: 250 }).toBe(200);
    });
  });
});
