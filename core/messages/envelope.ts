/**
 * The envelope that every surface shares, A2AMessage: the `text` shorthand, its JSON, and what a message to an
 * agent must have. Rules that the proto itself states are checked by the backend's validator, not here.
 */
import { create, fromJson, type JsonObject, toJson } from "@bufbuild/protobuf";
import { PartSchema } from "../../proto/gen/lf/a2a/v1/a2a_pb.js";
import {
  type A2AMessage,
  A2AMessageSchema,
  type Content,
  ContentSchema,
} from "../../proto/gen/parley/v1/agent_service_pb.js";
import { ParleyError } from "../errors/parley-error.ts";
import { parseJson } from "./parse-json.ts";

/** Fields in a sender's metadata; it is recorded with every message. */
export const METADATA_FIELDS_MAX = 64;

/** The text of a content: its text parts, joined by line ends. */
export function textOf(content: Content): string {
  return content.parts
    .flatMap((part) => (part.content.case === "text" ? [part.content.value] : []))
    .join("\n");
}

/** A content of one text part. */
export function textContent(text: string): Content {
  return create(ContentSchema, {
    parts: [create(PartSchema, { content: { case: "text", value: text }, mediaType: "text/plain" })],
  });
}

/**
 * Turns the `text` shorthand into a content, in place; `text` is empty afterwards, so that it travels once.
 *
 * @throws ParleyError `invalid_argument` when `text` stands beside a body that says something else
 */
export function expandText(message: A2AMessage): void {
  if (message.text === "") return;
  if (message.body.case === undefined) {
    message.body = { case: "content", value: textContent(message.text) };
    message.text = "";
    return;
  }
  if (message.body.case === "content" && textOf(message.body.value) === message.text) {
    message.text = "";
    return;
  }
  throw new ParleyError("invalid_argument", "give either `text` or a body such as `content`, not both");
}

/**
 * Checks that a message says something to an agent; its text must have been expanded.
 *
 * @throws ParleyError `invalid_argument` that says what is missing
 */
export function requireContent(message: A2AMessage): Content {
  if (message.body.case !== "content") {
    const found = message.body.case === undefined ? "it has none" : `it has \`${message.body.case}\``;
    throw new ParleyError(
      "invalid_argument",
      `a message to an agent needs \`text\`, or \`content\` with parts; ${found}`,
    );
  }
  const content = message.body.value;
  const saysSomething = content.parts.some((part) => {
    if (part.content.case === "text") return part.content.value.trim() !== "";
    if (part.content.case === "raw") return part.content.value.byteLength > 0;
    return part.content.case !== undefined;
  });
  if (!saysSomething) {
    throw new ParleyError(
      "invalid_argument",
      "the message is empty; put something into `text` or `content.parts`",
    );
  }
  if (Object.keys(message.metadata ?? {}).length > METADATA_FIELDS_MAX) {
    throw new ParleyError("invalid_argument", `metadata may have at most ${METADATA_FIELDS_MAX} fields`);
  }
  requireJson(message, content);
  return content;
}

/** What JSON cannot say (a number that is not finite, an empty value) could be neither recorded nor shown. */
function requireJson(message: A2AMessage, content: Content): void {
  const isPlain = content.parts.every((part) => part.content.case !== "data" && part.metadata === undefined);
  if (isPlain && message.metadata === undefined) return;
  try {
    toJson(A2AMessageSchema, message);
  } catch (cause) {
    throw new ParleyError(
      "invalid_argument",
      "data and metadata must be JSON: they have a number that is not finite, or a value that is not set",
      { cause },
    );
  }
}

/**
 * Reads an envelope from JSON text (ProtoJSON: camelCase or snake_case, unknown fields ignored) and expands its
 * shorthand.
 *
 * @throws ParleyError `invalid_argument` that says what is wrong with the text
 */
export function envelopeFromJsonText(text: string): A2AMessage {
  const json = parseJsonObject(text);
  let message: A2AMessage;
  try {
    message = fromJson(A2AMessageSchema, json, { ignoreUnknownFields: true });
  } catch (cause) {
    throw new ParleyError("invalid_argument", `the message has the wrong shape: ${shapeProblem(cause)}`, {
      cause,
    });
  }
  expandText(message);
  return message;
}

/** The envelope as JSON, with the convenience `text` filled in from its content. */
export function envelopeToJson(message: A2AMessage): JsonObject {
  const json = toJson(A2AMessageSchema, message) as JsonObject;
  if (message.body.case === "content") json["text"] = textOf(message.body.value);
  return json;
}

function parseJsonObject(text: string): JsonObject {
  const json = parseJson(text);
  if (typeof json === "object" && json !== null && !Array.isArray(json)) return json;
  throw new ParleyError(
    "invalid_argument",
    'the body must be a JSON object such as {"receiverId":"assistant","text":"hi"}',
  );
}

/** protobuf-es names the field and the value; long values are cut, they are the sender's own. */
function shapeProblem(cause: unknown): string {
  const problem = cause instanceof Error ? cause.message : "unknown";
  return problem.length > 300 ? `${problem.slice(0, 300)}…` : problem;
}
