/** What is particular to Ollama; the port's contract is in language-model-contract.test.ts. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, afterEach, beforeAll, beforeEach, expect, it, vi } from "vitest";
import { OllamaLanguageModel } from "../../../backend/llm/ollama-language-model.ts";
import {
  collect,
  failureOf,
  modelRequest,
  neverAborted,
  textOf,
  verdictOf,
} from "../../support/model-events.ts";
import { type OllamaDouble, startOllamaDouble } from "../../support/ollama-double.ts";

let double: OllamaDouble;

beforeAll(async () => {
  double = await startOllamaDouble();
});
afterAll(() => double.close());
beforeEach(() => double.reset());
afterEach(() => vi.restoreAllMocks());

function stream(model: string, host = double.url) {
  return new OllamaLanguageModel({
    providerId: "ollama",
    model,
    server: { host },
    contextTokens: 8_192,
  }).stream(modelRequest("Why?"), neverAborted());
}

/** The stream of a server that answers with these lines. */
async function answeredWith(lines: readonly unknown[]) {
  const body = lines.map((line) => `${JSON.stringify(line)}\n`).join("");
  const server = createServer((_, response) => response.end(body));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  try {
    return await collect(stream("m", `http://127.0.0.1:${(server.address() as AddressInfo).port}`));
  } finally {
    server.closeAllConnections();
    server.close();
  }
}

it("forbids the server to drop the front of the conversation, and asks for no thinking", async () => {
  await collect(stream("healthy"));
  expect(double.lastRequest.body).toMatchObject({ truncate: false, think: false, stream: true });
});

it("says how large a window the server is to make room for, which must not be the server's guess", async () => {
  await collect(stream("healthy"));
  expect(double.lastRequest.body.options).toEqual({ num_ctx: 8_192 });
});

it("takes the text of the last line, too", async () => {
  const events = await answeredWith([
    { message: { content: "a" }, done: false },
    { message: { content: "b" }, done: true, done_reason: "stop", eval_count: 2 },
  ]);
  expect(textOf(events)).toBe("ab");
});

it("reads a count that the server leaves out as zero", async () => {
  const events = await answeredWith([{ message: { content: "a" }, done: true, eval_count: 2 }]);
  expect(events).toContainEqual({ type: "usage", usage: { inputTokens: 0, outputTokens: 2 } });
});

it("does not show what the model thinks", async () => {
  const events = await answeredWith([
    { message: { content: "", thinking: "hm" }, done: false },
    { message: { content: "a" }, done: true },
  ]);
  expect(textOf(events)).toBe("a");
});

it.each([["load"], ["unload"]])(
  "does not take the answer to a %s for one to the question",
  async (reason) => {
    const answered = answeredWith([{ message: { content: "" }, done: true, done_reason: reason }]);
    await expect(answered).rejects.toMatchObject({ reason: "garbled" });
  },
);

it.each([
  ["null", [null]],
  ["a string", ["x"]],
  ["a call without a name", [{ function: {} }]],
])("takes tool calls that are %s for garbage", async (_, calls) => {
  const answered = answeredWith([{ message: { content: "", tool_calls: calls }, done: true }]);
  await expect(answered).rejects.toMatchObject({ reason: "garbled" });
});

it("writes nothing to the console, whatever happens", async () => {
  const spies = (["log", "info", "warn", "error", "debug"] as const).map((name) => vi.spyOn(console, name));
  for (const name of ["garbage-2", "cut-2", "status-500", "end-2", "stream-error-2", "healthy"]) {
    await collect(stream(name)).catch(() => {});
  }
  // A path that the server does not know is answered in plain text.
  const { error } = await failureOf(stream("healthy", `${double.url}/elsewhere`));
  expect(verdictOf(error)).toMatchObject({ reason: "model-not-found" });
  for (const spy of spies) expect(spy).not.toHaveBeenCalled();
});
