/** What the edge makes of the bytes that answer a streaming call. */
import { toBinary } from "@bufbuild/protobuf";
import { Code, type ConnectError, createClient } from "@connectrpc/connect";
import { encodeEnvelope } from "@connectrpc/connect/protocol";
import { describe, expect, it } from "vitest";
import { createBackendTransport } from "../../../edge/backend/backend-transport.ts";
import { A2AMessageSchema, AgentService } from "../../../proto/gen/parley/v1/agent_service_pb.js";
import { replyTo } from "../support/scripted-backend.ts";

const MESSAGE = { receiverId: "echo", text: "hi" };
const REPLY = encodeEnvelope(0, toBinary(A2AMessageSchema, replyTo(MESSAGE as never, "hello")));
const END_FLAG = 0b10;
const end = (json: object) => encodeEnvelope(END_FLAG, new TextEncoder().encode(JSON.stringify(json)));

/** The texts that come, and the failure that comes after them. */
async function answer(...parts: Uint8Array[]): Promise<[string[], ConnectError | undefined]> {
  const body = Uint8Array.from(parts.flatMap((part) => [...part]));
  const headers = { "content-type": "application/connect+proto", "parley-known-task": "true" };
  const transport = createBackendTransport("http://backend", async () => new Response(body, { headers }));
  const texts: string[] = [];
  try {
    for await (const event of createClient(AgentService, transport).streamReply(MESSAGE)) {
      texts.push(event.text || String(event.body.case));
    }
    return [texts, undefined];
  } catch (error) {
    return [texts, error as ConnectError];
  }
}

describe("a stream", () => {
  it("is whole when it says so", async () => {
    expect(await answer(REPLY, REPLY, end({}))).toEqual([["content", "content"], undefined]);
  });

  it("that stops without saying so was cut, wherever that is", async () => {
    for (const parts of [[REPLY], [REPLY, REPLY.slice(0, 9)]]) {
      const [texts, failure] = await answer(...parts);
      expect(texts).toEqual(["content"]);
      expect(failure).toMatchObject({ code: Code.Unavailable, rawMessage: "the stream was cut" });
      expect(failure?.cause).toBeDefined();
    }
  });

  it("that ends with an error throws it, with the answer's headers", async () => {
    const [texts, failure] = await answer(REPLY, end({ error: { code: "not_found", message: "gone" } }));
    expect(texts).toEqual(["content"]);
    expect(failure).toMatchObject({ code: Code.NotFound, rawMessage: "gone" });
    expect(failure?.metadata.get("parley-known-task")).toBe("true");
  });

  it("that goes on after its end, or is compressed, is none of ours", async () => {
    expect((await answer(end({}), REPLY))[1]?.message).toContain("after the end of the stream");
    const compressed = encodeEnvelope(1, Uint8Array.of(1));
    expect((await answer(compressed, end({})))[1]?.message).toContain("is compressed");
  });
});
