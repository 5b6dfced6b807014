/** The backend's environment: every problem at once, and never a value. */
import { describe, expect, it } from "vitest";
import { readBackendConfig } from "../../backend/config.ts";

describe("the backend's configuration", () => {
  it("is usable, and frozen, with nothing set", () => {
    const config = readBackendConfig({});
    expect(config).toMatchObject({ BACKEND_PORT: 8080, GRPC_REFLECTION: true });
    expect(config.DATABASE_URL).toBeUndefined();
    expect(Object.isFrozen(config)).toBe(true);
  });

  it("takes an empty value for none", () => {
    const config = readBackendConfig({ BACKEND_PORT: "", OPENAI_API_KEY: "" });
    expect([config.BACKEND_PORT, config.OPENAI_API_KEY]).toEqual([8080, undefined]);
  });

  it("names every wrong variable together, and no value", () => {
    const environment = {
      BACKEND_PORT: "70000",
      BACKEND_TOKEN_SECRET: "hunter2",
      DATABASE_URL: "mysql://root:hunter2@db/x",
      GRPC_REFLECTION: "maybe",
      JWT_SHARED_SECRET: "hunter2",
    };
    const read = () => readBackendConfig(environment);
    for (const name of Object.keys(environment)) expect(read).toThrow(name);
    expect(read).not.toThrow(/hunter2/);
  });

  it("verifies JWTs when their variables are all there, and names those that are not", () => {
    const secret = { JWT_SHARED_SECRET: "hunter2-hunter2-hunter2-hunter2-" };
    expect(readBackendConfig({}).jwt).toBeUndefined();
    expect(() => readBackendConfig(secret)).toThrow(/JWT_ISSUER: .*\n.*JWT_AUDIENCE: /);
    const config = readBackendConfig({ ...secret, JWT_ISSUER: "i", JWT_AUDIENCE: "a" });
    expect(config.jwt).toMatchObject({ issuer: "i", audience: "a", keys: { kind: "secret" } });
  });
});
