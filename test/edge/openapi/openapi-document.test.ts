import { beforeAll, describe, expect, it } from "vitest";
import { createApp, ROUTES } from "../../../edge/app.ts";
import { createEdgeHarness, type EdgeHarness } from "../support/edge-harness.ts";

type Json = Record<string, unknown>;
interface Described {
  operationId: string;
  summary: string;
  security?: unknown[];
  parameters: { name: string; in: string; required: boolean; schema: Json }[];
  requestBody?: { required: boolean; content: Record<string, { schema: Json }> };
  responses: Record<string, { description: string; content?: Record<string, { schema: Json }> }>;
}

let edge: EdgeHarness;
let document: Json & { paths: Record<string, Record<string, Described>> };

beforeAll(async () => {
  edge = await createEdgeHarness();
  document = (await (await edge.request("/openapi.json")).json()) as typeof document;
});

const operations = () =>
  Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ path, method: method.toUpperCase(), operation })),
  );

/** Every object in a JSON value. */
function* objectsIn(value: unknown): Generator<Json> {
  if (typeof value !== "object" || value === null) return;
  if (!Array.isArray(value)) yield value as Json;
  for (const child of Object.values(value)) yield* objectsIn(child);
}

/** What a local reference points at; undefined when there is nothing. */
function resolve(reference: string): unknown {
  const path = reference.replace(/^#\//, "").split("/");
  return path.reduce<unknown>((at, key) => (at as Json | undefined)?.[key], document);
}

describe("/openapi.json", () => {
  it("needs no credential and says which version it is", async () => {
    const answer = await edge.request("/openapi.json");
    expect(answer.status).toBe(200);
    expect(answer.headers.get("content-type")).toMatch(/^application\/json/);
    expect(document).toMatchObject({
      openapi: "3.1.1",
      info: { title: "Parley", version: expect.any(String) },
    });
  });

  it("describes every route and method that the application answers, and no other", () => {
    const app = createApp({
      compose: () => expect.fail("nothing is composed"),
      writeLine: () => undefined,
      now: Date.now,
    });
    // Wildcards are middleware; ALL is what runs before a route's methods, and what refuses the other methods.
    const registered = app.routes
      .filter(({ path, method }) => !path.endsWith("*") && method !== "ALL")
      .map(({ path, method }) => `${method} ${path.replaceAll(/:(\w+)/g, "{$1}")}`);
    const described = operations().map(({ path, method }) => `${method} ${path}`);
    expect(described.toSorted()).toEqual([...new Set(registered)].toSorted());
    expect(described).toHaveLength(ROUTES.length);
  });

  it("gives every operation a unique id, a summary, an answer and the form of failures", () => {
    const ids = operations().map(({ operation }) => operation.operationId);
    expect(new Set(ids).size).toBe(ids.length);
    for (const { operation } of operations()) {
      expect(operation.summary.length).toBeGreaterThan(5);
      expect(Object.keys(operation.responses)).toContain("default");
      expect(Object.keys(operation.responses).some((status) => /^(?:101|2\d\d)$/.test(status))).toBe(true);
    }
  });

  it("names exactly the parameters of each path, and says which routes need a credential", () => {
    for (const { path, method, operation } of operations()) {
      const inPath = operation.parameters.filter((parameter) => parameter.in === "path");
      expect(inPath.map(({ name }) => `{${name}}`)).toEqual(path.match(/\{\w+\}/g) ?? []);
      expect(inPath.every(({ required }) => required)).toBe(true);
      const route = ROUTES.find((candidate) => candidate.path === path && candidate.method === method);
      expect(operation.security !== undefined).toBe(route?.scopes.length !== 0);
    }
  });

  it("has no reference that leads nowhere, and only schemas of the types of JSON", () => {
    const types = ["string", "number", "integer", "boolean", "object", "array", "null"];
    for (const object of objectsIn(document)) {
      const reference = object["$ref"];
      if (typeof reference === "string") expect(resolve(reference), reference).toBeDefined();
      const type = object["type"];
      if (typeof type === "string" && type !== "http") expect(types).toContain(type);
      expect(object).not.toHaveProperty("~standard");
    }
  });

  it("describes input as it is validated: required fields, limits, closed sets", () => {
    const body = document.paths["/api/v1/agents"]?.["post"]?.requestBody?.content["application/json"]?.schema;
    expect(body).toMatchObject({
      type: "object",
      required: ["name", "config", "id"],
      additionalProperties: false,
    });
    expect(JSON.stringify(body)).toContain('"enum":["default","openai","ollama","builtin"]');
    const messages = document.paths["/api/v1/messages"]?.["get"];
    const limit = messages?.parameters.find(({ name }) => name === "limit");
    expect(limit).toMatchObject({ in: "query", required: false });
    const patch = document.paths["/api/v1/tenants/{id}"]?.["patch"]?.requestBody;
    expect(Object.keys(patch?.content ?? {})).toEqual(["application/merge-patch+json"]);
  });
});
