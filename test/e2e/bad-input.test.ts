/** What a stranger, a beginner or an attacker sends: the right status, a helpful body, and the next request works. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { generateApiKey, hashSecret } from "../../core/auth/api-key.ts";
import { type Gateway, startGateway } from "../support/gateway.ts";
import { ask, type Json } from "./ask.ts";

const LIMIT_MS = 60_000;
const good = { receiverId: "echo", text: "still here" };
let gateway: Gateway;

beforeAll(async () => {
  gateway = await startGateway({ environment: { REQUEST_BYTES_MAX: "65536" } });
}, LIMIT_MS);
afterAll(async () => {
  await gateway.stop();
  gateway.remove();
}, LIMIT_MS);

/** Every error has this form, and nothing of the inside. */
function expectError(answer: { status: number; headers: Headers; body: Json }, status: number, code: string) {
  expect(answer.status).toBe(status);
  expect(answer.body.error).toMatchObject({ code, message: expect.any(String) });
  expect(answer.body.error.message.length).toBeGreaterThan(10);
  expect(answer.body.error.requestId).toBe(answer.headers.get("x-request-id"));
  expect(JSON.stringify(answer.body)).not.toMatch(/\bat .*\.(ts|js):\d+|node_modules|postgres:\/\//);
}

/** A key in the database with whatever fields a case needs. */
async function insertKey(fields: {
  tenant?: string;
  revoked?: boolean;
  expired?: boolean;
  scopes?: string[];
}) {
  const key = generateApiKey((bytes) => crypto.getRandomValues(bytes));
  const tenant = fields.tenant ?? "default";
  await gateway.database.query("insert into tenants (id, name) values ($1, $1) on conflict do nothing", [
    tenant,
  ]);
  await gateway.database.query(
    `insert into api_keys (id, tenant_id, subject, scopes, secret_sha256, label, expires_at, revoked_at)
     values ($1, $2, 'visitor', $3, $4, 'test', $5, $6)`,
    [
      key.keyId,
      tenant,
      fields.scopes ?? ["messages:send", "agents:read"],
      await hashSecret(key.secret),
      fields.expired ? new Date(Date.now() - 1_000).toISOString() : null,
      fields.revoked ? new Date(Date.now() - 1_000).toISOString() : null,
    ],
  );
  return key.text;
}

describe("a bad request", () => {
  const deep = `{"receiverId":"echo","metadata":{"a":${"[".repeat(5_000)}${"]".repeat(5_000)}}}`;
  const cases: [string, unknown, Parameters<typeof ask>[2], number, string, RegExp][] = [
    ["that is not JSON", 0, { body: "hello" }, 400, "invalid_argument", /not JSON/],
    ["that is cut off", 0, { body: '{"receiverId":"echo"' }, 400, "invalid_argument", /not JSON/],
    ["that is empty", 0, { body: "" }, 400, "invalid_argument", /empty/],
    [
      "that is binary",
      0,
      { body: new Uint8Array([0xff, 0xfe, 0x00]) },
      400,
      "invalid_argument",
      /UTF-8|JSON/,
    ],
    ["that is an array", [good], {}, 400, "invalid_argument", /must be a JSON object/],
    ["with a number for text", { ...good, text: 5 }, {}, 400, "invalid_argument", /wrong shape/],
    ["nested too deep", 0, { body: deep }, 400, "invalid_argument", /nested deeper/],
    ["without a receiver", { text: "hi" }, {}, 400, "invalid_argument", /receiver/i],
    ["with an empty receiver", { receiverId: "", text: "hi" }, {}, 400, "invalid_argument", /receiver/i],
    ["for an unknown receiver", { receiverId: "nobody", text: "hi" }, {}, 404, "not_found", /nobody/],
    [
      "for a receiver that is SQL",
      { receiverId: "' or 1=1 --", text: "hi" },
      {},
      404,
      "not_found",
      /no agent/,
    ],
    ["without content", { receiverId: "echo" }, {}, 400, "invalid_argument", /needs `text`/],
    ["with blank content", { receiverId: "echo", text: "  " }, {}, 400, "invalid_argument", /empty/],
    ["with a strange message id", { ...good, messageId: "a b" }, {}, 400, "invalid_argument", /message_id/],
    ["over the limit", { ...good, text: "x".repeat(70_000) }, {}, 413, "invalid_argument", /65536|64 KiB/],
    [
      "of another content type",
      good,
      { headers: { "content-type": "text/plain" } },
      415,
      "invalid_argument",
      /application\/json/,
    ],
    ["in another's name", { ...good, senderId: "ceo" }, {}, 200, "", /./],
  ];

  it.each(cases)("%s is refused with a reason", async (_, message, overrides, status, code, problem) => {
    const answer = await ask(gateway, message, overrides);
    if (status === 200) return expect(answer.status).toBe(200);
    expectError(answer, status, code);
    expect(answer.body.error.message).toMatch(problem);
    expect((await ask(gateway, good)).body.text).toBe("still here");
  });
});

describe("a credential", () => {
  it.each([
    ["that is missing", ""],
    ["that is malformed", "parley_x"],
    ["of an unknown id", `parley_aaaaaaaaaaaa_${"x".repeat(43)}`],
    ["that is SQL", "parley_'or'1'='1_x"],
    ["of 3 kB", `parley_${"x".repeat(3_000)}`],
  ])("%s is refused without saying why", async (_, key) => {
    const answer = await ask(gateway, good, { key });
    expectError(answer, 401, "unauthenticated");
    expect(answer.headers.get("www-authenticate")).toMatch(/^Bearer/);
    const missing = await ask(gateway, good, { key: "" });
    expect(answer.body.error.message).toBe(missing.body.error.message);
  });

  it.each([
    [
      "with a wrong secret",
      async () => gateway.key.slice(0, -3) + (gateway.key.endsWith("aaa") ? "bbb" : "aaa"),
    ],
    ["that was revoked", () => insertKey({ revoked: true })],
    ["that has expired", () => insertKey({ expired: true })],
  ])("%s is refused like one that does not exist", async (_, makeKey) => {
    const answer = await ask(gateway, good, { key: await makeKey() });
    expectError(answer, 401, "unauthenticated");
    expect(answer.body.error.message).toBe((await ask(gateway, good, { key: "" })).body.error.message);
    expect((await ask(gateway, good)).status).toBe(200);
  });

  it("of another tenant does not reach this tenant's agents, nor learn that they exist", async () => {
    const key = await insertKey({ tenant: "umbrella" });
    const foreign = await ask(gateway, good, { key });
    const missing = await ask(gateway, { ...good, receiverId: "nope" }, { key });
    expectError(foreign, 404, "not_found");
    expect(foreign.body.error.message.replace("echo", "nope")).toBe(missing.body.error.message);
  });

  it("without the scope is told which one it lacks", async () => {
    const answer = await ask(gateway, good, { key: await insertKey({ scopes: ["agents:read"] }) });
    expectError(answer, 403, "permission_denied");
    expect(answer.body.error.message).toContain("messages:send");
  });

  it("that may not speak for others is told so", async () => {
    const answer = await ask(gateway, { ...good, senderId: "ceo" }, { key: await insertKey({}) });
    expectError(answer, 403, "permission_denied");
  });
});

describe("a route", () => {
  it.each([
    ["that does not exist", "GET", "/api/v1/nothing", 404, "not_found"],
    ["called with the wrong method", "GET", "/api/v1/a2a/message", 405, "unimplemented"],
    ["with a path like a file's", "GET", "/../../etc/passwd", 404, "not_found"],
  ])("%s says so", async (_, method, path, status, code) => {
    const response = await fetch(gateway.url + path, { method });
    expectError(
      { status: response.status, headers: response.headers, body: await response.json() },
      status,
      code,
    );
    if (status === 405) expect(response.headers.get("allow")).toContain("POST");
  });

  it("without credentials says nothing but that it lives, or is ready", async () => {
    const health = await fetch(`${gateway.url}/healthz`);
    expect([health.status, await health.json()]).toEqual([200, { status: "ok" }]);
    const ready = await fetch(`${gateway.url}/readyz`);
    expect(ready.status).toBe(200);
    expect(await ready.text()).not.toMatch(/parley:[^@]*@/);
  });
});
