import { describe, expect, it } from "vitest";
import type { ModelEvent } from "../../../backend/llm/language-model.ts";
import { OpenaiAnswer } from "../../../backend/llm/openai-answer.ts";
import { verdictOf } from "../../support/model-events.ts";

const text = (content: unknown, more: object = {}) => ({
  choices: [{ index: 0, delta: { content }, ...more }],
});
const finish = (reason: unknown) => ({ choices: [{ index: 0, delta: {}, finish_reason: reason }] });

/** The answer that these chunks make: its text, and its last events. */
function answerOf(...chunks: unknown[]): { text: string; end: ModelEvent[] } {
  const answer = new OpenaiAnswer();
  const pieces = chunks.map((chunk) => answer.accept("", JSON.stringify(chunk)));
  return { text: pieces.join(""), end: answer.end() };
}

function verdict(...chunks: unknown[]) {
  try {
    answerOf(...chunks);
  } catch (error) {
    return verdictOf(error);
  }
  throw new Error("expected a failure");
}

describe("finish reasons", () => {
  it.each([
    ["stop", "stop"],
    ["length", "length"],
    ["max_tokens", "length"],
    ["tool_calls", "tool-calls"],
    ["content_filter", "content-filter"],
    ["eos_token", "stop"],
    ["constructor", "stop"],
  ])("takes %s as %s", (name, reason) => {
    expect(answerOf(text("a"), finish(name)).end).toEqual([{ type: "finish", reason }]);
  });

  it.each([[""], [null], [7]])("takes %j for none", (name) => {
    expect(verdict(text("a"), finish(name))).toEqual({ reason: "truncated", retryable: true });
  });

  it.each([["error"], ["abort"], ["cancelled"]])("takes %s for an answer that was given up", (name) => {
    expect(verdict(text("a"), finish(name))).toEqual({ reason: "truncated", retryable: true });
  });
});

describe("text", () => {
  it("is that of the first choice only", () => {
    const second = { choices: [{ index: 1, delta: { content: "other" } }] };
    expect(answerOf(text("a"), second, text("b"), finish("stop")).text).toBe("ab");
  });

  it("may stand in the chunk that finishes, and be missing or null anywhere", () => {
    const chunks = [{ choices: [] }, { choices: [{ delta: { role: "assistant", content: null } }] }, {}];
    expect(answerOf(...chunks, text("a", { finish_reason: "stop" })).text).toBe("a");
  });

  it("of a refusal is the answer's", () => {
    const refusal = { choices: [{ index: 0, delta: { content: null, refusal: "I won't." } }] };
    expect(answerOf(refusal, finish("stop")).text).toBe("I won't.");
  });
});

describe("usage", () => {
  const usage = (prompt_tokens: unknown, completion_tokens: unknown) => ({
    choices: [],
    usage: { prompt_tokens, completion_tokens },
  });

  it("is the last one, and comes before the finish", () => {
    const { end } = answerOf(text("a"), usage(1, 1), finish("stop"), usage(2, 3));
    expect(end).toEqual([
      { type: "usage", usage: { inputTokens: 2, outputTokens: 3 } },
      { type: "finish", reason: "stop" },
    ]);
  });

  it.each([
    [0, 0],
    [null, "3"],
    [-1, 0.5],
  ])("of %j and %j is no usage", (prompt, completion) => {
    expect(answerOf(text("a"), finish("stop"), usage(prompt, completion)).end).toHaveLength(1);
  });

  it("completes the answer only with or after its finish reason", () => {
    const answer = new OpenaiAnswer();
    answer.accept("", JSON.stringify({ ...text("a"), usage: { prompt_tokens: 1, completion_tokens: 1 } }));
    expect(answer.complete).toBe(false);
    answer.accept(
      "",
      JSON.stringify({ ...finish("stop"), usage: { prompt_tokens: 1, completion_tokens: 2 } }),
    );
    expect(answer.complete).toBe(true);
  });
});

describe("tool calls", () => {
  const call = (...tool_calls: unknown[]) => ({ choices: [{ index: 0, delta: { tool_calls } }] });

  it("are put together by their index, in its order", () => {
    const { end } = answerOf(
      call({ index: 1, id: "b", function: { name: "second", arguments: "{}" } }),
      call({ index: 0, id: "a", function: { name: "first", arguments: '{"x"' } }),
      call({ index: 0, function: { arguments: ":1}" } }),
      finish("tool_calls"),
    );
    expect(end.slice(0, 2)).toEqual([
      { type: "tool-call", id: "a", name: "first", arguments: '{"x":1}' },
      { type: "tool-call", id: "b", name: "second", arguments: "{}" },
    ]);
  });

  it("without end are garbage", () => {
    const endless = Array.from({ length: 200 }, (_, index) => call({ index, function: { name: "f" } }));
    expect(verdict(...endless)).toEqual({ reason: "garbled", retryable: false });
  });

  it("that are nothing of the kind are left out", () => {
    expect(answerOf(call(null, 7, {}), finish("stop")).end).toEqual([{ type: "finish", reason: "stop" }]);
  });
});

describe("errors in the stream", () => {
  it.each([
    [{ error: { message: "x", type: "server_error" } }, "provider-unavailable"],
    [{ error: { message: "x", code: "insufficient_quota" } }, "quota-exhausted"],
    [{ error: { message: "x", type: "rate_limit_error" } }, "rate-limited"],
    [{ error: { message: "x", code: 502 } }, "provider-unavailable"],
    [{ error: { message: "x", code: "429" } }, "rate-limited"],
    [
      { error: { message: "maximum context length is 10", code: 400, type: "BadRequestError" } },
      "context-window",
    ],
    [{ error: { message: "x", code: "content_filter" } }, "content-policy"],
    [{ error: "boom" }, "provider-unavailable"],
    [{ object: "error", message: "x", code: 400 }, "provider-refused"],
  ])("%j is %s", (chunk, reason) => {
    expect(verdict(text("a"), chunk)).toMatchObject({ reason });
  });

  it("are known by the name of their event, too", () => {
    const accept = () => new OpenaiAnswer().accept("error", '{"message":"x","type":"server_error"}');
    expect(accept).toThrow(expect.objectContaining({ reason: "provider-unavailable" }));
  });

  it.each([["null"], ["7"], ['"text"'], ["[]"]])("a chunk of %s is garbage", (chunk) => {
    expect(() => new OpenaiAnswer().accept("", chunk)).toThrow(
      expect.objectContaining({ reason: "garbled" }),
    );
  });
});

describe("one chunk of invalid JSON", () => {
  const usage = (completionTokens: number) => ({
    choices: [],
    usage: { prompt_tokens: 3, completion_tokens: completionTokens },
  });
  const damaged = (...chunks: unknown[]) => {
    const answer = new OpenaiAnswer();
    const [first, ...rest] = chunks.map((chunk) => JSON.stringify(chunk));
    const pieces = [first ?? "", '{"choices":[', ...rest].map((data) => answer.accept("", data));
    return { text: pieces.join(""), end: answer.end() };
  };

  it("is survived when the provider counts as many tokens as have come: nothing is missing", () => {
    const { text: whole, end } = damaged(text("a"), text("b"), finish("stop"), usage(2));
    expect(whole).toBe("ab");
    expect(end.at(-1)).toEqual({ type: "finish", reason: "stop" });
  });

  it.each([
    ["the provider counts more", [text("a"), text("b"), finish("stop"), usage(3)]],
    ["the provider does not count", [text("a"), text("b"), finish("stop")]],
    ["what follows is no chunk", [text("a"), "{", finish("stop"), usage(1)]],
    ["the answer does not end", [text("a"), usage(1)]],
  ])("is not survived when %s", (_, chunks) => {
    expect(() => damaged(...chunks)).toThrow();
  });

  it("does not matter after the finish reason", () => {
    const answer = new OpenaiAnswer();
    answer.accept("", JSON.stringify(text("a", { finish_reason: "stop" })));
    expect(() => answer.accept("", "{")).toThrow(SyntaxError);
    expect(answer.end().at(-1)).toEqual({ type: "finish", reason: "stop" });
  });
});
