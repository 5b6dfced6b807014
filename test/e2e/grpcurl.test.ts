/** What the README tells people to paste: grpcurl without a proto file. */
import { execFile, spawn } from "node:child_process";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Gateway, startGateway } from "../support/gateway.ts";
import { requirement } from "../support/requirements.ts";
import type { Json } from "./ask.ts";

const LIMIT_MS = 60_000;
const grpcurl = requirement("grpcurl");

describe.skipIf(!grpcurl.available)("grpcurl", () => {
  let gateway: Gateway;
  let address: string;
  beforeAll(async () => {
    gateway = await startGateway();
    address = new URL(gateway.backendUrl).host;
  }, LIMIT_MS);
  afterAll(async () => {
    await gateway.stop();
    gateway.remove();
  }, LIMIT_MS);

  const run = async (...args: string[]) =>
    (await promisify(execFile)(grpcurl.path, ["-plaintext", ...args])).stdout;

  /** Calls a method with messages on standard input; the answers, or what it printed on failure. */
  async function call(
    method: string,
    messages: unknown[],
    headers: string[] = [],
  ): Promise<{ answers: Json[]; error: string }> {
    const flags = headers.flatMap((header) => ["-H", header]);
    const child = spawn(grpcurl.path, [
      "-plaintext",
      ...flags,
      "-d",
      "@",
      address,
      `parley.v1.AgentService/${method}`,
    ]);
    child.stdin.end(messages.map((message) => JSON.stringify(message)).join("\n"));
    let output = "";
    let error = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      output += text;
    });
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      error += text;
    });
    await new Promise((resolve) => child.once("close", resolve));
    const answers = output
      .split(/^(?=\{$)/m)
      .flatMap((text) => (text.trim() === "" ? [] : [JSON.parse(text)]));
    return { answers, error };
  }

  const withKey = () => [`authorization: Bearer ${gateway.key}`];

  it("lists services, describes the contract, and checks health without a key", async () => {
    expect(await run(address, "list")).toContain("parley.v1.AgentService");
    expect(await run(address, "list", "parley.v1.AgentService")).toContain(
      "parley.v1.AgentService.StreamMessage",
    );
    expect(await run(address, "describe", "lf.a2a.v1.Task")).toContain(
      "repeated .lf.a2a.v1.Artifact artifacts = 4",
    );
    expect(
      await run("-d", '{"service":"parley.v1.AgentService"}', address, "grpc.health.v1.Health/Check"),
    ).toContain("SERVING");
  });

  it("sends a message with a key", async () => {
    const { answers } = await call("ProcessMessage", [{ receiverId: "echo", text: "hello" }], withKey());
    expect(answers[0]).toMatchObject({ text: "hello", metadata: { model: "builtin/echo" } });
  });

  it("holds a conversation of two messages on one stream", async () => {
    const messages = [
      { receiverId: "echo", text: "one" },
      { receiver_id: "guide", text: "What does the edge do?" },
    ];
    const { answers } = await call("StreamMessage", messages, withKey());
    const replies = answers.filter(({ content }) => content);
    expect(replies.map(({ senderId }) => senderId)).toEqual(["echo", "guide"]);
    expect(replies[1].metadata.model).toBe("builtin/extractive");
    expect(answers.filter(({ delta }) => delta !== undefined).length).toBeGreaterThan(2);
  });

  it("is refused without a key, with one that is wrong, and told what is wrong with a message", async () => {
    const message = [{ receiverId: "echo", text: "hello" }];
    expect((await call("ProcessMessage", message)).error).toContain("Unauthenticated");
    expect((await call("ProcessMessage", message, ["authorization: Bearer parley_x"])).error).toContain(
      "Unauthenticated",
    );
    const wrong = await call("ProcessMessage", [{ text: "to nobody" }], withKey());
    expect(wrong.error).toContain("InvalidArgument");
    expect(wrong.error).toContain("receiver_id must name the agent");
    expect(wrong.error).toContain("google.rpc.ErrorInfo");
  });
});
