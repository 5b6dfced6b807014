import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { SOCKETS_MAX } from "../../../edge/sessions/session-limits.ts";
import { refusedUpgrade, SessionClient } from "../../support/session-client.ts";
import { type RestartableGateway, startSessionGateway } from "../../support/session-gateway.ts";
import { eventually } from "../../support/session-wait.ts";

const ORIGIN = "https://chat.example.com";
const REFUSAL =
  "a valid ticket, resume token or API key is needed: get a ticket from POST /api/v1/a2a/sessions";

let gateway: RestartableGateway;

beforeAll(async () => {
  gateway = await startSessionGateway({
    timings: { ticketMs: 1_500 },
    variables: { ALLOWED_ORIGINS: ORIGIN },
  });
}, 60_000);
afterAll(() => gateway?.stop());

const path = "/ws/v1/a2a/stream";
const refused = (headers: Record<string, string>, query = "") =>
  refusedUpgrade(`${gateway.url}${path}${query}`, headers);
const withToken = (token: string) => refused({ "sec-websocket-protocol": `parley.v1, ${token}` });

async function connected(): Promise<SessionClient> {
  const { ticket } = await gateway.openSession();
  const client = new SessionClient(gateway.url, ticket);
  await client.connect();
  return client;
}

describe("a ticket", () => {
  it("opens one connection, once", async () => {
    const { ticket } = await gateway.openSession();
    const client = new SessionClient(gateway.url, ticket);
    await client.connect();
    expect(await withToken(ticket)).toMatchObject({ status: 401, body: { error: { message: REFUSAL } } });
    await client.close();
  });

  it("opens one connection of several that race for it", async () => {
    const { ticket } = await gateway.openSession();
    const clients = Array.from({ length: 5 }, () => new SessionClient(gateway.url, ticket));
    const outcomes = await Promise.allSettled(clients.map((client) => client.connect()));
    expect(outcomes.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
    for (const { socket } of clients) socket?.close();
  });

  it("is refused in the same words when it is late, made up, another's or no ticket at all", async () => {
    const { ticket, sessionId } = await gateway.openSession();
    const other = await gateway.openSession();
    const parts = ticket.split(".");
    const secret = parts.at(-1) ?? "";
    const foreignSession = other.ticket.split(".").with(-1, secret).join(".");
    const madeUp = parts.with(-1, "A".repeat(43)).join(".");
    const otherTenant = parts.with(2, Buffer.from("other").toString("hex")).join(".");
    const noSession = parts.with(3, "B".repeat(22)).join(".");
    const asResume = parts.with(1, "resume").join(".");
    const tokens = [
      foreignSession,
      madeUp,
      otherTenant,
      noSession,
      asResume,
      "parley.ticket.x",
      `${ticket}0`,
    ];
    for (const token of tokens) {
      expect(await withToken(token)).toMatchObject({
        status: 401,
        body: { error: { code: "unauthenticated", message: REFUSAL } },
      });
    }
    await new Promise((resolve) => setTimeout(resolve, 1_600));
    expect(await withToken(ticket)).toMatchObject({ status: 401, body: { error: { message: REFUSAL } } });
    expect(sessionId).toHaveLength(22);
  });
});

describe("a resume token", () => {
  it("opens connections again, is replaced by the one that each brings, and is then worth nothing", async () => {
    const client = await connected();
    const first = client.token;
    await client.close();
    await client.connect();
    const second = client.token;
    await client.close();
    // The second has not been used: what brought it may have got lost.
    client.token = first;
    await client.connect();
    const third = client.token;
    await client.close();
    client.token = third;
    await client.connect();
    await client.close();
    expect(await withToken(first)).toMatchObject({ status: 401 });
    expect(await withToken(second)).toMatchObject({ status: 401, body: { error: { message: REFUSAL } } });
  });

  it("is the way back when the answer to the ticket was lost", async () => {
    const { ticket, resumeToken } = await gateway.openSession();
    const client = new SessionClient(gateway.url, ticket);
    await client.connect();
    client.socket?.close();
    await client.closed;
    client.token = resumeToken;
    await client.connect("");
    await client.close();
  });

  it("is good for its own session only, and as no ticket", async () => {
    const client = await connected();
    const other = await gateway.openSession();
    const secret = client.token.split(".").at(-1) ?? "";
    expect(await withToken(other.resumeToken.split(".").with(-1, secret).join("."))).toMatchObject({
      status: 401,
    });
    expect(await withToken(client.token.replace("resume", "ticket"))).toMatchObject({ status: 401 });
    await client.close();
  });

  it("that is used while its client seems connected takes the place of that connection", async () => {
    const client = await connected();
    const again = new SessionClient(gateway.url, client.token);
    await again.connect();
    expect(await client.closed).toMatchObject({ code: 4409 });
    await again.close();
  });

  it("outlives a deployment", async () => {
    const client = await connected();
    client.send({ messageId: "deployed", receiverId: "assistant", text: "words 150 every 20" });
    await eventually(() => client.turn("deployed").sequence > 5);
    await gateway.restart();
    await client.closed;
    await client.connect();
    await eventually(() => client.turn("deployed").end !== undefined);
    expect(client.faults).toEqual([]);
    expect(client.turn("deployed").text).toBe(gateway.tasks.of("deployed").text);
    await client.close();
  }, 40_000);
});

describe("a credential of the caller's own", () => {
  const authorization = () => ({ authorization: `Bearer ${gateway.neon.apiKey}` });

  it("is needed where there is no token", async () => {
    expect(await refused({})).toMatchObject({ status: 401, body: { error: { code: "unauthenticated" } } });
    expect(await refused({ authorization: "Bearer parley_nobody" })).toMatchObject({ status: 401 });
  });

  it("does not open sessions of other callers, by any way", async () => {
    const { apiKey: bobs } = await gateway.neon.addKey({}, "default", "bob");
    const client = await connected();
    const { id = "" } = client.opened ?? {};
    const asBob = { authorization: `Bearer ${bobs}` };
    expect(await refused(asBob, `?session=${id}`)).toMatchObject({ status: 404 });
    await expect(gateway.openSession({ sessionId: id }, bobs)).rejects.toThrow("404");
    const ended = await fetch(`${gateway.url}/api/v1/a2a/sessions/${id}`, {
      method: "DELETE",
      headers: asBob,
    });
    expect(ended.status).toBe(404);
    await expect(gateway.openSession({ sessionId: "nonsense" })).rejects.toThrow("404");
    await client.close();
  });

  it.each(["-1", "1.5", "x", "99999999999999999999", ""])(
    "comes with an `after` that is a number, not %s",
    async (after) => {
      expect(await refused(authorization(), `?after=${after}`)).toMatchObject({
        status: 400,
        body: { error: { message: expect.stringContaining("`after` must be a whole number") } },
      });
    },
  );

  it("needs the subprotocol among those that are offered, and an upgrade", async () => {
    expect(await refused({ ...authorization(), "sec-websocket-protocol": "chat" })).toMatchObject({
      status: 400,
    });
    const plain = await fetch(`${gateway.url}${path}`, { headers: authorization() });
    expect(plain.status).toBe(426);
  });

  it("has a limited number of connections in one session", async () => {
    const { sessionId } = await gateway.openSession();
    const clients: SessionClient[] = [];
    for (let count = 0; count < SOCKETS_MAX; count++) {
      const client = new SessionClient(gateway.url, (await gateway.openSession({ sessionId })).ticket);
      await client.connect();
      clients.push(client);
    }
    expect(await refused(authorization(), `?session=${sessionId}`)).toMatchObject({
      status: 429,
      body: { error: { reason: "too-many-sockets" } },
    });
    await clients[0]?.close();
    const { ticket } = await gateway.openSession({ sessionId });
    const next = new SessionClient(gateway.url, ticket);
    await next.connect();
    await Promise.all([...clients.slice(1), next].map((client) => client.close()));
  });
});

describe("a page", () => {
  it("may connect from an origin that is allowed, or the gateway's own, and from no other", async () => {
    const { host } = new URL(gateway.url);
    const headers = { authorization: `Bearer ${gateway.neon.apiKey}` };
    for (const origin of [
      "https://evil.example",
      "null",
      `${ORIGIN}.evil.example`,
      "http://chat.example.com",
    ]) {
      expect(await refused({ ...headers, origin })).toMatchObject({
        status: 403,
        body: { error: { reason: "origin-not-allowed" } },
      });
    }
    for (const origin of [ORIGIN, `http://${host}`]) {
      await expect(refused({ ...headers, origin })).rejects.toThrow("was not refused");
    }
  });
});

describe("what is written to the log", () => {
  it("has no token in it", () => {
    const text = gateway.logs().join("\n");
    expect(text).toContain('"msg":"turn"');
    expect(text).not.toMatch(/parley\.(ticket|resume)/);
  });
});

describe("a key that is withdrawn", () => {
  it("ends its sessions within 60 s, and its resume tokens open nothing", async () => {
    const { apiKey, revoke } = await gateway.neon.addKey({}, "default", "carol");
    const { ticket } = await gateway.openSession({}, apiKey);
    const client = new SessionClient(gateway.url, ticket);
    await client.connect();
    revoke();
    const revokedAtMs = Date.now();
    expect(await client.closed).toMatchObject({ code: 4401 });
    expect(Date.now() - revokedAtMs).toBeLessThan(60_000);
    expect(await withToken(client.token)).toMatchObject({ status: 401 });
  }, 70_000);
});
