/** The client library in Node, before the real workerd, over connections that are cut. */
import { create } from "@bufbuild/protobuf";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Client, createClient } from "../../edge/client/index.ts";
import { TaskSchema, TaskState } from "../../proto/gen/lf/a2a/v1/a2a_pb.js";
import { CUTS, type CuttingProxy, startCuttingProxy } from "../support/cutting-proxy.ts";
import { type SessionGateway, startSessionGateway } from "../support/session-gateway.ts";

let gateway: SessionGateway;
let proxy: CuttingProxy;
let client: Client;

beforeAll(async () => {
  gateway = await startSessionGateway();
  gateway.backend.script.getTask = (taskId) => {
    const task = [...gateway.tasks.byMessage.values()].find(({ id }) => id === taskId);
    const state = task?.ended ? TaskState.COMPLETED : TaskState.WORKING;
    return create(TaskSchema, {
      id: taskId,
      status: { state },
      metadata: { sequence: task?.events.length ?? 0 },
    });
  };
  proxy = await startCuttingProxy(gateway.url);
  client = createClient({ url: proxy.url, credential: gateway.neon.apiKey, random: () => 0 });
});

afterAll(async () => {
  await proxy?.stop();
  await gateway?.stop();
});

const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));
const words = (count: number) => Array.from({ length: count }, (_, word) => `${word} `).join("");

describe("over a session", () => {
  it("answers several turns whole, each message run once, while connections are cut", async () => {
    const session = client.connect();
    const turns = [1, 2, 3, 4].map((n) =>
      session.send({ messageId: `cut-${n}`, receiverId: "assistant", text: "words 100 every 20" }),
    );
    const streamed = turns.map(async (turn) => {
      let text = "";
      for await (const event of turn) if (event.type === "delta") text += event.delta;
      return text;
    });
    for (const kind of CUTS.filter((cut) => cut !== "stall")) {
      await pause(250);
      proxy.cut(kind);
    }
    expect(await Promise.all(streamed)).toEqual(turns.map(() => words(100)));
    const replies = await Promise.all(turns.map(({ reply }) => reply));
    expect(replies.map(({ text }) => text)).toEqual(turns.map(() => words(100)));
    session.close();
    await session.closed;
  }, 30_000);

  it("sends what was said before it was connected", async () => {
    const session = client.connect();
    expect(session.state).toBe("connecting");
    expect((await session.send({ receiverId: "assistant", text: "hello" }).reply).text).toBe("hello");
    session.close();
  });

  it("cancels a turn, which ends with the gateway's word", async () => {
    const session = client.connect();
    const turn = session.send({ receiverId: "assistant", text: "hold" });
    for await (const event of turn) {
      if (event.type === "accepted") turn.cancel("enough");
      if (event.type === "status") break;
    }
    await expect(turn.reply).rejects.toMatchObject({ code: "canceled" });
    session.close();
  });

  it("refuses a message over the frame's limit before it is sent", () => {
    const session = client.connect();
    expect(() => session.send({ receiverId: "assistant", text: "x".repeat(1_048_576) })).toThrow(/at most/);
    session.close();
  });

  it("ends when the credential is wrong, and says so", async () => {
    const session = createClient({ url: proxy.url, credential: "parley_wrong" }).connect();
    const turn = session.send({ receiverId: "assistant", text: "hello" });
    await expect(session.closed).rejects.toMatchObject({ code: "unauthenticated" });
    await expect(turn.reply).rejects.toMatchObject({ code: "unauthenticated" });
  });
});

describe("by HTTP", () => {
  it("streams a reply whole although its connection is cut", async () => {
    const turn = client.stream({ receiverId: "assistant", text: "words 60 every 20" });
    let cuts = 0;
    for await (const event of turn) if (event.type === "delta" && cuts++ === 5) proxy.cut("drop");
    expect((await turn.reply).text).toBe(words(60));
    expect(turn.text).toBe(words(60));
  });

  it("fails with the gateway's code", async () => {
    const wrong = createClient({ url: proxy.url, credential: "parley_wrong" });
    await expect(wrong.send({ receiverId: "assistant", text: "hi" })).rejects.toMatchObject({
      code: "unauthenticated",
      retryable: false,
    });
  });
});
