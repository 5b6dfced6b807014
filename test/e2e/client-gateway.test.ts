/** The client library in Node against the whole product: `send`, `stream`, `connect`, models that die, peers. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { createClient as createGrpcClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Client, createClient, type Turn } from "../../edge/client/index.ts";
import { AgentService } from "../../proto/gen/parley/v1/agent_service_pb.js";
import type { RunRecord } from "../../scripts/run-file.ts";
import { type CuttingProxy, startCuttingProxy } from "../support/cutting-proxy.ts";
import { answerText } from "../support/double-answer.ts";
import { type Gateway, startGateway } from "../support/gateway.ts";
import { type OpenaiDouble, startOpenaiDouble } from "../support/openai-double.ts";
import { eventually } from "../support/session-wait.ts";
import { makeKey } from "./administration-client.ts";

const LIMIT_MS = 60_000;

let provider: OpenaiDouble;
let gateway: Gateway;
let proxy: CuttingProxy;
let client: Client;

beforeAll(async () => {
  provider = await startOpenaiDouble({ tokenIntervalMs: 10 });
  gateway = await startGateway({
    environment: { OPENAI_BASE_URL: provider.baseUrl, OPENAI_MODEL: "healthy" },
  });
  proxy = await startCuttingProxy(gateway.url);
  client = createClient({ url: proxy.url, credential: gateway.key });
  const model = (name: string) => ({ provider: "openai", model: name, limits: { attemptsMax: 1 } });
  await addAgent("dying", { kind: "model", models: [model("cut-20"), model("lost-30"), model("healthy")] });
  await addAgent("doomed", { kind: "model", models: [model("cut-20")] });
  await addAgent("pal", { kind: "peer" });
}, LIMIT_MS);

afterAll(async () => {
  await proxy?.stop();
  await gateway?.stop();
  gateway?.remove();
  await provider?.close();
}, LIMIT_MS);

async function addAgent(id: string, config: object): Promise<void> {
  await gateway.database.query(
    "insert into agents (tenant_id, id, name, description, version, config) values ('default', $1, $1, '', 1, $2::jsonb)",
    [id, JSON.stringify(config)],
  );
}

/** Reads a turn as a program that shows it does; at each event the text that it shows is the turn's. */
async function shown(turn: Turn): Promise<{ text: string; restarts: number }> {
  let text = "";
  let restarts = 0;
  for await (const event of turn) {
    if (event.type === "delta") text += event.delta;
    if (event.type === "restart") restarts += 1;
    if (event.type === "restart" || event.type === "content") text = event.text;
    expect(text).toBe(event.text);
  }
  return { text, restarts };
}

const question = { receiverId: "assistant", text: "Are you there?" };

describe("the client", () => {
  it("sends, and gets the whole reply", async () => {
    expect((await client.send(question)).text).toBe(answerText(question.text));
  });

  it("streams a reply whole although its connection is cut in the middle", async () => {
    const turn = client.stream(question);
    const text = shown(turn);
    await eventually(() => turn.text.length > 30);
    proxy.cut("drop");
    expect((await text).text).toBe(answerText(question.text));
    expect((await turn.reply).text).toBe(answerText(question.text));
  });

  it("has several turns in a session, whole although the connection is cut in the middle", async () => {
    const session = client.connect();
    const turns = ["one", "two", "three"].map((text) => session.send({ receiverId: "assistant", text }));
    const texts = turns.map(shown);
    await eventually(() => turns.every(({ text }) => text.length > 20));
    proxy.cut("drop");
    expect((await Promise.all(texts)).map(({ text }) => text)).toEqual(
      ["one", "two", "three"].map((text) => answerText(text)),
    );
    session.close();
    await session.closed;
  });

  it.each(["stream", "session"])(
    "shows the right text over a %s when models die in mid-answer",
    async (way) => {
      const session = client.connect();
      const sender = way === "stream" ? client.stream : session.send.bind(session);
      const turn = sender({ ...question, receiverId: "dying" });
      const { text, restarts } = await shown(turn);
      expect(restarts).toBeGreaterThanOrEqual(1);
      expect(text).toBe((await turn.reply).text);
      expect(text).toBe(turn.text);
      expect(text.endsWith(answerText("").slice(-40))).toBe(true);
      session.close();
    },
  );

  it("shows the preset reply, and nothing of the half answer, when every model dies", async () => {
    const session = client.connect();
    const turn = session.send({ ...question, receiverId: "doomed" });
    const { text } = await shown(turn);
    expect(text).toMatch(/^I cannot answer at the moment/);
    expect((await turn.reply).metadata).toMatchObject({ degraded: "preset-reply" });
    session.close();
  });

  it(
    "answers whole although the backend is killed in the middle, and marks what is void by then",
    async () => {
      const session = client.connect();
      const turn = session.send(question);
      const text = shown(turn);
      await eventually(() => turn.text.length > 30);
      const { children } = JSON.parse(
        readFileSync(join(gateway.dataDirectory, "run.json"), "utf8"),
      ) as RunRecord;
      const backend = children.find(({ name }) => name === "backend");
      if (backend) process.kill(-backend.pid, "SIGKILL");
      expect((await text).text).toBe(answerText(question.text));
      expect((await text).restarts).toBeGreaterThanOrEqual(1);
      session.close();
    },
    LIMIT_MS,
  );

  it("cancels a turn by its signal, at the gateway too", async () => {
    const session = client.connect();
    const controller = new AbortController();
    const turn = session.send(question, { signal: controller.signal });
    await eventually(() => turn.text.length > 20);
    controller.abort();
    await expect(turn.reply).rejects.toMatchObject({ code: "canceled" });
    await expect(provider.lastRequest.closed).resolves.toBe("early");
    session.close();
  });
});

describe("a peer with the client", () => {
  it("answers a caller over native gRPC, and one over a session", async () => {
    const key = (await makeKey(gateway, { subject: "pal", scopes: ["messages:send"] })).text;
    const pal = createClient({ url: gateway.url, credential: key }).connect({
      onMessage: ({ senderId = "", messageId = "", text = "" }) => {
        pal.send({ receiverId: senderId, inReplyTo: messageId, text: `you said ${text}` });
      },
    });
    await eventually(() => pal.state === "open");
    const agents = createGrpcClient(AgentService, createGrpcTransport({ baseUrl: gateway.backendUrl }));
    const headers = { authorization: `Bearer ${gateway.key}` };
    const reply = await agents.processMessage({ receiverId: "pal", text: "over gRPC" }, { headers });
    expect(reply).toMatchObject({ senderId: "pal", text: "you said over gRPC" });
    const session = client.connect();
    const turn = session.send({ receiverId: "pal", text: "over a session" });
    const deliveries: unknown[] = [];
    for await (const { message } of turn) deliveries.push(message.metadata?.["delivery"]);
    expect((await turn.reply).text).toBe("you said over a session");
    expect([deliveries[0], deliveries.at(-1)]).toEqual(["accepted", "answered"]);
    for (const each of [pal, session]) each.close();
  });
});
