import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { RESULT_FRESH_MS } from "../../../edge/health/readiness.ts";
import { createEdgeHarness, type EdgeHarness } from "../support/edge-harness.ts";
import { type ScriptedBackend, startScriptedBackend, unusedUrl } from "../support/scripted-backend.ts";

let backend: ScriptedBackend;
let downUrl: string;

beforeAll(async () => {
  backend = await startScriptedBackend();
  downUrl = await unusedUrl();
});
afterAll(() => backend.stop());
beforeEach(() => {
  backend.script.serving = true;
});

describe("/healthz", () => {
  it("is ok and touches nothing", async () => {
    const edge = await createEdgeHarness({ BACKEND_URLS: backend.url });
    const answer = await edge.request("/healthz");
    expect(answer.status).toBe(200);
    expect(await answer.json()).toEqual({ status: "ok" });
    expect(edge.directory.lookups).toEqual([]);
    expect(edge.database.checks).toBe(0);
  });
});

describe("/readyz", () => {
  it("is ready when the database and a backend answer", async () => {
    const edge = await createEdgeHarness({ BACKEND_URLS: backend.url });
    const answer = await edge.request("/readyz");
    expect(answer.status).toBe(200);
    expect(await answer.json()).toEqual({
      status: "ready",
      dependencies: [
        { name: "database", status: "ok", latencyMs: expect.any(Number) },
        { name: `backend ${backend.host}`, status: "ok", latencyMs: expect.any(Number) },
      ],
    });
  });

  it("is ready while one of several backends answers, and names the other", async () => {
    const edge = await createEdgeHarness({ BACKEND_URLS: `${downUrl},${backend.url}` });
    const answer = await edge.request("/readyz");
    expect(answer.status).toBe(200);
    expect(await answer.json()).toMatchObject({
      status: "ready",
      dependencies: [
        { status: "ok" },
        { name: `backend ${new URL(downUrl).host}`, status: "failing", code: "unavailable" },
        { status: "ok" },
      ],
    });
    expect(edge.lines.at(-1)).toMatchObject({ failing: [`backend ${new URL(downUrl).host}`] });
  });

  it.each<[string, (edge: EdgeHarness) => void]>([
    [
      "the database does not answer",
      (edge) => {
        edge.database.failing = true;
      },
    ],
    [
      "the backend says that it does not serve",
      () => {
        backend.script.serving = false;
      },
    ],
  ])("is unready when %s, and gives no credentials away", async (_, breakIt) => {
    const edge = await createEdgeHarness({ BACKEND_URLS: backend.url });
    breakIt(edge);
    const answer = await edge.request("/readyz");
    expect(answer.status).toBe(503);
    const text = await answer.text();
    expect(JSON.parse(text)).toMatchObject({ status: "unready" });
    expect(text + JSON.stringify(edge.lines)).not.toMatch(/hunter2|postgres:/);
  });

  it("asks the dependencies at most once a second, whoever asks", async () => {
    const edge = await createEdgeHarness({ BACKEND_URLS: backend.url });
    const checksBefore = backend.healthChecks;
    await edge.request("/readyz");
    await Promise.all(Array.from({ length: 20 }, () => edge.request("/readyz")));
    expect(edge.database.checks).toBe(1);
    expect(backend.healthChecks - checksBefore).toBe(1);
    edge.clock.aheadMs = RESULT_FRESH_MS + 1;
    await Promise.all(Array.from({ length: 20 }, () => edge.request("/readyz")));
    expect(edge.database.checks).toBe(2);
  });
});
