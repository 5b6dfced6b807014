/** JWTs, revocation and slowed guessing on the backend's port. */
import { create } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import type { AgentRunner } from "../../../backend/agents/agent-runner.ts";
import { createJwtVerifier } from "../../../core/auth/jwt.ts";
import { CachedDirectory } from "../../../core/directory/cached-directory.ts";
import { fromConnectError } from "../../../core/errors/connect-errors.ts";
import {
  type A2AMessage,
  A2AMessageSchema,
  AgentService,
} from "../../../proto/gen/parley/v1/agent_service_pb.js";
import {
  AUDIENCE,
  ISSUER,
  type IssuerKey,
  type JwksServer,
  makeIssuerKey,
  signToken,
  startJwksServer,
} from "../../support/jwks-server.ts";
import { createEngine } from "../tasks/engine-fixture.ts";
import { type BackendOverrides, startBackend } from "./backend-fixture.ts";

let key: IssuerKey;
let issuer: JwksServer;
let backend: Awaited<ReturnType<typeof startBackend>>;
beforeAll(async () => {
  key = await makeIssuerKey("k1", "EdDSA");
  issuer = await startJwksServer(key);
});
afterAll(() => issuer.stop());
afterEach(() => backend.stop());

async function start(overrides: BackendOverrides = {}): Promise<void> {
  const verifyJwt = createJwtVerifier(
    {
      issuer: ISSUER,
      audience: AUDIENCE,
      keys: { kind: "jwks", url: issuer.url },
      tenantClaim: "tenant",
      scopeClaim: "scope",
      allowOperator: false,
    },
    { fetch, now: Date.now },
  );
  backend = await startBackend(undefined, { verifyJwt, ...overrides });
}

const hello = { receiverId: "scripted", text: "hello there" };
const ofAcme = (claims = {}) => signToken(key, { tenant: "acme", ...claims });
type Protocol = "grpc" | "grpc-web" | "connect";

/** The reply to a message, or the error. */
function call(credential: string, protocol: Protocol = "grpc") {
  const agents = backend.agents(backend.transports[protocol]);
  return agents.processMessage(hello, { headers: { authorization: `Bearer ${credential}` } });
}

async function codeOf(credential: string, protocol?: Protocol): Promise<Code | "ok"> {
  return call(credential, protocol).then(
    () => "ok" as const,
    (error) => ConnectError.from(error).code,
  );
}

describe("a JWT on the backend's port", () => {
  it("lets its subject in by every protocol", async () => {
    await start();
    for (const protocol of ["grpc", "grpc-web", "connect"] as const) {
      expect(await call(await ofAcme(), protocol)).toMatchObject({ text: "hello there", receiverId: "tess" });
    }
  });

  it("does only what its scopes allow", async () => {
    await start();
    expect(await codeOf(await ofAcme({ scope: "agents:read" }))).toBe(Code.PermissionDenied);
  });

  it.each<[string, () => Promise<string> | string, string]>([
    ["that has expired", () => ofAcme({ exp: 1 }), "expired"],
    ["for another audience", () => ofAcme({ aud: "x" }), "wrong-audience"],
    ["of a tenant that there is not", () => ofAcme({ tenant: "nobody" }), "unknown-tenant"],
    ["without signature", () => "eyJhbGciOiJub25lIn0.e30.", "wrong-algorithm"],
    [
      "signed with the public key as a secret",
      () => signToken({ alg: "HS256", privateKey: Buffer.from(JSON.stringify(key.jwk)) }),
      "wrong-algorithm",
    ],
  ])("is refused (%s) without saying why", async (_, token, reason) => {
    await start();
    const error = await call(await token()).catch((failure) => ConnectError.from(failure));
    expect(error).toMatchObject({
      code: Code.Unauthenticated,
      rawMessage: "send a valid API key as `authorization: Bearer parley_<id>_<secret>`",
    });
    expect(backend.logs).toContainEqual(expect.objectContaining({ msg: "caller refused", reason }));
  });

  it("of 100 kB does not come through, and the port goes on", async () => {
    await start();
    expect(await codeOf(`${await ofAcme()}${"x".repeat(100_000)}`)).not.toBe("ok");
    expect(await codeOf(await ofAcme())).toBe("ok");
  });
});

describe("every method of AgentService", () => {
  it.each(AgentService.methods.map(({ localName }) => localName))(
    "%s asks who calls and for the scope",
    async (name) => {
      await start();
      const codeWith = async (headers: Record<string, string>) => {
        const agents = backend.agents() as unknown as Record<
          string,
          (request: unknown, options: object) => unknown
        >;
        const request = { taskId: "t", receiverId: "scripted", text: "hello", inReplyTo: "m" };
        const isStream = name === "streamMessage";
        const answer = agents[name]?.(isStream ? only(request) : request, { headers });
        try {
          if (!isIterable(answer)) await answer;
          // A conversation goes on after what it refuses: the error is in its event.
          else
            for await (const event of answer) if (event.body.case === "error") return event.body.value.code;
          return "ok";
        } catch (error) {
          return ConnectError.from(error).code;
        }
      };
      expect(await codeWith({})).toBe(Code.Unauthenticated);
      const denied = await codeWith({ authorization: `Bearer ${await ofAcme({ scope: "agents:read" })}` });
      expect([Code.PermissionDenied, "permission_denied"]).toContain(denied);
    },
  );
});

async function* only<T>(value: T): AsyncIterable<T> {
  yield value;
}

function isIterable(value: unknown): value is AsyncIterable<A2AMessage> {
  return typeof value === "object" && value !== null && Symbol.asyncIterator in value;
}

describe("guessing on the backend's port", () => {
  it.each(["grpc", "connect"] as const)(
    "is slowed over %s, and the owner is not locked out",
    async (protocol) => {
      await start();
      expect(await codeOf(backend.key.text, protocol)).toBe("ok");
      const guess = `parley_${backend.key.keyId}_${"B".repeat(43)}`;
      for (let i = 0; i < 10; i++) expect(await codeOf(guess, protocol)).toBe(Code.Unauthenticated);
      const error = await call(guess, protocol).catch((failure) => ConnectError.from(failure));
      expect(error).toMatchObject({ code: Code.ResourceExhausted });
      const { retryAfterMs } = fromConnectError(error as ConnectError);
      expect(retryAfterMs).toBeGreaterThan(0);
      expect(retryAfterMs).toBeLessThanOrEqual(1_000);
      expect(await codeOf(backend.key.text, protocol)).toBe("ok");
      expect(backend.logs).toContainEqual(expect.objectContaining({ reason: "too-many-attempts" }));
    },
  );

  it("is told apart by the address of the connection", async () => {
    const seen: string[] = [];
    await start({
      verifyCredential: async ({ address }) => {
        seen.push(address);
        return { ok: false, reason: "malformed" };
      },
    });
    for (const protocol of ["grpc", "grpc-web", "connect"] as const) await codeOf("x", protocol);
    expect(seen).toEqual(["127.0.0.1", "127.0.0.1", "127.0.0.1"]);
  });
});

describe("an open conversation", () => {
  const opened = async (...sent: { text: string; receiverId: string }[]) => {
    const messages = async function* () {
      for (const message of sent) yield create(A2AMessageSchema, message);
      await new Promise(() => undefined);
    };
    const headers = { authorization: `Bearer ${backend.key.text}` };
    const events = backend.agents().streamMessage(messages(), { headers })[Symbol.asyncIterator]();
    const codeOfNext = () =>
      events.next().then(
        ({ value }) => value?.body.case as string,
        (error) => ConnectError.from(error).code,
      );
    return { codeOfNext };
  };

  it("of a caller without messages:send is refused before it sends anything", async () => {
    await start();
    const { keyId } = backend.key;
    const record = backend.records.get(keyId);
    if (record) backend.records.set(keyId, { ...record, scopes: ["agents:read"] });
    const { codeOfNext } = await opened();
    expect(await codeOfNext()).toBe(Code.PermissionDenied);
  });

  it("ends with unauthenticated when its key is revoked, although the caller only listens", async () => {
    await start({ verifyAgainMs: 50 });
    const { codeOfNext } = await opened(hello);
    const seen = [await codeOfNext(), await codeOfNext(), await codeOfNext(), await codeOfNext()];
    expect(seen.at(-1)).toBe("content");
    const record = backend.records.get(backend.key.keyId);
    if (record) backend.records.set(backend.key.keyId, { ...record, revokedAtMs: 1 });
    expect(await codeOfNext()).toBe(Code.Unauthenticated);
    expect(backend.logs).toContainEqual(
      expect.objectContaining({ msg: "caller refused", reason: "revoked", procedure: "StreamMessage" }),
    );
  });
});

describe("a reply that is followed", () => {
  it("ends with unauthenticated when its caller's key is revoked", async () => {
    const runner: AgentRunner = {
      async *answer(_, signal) {
        yield { type: "text-delta", text: "…" };
        await new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
      },
    };
    const engine = createEngine(runner);
    backend = await startBackend(engine, { verifyAgainMs: 50 });
    const headers = { authorization: `Bearer ${backend.key.text}` };
    const follow = async () => {
      for await (const event of backend.agents().streamReply(hello, { headers })) {
        const record = backend.records.get(backend.key.keyId);
        if (record && event.body.case === "delta")
          backend.records.set(record.keyId, { ...record, revokedAtMs: 1 });
      }
    };
    await expect(follow()).rejects.toMatchObject({ code: Code.Unauthenticated });
    await engine.drain(AbortSignal.abort());
  });
});

describe("a revoked key", () => {
  it("is refused on the backend's port within 60 s, however often it is used meanwhile", async () => {
    let aheadMs = 0;
    const now = () => Date.now() + aheadMs;
    await start({ now, wrapDirectory: (inner) => new CachedDirectory(inner, { now, coalesce: true }) });
    const { keyId, text } = backend.key;
    expect(await codeOf(text)).toBe("ok");
    const record = backend.records.get(keyId);
    if (!record) throw new Error("no key");
    backend.records.set(keyId, { ...record, revokedAtMs: 1 });
    let usableForMs = 0;
    while ((await codeOf(text)) === "ok" && aheadMs < 120_000) {
      usableForMs = aheadMs;
      aheadMs += 1_000;
    }
    expect(usableForMs).toBeGreaterThan(0);
    expect(usableForMs).toBeLessThan(60_000);
  });
});
