import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { createEdgeHarness, type EdgeHarness, type ErrorAnswer } from "../support/edge-harness.ts";
import { type ScriptedBackend, startScriptedBackend } from "../support/scripted-backend.ts";

const MESSAGE = "/api/v1/a2a/message";
const HELLO = { receiverId: "echo", text: "hello" };

let backend: ScriptedBackend;
let edge: EdgeHarness;

beforeAll(async () => {
  backend = await startScriptedBackend();
});
afterAll(() => backend.stop());
beforeEach(async () => {
  backend.calls.length = 0;
  edge = await createEdgeHarness({ BACKEND_URLS: backend.url, REQUEST_BYTES_MAX: "2048" });
});

/** The answer is of the shape of design 7, gives nothing away, and the next good request works. */
async function expectRefusal(answer: Response, status: number, code: string, message: RegExp) {
  const text = await answer.text();
  expect({ status: answer.status, text }).toMatchObject({ status });
  expect(answer.headers.get("content-type")).toMatch(/^application\/json/);
  expect(answer.headers.get("cache-control")).toBe("no-store");
  expect(answer.headers.get("x-content-type-options")).toBe("nosniff");
  const { error } = JSON.parse(text) as ErrorAnswer;
  expect(error.code).toBe(code);
  expect(error.message).toMatch(message);
  expect(error.requestId).toMatch(/^[\w.-]{8,128}$/);
  expect(answer.headers.get("x-request-id")).toBe(error.requestId);
  expect(text).not.toMatch(/\bat .*\.(ts|js):\d|node_modules|hunter2/);
  expect(text).not.toContain(edge.apiKey.slice(-43));
  expect(backend.calls).toHaveLength(0);
  const next = await edge.post(HELLO);
  expect(next.status).toBe(200);
  return error;
}

describe("a body that is not a message", () => {
  it.each([
    ["is not JSON", "hello", /^the body is not JSON/],
    ["is empty", "", /^the body is not JSON: it is empty/],
    ["is cut off", '{"receiverId":"echo"', /^the body is not JSON/],
    ["is an array", "[]", /must be a JSON object/],
    ["is a string", '"hi"', /must be a JSON object/],
    ["has a field of the wrong type", '{"receiverId":7}', /wrong shape.*receiver/],
    ["has parts of the wrong type", '{"receiverId":"echo","content":"hi"}', /wrong shape/],
    ["is nested too deeply", `{"a":${"[".repeat(40)}${"]".repeat(40)}}`, /nested deeper/],
    ["has no receiver", '{"text":"hi"}', /names no receiver.*receiverId/],
    ["has an empty receiver", '{"receiverId":"","text":"hi"}', /names no receiver/],
    ["has no content", '{"receiverId":"echo"}', /needs `text`, or `content`/],
    ["has empty content", '{"receiverId":"echo","text":"  "}', /message is empty/],
    ["has content without parts", '{"receiverId":"echo","content":{"parts":[]}}', /message is empty/],
    ["says two things", '{"receiverId":"echo","text":"a","delta":"b"}', /not both/],
    ["is an event, not a message", '{"receiverId":"echo","delta":"b"}', /it has `delta`/],
  ])("that %s is refused", async (_, body, message) => {
    await expectRefusal(await edge.post(body), 400, "invalid_argument", message);
  });

  it("that is not UTF-8 is refused", async () => {
    const body = new Uint8Array([...new TextEncoder().encode('{"text":"'), 0xff, 0xfe]);
    const answer = await edge.post("", { body });
    await expectRefusal(answer, 400, "invalid_argument", /not UTF-8/);
  });

  it.each([
    "text/plain",
    "multipart/form-data; boundary=x",
    "application/json; charset=latin1",
    "application/jsonx",
    "",
  ])("of the type %j is refused", async (contentType) => {
    const answer = await edge.post(HELLO, { headers: { "content-type": contentType } });
    const error = await expectRefusal(answer, 415, "invalid_argument", /Content-Type: application\/json/);
    expect(error.reason).toBe("unsupported-media-type");
  });

  it("that is compressed is refused", async () => {
    const answer = await edge.post(HELLO, { headers: { "content-encoding": "gzip" } });
    const error = await expectRefusal(answer, 415, "invalid_argument", /uncompressed/);
    expect(error.reason).toBe("unsupported-media-type");
  });

  it.each(["application/json; charset=UTF-8", 'application/json;charset="utf-8"', "application/a2a+json"])(
    "but of the type %j is taken",
    async (contentType) => {
      const answer = await edge.post(HELLO, { headers: { "content-type": contentType } });
      expect(answer.status).toBe(200);
    },
  );
});

describe("a body that is too large", () => {
  const oversized = JSON.stringify({ receiverId: "echo", text: "x".repeat(4096) });

  it("is refused by its announced length, unread", async () => {
    let pulledBytes = 0;
    const body = countedBody(() => (pulledBytes += 512), 100);
    const answer = await edge.post("", streamed(body, { "content-length": "51200" }));
    const error = await expectRefusal(answer, 413, "invalid_argument", /limit of 2048 bytes/);
    expect(error).toMatchObject({ reason: "body-too-large", details: { bytesMax: 2048 } });
    expect(pulledBytes).toBeLessThanOrEqual(512);
  });

  it("is cut off at the limit when it announces nothing", async () => {
    let pulledBytes = 0;
    let canceled = false;
    const body = countedBody(
      () => (pulledBytes += 512),
      10_000,
      () => (canceled = true),
    );
    const answer = await edge.post("", streamed(body));
    await expectRefusal(answer, 413, "invalid_argument", /limit of 2048 bytes/);
    expect(pulledBytes).toBeLessThanOrEqual(2048 + 2 * 512);
    expect(canceled).toBe(true);
  });

  it("is refused at one byte over the limit and taken at the limit", async () => {
    const exact = exactBody(2048);
    expect((await edge.post(exact)).status).toBe(200);
    backend.calls.length = 0;
    await expectRefusal(await edge.post(`${exact} `), 413, "invalid_argument", /2048/);
    backend.calls.length = 0;
    await expectRefusal(await edge.post(oversized), 413, "invalid_argument", /2048/);
  });
});

describe("a wrong address", () => {
  it("of no route is not found", async () => {
    await expectRefusal(await edge.request("/api/v2/agents"), 404, "not_found", /nothing at \/api\/v2/);
    backend.calls.length = 0;
    await expectRefusal(await edge.request("/"), 404, "not_found", /nothing at \//);
  });

  it.each([
    ["GET", MESSAGE, "POST"],
    ["DELETE", MESSAGE, "POST"],
    ["PATCH", "/api/v1/agents", "GET, HEAD, POST"],
    ["POST", "/api/v1/agents/echo", "GET, HEAD, PUT, PATCH, DELETE"],
    ["POST", "/healthz", "GET, HEAD"],
    ["OPTIONS", "/readyz", "GET, HEAD"],
  ])("of the method %s %s is refused with those allowed", async (method, path, allow) => {
    const answer = await edge.request(path, { method });
    expect(answer.headers.get("allow")).toBe(allow);
    const error = await expectRefusal(answer, 405, "unimplemented", new RegExp(`takes ${allow}`));
    expect(error.reason).toBe("method-not-allowed");
  });
});

describe("a receiver that cannot be reached", () => {
  it.each([
    ["is unknown", "nobody"],
    ["belongs to another tenant", "secret"],
    ["cannot be an id", "Not An Id"],
    ["has a NUL in it", "echo\u0000"],
  ])("because it %s is not found, in the same words", async (_, receiverId) => {
    const answer = await edge.post({ receiverId, text: "hi" });
    const error = await expectRefusal(answer, 404, "not_found", /^no agent "/);
    expect(error.message).toBe(`no agent "${receiverId}"; GET /api/v1/agents lists those you can reach`);
  });

  it("is not repeated at length, nor looked up", async () => {
    const answer = await edge.post({ receiverId: "x".repeat(1500), text: "hi" });
    const error = await expectRefusal(answer, 404, "not_found", /^no agent/);
    expect(error.message.length).toBeLessThan(200);
    expect(edge.directory.lookups.filter((lookup) => lookup.startsWith("agent x"))).toEqual([]);
  });
});

describe("other headers", () => {
  it.each(["text/html", "application/xml, image/png", "application/json;q=0"])(
    "Accept: %s is refused",
    async (accept) => {
      const answer = await edge.post(HELLO, { headers: { accept } });
      const error = await expectRefusal(answer, 400, "invalid_argument", /text\/event-stream/);
      expect(error.reason).toBe("not-acceptable");
    },
  );

  it.each(["0", "-5", "1.5", "soon", "1e3", "9999999999"])(
    "Parley-Timeout-Ms: %s is refused",
    async (timeout) => {
      const answer = await edge.post(HELLO, { headers: { "parley-timeout-ms": timeout } });
      await expectRefusal(answer, 400, "invalid_argument", /parley-timeout-ms must be whole milliseconds/);
    },
  );

  it("a request id that is not clean is replaced", async () => {
    const answer = await edge.request("/healthz", { headers: { "x-request-id": 'a"b<script>' } });
    expect(answer.headers.get("x-request-id")).toMatch(/^[0-9a-f-]{36}$/);
  });
});

/** JSON of exactly so many bytes. */
function exactBody(sizeBytes: number): string {
  const around = JSON.stringify({ receiverId: "echo", text: "" }).length;
  return JSON.stringify({ receiverId: "echo", text: "x".repeat(sizeBytes - around) });
}

function countedBody(onPull: () => void, chunks: number, onCancel?: () => void) {
  let sent = 0;
  return new ReadableStream<Uint8Array>(
    {
      pull(controller) {
        onPull();
        if (sent++ >= chunks) controller.close();
        else controller.enqueue(new Uint8Array(512).fill(0x20));
      },
      cancel: onCancel ?? (() => {}),
    },
    { highWaterMark: 0 },
  );
}

function streamed(body: ReadableStream<Uint8Array>, headers: Record<string, string> = {}): RequestInit {
  return { body, headers, duplex: "half" } as RequestInit;
}
