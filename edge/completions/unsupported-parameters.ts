/**
 * What OpenAI's API can be asked and agents cannot do. Asking for nothing (null, an empty list, a default) is fine:
 * many clients send every field that they know.
 */
import { type JsonValue, ParleyError } from "../../core/errors/parley-error.ts";

type Fields = { readonly [name: string]: JsonValue };

/** By field: whether the value asks for nothing, and what is true instead. */
const UNSUPPORTED: Readonly<Record<string, { isNothing: (value: JsonValue) => boolean; instead: string }>> = {
  n: { isNothing: (value) => value === 1, instead: "an agent gives one answer" },
  tools: { isNothing: isEmptyList, instead: "an agent brings its own tools" },
  tool_choice: {
    isNothing: (value) => value === "none" || value === "auto",
    instead: "an agent brings its own tools",
  },
  functions: { isNothing: isEmptyList, instead: "an agent brings its own tools" },
  function_call: {
    isNothing: (value) => value === "none" || value === "auto",
    instead: "an agent brings its own tools",
  },
  logprobs: { isNothing: (value) => value === false, instead: "agents do not tell probabilities" },
  top_logprobs: { isNothing: (value) => value === 0, instead: "agents do not tell probabilities" },
  logit_bias: { isNothing: isEmptyObject, instead: "agents choose their own words" },
  presence_penalty: { isNothing: (value) => value === 0, instead: "only temperature and top_p can be set" },
  frequency_penalty: { isNothing: (value) => value === 0, instead: "only temperature and top_p can be set" },
  response_format: {
    isNothing: (value) => isObject(value) && value["type"] === "text",
    instead: "agents answer in text",
  },
  modalities: {
    isNothing: (value) => Array.isArray(value) && value.every((one) => one === "text"),
    instead: "agents answer in text",
  },
  audio: { isNothing: () => false, instead: "agents answer in text" },
  web_search_options: { isNothing: () => false, instead: "an agent brings its own knowledge" },
};

/** Keys of a message that would need what is not there. */
const UNSUPPORTED_IN_MESSAGES = ["tool_calls", "function_call", "audio"] as const;
const UNSUPPORTED_ROLES: readonly JsonValue[] = ["tool", "function"];

/** @throws ParleyError `invalid_argument`, reason `unsupported-parameter`, with the field in `details.param` */
export function requireSupported(body: Fields): void {
  for (const [name, { isNothing, instead }] of Object.entries(UNSUPPORTED)) {
    const value = body[name] ?? null;
    if (value !== null && !isNothing(value)) throw unsupported(name, instead);
  }
  const messages = body["messages"];
  if (!Array.isArray(messages)) return;
  for (const [index, message] of messages.entries()) {
    if (isObject(message)) requireSupportedMessage(`messages[${index}]`, message);
  }
}

function requireSupportedMessage(place: string, message: Fields): void {
  if (UNSUPPORTED_ROLES.includes(message["role"] ?? null)) {
    throw unsupported(`${place}.role`, "roles are system, developer, user and assistant");
  }
  for (const key of UNSUPPORTED_IN_MESSAGES) {
    const value = message[key] ?? null;
    if (value !== null && !isEmptyList(value)) throw unsupported(`${place}.${key}`, "messages are text");
  }
  const content = message["content"];
  if (!Array.isArray(content)) return;
  for (const [index, part] of content.entries()) {
    if (isObject(part) && typeof part["type"] === "string" && part["type"] !== "text") {
      throw unsupported(`${place}.content[${index}].type`, "parts of a message are of type text");
    }
  }
}

function unsupported(param: string, instead: string): ParleyError {
  return new ParleyError("invalid_argument", `\`${param}\` is not supported here: ${instead}`, {
    reason: "unsupported-parameter",
    details: { param },
  });
}

function isObject(value: JsonValue): value is { [key: string]: JsonValue } {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isEmptyList(value: JsonValue): boolean {
  return Array.isArray(value) && value.length === 0;
}

function isEmptyObject(value: JsonValue): boolean {
  return isObject(value) && Object.keys(value).length === 0;
}
