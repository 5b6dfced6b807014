/** The four ways to ask an agent that the scenarios are played on, each as a real client of it sees a reply. */
import { create } from "@bufbuild/protobuf";
import { ConnectError, createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import OpenAI, { APIError } from "openai";
import { fromConnectError } from "../../core/errors/connect-errors.ts";
import { errorMessageBody, errorOfBody } from "../../core/messages/error-body.ts";
import {
  type A2AMessage,
  A2AMessageSchema,
  AgentService,
} from "../../proto/gen/parley/v1/agent_service_pb.js";
import type { ObservedReply } from "../support/failover-scenarios.ts";
import type { Gateway } from "../support/gateway.ts";
import { textOfPieces } from "../support/persistent-caller.ts";
import { eventsOfBody, messageOfEvent } from "./read-events.ts";

/** Names of the surfaces; agents of `held-back` hold their completions back. */
export const SURFACES = ["sse", "grpc", "held-back", "completions"] as const;

/** One of them. */
export type Surface = (typeof SURFACES)[number];

/** What a caller has got of one reply; its times are added by who asks. */
type Reply = Omit<ObservedReply, "startedAtMs" | "endedAtMs">;

/** Asks an agent; resolves to `{}` when nothing came that ends a reply. Rejects on what no client would understand. */
export type Ask = (agentId: string, signal: AbortSignal) => Promise<Reply>;

const QUESTION = "Why does this answer come whole?";
/** `openai/NAME`, as replies name models. */
const PROVIDER = "openai/";

/** How to ask on each surface. */
export function askersOf(gateway: Gateway): Record<Surface, Ask> {
  const headers = { authorization: `Bearer ${gateway.key}` };
  const agents = createClient(AgentService, createGrpcTransport({ baseUrl: gateway.backendUrl }));
  const openai = new OpenAI({ apiKey: gateway.key, baseURL: `${gateway.url}/v1`, maxRetries: 0 });
  const completions: Ask = (agentId, signal) => completionOf(openai, agentId, signal);
  return {
    sse: async (agentId, signal) => {
      const response = await fetch(`${gateway.url}/api/v1/a2a/message`, {
        method: "POST",
        headers: { ...headers, "content-type": "application/json", accept: "text/event-stream" },
        body: JSON.stringify({ receiverId: agentId, text: QUESTION }),
        signal,
      });
      if (!response.ok) return errorOfResponse(response);
      const events: A2AMessage[] = [];
      for await (const event of eventsOfBody(response.body)) events.push(messageOfEvent(event));
      return replyOf(events);
    },
    grpc: async (agentId, signal) => {
      const events: A2AMessage[] = [];
      try {
        const stream = agents.streamReply({ receiverId: agentId, text: QUESTION }, { headers, signal });
        for await (const event of stream) events.push(event);
      } catch (error) {
        const body = errorMessageBody(fromConnectError(ConnectError.from(error)), "");
        events.push(create(A2AMessageSchema, { body }));
      }
      return replyOf(events);
    },
    "held-back": completions,
    completions,
  };
}

async function errorOfResponse(response: Response): Promise<Reply> {
  const { error } = (await response.json()) as {
    error: { code: string; details?: { providerCode?: string } };
  };
  return { error: { code: error.code, detail: error.details?.providerCode } };
}

/** What a follower of these events has in the end: the pieces that no restart has voided. */
function replyOf(events: readonly A2AMessage[]): Reply {
  const last = events.at(-1);
  if (last?.body.case === "error") {
    const { code, details } = errorOfBody(last.body.value);
    return { error: { code, detail: String(details?.["providerCode"] ?? "") } };
  }
  if (last?.body.case !== "content") return {};
  const { model, usage, degraded } = (last.metadata ?? {}) as Metadata;
  const pieces = textOfPieces(events);
  // A follower that puts pieces together and one that takes the content must have the same.
  const text = pieces === last.text ? pieces : `${pieces}\n≠\n${last.text}`;
  return markedReply(degraded, { text, model: bareModel(model), outputTokens: usage?.outputTokens });
}

interface Metadata {
  readonly model?: string;
  readonly usage?: { readonly outputTokens?: number };
  readonly degraded?: string;
}

/** A preset reply is no answer, and says so. */
function markedReply(degraded: string | undefined, reply: Reply): Reply {
  return degraded === undefined ? reply : { error: { code: degraded } };
}

function bareModel(model: string | undefined): string | undefined {
  return model?.startsWith(PROVIDER) ? model.slice(PROVIDER.length) : model;
}

async function completionOf(openai: OpenAI, model: string, signal: AbortSignal): Promise<Reply> {
  let text = "";
  let finish: string | null = null;
  let usage: OpenAI.CompletionUsage | null | undefined;
  let metadata: Metadata = {};
  try {
    const stream = await openai.chat.completions.create(
      {
        model,
        messages: [{ role: "user", content: QUESTION }],
        ...{ stream: true as const, stream_options: { include_usage: true } },
      },
      { signal },
    );
    for await (const chunk of stream) {
      text += chunk.choices[0]?.delta.content ?? "";
      finish = chunk.choices[0]?.finish_reason ?? finish;
      usage = chunk.usage ?? usage;
      metadata = (chunk as { parley?: Metadata }).parley ?? metadata;
    }
  } catch (error) {
    if (!(error instanceof APIError) || error.code == null) throw error;
    return { error: { code: error.code, detail: error.code } };
  }
  // The SDK ends a cut stream like a whole one; only the reason tells.
  if (finish === null) return { text };
  const { model: answered, degraded } = metadata;
  return markedReply(degraded, { text, model: bareModel(answered), outputTokens: usage?.completion_tokens });
}
