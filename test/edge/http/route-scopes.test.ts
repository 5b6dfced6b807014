/** Every route of the API asks who calls and for its scope, before it looks at anything else. */
import { beforeAll, describe, expect, it } from "vitest";
import { SCOPES } from "../../../core/auth/principal.ts";
import { ROUTES } from "../../../edge/app.ts";
import { createEdgeHarness, type EdgeHarness } from "../support/edge-harness.ts";

/** All that a stranger may see. */
const OPEN = ["GET /healthz", "GET /readyz", "GET /openapi.json"];

let edge: EdgeHarness;
beforeAll(async () => {
  edge = await createEdgeHarness();
});

const statusOf = async (method: string, path: string, key?: string) => {
  const headers = key === undefined ? {} : { authorization: `Bearer ${key}` };
  const answer = await edge.request(path.replaceAll(/\{\w+\}/g, "x"), { method, headers });
  await answer.body?.cancel();
  return answer.status;
};

describe("a route", () => {
  it("is open only if it tells nothing of a tenant", () => {
    const open = ROUTES.filter(({ scopes, authenticate }) => scopes.length === 0 && !authenticate);
    expect(open.map(({ method, path }) => `${method} ${path}`)).toEqual(OPEN);
  });

  it.each(ROUTES.filter(({ scopes }) => scopes.length > 0))(
    "$method $path refuses strangers, and callers with every scope but its own",
    async ({ method, path, scopes }) => {
      expect(await statusOf(method, path)).toBe(401);
      const others = SCOPES.filter((scope) => !scopes.includes(scope));
      expect(await statusOf(method, path, await edge.directory.addKey({ scopes: others }))).toBe(403);
      expect(await statusOf(method, path, await edge.directory.addKey({ scopes: [] }))).toBe(403);
    },
  );
});
