/** What the client's calls by HTTP do when there is nothing more to read, or nobody who answers. */
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { createClient } from "../../../edge/client/create-client.ts";

const hello = { receiverId: "assistant", text: "hello" };

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

/** A client whose requests are answered one after the other, and when it made them. */
function newClient(...answers: (() => Response)[]) {
  const asked: { method: string; path: string; atMs: number }[] = [];
  const startedAtMs = Date.now();
  const fetch = (async (url: string, { method = "GET" }: RequestInit) => {
    asked.push({ method, path: new URL(url).pathname, atMs: Date.now() - startedAtMs });
    const answer = answers[asked.length - 1];
    if (!answer) throw new TypeError("the network is gone");
    return answer();
  }) as unknown as typeof globalThis.fetch;
  const client = createClient({ url: "http://gateway.test", credential: "key", fetch, random: () => 0 });
  return { client, asked };
}

const events = (...frames: object[]) => {
  const text = frames.map((frame) => `data: ${JSON.stringify(frame)}\n\n`).join("");
  return () => new Response(text);
};
const refusal = (status: number, error: object) => () => Response.json({ error }, { status });
const accepted = events({ taskId: "t-1", sequence: 1, accepted: {} });
const noMore = () => new Response(null, { status: 204 });

describe("a stream that has no more events", () => {
  it("has the reply of the task", async () => {
    const task = {
      status: { state: "TASK_STATE_COMPLETED" },
      artifacts: [{ artifactId: "r-1", parts: [{ text: "hello " }, { text: "back" }] }],
    };
    const { client, asked } = newClient(accepted, noMore, () => Response.json(task));
    const turn = client.stream(hello);
    await vi.runAllTimersAsync();
    expect(await turn.reply).toMatchObject({ messageId: "r-1", text: "hello back" });
    expect(asked.map(({ path }) => path).slice(1)).toEqual([
      "/api/v1/a2a/tasks/t-1/events",
      "/api/v1/a2a/tasks/t-1",
    ]);
  });

  it("fails as the task has ended, when there is no reply", async () => {
    const canceled = () => Response.json({ status: { state: "TASK_STATE_CANCELED" } });
    const { client } = newClient(accepted, noMore, canceled);
    const turn = client.stream(hello);
    await vi.runAllTimersAsync();
    await expect(turn.reply).rejects.toMatchObject({ code: "canceled" });
  });
});

describe("a stream", () => {
  it("waits as long as the gateway asks before it goes on", async () => {
    const busy = refusal(503, { code: "unavailable", message: "later", retryAfterSeconds: 7 });
    const end = events({ taskId: "t-1", sequence: 2, content: {}, text: "done" });
    const { client, asked } = newClient(accepted, busy, end);
    const turn = client.stream(hello);
    await vi.runAllTimersAsync();
    expect((await turn.reply).text).toBe("done");
    expect((asked[2]?.atMs ?? 0) - (asked[1]?.atMs ?? 0)).toBe(7_000);
  });

  it("of a caller whose budget is used up fails at once", async () => {
    const { client, asked } = newClient(refusal(429, { code: "resource_exhausted", message: "no more" }));
    const turn = client.stream(hello);
    await vi.runAllTimersAsync();
    await expect(turn.reply).rejects.toMatchObject({ code: "resource_exhausted" });
    expect(asked).toHaveLength(1);
  });

  it("gives up after 20 more attempts that bring nothing", async () => {
    const { client, asked } = newClient();
    const turn = client.stream(hello);
    await vi.runAllTimersAsync();
    await expect(turn.reply).rejects.toMatchObject({ code: "unavailable" });
    expect(asked).toHaveLength(21);
  });
});
