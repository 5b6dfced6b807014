/**
 * Neon's SQL over HTTP (`POST /sql`) on loopback, in front of any PostgreSQL: what the edge's driver speaks where
 * there is no Neon. Follows the driver (`@neondatabase/serverless`, httpQuery) and Neon's own gateway
 * (neondatabase/neon, proxy/src/serverless/sql_over_http.rs), except that it only answers in raw text.
 */
import { createHash, timingSafeEqual } from "node:crypto";
import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { ParleyError } from "../../core/errors/parley-error.ts";
import { DOCUMENT_BYTES_MAX } from "../../core/knowledge/document-size.ts";
import {
  batchBody,
  errorBody,
  type NeonPayload,
  readBatchOptions,
  readPayload,
  resultBody,
} from "./neon-protocol.ts";
import { type RawSqlExecutor, StatementError } from "./raw-sql-executor.ts";

/** The largest document (core/knowledge/document-size.ts) in JSON, which doubles a text of nothing but line ends or quotes. */
const BODY_BYTES_MAX = 2 * DOCUMENT_BYTES_MAX + 1024 * 1024;
/** A sender that goes on beyond this is cut off without an answer. */
const DISCARDED_BYTES_MAX = 2 * BODY_BYTES_MAX;
/** Neon's own limit is 10 MiB. */
const RESPONSE_CHARACTERS_MAX = 10 * 1024 * 1024;
/** The edge opens one for each request that waits; more than this cannot be answered in time. */
const CONNECTIONS_MAX = 2_000;
/** Longer than the edge keeps an idle connection, so that it never sends into one that is being closed. */
const KEEP_ALIVE_MS = 75_000;
const REQUEST_TIMEOUT_MS = 30_000;
const LOOPBACK = "127.0.0.1";

/** What the endpoint stands in front of, and who may use it. */
export interface NeonEndpointOptions {
  readonly executor: RawSqlExecutor;
  /** The password that a connection string must carry: random, at least 16 characters; a secret. */
  readonly password: string;
  /** 0 for any free port. */
  readonly port: number;
  /** A failure that is nobody's statement; its request was answered with status 500. */
  readonly onError: (error: unknown) => void;
}

/** A running endpoint. */
export interface NeonEndpoint {
  readonly port: number;
  /** Lets the requests under way finish and closes all connections. */
  close(): Promise<void>;
}

/** How the edge reaches an endpoint: for its `neon-sql-client.ts`. */
export function neonEndpointAddress(port: number, password: string) {
  return {
    connectionString: `postgresql://parley:${encodeURIComponent(password)}@${LOOPBACK}:${port}/parley`,
    fetchEndpoint: `http://${LOOPBACK}:${port}/sql`,
  };
}

/** An answer other than a result. */
class Refusal extends Error {
  readonly status: number;
  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/** Starts listening on 127.0.0.1; rejects when the port is taken. */
export async function startNeonEndpoint(options: NeonEndpointOptions): Promise<NeonEndpoint> {
  if (options.password.length < 16) throw new RangeError("the endpoint's password is too short");
  const passwordHash = sha256(options.password);
  const server = createServer({
    keepAliveTimeout: KEEP_ALIVE_MS,
    requestTimeout: REQUEST_TIMEOUT_MS,
    noDelay: true,
  });
  server.maxConnections = CONNECTIONS_MAX;
  server.on("request", (request, response) => {
    answer(request, options.executor, passwordHash, portOf(server), abortWhenGone(response))
      .catch((error) => failureAnswer(error, options.onError))
      .then(({ status, body }) => send(response, status, body))
      .catch(options.onError);
  });
  server.listen(options.port, LOOPBACK);
  await once(server, "listening");
  return { port: portOf(server), close: () => closeServer(server) };
}

async function answer(
  request: IncomingMessage,
  executor: RawSqlExecutor,
  passwordHash: Buffer,
  port: number,
  signal: AbortSignal,
): Promise<{ status: number; body: string }> {
  checkRequest(request, port);
  checkPassword(request, passwordHash);
  if (request.headers["neon-raw-text-output"] !== "true") {
    throw new Refusal(400, "this endpoint answers in raw text only: set Neon-Raw-Text-Output");
  }
  const arrayMode = request.headers["neon-array-mode"] === "true";
  const payload = parsePayload(await readBody(request));
  let body: string;
  if (payload.kind === "single") {
    const { statement } = payload;
    body = resultBody(await executor.execute(statement, signal), statement.arrayMode ?? arrayMode);
  } else {
    const batchOptions = readBatchOptions(request.headers);
    if (!batchOptions) throw new Refusal(400, "invalid isolation level");
    const results = await executor.executeBatch(payload.statements, batchOptions, signal);
    body = batchBody(results, (index) => payload.statements[index]?.arrayMode ?? arrayMode);
  }
  if (body.length > RESPONSE_CHARACTERS_MAX) {
    throw new Refusal(507, `response is too large (max is ${RESPONSE_CHARACTERS_MAX} bytes)`);
  }
  return { status: 200, body };
}

function checkRequest(request: IncomingMessage, port: number): void {
  // A web page may be made to call loopback under a name of its own (DNS rebinding).
  const host = request.headers.host;
  if (host !== `${LOOPBACK}:${port}` && host !== `localhost:${port}`) throw new Refusal(403, "unknown host");
  if (request.url !== "/sql") throw new Refusal(404, "not found");
  if (request.method !== "POST") throw new Refusal(405, "method not allowed");
}

/** Hashes are compared: equal length, and nothing of the secret in the time it takes. */
function checkPassword(request: IncomingMessage, passwordHash: Buffer): void {
  const header = request.headers["neon-connection-string"];
  const url = typeof header === "string" ? URL.parse(header) : null;
  if (!url) throw new Refusal(400, "missing or invalid Neon-Connection-String");
  const presented = sha256(decodeLeniently(url.password));
  if (!timingSafeEqual(presented, passwordHash)) {
    throw new StatementError(`password authentication failed for user '${url.username}'`, {
      severity: "FATAL",
      code: "28P01",
    });
  }
}

function parsePayload(text: string): NeonPayload {
  const payload = readPayload(text);
  if (!payload)
    throw new Refusal(400, "could not parse the HTTP request body as a query or a batch of queries");
  return payload;
}

/** Reads the body. One that is too large is read to its end all the same, or its sender would not hear why. */
async function readBody(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.byteLength;
    if (bytes <= BODY_BYTES_MAX) chunks.push(chunk);
    else chunks.length = 0;
    if (bytes > DISCARDED_BYTES_MAX) break;
  }
  if (bytes > BODY_BYTES_MAX) throw new Refusal(413, `request is too large (max is ${BODY_BYTES_MAX} bytes)`);
  return Buffer.concat(chunks).toString("utf8");
}

/** The answer to a failure. The driver reads the fields of an error from status 400 only. */
function failureAnswer(error: unknown, onError: (error: unknown) => void): { status: number; body: string } {
  if (error instanceof StatementError) return { status: 400, body: errorBody(error.message, error.fields) };
  if (error instanceof Refusal) return { status: error.status, body: errorBody(error.message, {}) };
  if (error instanceof ParleyError) return { status: 503, body: errorBody(error.message, {}) };
  onError(error);
  return { status: 500, body: errorBody("internal error", {}) };
}

function send(response: ServerResponse, status: number, body: string): void {
  response.writeHead(status, {
    "content-type": "application/json",
    "content-length": Buffer.byteLength(body),
    // What was not read of a request would be taken for the next one.
    ...(response.req.complete ? {} : { connection: "close" }),
  });
  response.end(body);
}

function abortWhenGone(response: ServerResponse): AbortSignal {
  const controller = new AbortController();
  response.on("close", () => {
    if (!response.writableFinished) controller.abort();
  });
  return controller.signal;
}

async function closeServer(server: Server): Promise<void> {
  if (!server.listening) return;
  const closed = once(server, "close");
  server.close();
  await closed;
}

function portOf(server: Server): number {
  return (server.address() as AddressInfo).port;
}

function sha256(text: string): Buffer {
  return createHash("sha256").update(text).digest();
}

function decodeLeniently(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
