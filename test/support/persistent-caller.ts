/**
 * A caller that does not give up: it sends a message once, follows the reply, and when the connection breaks it goes on
 * from the last event it has, on whichever backend answers. What it has seen in the end is what counts.
 */
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { type A2AMessage, AgentService } from "../../proto/gen/parley/v1/agent_service_pb.js";

/** Between two tries. */
const RETRY_MS = 50;

/** A client of one backend, with a connection of its own. */
export function agentsAt(baseUrl: string) {
  return createClient(AgentService, createGrpcTransport({ baseUrl }));
}

/** What to ask, and whom. */
export interface PersistentCall {
  readonly urls: readonly string[];
  readonly headers: Record<string, string>;
  readonly message: { messageId: string; receiverId: string; text: string; contextId?: string };
  /** Ends the call, and with it the wait for an answer that does not come. */
  readonly signal: AbortSignal;
  /** Told of each event as it comes. */
  readonly onEvent?: (event: A2AMessage) => void;
  /**
   * Nobody knows the task: what has come of it is void, and the message is sent again, under its id. To be given where
   * one backend is alone: it may end before it has written what it has begun to answer. Among several, another one knows.
   */
  readonly onLost?: () => void;
}

/** All events of the reply, as this caller has seen them. Rejects when the signal aborts first. */
export async function callPersistently(call: PersistentCall): Promise<A2AMessage[]> {
  const { urls, headers, message, signal, onEvent, onLost } = call;
  const events: A2AMessage[] = [];
  for (let attempt = 0; ; attempt++) {
    signal.throwIfAborted();
    const agents = agentsAt(urls[attempt % urls.length] ?? "");
    const last = events.at(-1);
    const stream = last
      ? agents.resumeReply({ taskId: last.taskId, afterSequence: last.sequence }, { headers, signal })
      : agents.streamReply(message, { headers, signal });
    try {
      for await (const event of stream) {
        events.push(event);
        onEvent?.(event);
      }
      if (isEnd(events.at(-1))) return events;
    } catch (error) {
      const { code } = ConnectError.from(error);
      // A backend that knows nothing of the task may not be the one that takes it up.
      if (code === Code.InvalidArgument || code === Code.Internal) throw error;
      if (code === Code.NotFound && onLost && last) {
        events.length = 0;
        onLost();
      }
    }
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
  }
}

function isEnd(event: A2AMessage | undefined): boolean {
  return event?.body.case === "content" || event?.body.case === "error" || event?.body.case === "status";
}

/** What must hold of what any caller has seen: numbers without gap or repeat, and pieces that make the whole answer. */
export function problemsOf(events: readonly A2AMessage[], answer: string): string[] {
  const problems: string[] = [];
  events.forEach(({ sequence }, index) => {
    if (sequence !== index + 1) problems.push(`event ${sequence} where ${index + 1} was due`);
  });
  const last = events.at(-1);
  if (last?.body.case !== "content") problems.push(`it ended with ${last?.body.case ?? "nothing"}`);
  else if (last.text !== answer) problems.push("the answer is not whole");
  if (textOfPieces(events) !== answer) problems.push("the pieces do not make the answer");
  return problems;
}

/** The text that a follower has put together from the pieces: what restarts have voided is not in it. */
export function textOfPieces(events: readonly A2AMessage[]): string {
  let pieces: { sequence: number; text: string }[] = [];
  for (const { sequence, body } of events) {
    if (body.case === "delta") pieces.push({ sequence, text: body.value });
    if (body.case === "restart") {
      const { discardAfterSequence } = body.value;
      pieces = pieces.filter((piece) => piece.sequence <= discardAfterSequence);
    }
  }
  return pieces.map(({ text }) => text).join("");
}
