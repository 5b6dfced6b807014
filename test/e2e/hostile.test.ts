/**
 * Bodies far over the limits, which are refused early; messages that are within them and yet hard to swallow; and a stop
 * while somebody waits for an answer.
 */
import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { BULK_BYTES_MAX, DOCUMENT_BYTES_MAX } from "../../core/knowledge/document-size.ts";
import { raiseLimits } from "../faults/scene.ts";
import { type Gateway, startGateway } from "../support/gateway.ts";
import { type OpenaiDouble, startOpenaiDouble } from "../support/openai-double.ts";
import { api } from "./administration-client.ts";
import { ask } from "./ask.ts";
import { type Sending, sendLargeBody } from "./send-large-body.ts";

const LIMIT_MS = 60_000;
const MIB = 1_048_576;
/** What sockets hold on the way: what was sent and not read when the refusal came. */
const UNDER_WAY_BYTES_MAX = 16 * MIB;
let gateway: Gateway;

beforeAll(async () => {
  gateway = await startGateway();
  // A message of a megabyte needs all that a default budget holds, and what came just before it is missing there.
  await raiseLimits(gateway.database);
}, LIMIT_MS);
afterAll(async () => {
  await gateway.stop();
  gateway.remove();
}, LIMIT_MS);

/** The most memory that the edge's process has had, bytes. */
function edgePeakBytes(): number {
  const pid = gateway.record.children.find(({ name }) => name === "edge")?.pid;
  const kilobytes = /VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
  return Number(kilobytes) * 1_024;
}

const TEXT = { method: "PUT", path: "/api/v1/knowledge/docs/documents/big", contentType: "text/plain" };
const BULK = {
  method: "POST",
  path: "/api/v1/knowledge/docs/documents",
  contentType: "application/x-ndjson",
};
const LINE = '{"id":"big","mediaType":"text/plain","text":"';

/** Before the others, which may need as much memory. */
describe.runIf(process.platform === "linux")("a body that is far too large", () => {
  it.each<[string, Sending, number]>([
    ["a text of 100 MB that says so", { ...TEXT, bytes: 100 * MIB, announced: true }, 0],
    [
      "a text of 100 MB that does not say so",
      { ...TEXT, bytes: 100 * MIB, announced: false },
      DOCUMENT_BYTES_MAX,
    ],
    ["one line of 50 MB", { ...BULK, bytes: 50 * MIB, announced: false, head: LINE }, BULK_BYTES_MAX],
    ["one line of 50 MB that says so", { ...BULK, bytes: 50 * MIB, announced: true, head: LINE }, 0],
    [
      "one JSON text of 50 MB",
      { ...BULK, contentType: "application/json", bytes: 50 * MIB, announced: false, head: `[${LINE}` },
      BULK_BYTES_MAX,
    ],
  ])(
    "(%s) is refused before it is sent, and never held",
    async (what, sending, readBytesMax) => {
      const before = edgePeakBytes();
      for (let round = 0; round < 3; round++) {
        const { status, reason, sentBytes } = await sendLargeBody(gateway, sending);
        expect({ status, reason }).toEqual({ status: 413, reason: "body-too-large" });
        expect(sentBytes).toBeLessThanOrEqual(readBytesMax + UNDER_WAY_BYTES_MAX);
        if (round === 0) {
          console.info(
            `${what}: refused after ${(sentBytes / MIB).toFixed(1)} of ${sending.bytes / MIB} MiB`,
          );
        }
      }
      const grownBytes = edgePeakBytes() - before;
      console.info(`${what}: the edge's peak memory grew by ${(grownBytes / MIB).toFixed(0)} MiB`);
      expect(grownBytes).toBeLessThan(sending.bytes);
      // Nothing was put, so that there is no collection.
      expect((await api(gateway, "GET /api/v1/knowledge/docs/documents")).status).toBe(404);
    },
    LIMIT_MS,
  );
});

describe("a message within the limits", () => {
  it.each([
    ["data", '{"receiverId":"echo","content":{"parts":[{"data":1e999}]}}'],
    ["a part's metadata", '{"receiverId":"echo","content":{"parts":[{"text":"x","metadata":{"a":1e999}}]}}'],
    ["metadata", '{"receiverId":"echo","text":"x","metadata":{"a":1e999}}'],
  ])("with an infinite number in %s is refused, and no process minds", async (_, body) => {
    for (let time = 0; time < 5; time++) expect((await ask(gateway, 0, { body })).status).toBe(400);
    expect((await ask(gateway, { receiverId: "echo", text: "still here" })).status).toBe(200);
    expect(gateway.logText("backend")).not.toContain("uncaught");
  });

  it("of a megabyte of text is answered with a megabyte of text", { timeout: LIMIT_MS }, async () => {
    const text = "x".repeat(1_048_576 - 100);
    const { status, body } = await ask(gateway, { receiverId: "echo", text });
    expect(status).toBe(200);
    expect(body.text).toHaveLength(text.length);
  });

  it("of half a million numbers is answered", { timeout: LIMIT_MS }, async () => {
    const data = Array(500_000).fill(1);
    const { status, body } = await ask(gateway, { receiverId: "echo", content: { parts: [{ data }] } });
    expect(status).toBe(200);
    expect(body.content.parts[0].data).toHaveLength(data.length);
  });

  it("that an agent cannot read fails with words, and leaves its two rows", async () => {
    const message = { receiverId: "assistant", messageId: "m-raw", content: { parts: [{ raw: "AAAA" }] } };
    const { status, body } = await ask(gateway, message);
    expect([status, body.error.code]).toEqual([400, "invalid_argument"]);
    const rows = () =>
      gateway.database.query<{ error_code: string | null }>(
        "select error_code from messages where message_id = 'm-raw' or in_reply_to = 'm-raw' order by position",
        [],
      );
    await expect.poll(async () => (await rows()).length).toBe(2);
    expect((await rows())[1]?.error_code).toBe("invalid_argument");
  });
});

describe("Ctrl-C while a turn is running", () => {
  let provider: OpenaiDouble;
  it("lets the turn end and its answer reach the caller", { timeout: LIMIT_MS }, async () => {
    provider = await startOpenaiDouble({ latencyMs: 1_500 });
    const stopping = await startGateway({ environment: { OPENAI_BASE_URL: provider.baseUrl } });
    const answer = ask(stopping, { receiverId: "assistant", text: "Take your time" });
    await expect.poll(() => provider.requestCount, { timeout: 20_000 }).toBeGreaterThan(0);
    const stopped = stopping.stop();
    expect(await answer).toMatchObject({
      status: 200,
      body: { metadata: { model: expect.stringMatching(/^openai/) } },
    });
    expect(await stopped).toBe(0);
    expect(readFileSync(`${stopping.dataDirectory}/logs/backend.log`, "utf8")).toContain("backend ended");
    stopping.remove();
    await provider.close();
  });
});
