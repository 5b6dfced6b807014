import { describe, expect, it } from "vitest";
import type { JsonValue, ParleyError } from "../../../core/errors/parley-error.ts";
import { messageOf } from "../../../edge/completions/completion-message.ts";
import { checkCompletionRequest } from "../../../edge/completions/completion-request.ts";
import { openaiErrorBody } from "../../../edge/completions/openai-error.ts";
import { Role } from "../../../proto/gen/lf/a2a/v1/a2a_pb.js";

const user = (content: JsonValue) => ({ role: "user", content });
const HI = { model: "assistant", messages: [user("hi")] };

function refusalOf(body: JsonValue): { param: string | null; code: string | null; message: string } {
  try {
    messageOf(checkCompletionRequest(body), "");
  } catch (error) {
    return openaiErrorBody(error as ParleyError).error;
  }
  throw new Error("it was taken");
}

describe("a completion request", () => {
  it.each<[string, JsonValue, string]>([
    ["no model", { messages: HI.messages }, "model"],
    ["a model that is no text", { ...HI, model: 4 }, "model"],
    ["an empty model", { ...HI, model: "" }, "model"],
    ["no messages", { model: "assistant" }, "messages"],
    ["no message at all", { ...HI, messages: [] }, "messages"],
    ["messages that are a text", { ...HI, messages: "hi" }, "messages"],
    ["a message that is none", { ...HI, messages: [user("hi"), null] }, "messages[1]"],
    ["an unknown role", { ...HI, messages: [{ role: "boss", content: "hi" }] }, "messages[0].role"],
    ["no content", { ...HI, messages: [{ role: "user" }] }, "messages[0].content"],
    ["content that is a number", { ...HI, messages: [user(7)] }, "messages[0].content"],
    ["content without a part", { ...HI, messages: [user([])] }, "messages[0].content"],
    ["a part without text", { ...HI, messages: [user([{ type: "text" }])] }, "messages[0].content[0].text"],
    ["a stream that is a text", { ...HI, stream: "yes" }, "stream"],
    ["usage of no stream", { ...HI, stream_options: { include_usage: true } }, "stream_options"],
    ["too hot", { ...HI, temperature: 2.1 }, "temperature"],
    ["a temperature that is a text", { ...HI, temperature: "hot" }, "temperature"],
    ["too much top_p", { ...HI, top_p: 1.01 }, "top_p"],
    ["no tokens", { ...HI, max_tokens: 0 }, "max_tokens"],
    ["half a token", { ...HI, max_completion_tokens: 1.5 }, "max_completion_tokens"],
    ["two limits", { ...HI, max_tokens: 5, max_completion_tokens: 6 }, "max_tokens"],
    ["five stops", { ...HI, stop: ["1", "2", "3", "4", "5"] }, "stop"],
    ["an empty stop", { ...HI, stop: [""] }, "stop[0]"],
    ["a seed that is no whole number", { ...HI, seed: 1.5 }, "seed"],
    [
      "a conversation that ends with the assistant",
      { ...HI, messages: [user("hi"), { role: "assistant", content: "so" }] },
      "messages",
    ],
    [
      "a conversation of the system alone",
      { ...HI, messages: [{ role: "system", content: "so" }] },
      "messages",
    ],
    ["too many messages", { ...HI, messages: Array(1_002).fill(user("hi")) }, "messages"],
  ])("with %s is refused, naming the parameter", (_, body, param) => {
    expect(refusalOf(body)).toMatchObject({ type: "invalid_request_error", param });
  });

  it.each<[string, string, JsonValue]>([
    ["missing_required_parameter", "`model` is missing", { messages: HI.messages }],
    [
      "missing_required_parameter",
      "`messages[0].content` is missing",
      { ...HI, messages: [{ role: "user" }] },
    ],
    [
      "invalid_type",
      "`model` is not valid: Invalid input: expected string, received number",
      { ...HI, model: 4 },
    ],
    ["invalid_type", "`messages[0].content` must be one of: string, array", { ...HI, messages: [user(7)] }],
    [
      "invalid_value",
      "`stop` is not valid: Too big: expected array to have <=4 items",
      { ...HI, stop: ["1", "2", "3", "4", "5"] },
    ],
    [
      "invalid_value",
      "`stop` is not valid: Too small: expected string to have >=1 characters",
      { ...HI, stop: "" },
    ],
    [
      "invalid_value",
      "`messages[0].content` is not valid: Too big: expected array to have <=64 items",
      { ...HI, messages: [user(Array(65).fill({ type: "text", text: "x" }))] },
    ],
  ])("is refused with %s and words that help: %s", (code, message, body) => {
    expect(refusalOf(body)).toMatchObject({ code, message });
  });

  it.each<[string, JsonValue]>([
    ["n", { n: 2 }],
    ["tools", { tools: [{ type: "function", function: { name: "f" } }] }],
    ["tool_choice", { tool_choice: "required" }],
    ["functions", { functions: [{ name: "f" }] }],
    ["function_call", { function_call: { name: "f" } }],
    ["logprobs", { logprobs: true }],
    ["top_logprobs", { top_logprobs: 3 }],
    ["logit_bias", { logit_bias: { "50256": -100 } }],
    ["presence_penalty", { presence_penalty: 0.5 }],
    ["frequency_penalty", { frequency_penalty: -1 }],
    ["response_format", { response_format: { type: "json_schema", json_schema: {} } }],
    ["response_format", { response_format: { type: "json_object" } }],
    ["modalities", { modalities: ["text", "audio"] }],
    ["audio", { audio: { voice: "alloy" } }],
    ["web_search_options", { web_search_options: {} }],
    [
      "messages[0].content[1].type",
      {
        messages: [
          user([
            { type: "text", text: "see" },
            { type: "image_url", image_url: { url: "data:" } },
          ]),
        ],
      },
    ],
    ["messages[0].content[0].type", { messages: [user([{ type: "input_audio", input_audio: {} }])] }],
    ["messages[1].role", { messages: [user("hi"), { role: "tool", tool_call_id: "1", content: "4" }] }],
    [
      "messages[0].tool_calls",
      { messages: [{ role: "assistant", content: null, tool_calls: [{}] }, user("hi")] },
    ],
  ])("that asks for `%s` is refused as not supported", (param, fields) => {
    const refusal = refusalOf({ ...HI, ...(fields as object) } as JsonValue);
    expect(refusal).toMatchObject({ param, code: "unsupported_parameter" });
    expect(refusal.message).toMatch(/is not supported here: /);
  });

  it("may have what asks for nothing, and fields that nobody knows", () => {
    const nothing = {
      ...{ n: 1, tools: [], tool_choice: "auto", functions: null, logprobs: false, top_logprobs: 0 },
      ...{ logit_bias: {}, presence_penalty: 0, frequency_penalty: 0, response_format: { type: "text" } },
      ...{ modalities: ["text"], audio: null, stop: null, seed: null, temperature: null, max_tokens: null },
      ...{ user: "u", metadata: { a: 1 }, store: true, reasoning_effort: "low", whatever: [1] },
    };
    expect(checkCompletionRequest({ ...HI, ...nothing })).toMatchObject(HI);
  });

  it.each<[JsonValue]>([[null], [[]], ["hi"], [7]])("that is %j is refused", (body) => {
    expect(refusalOf(body).message).toMatch(/must be a JSON object/);
  });
});

describe("its message", () => {
  it("asks what the user said last, tells what was said before, and has the system's words as instructions", () => {
    const message = messageOf(
      checkCompletionRequest({
        model: "assistant",
        messages: [
          { role: "system", content: "Be brief." },
          user("one"),
          { role: "assistant", content: "1" },
          { role: "assistant", content: "" },
          user([
            { type: "text", text: "two" },
            { type: "text", text: "more" },
          ]),
          { role: "developer", content: [{ type: "text", text: "Be kind." }] },
        ],
      }),
      "m-1",
    );
    expect(message).toMatchObject({ messageId: "m-1", receiverId: "assistant", contextId: "" });
    expect(message.body).toMatchObject({
      case: "content",
      value: { parts: [{ content: { value: "two\nmore" } }] },
    });
    expect(message.history?.instructions).toBe("Be brief.\n\nBe kind.");
    expect(message.history?.turns.map(({ role, text }) => [role, text])).toEqual([
      [Role.USER, "one"],
      [Role.AGENT, "1"],
    ]);
  });

  it("is stateless also when it is the first", () => {
    expect(messageOf(checkCompletionRequest(HI), "").history?.turns).toEqual([]);
  });

  it("has the sampling parameters that were given, and no others", () => {
    const given = { temperature: 0, top_p: 0, max_tokens: 9, stop: "END", seed: -3 };
    expect(messageOf(checkCompletionRequest({ ...HI, ...given }), "").parameters).toMatchObject({
      ...{ temperature: 0, topP: 1e-6, outputTokensMax: 9, stop: ["END"], seed: -3n },
    });
    const none = messageOf(checkCompletionRequest(HI), "").parameters;
    expect(none).toMatchObject({ stop: [] });
    expect(none?.temperature).toBeUndefined();
    expect(
      messageOf(checkCompletionRequest({ ...HI, max_completion_tokens: 8 }), "").parameters,
    ).toMatchObject({
      outputTokensMax: 8,
    });
  });
});
