/**
 * What the doubles of model providers share: an HTTP server on a free port of the loopback, a record of what
 * came (bounded, so that a benchmark of a million requests leaves nothing behind), and the playing of a stream
 * with its latency and its end. Knows no provider's wire.
 */
import { createServer, type IncomingHttpHeaders, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** Requests kept in the record; older ones are forgotten. */
const REQUESTS_MAX = 1_000;

/** A request as it came. */
export interface RecordedRequest {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  /** The body as JSON; undefined without one. */
  // biome-ignore lint/suspicious/noExplicitAny: assertions read into whatever was sent
  readonly body: any;
  readonly receivedAtMs: number;
  /** Set once the client has closed the connection before the answer was whole. */
  closedEarlyAtMs?: number;
  /** Resolves when the exchange is over: whether the client closed it early. */
  readonly closed: Promise<"whole" | "early">;
}

/** One request and its answer. */
export interface Exchange {
  readonly request: RecordedRequest;
  readonly response: ServerResponse;
}

/** How a stream is played. */
export interface Playing {
  readonly latencyMs: number;
  readonly tokenIntervalMs: number;
  /** How long a stall lasts before the stream is closed, unfinished. Default for ever. */
  readonly stallMs?: number | undefined;
}

/** How a stream ends: properly, by a broken connection, or not at all. */
export type Ending = "end" | "cut" | "stall";

/** A stream to play. */
export interface Script {
  readonly pieces: readonly string[];
  /** Default a proper end. */
  readonly ending?: Ending;
  /** Headers at once, the pieces so much later. */
  readonly headersAheadMs?: number;
}

/** A running double. */
export class ModelDouble {
  /** Requests so far, oldest first; at least the last {@link REQUESTS_MAX}. */
  readonly requests: RecordedRequest[] = [];
  /** All requests ever, and the connections they came on. */
  requestCount = 0;
  connectionCount = 0;
  readonly #server: Server;
  readonly #firstSeenAtMs = new Map<string, number>();

  constructor(handle: (exchange: Exchange, double: ModelDouble) => void) {
    this.#server = createServer((request, response) => {
      const pieces: Buffer[] = [];
      request.on("data", (piece: Buffer) => pieces.push(piece));
      request.on("end", () => {
        const { method = "", url = "", headers } = request;
        const text = Buffer.concat(pieces).toString();
        const recorded = this.#record({ method, path: url, headers, text, response });
        handle({ request: recorded, response }, this);
      });
    });
    this.#server.keepAliveTimeout = 60_000;
    this.#server.on("connection", (socket) => {
      this.connectionCount += 1;
      socket.setNoDelay(true);
      // A peer that resets is what some tests are about.
      socket.on("error", () => {});
    });
  }

  /** `http://127.0.0.1:port`. */
  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** The latest request. Throws when there is none. */
  get lastRequest(): RecordedRequest {
    const last = this.requests.at(-1);
    if (!last) throw new Error("the double has had no request");
    return last;
  }

  /** The requests for a model, oldest first. */
  requestsFor(model: string): RecordedRequest[] {
    return this.requests.filter((request) => request.body?.model === model);
  }

  /** Milliseconds since this name was first asked for; 0 the first time. For faults that pass. */
  ageMs(name: string): number {
    const now = performance.now();
    const firstSeenAtMs = this.#firstSeenAtMs.get(name);
    if (firstSeenAtMs === undefined) this.#firstSeenAtMs.set(name, now);
    return firstSeenAtMs === undefined ? 0 : now - firstSeenAtMs;
  }

  /** Forgets all requests, and which faults have passed. */
  reset(): void {
    this.requests.length = 0;
    this.requestCount = 0;
    this.connectionCount = 0;
    this.#firstSeenAtMs.clear();
  }

  /** @param port default: a free one */
  async listen(port = 0): Promise<void> {
    await new Promise<void>((resolve) => this.#server.listen(port, "127.0.0.1", resolve));
  }

  /** Breaks all connections and stops. */
  async close(): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    this.#server.closeAllConnections();
    await closed;
  }

  #record(came: {
    method: string;
    path: string;
    headers: IncomingHttpHeaders;
    text: string;
    response: ServerResponse;
  }): RecordedRequest {
    const { text, response, ...rest } = came;
    const closed = new Promise<"whole" | "early">((resolve) => {
      response.once("close", () => {
        const early = !response.writableFinished;
        if (early) request.closedEarlyAtMs = performance.now();
        resolve(early ? "early" : "whole");
      });
    });
    const body = text === "" ? undefined : parse(text);
    const request: RecordedRequest = { ...rest, body, receivedAtMs: performance.now(), closed };
    this.requestCount += 1;
    this.requests.push(request);
    if (this.requests.length > 2 * REQUESTS_MAX) this.requests.splice(0, REQUESTS_MAX);
    return request;
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** The caller's key without its scheme, for errors that quote it as real providers do. */
export function bareKey({ headers }: RecordedRequest): string {
  return headers.authorization?.split(" ").at(-1) ?? "none";
}

/** Sends a body of JSON. */
export function sendJson(
  response: ServerResponse,
  status: number,
  body: unknown,
  headers: Record<string, string> = {},
): void {
  const text = JSON.stringify(body);
  response.writeHead(status, {
    "content-type": "application/json; charset=utf-8",
    "content-length": String(Buffer.byteLength(text)),
    ...headers,
  });
  response.end(text);
}

/**
 * Plays a stream: nothing, not even headers, for `latencyMs`; then the headers and the pieces, all at once or
 * `tokenIntervalMs` apart; then the ending. Stops when the client leaves.
 */
export function play(
  response: ServerResponse,
  headers: Record<string, string>,
  { pieces, ending = "end", headersAheadMs = 0 }: Script,
  { latencyMs, tokenIntervalMs, stallMs }: Playing,
): void {
  if (ending === "stall" && stallMs !== undefined) {
    const timer = setTimeout(() => response.end(), latencyMs + stallMs);
    response.once("close", () => clearTimeout(timer));
  }
  const start = () => {
    if (response.destroyed) return;
    if (!response.headersSent) response.writeHead(200, headers);
    if (tokenIntervalMs > 0) playSlowly(response, pieces, tokenIntervalMs, ending);
    else finish(response, pieces.join(""), ending);
  };
  if (headersAheadMs > 0) response.writeHead(200, headers).flushHeaders();
  const delayMs = Math.max(latencyMs, headersAheadMs);
  if (delayMs > 0) setTimeout(start, delayMs);
  else start();
}

function playSlowly(
  response: ServerResponse,
  pieces: readonly string[],
  tokenIntervalMs: number,
  ending: Ending,
): void {
  const [piece, ...rest] = pieces;
  if (response.destroyed) return;
  if (piece === undefined) {
    finish(response, "", ending);
    return;
  }
  response.write(piece);
  setTimeout(() => playSlowly(response, rest, tokenIntervalMs, ending), tokenIntervalMs);
}

function finish(response: ServerResponse, text: string, ending: Ending): void {
  if (ending === "end") {
    response.end(text);
    return;
  }
  if (text === "") response.flushHeaders();
  else response.write(text);
  // Once what was written has gone out: a cut is to be seen after the tokens before it.
  if (ending === "cut") setTimeout(() => response.socket?.destroy(), 5);
}
