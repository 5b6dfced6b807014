/**
 * Two tenants: every route and every RPC, called by one with the ids of the other's things, answers exactly as for ids
 * that nobody has. The routes come from the table that registers them, the RPCs from the contract.
 */

import { once } from "node:events";
import { type IncomingMessage, request } from "node:http";
import { text as readText } from "node:stream/consumers";
import { Code, ConnectError, createClient, type Interceptor } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { SCOPES } from "../../core/auth/principal.ts";
import { createApp } from "../../edge/app.ts";
import { ServerReflection } from "../../proto/gen/grpc/reflection/v1/reflection_pb.js";
import { AgentService } from "../../proto/gen/parley/v1/agent_service_pb.js";
import { KnowledgeService } from "../../proto/gen/parley/v1/knowledge_service_pb.js";
import { type Gateway, startGateway } from "../support/gateway.ts";
import { api, eventually, makeKey } from "./administration-client.ts";
import { ask, type Json } from "./ask.ts";

const LIMIT_MS = 120_000;
const TENANT_SCOPES = SCOPES.filter((scope) => scope !== "operator");

/** Ids of things; one set names the other tenant's, one nothing at all. */
interface Ids {
  agent: string;
  key: string;
  tenant: string;
  context: string;
  task: string;
  message: string;
  collection: string;
  document: string;
  job: string;
  session: string;
  /** A session's client, as its tokens name it. */
  client: string;
}

let gateway: Gateway;
/** Keys of the tenant that looks, and of the one that is looked at. */
let looker: string;
let owner: string;
let theirs: Ids;
/** Of a tenant's caller that may do nothing of what RPCs do. */
let withoutScopes: string;
const missing: Ids = {
  agent: "nobodys-agent",
  key: "000000000000",
  tenant: "absent",
  context: "nobodys-context",
  task: "nobodys-task",
  message: "nobodys-message",
  collection: "nobodys-collection",
  document: "nobodys-document",
  job: "nobodys-job",
  session: "nobodys0".repeat(3).slice(0, 22),
  client: "noclient".repeat(3).slice(0, 22),
};

/** A key of a tenant, made by the command line's way: nobody else may act in a tenant that is not his. */
async function keyOf(tenant: string): Promise<string> {
  const { id, text } = await makeKey(gateway, { subject: "admin", scopes: TENANT_SCOPES });
  await gateway.database.query("UPDATE api_keys SET tenant_id = $1 WHERE id = $2", [tenant, id]);
  return text;
}

beforeAll(async () => {
  gateway = await startGateway();
  for (const id of ["looker", "owner"]) {
    await api(gateway, "POST /api/v1/tenants", { body: { id, name: id } });
  }
  [looker, owner] = [await keyOf("looker"), await keyOf("owner")];
  const document = { id: "their-agent", name: "Theirs", config: { kind: "echo" } };
  expect((await api(gateway, "POST /api/v1/agents", { key: owner, body: document })).status).toBe(201);
  const message = {
    receiverId: "their-agent",
    text: "secret plan",
    contextId: "their-context",
    messageId: "their-message",
  };
  const reply = await ask(gateway, message, { key: owner });
  expect(reply.status).toBe(200);
  withoutScopes = (await makeKey(gateway, { label: "audit", scopes: ["usage:read"] }, owner)).text;
  const { id: key } = await makeKey(gateway, { label: "theirs", scopes: ["agents:read"] }, owner);
  const put = await api(gateway, "PUT /api/v1/knowledge/their-collection/documents/their-document", {
    key: owner,
    body: "the secret plan of Theirs",
    headers: { "content-type": "text/plain" },
  });
  expect([200, 202]).toContain(put.status);
  const session = await api(gateway, "POST /api/v1/a2a/sessions", { key: owner, body: {} });
  expect(session.status).toBe(201);
  theirs = {
    agent: "their-agent",
    key,
    tenant: "owner",
    context: "their-context",
    task: reply.body.taskId,
    message: "their-message",
    collection: "their-collection",
    document: "their-document",
    job: put.body.job.id,
    session: session.body.sessionId,
    client: session.body.ticket.split(".")[4],
  };
  await eventually(10_000, async () => {
    const { body } = await api(gateway, "GET /api/v1/messages", { key: owner });
    return body.messages.length === 2;
  });
}, LIMIT_MS);
afterAll(async () => {
  await gateway.stop();
  gateway.remove();
}, LIMIT_MS);

/** What stands in the application's table beside its routes: steps of all of them, and the answer to other methods. */
const NO_ROUTES = ["requestContext", "provideComposition", "crossOrigin", "refuseMethod"];
/** Any will do (RFC 6455, section 4.1). */
const WEB_SOCKET_KEY = { "sec-websocket-key": Buffer.alloc(16).toString("base64") };

interface Call {
  path?: string;
  body?: unknown;
  headers?: Record<string, string>;
}

const ECHO = { name: "E", config: { kind: "echo" } };
const ofCollection = ({ collection }: Ids) => `/api/v1/knowledge/${collection}`;
const ofDocument = (ids: Ids) => `${ofCollection(ids)}/documents/${ids.document}`;
/** A token for their session, by somebody who knows everything of it but its secret. */
const tokenFor = (kind: string, tenant: string, { session, client }: Ids) =>
  `parley.v1, parley.${kind}.${Buffer.from(tenant).toString("hex")}.${session}.${client}.${"x".repeat(43)}`;
const UPGRADE = { connection: "Upgrade", upgrade: "websocket", "sec-websocket-version": "13" };
const byAgent = (ids: Ids) => `/api/v1/agents/${ids.agent}`;

/** Each route with the ids in every place that takes one; lists take none and are looked through instead. */
const CALLS: Record<string, (ids: Ids) => Call[]> = {
  "POST /api/v1/a2a/message": ({ agent, context, task, message }) => [
    { body: { receiverId: agent, text: "hi" } },
    { body: { receiverId: agent, text: "hi", contextId: context, taskId: task } },
    { body: { receiverId: agent, text: "hi" }, headers: { accept: "text/event-stream" } },
    { body: { receiverId: agent, text: "hi" }, headers: { prefer: "respond-async" } },
    { body: { receiverId: agent, text: "hi", messageId: message, inReplyTo: message } },
  ],
  "GET /api/v1/a2a/tasks/{id}": ({ task }) => [{ path: `/api/v1/a2a/tasks/${task}` }],
  "GET /api/v1/a2a/tasks/{id}/events": ({ task }) => [
    { path: `/api/v1/a2a/tasks/${task}/events` },
    { path: `/api/v1/a2a/tasks/${task}/events?after=1` },
    { path: `/api/v1/a2a/tasks/${task}/events?after=1000` },
    { path: `/api/v1/a2a/tasks/${task}/events`, headers: { "last-event-id": "2" } },
  ],
  "POST /api/v1/a2a/tasks/{id}/cancel": ({ task }) => [{ path: `/api/v1/a2a/tasks/${task}/cancel` }],
  "POST /v1/chat/completions": ({ agent, message }) => [
    { body: { model: agent, messages: [{ role: "user", content: "hi" }] } },
    { body: { model: agent, messages: [{ role: "user", content: "hi" }], stream: true } },
    {
      body: { model: agent, messages: [{ role: "user", content: "hi" }] },
      headers: { "idempotency-key": message },
    },
  ],
  "GET /v1/models": () => [{}],
  "GET /v1/models/{id}": ({ agent }) => [{ path: `/v1/models/${agent}` }],
  "POST /api/v1/a2a/sessions": ({ session }) => [{ body: { sessionId: session } }],
  "DELETE /api/v1/a2a/sessions/{id}": ({ session }) => [{ path: `/api/v1/a2a/sessions/${session}` }],
  "GET /ws/v1/a2a/stream": (ids) => [
    { path: `/ws/v1/a2a/stream?session=${ids.session}`, headers: UPGRADE },
    ...["ticket", "resume"].flatMap((kind) =>
      [ids.tenant, "looker"].map((tenant) => ({
        headers: { ...UPGRADE, "sec-websocket-protocol": tokenFor(kind, tenant, ids) },
      })),
    ),
  ],
  "GET /api/v1/agents": () => [{}],
  // Ids belong to their tenant: the same one is free in another.
  "POST /api/v1/agents": ({ agent }) => [{ body: { id: agent, ...ECHO, name: "" } }],
  "GET /api/v1/agents/{id}": (ids) => [{ path: byAgent(ids) }],
  "PUT /api/v1/agents/{id}": (ids) => [
    { path: byAgent(ids), body: ECHO },
    { path: byAgent(ids), body: ECHO, headers: { "if-match": '"1"' } },
  ],
  "PATCH /api/v1/agents/{id}": (ids) => [{ path: byAgent(ids), body: { name: "Mine" } }],
  "DELETE /api/v1/agents/{id}": (ids) => [
    { path: byAgent(ids) },
    { path: byAgent(ids), headers: { "if-match": '"9"' } },
  ],
  "GET /api/v1/agents/{id}/versions": (ids) => [{ path: `${byAgent(ids)}/versions` }],
  "GET /api/v1/keys": () => [{}],
  "POST /api/v1/keys": ({ tenant }) => [{ body: { subject: "s", scopes: ["agents:read"], tenant } }],
  "POST /api/v1/keys/{id}/rotate": ({ key }) => [
    { path: `/api/v1/keys/${key}/rotate` },
    { path: `/api/v1/keys/${key}/rotate`, body: { overlapSeconds: 0 } },
  ],
  "DELETE /api/v1/keys/{id}": ({ key }) => [{ path: `/api/v1/keys/${key}` }],
  "GET /api/v1/tenants": () => [{}],
  "POST /api/v1/tenants": ({ tenant }) => [{ body: { id: tenant, name: "T" } }],
  "GET /api/v1/tenants/{id}": ({ tenant }) => [{ path: `/api/v1/tenants/${tenant}` }],
  "PATCH /api/v1/tenants/{id}": ({ tenant }) => [{ path: `/api/v1/tenants/${tenant}`, body: { name: "T" } }],
  "GET /api/v1/knowledge/{collection}/documents": (ids) => [{ path: `${ofCollection(ids)}/documents` }],
  // Collections belong to their tenant: the same name is free in another. So these are refused for what is in them.
  "POST /api/v1/knowledge/{collection}/documents": (ids) => [
    {
      path: `${ofCollection(ids)}/documents`,
      body: [{ id: ids.document, mediaType: "image/png", text: "x" }],
    },
  ],
  "PUT /api/v1/knowledge/{collection}/documents/{id}": (ids) => [
    { path: ofDocument(ids), body: "", headers: { "content-type": "application/pdf" } },
  ],
  "GET /api/v1/knowledge/{collection}/documents/{id}": (ids) => [
    { path: ofDocument(ids) },
    { path: `${ofDocument(ids)}?text=true` },
  ],
  "DELETE /api/v1/knowledge/{collection}/documents/{id}": (ids) => [{ path: ofDocument(ids) }],
  "GET /api/v1/knowledge/{collection}/jobs/{id}": (ids) => [{ path: `${ofCollection(ids)}/jobs/${ids.job}` }],
  "POST /api/v1/knowledge/{collection}/search": (ids) => [
    { path: `${ofCollection(ids)}/search`, body: { query: "hello secret text" } },
  ],
  "DELETE /api/v1/knowledge/{collection}": (ids) => [{ path: ofCollection(ids) }],
  "GET /api/v1/usage": () => [{}, { path: "/api/v1/usage?groupBy=day,agent,model,key" }],
  "GET /api/v1/messages": ({ agent, context }) => [
    {},
    { path: `/api/v1/messages?context=${context}` },
    { path: `/api/v1/messages?agent=${agent}` },
    { path: "/api/v1/messages?sender=admin&order=oldest-first" },
  ],
  // Of the backends, which come with a token of their own: a caller's key opens nothing.
  "POST /internal/v1/peer-messages": ({ agent }) => [{ body: { receiverId: agent, text: "hi" } }],
  "GET /api/v1/audit": ({ agent, key, tenant }) => [
    {},
    { path: `/api/v1/audit?tenant=${tenant}` },
    { path: `/api/v1/audit?targetId=${agent}` },
    { path: `/api/v1/audit?targetKind=key&targetId=${key}` },
  ],
};

/** What two answers must agree in: everything but the ids that were asked for, and what differs between any two. */
function comparable(text: string, ids: Ids): string {
  const withoutIds = Object.entries(ids).reduce((rest, [name, id]) => rest.replaceAll(id, `<${name}>`), text);
  return withoutIds
    .replaceAll(/"(?:requestId|createdAt|messageId|to|from)":"[^"]*"/g, '"<varies>"')
    .replaceAll(/^id: .*$/gm, "id");
}

async function answerOf(route: string, { path, body, headers }: Call, ids: Ids) {
  const methodAndPath = path ? `${route.split(" ")[0]} ${path}` : route;
  const { status, ...answer } = await call(methodAndPath, body, headers);
  return { status, type: answer.type, text: comparable(answer.text, ids) };
}

async function call(methodAndPath: string, body: unknown, headers: Record<string, string> = {}) {
  const [method = "", path = ""] = methodAndPath.split(" ");
  const key = { authorization: `Bearer ${looker}`, "content-type": "application/json" };
  // Not fetch: it opens no WebSocket, and so would not see how one is refused.
  const sent = request(gateway.url + path, { method, headers: { ...key, ...WEB_SOCKET_KEY, ...headers } });
  sent.end(body === undefined ? undefined : JSON.stringify(body));
  const [answer] = (await once(sent, "response")) as [IncomingMessage];
  return { status: answer.statusCode, type: answer.headers["content-type"], text: await readText(answer) };
}

/** What a stranger may ask for. */
const OPEN = ["GET /healthz", "GET /readyz", "GET /openapi.json"];
/** Of the application itself, not of the table that it is made from: what is added beside the table counts, too. */
const registered = createApp({
  compose: () => expect.fail("not composed"),
  writeLine: () => {},
  now: Date.now,
})
  .routes.filter(({ method, handler }) => !(method === "ALL" && NO_ROUTES.includes(handler.name)))
  .map(({ method, path }) => `${method} ${path.replaceAll(/:(\w+)/g, "{$1}")}`);
const routes = [...new Set(registered)].filter((route) => !OPEN.includes(route));

describe("every route", () => {
  it("is among these cases", () => {
    expect(Object.keys(CALLS).toSorted()).toEqual(routes.toSorted());
  });

  it.each(routes)("%s answers for another tenant's ids as for ids that nobody has", async (route) => {
    const [foreign, absent] = [CALLS[route]?.(theirs) ?? [], CALLS[route]?.(missing) ?? []];
    expect(foreign.length).toBeGreaterThan(0);
    for (const [index, theirCall] of foreign.entries()) {
      const [answer, expected] = [
        await answerOf(route, theirCall, theirs),
        await answerOf(route, absent[index] ?? {}, missing),
      ];
      expect(answer).toEqual(expected);
      expect(answer.text).not.toMatch(/secret plan|Theirs/);
      if (route.includes("{id}") && !route.startsWith("PUT /api/v1/knowledge")) {
        expect([403, 404]).toContain(answer.status);
      }
    }
  });

  it("leaves the other tenant's things as they were", async () => {
    const agent = await api(gateway, `GET ${byAgent(theirs)}`, { key: owner });
    expect(agent.body).toMatchObject({ name: "Theirs", version: 1 });
    const { body } = await api(gateway, "GET /api/v1/keys", { key: owner });
    expect(body.keys.find(({ id }: Json) => id === theirs.key)).toMatchObject({
      status: "active",
      expiresAt: null,
    });
    const tenant = await api(gateway, "GET /api/v1/tenants/owner");
    expect(tenant.body).toMatchObject({ name: "owner", limits: {} });
    const document = await api(gateway, `GET ${ofDocument(theirs)}?text=true`, { key: owner });
    expect(document.body).toMatchObject({ text: "the secret plan of Theirs" });
  });

  it("lets both tenants have an agent of the same id, each its own", async () => {
    const document = { id: theirs.agent, name: "Mine", config: { kind: "echo" } };
    expect((await api(gateway, "POST /api/v1/agents", { key: looker, body: document })).status).toBe(201);
    expect((await api(gateway, `GET ${byAgent(theirs)}`, { key: owner })).body.name).toBe("Theirs");
    expect((await api(gateway, `DELETE ${byAgent(theirs)}`, { key: looker })).status).toBe(204);
    expect((await ask(gateway, { receiverId: theirs.agent, text: "hi" }, { key: owner })).status).toBe(200);
  });
});

/** A client of every service with a key. */
function clientOf(key: string) {
  const authorize: Interceptor = (next) => (request) => {
    request.header.set("authorization", `Bearer ${key}`);
    return next(request);
  };
  const transport = createGrpcTransport({ baseUrl: gateway.backendUrl, interceptors: [authorize] });
  return { ...createClient(AgentService, transport), ...createClient(KnowledgeService, transport) };
}

type Rpc = (client: ReturnType<typeof clientOf>, ids: Ids) => AsyncIterable<unknown> | Promise<unknown>;

async function* only<T>(value: T): AsyncGenerator<T> {
  yield value;
}

const RPCS: Record<string, Rpc[]> = {
  processMessage: [
    (client, { agent }) => client.processMessage({ receiverId: agent, text: "hi" }),
    (client, { agent, context, task }) =>
      client.processMessage({ receiverId: agent, text: "hi", contextId: context, taskId: task }),
  ],
  streamReply: [(client, { agent }) => client.streamReply({ receiverId: agent, text: "hi" })],
  streamMessage: [
    (client, { agent }) => client.streamMessage(only({ receiverId: agent, text: "hi" })),
    (client, { task }) => client.streamMessage(only({ taskId: task, body: { case: "cancel", value: {} } })),
    (client, { message }) =>
      client.streamMessage(only({ inReplyTo: message, body: { case: "cancel", value: {} } })),
  ],
  resumeReply: [
    (client, { task }) => client.resumeReply({ taskId: task, afterSequence: 0 }),
    (client, { task }) => client.resumeReply({ taskId: task, afterSequence: 1_000 }),
  ],
  cancelReply: [(client, { task }) => client.cancelReply({ taskId: task })],
  startReply: [(client, { agent }) => client.startReply({ receiverId: agent, text: "hi" })],
  getTask: [(client, { task }) => client.getTask({ taskId: task })],
  // A name of another tenant is free here, so these are refused for what is in them.
  putDocument: [
    (client, { collection, document: id }) =>
      client.putDocument({ collection, document: { id, contentType: "image/png" } }),
  ],
  putDocuments: [
    (client, { collection, document: id }) =>
      client.putDocuments({ collection, documents: [{ id, contentType: "image/png" }] }),
  ],
  listDocuments: [(client, { collection }) => client.listDocuments({ collection })],
  getDocument: [
    (client, { collection, document: id }) => client.getDocument({ collection, id, withText: true }),
  ],
  deleteDocument: [(client, { collection, document: id }) => client.deleteDocument({ collection, id })],
  deleteCollection: [(client, { collection }) => client.deleteCollection({ collection })],
  getJob: [(client, { collection, job }) => client.getJob({ collection, jobId: job })],
  search: [(client, { collection }) => client.search({ collection, query: "hello secret text" })],
};
/** Those whose answer is not `not_found`. */
const ANSWERED = ["putDocument", "putDocuments"];
const SERVICES = [AgentService, KnowledgeService];
const METHODS = SERVICES.flatMap(({ method }) => Object.keys(method));

/** The services that the port offers, by its own word. */
async function offered(): Promise<string[]> {
  const client = createClient(ServerReflection, createGrpcTransport({ baseUrl: gateway.backendUrl }));
  const list = only({ messageRequest: { case: "listServices" as const, value: "" } });
  for await (const { messageResponse } of client.serverReflectionInfo(list)) {
    if (messageResponse.case === "listServicesResponse")
      return messageResponse.value.service.map(({ name }) => name);
  }
  return [];
}

/** All that came, then how it ended. */
async function outcomeOf(rpc: Rpc, ids: Ids, key = looker): Promise<string> {
  const events: unknown[] = [];
  try {
    const result = rpc(clientOf(key), ids);
    if (Symbol.asyncIterator in result) for await (const event of result) events.push(event);
    else events.push(await result);
  } catch (error) {
    const { code, rawMessage } = ConnectError.from(error);
    events.push({ code: Code[code], rawMessage });
  }
  const text = JSON.stringify(events, (_, value) => (typeof value === "bigint" ? `${value}` : value));
  return comparable(text, ids).replaceAll(/"(?:seconds|nanos)":[^,}]*/g, '"<time>"');
}

describe("every RPC", () => {
  it("is among these cases", async () => {
    expect(Object.keys(RPCS).toSorted()).toEqual(METHODS.toSorted());
    const ours = (await offered()).filter((name) => !name.startsWith("grpc."));
    expect(ours).toEqual(SERVICES.map(({ typeName }) => typeName));
  });

  it.each(METHODS)("%s asks who calls, and for its scope", async (name) => {
    const [rpc] = RPCS[name] ?? [];
    expect(rpc && (await outcomeOf(rpc, missing, ""))).toMatch(/Unauthenticated/);
    expect(rpc && (await outcomeOf(rpc, missing, withoutScopes))).toMatch(
      /PermissionDenied|permission_denied/,
    );
  });

  it.each(METHODS)("%s answers for another tenant's ids as for ids that nobody has", async (name) => {
    for (const rpc of RPCS[name] ?? []) {
      const outcome = await outcomeOf(rpc, theirs);
      expect(outcome).toBe(await outcomeOf(rpc, missing));
      if (!ANSWERED.includes(name)) expect(outcome).toMatch(/NotFound|not_found/);
      expect(outcome).not.toMatch(/secret plan|Theirs/);
    }
  });
});
