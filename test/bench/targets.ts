/** What is measured: the mock provider called directly, the backend alone over gRPC, and the edge with all behind it. */
import { createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { Pool } from "undici";
import { AgentService } from "../../proto/gen/parley/v1/agent_service_pb.js";
import type { Shot } from "./load.ts";

/** Something that can be asked once, and once with the reply streamed. */
export interface Target {
  name: string;
  whole: Shot;
  streamed: Shot;
  close(): Promise<void>;
}

const QUESTION = "How does a gateway keep its callers from noticing a failure?";
/** gRPC multiplexes; this many callers share a connection, as in a client with a pool. */
const GRPC_CALLERS_PER_CONNECTION = 8;

/** The mock provider itself, by the wire that the backend uses. */
export function directTarget(baseUrl: string, model: string, connections: number): Target {
  const pool = new Pool(new URL(baseUrl).origin, { connections, pipelining: 1 });
  const path = `${new URL(baseUrl).pathname.replace(/\/$/, "")}/chat/completions`;
  const request = (stream: boolean) => ({
    method: "POST" as const,
    path,
    headers: { "content-type": "application/json", authorization: "Bearer bench" },
    body: JSON.stringify({ model, stream, messages: [{ role: "user", content: QUESTION }] }),
  });
  return {
    name: "direct",
    whole: async () => expectOk(await pool.request(request(false))),
    streamed: () => untilFirst(() => pool.request(request(true)), /"content":"[^"]/),
    close: () => pool.close(),
  };
}

/** The edge over HTTP; the callers' keys take turns. */
export function edgeTarget(url: string, keys: readonly string[], connections: number): Target {
  let turn = 0;
  const pool = new Pool(url, { connections, pipelining: 1 });
  const request = (accept: string) => ({
    method: "POST" as const,
    path: "/api/v1/a2a/message",
    headers: {
      "content-type": "application/json",
      authorization: `Bearer ${keys[turn++ % keys.length]}`,
      accept,
    },
    body: JSON.stringify({ receiverId: "assistant", text: QUESTION }),
  });
  return {
    name: "edge + backend",
    whole: async () => expectOk(await pool.request(request("application/json"))),
    streamed: () => untilFirst(() => pool.request(request("text/event-stream")), /event: ?delta/),
    close: () => pool.close(),
  };
}

/** The backend over native gRPC. */
export function backendTarget(baseUrl: string, key: string, connections: number): Target {
  const sessions = Math.ceil(connections / GRPC_CALLERS_PER_CONNECTION);
  const clients = Array.from({ length: sessions }, () =>
    createClient(AgentService, createGrpcTransport({ baseUrl })),
  );
  const headers = { authorization: `Bearer ${key}` };
  const message = { receiverId: "assistant", text: QUESTION };
  const clientOf = (worker: number) => {
    const client = clients[worker % sessions];
    if (!client) throw new Error("no client");
    return client;
  };
  return {
    name: "backend (gRPC)",
    async whole(worker) {
      await clientOf(worker).processMessage(message, { headers });
      return undefined;
    },
    async streamed(worker) {
      const sentAt = performance.now();
      let firstTokenMs: number | undefined;
      for await (const event of clientOf(worker).streamReply(message, { headers })) {
        if (event.body.case === "delta") firstTokenMs ??= performance.now() - sentAt;
      }
      return firstTokenMs === undefined ? undefined : { firstTokenMs };
    },
    close: async () => {},
  };
}

type Answer = Awaited<ReturnType<Pool["request"]>>;

async function expectOk(answer: Answer): Promise<undefined> {
  const body = await answer.body.text();
  if (answer.statusCode !== 200) throw new Error(`status ${answer.statusCode}: ${body.slice(0, 200)}`);
}

/** Asks, reads the stream to its end, and tells when the pattern first stood in it. */
async function untilFirst(ask: () => Promise<Answer>, token: RegExp): Promise<{ firstTokenMs: number }> {
  const sentAt = performance.now();
  const answer = await ask();
  let firstTokenMs: number | undefined;
  let text = "";
  for await (const chunk of answer.body) {
    if (firstTokenMs !== undefined) continue;
    text += chunk;
    if (token.test(text)) firstTokenMs = performance.now() - sentAt;
  }
  if (answer.statusCode !== 200 || firstTokenMs === undefined) {
    throw new Error(`status ${answer.statusCode}: ${text.slice(0, 200)}`);
  }
  return { firstTokenMs };
}
