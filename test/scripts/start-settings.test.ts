/** What `npm start` makes of the environment, and what it gives to the two programs. */
import { describe, expect, it } from "vitest";
import { backendEnvironment } from "../../scripts/backend-program.ts";
import { edgeVariables } from "../../scripts/edge-program.ts";
import { readStartSettings } from "../../scripts/start-settings.ts";

const SECRET = "s".repeat(32);
const ADDRESS = {
  type: "ready" as const,
  address: "http://127.0.0.1:8081",
  neonEndpoint: "http://127.0.0.1:34567/sql",
  databaseUrl: "postgres://parley:secret@localhost/parley",
};

describe("readStartSettings", () => {
  it("needs nothing", () => {
    expect(readStartSettings({}, "/project")).toMatchObject({
      host: "127.0.0.1",
      port: 8787,
      backendHost: "127.0.0.1",
      backendPort: 8080,
      dataDirectory: "/project/.parley",
      developmentKeyFile: "/project/.parley/development-key",
    });
  });

  it("makes secrets of 256 bits, new ones each time, unless they are given", () => {
    const [one, two] = [readStartSettings({}, "/project"), readStartSettings({}, "/project")];
    expect(one.backendTokenSecret).toMatch(/^[\w-]{43}$/);
    const secrets = [one, two].flatMap((made) => [made.backendTokenSecret, made.neonEndpointSecret]);
    expect(new Set(secrets).size).toBe(4);
    const given = readStartSettings({ BACKEND_TOKEN_SECRET: SECRET, NEON_ENDPOINT_SECRET: SECRET }, "/");
    expect([given.backendTokenSecret, given.neonEndpointSecret]).toEqual([SECRET, SECRET]);
  });

  it("takes a variable that is set to nothing as not set", () => {
    expect(readStartSettings({ PORT: "", DATA_DIRECTORY: "" }, "/project")).toMatchObject({
      port: 8787,
      dataDirectory: "/project/.parley",
    });
  });

  it("reports all problems together and never a value", () => {
    const read = () => readStartSettings({ PORT: "65536", BACKEND_TOKEN_SECRET: "hunter2", HOST: "ok" }, "/");
    expect(read).toThrow(/BACKEND_TOKEN_SECRET: .*\n {2}PORT: /);
    expect(read).not.toThrow(/hunter2/);
  });

  it("refuses one port for both programs, but lets both choose any", () => {
    expect(() => readStartSettings({ PORT: "8080" }, "/")).toThrow("PORT, BACKEND_PORT: must differ");
    expect(readStartSettings({ PORT: "0", BACKEND_PORT: "0" }, "/").port).toBe(0);
  });
});

describe("backendEnvironment", () => {
  const settings = readStartSettings(
    { OPENAI_API_KEY: "sk", DATA_DIRECTORY: "data", BACKEND_PORT: "0", BACKEND_TOKEN_SECRET: SECRET },
    "/project",
  );

  it("hands everything on and adds what belongs to the run", () => {
    expect(backendEnvironment(settings)).toMatchObject({
      OPENAI_API_KEY: "sk",
      BACKEND_PORT: "0",
      BACKEND_TOKEN_SECRET: SECRET,
      DATA_DIRECTORY: "/project/data",
      DEVELOPMENT_KEY_FILE: "/project/data/development-key",
      NEON_ENDPOINT_PORT: "0",
      NEON_ENDPOINT_SECRET: settings.neonEndpointSecret,
    });
  });

  it("keeps a restarted backend at its ports", () => {
    const environment = backendEnvironment(settings, ADDRESS);
    expect(environment).toMatchObject({ BACKEND_PORT: "8081", NEON_ENDPOINT_PORT: "34567" });
  });
});

describe("edgeVariables", () => {
  it("gives the edge the backend's addresses and of the environment only what the edge knows", () => {
    const settings = readStartSettings(
      { OPENAI_API_KEY: "sk", LOG_LEVEL: "warn", REQUEST_BYTES_MAX: "", BACKEND_TOKEN_SECRET: SECRET },
      "/project",
    );
    expect(edgeVariables(settings, ADDRESS)).toEqual({
      BACKEND_URLS: ADDRESS.address,
      BACKEND_TOKEN_SECRET: SECRET,
      DATABASE_URL: ADDRESS.databaseUrl,
      DATABASE_ENDPOINT: ADDRESS.neonEndpoint,
      LOG_LEVEL: "warn",
    });
  });

  it("leaves the endpoint out when the database is a real one", () => {
    const settings = readStartSettings({ DATABASE_URL: "postgres://u:p@db.example/d" }, "/project");
    const variables = edgeVariables(settings, { type: "ready", address: ADDRESS.address });
    expect(variables["DATABASE_URL"]).toBe("postgres://u:p@db.example/d");
    expect(variables).not.toHaveProperty("DATABASE_ENDPOINT");
  });
});
