import { describe, expect, it } from "vitest";
import { ConfigurationError, EDGE_VARIABLES, readEdgeConfig } from "../../edge/env.ts";
import { createEdgeHarness, type ErrorAnswer, TEST_ENV } from "./support/edge-harness.ts";

describe("the edge's configuration", () => {
  it("is frozen and has the documented defaults", () => {
    const config = readEdgeConfig(TEST_ENV);
    expect(config).toEqual({
      backendUrls: ["http://127.0.0.1:9"],
      backendTokenSecret: TEST_ENV.BACKEND_TOKEN_SECRET,
      databaseUrl: TEST_ENV.DATABASE_URL,
      databaseEndpoint: undefined,
      jwt: undefined,
      allowedOrigins: [],
      limitsEnabled: true,
      requestBytesMax: 1_048_576,
      requestTimeoutMs: 60_000,
      clientAddressHeader: undefined,
      logLevel: "info",
    });
    expect(Object.isFrozen(config)).toBe(true);
    expect(Object.isFrozen(config.backendUrls)).toBe(true);
  });

  it("takes several backend URLs, without trailing slashes and repetitions", () => {
    const urls = " http://a:1/ , https://b/base/,, http://a:1";
    expect(readEdgeConfig({ ...TEST_ENV, BACKEND_URLS: urls }).backendUrls).toEqual([
      "http://a:1",
      "https://b/base",
    ]);
  });

  it("takes a variable that is set to nothing as not set", () => {
    const config = readEdgeConfig({
      ...TEST_ENV,
      DATABASE_ENDPOINT: "",
      LOG_LEVEL: "",
      REQUEST_BYTES_MAX: "",
    });
    expect(config).toMatchObject({
      databaseEndpoint: undefined,
      logLevel: "info",
      requestBytesMax: 1_048_576,
    });
  });

  it("reports every problem at once, with what is expected and no value", () => {
    const env = {
      BACKEND_URLS: "http://admin:opensesame@backend",
      BACKEND_TOKEN_SECRET: "too-short-a-secret",
      DATABASE_URL: "mysql://root:opensesame@db/x",
      DATABASE_ENDPOINT: "not-a-url-opensesame",
      ALLOWED_ORIGINS: "https://opensesame.example/path",
      REQUEST_BYTES_MAX: "1e3",
      REQUEST_TIMEOUT_MS: "99",
      LIMITS_ENABLED: "opensesame",
      UPSTASH_REDIS_REST_URL: "opensesame",
      CLIENT_ADDRESS_HEADER: "opensesame: 1",
      LOG_LEVEL: "opensesame",
      JWT_ISSUER: "x".repeat(513),
      JWT_AUDIENCE: "x".repeat(513),
      JWT_JWKS_URL: "http://opensesame.example/keys",
      JWT_SHARED_SECRET: "opensesame",
      JWT_TENANT_CLAIM: "x".repeat(129),
      JWT_SCOPE_CLAIM: "x".repeat(129),
      JWT_ALLOW_OPERATOR: "opensesame",
    };
    const problem = problemOf(env);
    for (const [variable, { expectation, effect }] of Object.entries(EDGE_VARIABLES)) {
      expect(problem).toContain(`${variable} must be ${expectation} (${effect})`);
    }
    expect(problem).not.toMatch(/opensesame|too-short-a-secret/);
  });

  it("names the variables that are missing and leaves the good ones out", () => {
    const problem = problemOf({ BACKEND_URLS: "http://a" });
    expect(problem).toContain("BACKEND_TOKEN_SECRET");
    expect(problem).toContain("DATABASE_URL");
    expect(problem).not.toContain("BACKEND_URLS");
  });

  it("takes Upstash's URL and token together, or neither", () => {
    const url = { UPSTASH_REDIS_REST_URL: "https://x.upstash.io" };
    const token = { UPSTASH_REDIS_REST_TOKEN: "opensesame" };
    expect(readEdgeConfig({ ...TEST_ENV, ...url, ...token }).upstash).toEqual({
      url: "https://x.upstash.io",
      token: "opensesame",
    });
    expect(readEdgeConfig({ ...TEST_ENV, UPSTASH_REDIS_REST_URL: "" }).upstash).toBeUndefined();
    for (const half of [url, token]) {
      expect(problemOf({ ...TEST_ENV, ...half })).toContain("UPSTASH_REDIS_REST_TOKEN must be");
    }
  });

  it.each([
    ["REQUEST_BYTES_MAX", "1024", "1023"],
    ["REQUEST_BYTES_MAX", "16777216", "16777217"],
    ["REQUEST_TIMEOUT_MS", "100", "-1"],
    ["REQUEST_TIMEOUT_MS", "600000", "600001"],
    ["BACKEND_TOKEN_SECRET", "ä".repeat(16), "x".repeat(31)],
    ["DATABASE_ENDPOINT", "http://127.0.0.1:4444/sql", "file:///sql"],
    ["BACKEND_URLS", "https://a,http://b", " , "],
    ["DATABASE_URL", "postgresql://u:p@h:5432/db?sslmode=require", "postgres://h/db"],
    ["DATABASE_URL", "postgres://u@h/db", "postgres://u:p@h"],
  ])("holds %s to its limits: %s passes, %s does not", (variable, good, bad) => {
    expect(() => readEdgeConfig({ ...TEST_ENV, [variable]: good })).not.toThrow();
    expect(() => readEdgeConfig({ ...TEST_ENV, [variable]: bad })).toThrow(ConfigurationError);
  });
});

describe("a Worker with a broken configuration", () => {
  it("answers internal to everything but /healthz, and says what is wrong in the log only", async () => {
    const edge = await createEdgeHarness({ BACKEND_TOKEN_SECRET: "short-and-secret", LOG_LEVEL: "shout" });
    for (const path of ["/readyz", "/api/v1/agents", "/openapi.json"]) {
      const answer = await edge.request(path);
      expect(answer.status).toBe(500);
      const { error } = (await answer.json()) as ErrorAnswer;
      expect(error).toMatchObject({ code: "internal", requestId: answer.headers.get("x-request-id") });
      expect(JSON.stringify(error)).not.toMatch(/BACKEND_TOKEN_SECRET|short-and-secret/);
      const line = JSON.stringify(edge.lines.at(-1));
      expect(line).toContain("BACKEND_TOKEN_SECRET must be");
      expect(line).toContain("LOG_LEVEL must be");
      expect(line).not.toContain("short-and-secret");
    }
    const health = await edge.request("/healthz");
    expect(health.status).toBe(200);
    expect(await health.json()).toEqual({ status: "ok" });
  });
});

function problemOf(env: object): string {
  try {
    readEdgeConfig(env);
  } catch (error) {
    if (error instanceof ConfigurationError) return error.message;
    throw error;
  }
  throw new Error("the configuration was accepted");
}
