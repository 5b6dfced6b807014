/** Server-sent events of the edge as they came, byte for byte, and as what they say. */
import { fromJson, type JsonValue } from "@bufbuild/protobuf";
import { type A2AMessage, A2AMessageSchema } from "../../proto/gen/parley/v1/agent_service_pb.js";

/** The message that an event carries. */
export function messageOfEvent(text: string): A2AMessage {
  const data = /^data: (.*)$/m.exec(text)?.[1];
  if (data === undefined) throw new Error(`an event without data: ${text.slice(0, 100)}`);
  return fromJson(A2AMessageSchema, JSON.parse(data) as JsonValue, { ignoreUnknownFields: true });
}

/** The sequence of an event; 0 when it has none. */
export function sequenceOfEvent(text: string): number {
  return Number(/^id: (\d+)$/m.exec(text)?.[1] ?? 0);
}

/**
 * Yields whole events of a response's body as they come; comments are left out, and so is what came after the last
 * whole one. Ends when the reader stops asking, and closes the connection then.
 */
export async function* eventsOfBody(body: AsyncIterable<Uint8Array> | null): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let text = "";
  for await (const bytes of body ?? []) {
    text += decoder.decode(bytes, { stream: true });
    const blocks = text.split("\n\n");
    text = blocks.pop() ?? "";
    yield* blocks.filter((block) => /^data: /m.test(block));
  }
}
