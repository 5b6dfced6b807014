/** The main path with all real parts: npm start, workerd, the backend, PGlite, and a provider on its exact wire. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Gateway, startGateway } from "../support/gateway.ts";
import { startOllamaDouble } from "../support/ollama-double.ts";
import { startOpenaiDouble } from "../support/openai-double.ts";
import { ask } from "./ask.ts";

const START_LIMIT_MS = 60_000;

describe("with an OpenAI-compatible server", () => {
  let provider: Awaited<ReturnType<typeof startOpenaiDouble>>;
  let gateway: Gateway;
  beforeAll(async () => {
    provider = await startOpenaiDouble();
    gateway = await startGateway({
      environment: { OPENAI_BASE_URL: provider.baseUrl, OPENAI_API_KEY: "sk-provider-secret" },
    });
  }, START_LIMIT_MS);
  afterAll(async () => {
    await gateway.stop();
    gateway.remove();
    await provider.close();
  }, START_LIMIT_MS);

  it("answers through the adapter and names the model", async () => {
    const { status, headers, body } = await ask(gateway, {
      receiverId: "assistant",
      text: "What is a gateway?",
    });
    expect(status).toBe(200);
    expect(body.text).toContain("What is a gateway?");
    expect(body).toMatchObject({
      senderId: "assistant",
      receiverId: "developer",
      metadata: { model: "openai/healthy" },
    });
    expect(body.metadata.usage).toMatchObject({
      inputTokens: expect.any(Number),
      outputTokens: expect.any(Number),
    });
    expect(headers.get("parley-model")).toBe("openai/healthy");
    expect(headers.get("content-type")).toMatch(/^application\/json/);
    const sent = provider.lastRequest;
    expect(sent.headers.authorization).toBe("Bearer sk-provider-secret");
    expect(sent.body).toMatchObject({ model: "healthy", stream: true });
  });

  it("leaves the message and the reply in the database, under the request's id", async () => {
    const requestId = "e2e-rows-4711";
    const { body } = await ask(
      gateway,
      { receiverId: "assistant", text: "Remember this.", messageId: "m-rows", contextId: "c-rows" },
      { headers: { "x-request-id": requestId } },
    );
    const rows = await gateway.database.query<Record<string, unknown>>(
      "select * from messages where request_id = $1 order by position",
      [requestId],
    );
    expect(rows).toHaveLength(2);
    expect(rows[0]).toMatchObject({
      tenant_id: "default",
      message_id: "m-rows",
      context_id: "c-rows",
      sender_id: "developer",
      receiver_id: "assistant",
      role: "user",
      content: { parts: [{ text: "Remember this." }] },
    });
    expect(rows[1]).toMatchObject({
      message_id: body.messageId,
      task_id: body.taskId,
      in_reply_to: "m-rows",
      role: "agent",
      model: "openai/healthy",
      input_tokens: body.metadata.usage.inputTokens,
      output_tokens: body.metadata.usage.outputTokens,
    });
    expect(JSON.stringify(rows[1]?.["content"])).toContain(body.text.slice(0, 20));
  });

  it("has one request id and one trace in both programs' logs, and no credential", async () => {
    const requestId = "e2e-logs-4711";
    const traceId = "0af7651916cd43dd8448eb211c80319c";
    const { headers } = await ask(
      gateway,
      { receiverId: "assistant", text: "A very private question" },
      { headers: { "x-request-id": requestId, traceparent: `00-${traceId}-b7ad6b7169203331-01` } },
    );
    expect(headers.get("x-request-id")).toBe(requestId);
    for (const program of ["edge", "backend"] as const) {
      await expect
        .poll(
          () =>
            gateway
              .logs(program)
              .some((line) => line["requestId"] === requestId && line["traceId"] === traceId),
          {
            message: program,
            timeout: 10_000,
          },
        )
        .toBe(true);
      const lines = gateway.logs(program).filter((line) => line["requestId"] === requestId);
      expect(lines.length, program).toBeGreaterThan(0);
      expect(
        lines.some((line) => line["traceId"] === traceId),
        program,
      ).toBe(true);
      expect(gateway.logText(program)).not.toContain(gateway.key.split("_")[2]);
      expect(gateway.logText(program)).not.toContain("sk-provider-secret");
      expect(gateway.logText(program)).not.toContain("very private");
    }
  });

  it("remembers a conversation", async () => {
    await ask(gateway, { receiverId: "assistant", contextId: "c-memory", text: "My name is Ada." });
    await ask(gateway, { receiverId: "assistant", contextId: "c-memory", text: "What is my name?" });
    const texts = provider.lastRequest.body.messages.map(({ content }: { content: unknown }) => content);
    expect(texts.some((text: string) => text.includes("My name is Ada."))).toBe(true);
  });

  it("runs a message that is sent twice once, and refuses another under its id", async () => {
    const message = {
      receiverId: "assistant",
      messageId: "m-twice",
      contextId: "c-twice",
      text: "Only once",
    };
    const before = provider.requestCount;
    const [first, second] = await Promise.all([ask(gateway, message), ask(gateway, message)]);
    expect(second.body).toEqual(first.body);
    expect(provider.requestCount - before).toBe(1);
    const other = await ask(gateway, { ...message, text: "Something else" });
    expect(other).toMatchObject({ status: 409, body: { error: { code: "conflict" } } });
  });

  it("streams the reply as events that carry their sequence", async () => {
    const response = await fetch(`${gateway.url}/api/v1/a2a/message`, {
      method: "POST",
      headers: {
        authorization: `Bearer ${gateway.key}`,
        "content-type": "application/json",
        accept: "text/event-stream",
      },
      body: JSON.stringify({ receiverId: "assistant", text: "Stream, please" }),
    });
    expect(response.headers.get("content-type")).toMatch(/^text\/event-stream/);
    const events = (await response.text())
      .split("\n\n")
      .filter((event) => event.startsWith("id:") || event.includes("\nid:"));
    const parsed = events.map((event) => JSON.parse(/^data: ?(.*)$/m.exec(event)?.[1] ?? ""));
    expect(parsed.map(({ sequence }) => sequence)).toEqual(parsed.map((_, index) => index + 1));
    expect(parsed[0].accepted).toEqual({});
    const deltas = parsed.flatMap(({ delta }) => (delta === undefined ? [] : [delta]));
    expect(deltas.join("")).toBe(parsed.at(-1).text);
  });

  it("answers an agent's list and one agent, and does not know others", async () => {
    const get = async (path: string) => {
      const response = await fetch(`${gateway.url}${path}`, {
        headers: { authorization: `Bearer ${gateway.key}` },
      });
      return { status: response.status, body: await response.json() };
    };
    const { body } = (await get("/api/v1/agents")) as { body: { agents: { id: string }[] } };
    expect(body.agents.map(({ id }) => id)).toEqual(["assistant", "echo", "guide"]);
    expect(await get("/api/v1/agents/echo")).toMatchObject({
      status: 200,
      body: { id: "echo", config: { kind: "echo" } },
    });
    expect((await get("/api/v1/agents/nobody")).status).toBe(404);
  });
});

describe("with an Ollama server", () => {
  it("answers through the adapter and names the model", { timeout: START_LIMIT_MS }, async () => {
    const provider = await startOllamaDouble();
    const gateway = await startGateway({ environment: { OLLAMA_HOST: provider.url } });
    const { status, body } = await ask(gateway, { receiverId: "assistant", text: "What is a gateway?" });
    expect(status).toBe(200);
    expect(body.text).toContain("What is a gateway?");
    expect(body.metadata.model).toMatch(/^ollama\//);
    expect(provider.requests.some(({ path }) => path === "/api/chat")).toBe(true);
    await gateway.stop();
    gateway.remove();
    await provider.close();
  });
});
