/** Messages that are within the limits and yet hard to swallow, and a stop while somebody waits for an answer. */
import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Gateway, startGateway } from "../support/gateway.ts";
import { type OpenaiDouble, startOpenaiDouble } from "../support/openai-double.ts";
import { ask } from "./ask.ts";

const LIMIT_MS = 60_000;

describe("a message within the limits", () => {
  let gateway: Gateway;
  beforeAll(async () => {
    gateway = await startGateway();
  }, LIMIT_MS);
  afterAll(async () => {
    await gateway.stop();
    gateway.remove();
  }, LIMIT_MS);

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
    const gateway = await startGateway({ environment: { OPENAI_BASE_URL: provider.baseUrl } });
    const answer = ask(gateway, { receiverId: "assistant", text: "Take your time" });
    await expect.poll(() => provider.requestCount, { timeout: 20_000 }).toBeGreaterThan(0);
    const stopped = gateway.stop();
    expect(await answer).toMatchObject({
      status: 200,
      body: { metadata: { model: expect.stringMatching(/^openai/) } },
    });
    expect(await stopped).toBe(0);
    expect(readFileSync(`${gateway.dataDirectory}/logs/backend.log`, "utf8")).toContain("backend ended");
    gateway.remove();
    await provider.close();
  });
});
