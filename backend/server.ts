/**
 * One port for gRPC (HTTP/2 without TLS), gRPC-Web and Connect (HTTP/1.1): looks at the first bytes of each
 * connection and hands it to the right server. What is served is not its business.
 */
import http from "node:http";
import http2 from "node:http2";
import net from "node:net";

/** Requests handled by either server. */
export type RequestHandler = (
  request: http.IncomingMessage | http2.Http2ServerRequest,
  response: http.ServerResponse | http2.Http2ServerResponse,
) => void;

/** A listening server. */
export interface BackendServer {
  readonly port: number;
  /** Stops taking connections and asks the open ones to end; what is in flight goes on. */
  stopAccepting(): void;
  /** Resolves when every connection has ended. */
  readonly closed: Promise<void>;
  /** Ends every connection at once. */
  destroy(): void;
}

/** First bytes of every HTTP/2 connection (RFC 9113, section 3.4); no HTTP/1.1 method begins so. */
const HTTP2_PREFACE = Buffer.from("PRI");
/** A connection that says nothing for this long is not a client. */
const FIRST_BYTES_TIMEOUT_MS = 10_000;
/** Longer than a Worker or proxy keeps idle connections, so that they close first and never meet a closing one. */
const KEEP_ALIVE_TIMEOUT_MS = 75_000;
const HEADERS_TIMEOUT_MS = 10_000;
/** For the request's body; answers may stream for longer. */
const REQUEST_TIMEOUT_MS = 60_000;
/** Open connections, of both protocols; a client of ours needs one or a few. */
const CONNECTIONS_MAX = 4_096;
/** An HTTP/2 connection without a stream for this long is closed. */
const SESSION_IDLE_TIMEOUT_MS = 300_000;
/** Of a request that was answered before its end; past it the connection is cut. */
const UNREAD_BYTES_MAX = 8 * 1024 * 1024;
/** Streams per HTTP/2 connection; a client with more opens another connection. */
const CONCURRENT_STREAMS_MAX = 256;

/** Listens on a host and port (0 for any free one). */
export async function listen(handler: RequestHandler, host: string, port: number): Promise<BackendServer> {
  const http1Server = http.createServer(
    {
      keepAliveTimeout: KEEP_ALIVE_TIMEOUT_MS,
      headersTimeout: HEADERS_TIMEOUT_MS,
      requestTimeout: REQUEST_TIMEOUT_MS,
    },
    (request, response) => {
      drainUnread(request, response);
      handler(request, response);
    },
  );
  const http2Server = http2.createServer(
    { settings: { maxConcurrentStreams: CONCURRENT_STREAMS_MAX } },
    handler,
  );
  // The HTTP/1.1 server never listens itself; Node arms its header and request time limits on this event.
  http1Server.emit("listening");

  const sockets = new Set<net.Socket>();
  const sessions = new Set<http2.ServerHttp2Session>();
  http2Server.on("session", (session) => {
    sessions.add(session);
    session.on("close", () => sessions.delete(session));
    session.on("error", () => session.destroy());
    session.setTimeout(SESSION_IDLE_TIMEOUT_MS, () => session.close());
  });

  const listener = net.createServer({ noDelay: true }, (socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
    socket.on("error", () => socket.destroy());
    sniff(socket, (isHttp2) => (isHttp2 ? http2Server : http1Server).emit("connection", socket));
  });
  listener.maxConnections = CONNECTIONS_MAX;
  await new Promise<void>((resolve, reject) => {
    listener.once("error", reject);
    listener.listen({ host, port }, resolve);
  });

  return {
    port: (listener.address() as net.AddressInfo).port,
    closed: new Promise((resolve) => listener.on("close", resolve)),
    stopAccepting() {
      listener.close();
      for (const session of sessions) session.close();
      http1Server.closeIdleConnections();
    },
    destroy() {
      listener.close();
      for (const session of sessions) session.destroy();
      for (const socket of sockets) socket.destroy();
    },
  };
}

/**
 * Reads on after an answer that did not wait for the whole request, up to a bound: otherwise the rest of it stands
 * in the way of the connection's next request, which hangs. Connect leaves its loop over the body early, and
 * leaving destroys the request, after which Node reads nothing more; so the loop is given an iterator that does not.
 */
function drainUnread(request: http.IncomingMessage, response: http.ServerResponse): void {
  const iterator = () => request.iterator({ destroyOnReturn: false });
  Object.defineProperty(request, Symbol.asyncIterator, { value: iterator });
  response.on("finish", () => {
    if (request.readableEnded) return;
    let drainedBytes = 0;
    request.on("data", (chunk: Buffer) => {
      drainedBytes += chunk.byteLength;
      if (drainedBytes > UNREAD_BYTES_MAX) request.destroy();
    });
    request.resume();
  });
}

/** Reads just enough of a connection to tell the protocol, and puts it back. */
function sniff(socket: net.Socket, found: (isHttp2: boolean) => void): void {
  const timer = setTimeout(() => socket.destroy(), FIRST_BYTES_TIMEOUT_MS);
  let head = Buffer.alloc(0);
  const onReadable = () => {
    const chunk: Buffer | null = socket.read();
    if (!chunk) return;
    head = Buffer.concat([head, chunk]);
    const decided =
      head.length >= HTTP2_PREFACE.length || !HTTP2_PREFACE.subarray(0, head.length).equals(head);
    if (!decided) return;
    clearTimeout(timer);
    socket.off("readable", onReadable);
    socket.unshift(head);
    found(head.subarray(0, HTTP2_PREFACE.length).equals(HTTP2_PREFACE));
  };
  socket.on("readable", onReadable);
  socket.on("close", () => clearTimeout(timer));
}
