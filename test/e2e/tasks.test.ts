/** Tasks over the real gateway: taken at once, looked at, followed from anywhere, left, stopped. */
import { afterAll, beforeAll, expect, it } from "vitest";
import { answerText } from "../support/double-answer.ts";
import { type Gateway, startGateway } from "../support/gateway.ts";
import { type OpenaiDouble, startOpenaiDouble } from "../support/openai-double.ts";
import { eventually } from "./administration-client.ts";
import { ask, type Json } from "./ask.ts";

const LIMIT_MS = 60_000;
/** Sixty tokens take about a second. */
const TOKEN_INTERVAL_MS = 15;

let provider: OpenaiDouble;
let gateway: Gateway;
beforeAll(async () => {
  provider = await startOpenaiDouble({ tokenIntervalMs: TOKEN_INTERVAL_MS });
  gateway = await startGateway({
    environment: { OPENAI_BASE_URL: provider.baseUrl, OPENAI_MODEL: "healthy" },
  });
}, LIMIT_MS);
afterAll(async () => {
  await gateway.stop();
  gateway.remove();
  await provider.close();
}, LIMIT_MS);

function call(path: string, init: RequestInit = {}) {
  const headers = { authorization: `Bearer ${gateway.key}`, ...(init.headers as object) };
  return fetch(`${gateway.url}/api/v1/a2a/tasks/${path}`, { ...init, headers });
}

async function taskOf(id: string): Promise<Json> {
  return (await call(id)).json();
}

async function start(text: string): Promise<string> {
  const message = { receiverId: "assistant", text };
  const { status, headers, body } = await ask(gateway, message, { headers: { prefer: "respond-async" } });
  expect(status).toBe(202);
  expect(headers.get("location")).toBe(`/api/v1/a2a/tasks/${body.id}`);
  return body.id;
}

const blocksOf = (text: string) => text.split("\n\n").filter((block) => block.startsWith("id: "));
const idOf = (block: string) => Number(/^id: (\d+)/.exec(block)?.[1]);

it("a message that is not waited for is answered, and its task shows the whole reply", async () => {
  const id = await start("when?");
  expect((await taskOf(id)).status.state).toMatch(/SUBMITTED|WORKING/);
  await eventually(10_000, async () => (await taskOf(id)).status.state === "TASK_STATE_COMPLETED");
  const task = await taskOf(id);
  expect(task.artifacts[0].parts[0].text).toBe(answerText("when?"));
  expect(task.history[0]).toMatchObject({ role: "ROLE_USER", parts: [{ text: "when?" }] });
});

it("followers from any position, live or late, see the same events byte for byte", async () => {
  const id = await start("follow me");
  const whole = blocksOf(await (await call(`${id}/events`)).text());
  expect(whole.map(idOf)).toEqual(whole.map((_, index) => index + 1));
  expect(whole.at(-1)).toContain("event: content");
  for (const after of [0, 1, 7, whole.length - 1]) {
    expect(blocksOf(await (await call(`${id}/events?after=${after}`)).text())).toEqual(whole.slice(after));
  }
  expect((await call(`${id}/events?after=${whole.length}`)).status).toBe(204);
  expect((await call(`${id}/events?after=${whole.length + 1}`)).status).toBe(400);
});

it("a follower that leaves again and again gets every event once", async () => {
  const id = await start("on and off");
  const seen: number[] = [];
  for (let ended = false; !ended; ) {
    const leave = new AbortController();
    const headers = seen.length > 0 ? { "last-event-id": `${seen.at(-1)}` } : {};
    const answer = await call(`${id}/events`, { headers, signal: leave.signal });
    expect(answer.status).toBe(200);
    let text = "";
    const decoder = new TextDecoder();
    for await (const bytes of answer.body ?? []) {
      text += decoder.decode(bytes, { stream: true });
      if (blocksOf(text).length > 5) break;
    }
    // What came after the last end of an event is not one yet.
    const blocks = blocksOf(text.slice(0, text.lastIndexOf("\n\n")));
    seen.push(...blocks.map(idOf));
    ended = blocks.at(-1)?.includes("event: content") ?? false;
    leave.abort();
  }
  expect(seen).toEqual(seen.map((_, index) => index + 1));
  expect((await taskOf(id)).status.state).toBe("TASK_STATE_COMPLETED");
});

it("a cancel stops the task and the provider's stream; a second one changes nothing", async () => {
  const id = await start("stop me");
  await eventually(10_000, async () => provider.requestsFor("healthy").length > 0);
  const canceled = await call(`${id}/cancel`, { method: "POST" });
  expect(canceled.status).toBe(200);
  expect(((await canceled.json()) as Json).status.state).toBe("TASK_STATE_CANCELED");
  expect(await provider.lastRequest.closed).toBe("early");
  expect(((await (await call(`${id}/cancel`, { method: "POST" })).json()) as Json).status.state).toBe(
    "TASK_STATE_CANCELED",
  );
  const events = blocksOf(await (await call(`${id}/events`)).text());
  expect(events.at(-1)).toContain("event: status");
});

it("a caller that leaves its stream does not stop the task", async () => {
  const leave = new AbortController();
  const response = await fetch(`${gateway.url}/api/v1/a2a/message`, {
    method: "POST",
    headers: {
      authorization: `Bearer ${gateway.key}`,
      "content-type": "application/json",
      accept: "text/event-stream",
    },
    body: JSON.stringify({ receiverId: "assistant", text: "I must go" }),
    signal: leave.signal,
  });
  const reader = response.body?.getReader();
  const first = new TextDecoder().decode((await reader?.read())?.value);
  const { taskId } = JSON.parse(/^data: (.*)$/m.exec(first)?.[1] ?? "{}");
  leave.abort();
  await eventually(10_000, async () => (await taskOf(taskId)).status.state === "TASK_STATE_COMPLETED");
});
