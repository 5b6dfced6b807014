/**
 * The client library of Parley: messages by HTTP, by server-sent events, and over a session. It depends on nothing and
 * runs in browsers, in Node 22 and newer, and in Workers. Documented in `docs/client.md`.
 */
import { aborted, ClientError } from "./client-error.ts";
import { type Credential, HttpCalls } from "./http-calls.ts";
import type { IncomingMessage, OutgoingMessage } from "./message.ts";
import { Session, type SessionListeners, type TicketProvider } from "./session.ts";
import { Turn } from "./turn.ts";

/** What a client is made with. Give a `credential`, a `ticketProvider`, or both. */
export interface ClientOptions {
  /** Origin of the gateway, `https://gateway.example`. */
  readonly url: string;
  /** An API key or a token, or a function that has one; never in a page. */
  readonly credential?: Credential;
  /** Where a page has its tickets from: your server, which holds the credential. */
  readonly ticketProvider?: TicketProvider;
  /** Default: the platform's. */
  readonly fetch?: typeof fetch;
  /** Default: the platform's. */
  readonly WebSocket?: typeof WebSocket;
  /** Jitter, from 0 to 1. Default: `Math.random`. */
  readonly random?: () => number;
}

/** What every call can be given. */
export interface CallOptions {
  readonly signal?: AbortSignal;
}

/** Parley, as a program sees it. Every failure is a {@link ClientError}. */
export interface Client {
  /** The whole reply. */
  send(message: OutgoingMessage, options?: CallOptions): Promise<IncomingMessage>;
  /** The reply as it is made; goes on by itself when the connection breaks. */
  stream(message: OutgoingMessage, options?: CallOptions): Turn;
  /** A session; it connects, and keeps connected, by itself. */
  connect(options?: SessionListeners & CallOptions & { readonly sessionId?: string }): Session;
}

/** Makes a client; nothing is sent yet. */
export function createClient(options: ClientOptions): Client {
  const { url, credential, ticketProvider, random = Math.random } = options;
  const fetchOnce = options.fetch ?? globalThis.fetch.bind(globalThis);
  const origin = new URL(url).origin;
  const http = new HttpCalls({ url: origin, credential, fetch: fetchOnce, random });
  return {
    async send(message, { signal } = {}) {
      return http.send({ messageId: crypto.randomUUID(), ...message }, signal);
    },
    stream: (message, { signal } = {}) => stream(http, message, signal),
    connect(listeners = {}) {
      const provider = ticketProvider ?? ((sessionId, signal) => http.admit(sessionId, signal));
      const Socket = options.WebSocket ?? globalThis.WebSocket;
      return new Session({
        ...listeners,
        url: origin,
        http,
        ticketProvider: provider,
        WebSocket: Socket,
        random,
      });
    },
  };
}

function stream(http: HttpCalls, message: OutgoingMessage, signal?: AbortSignal): Turn {
  if (signal?.aborted) throw aborted(signal);
  const messageId = message.messageId ?? crypto.randomUUID();
  const controller = new AbortController();
  const cancel = (turn: Turn, reason: string) => {
    // Without a task there is nothing to stop yet but the request.
    if (turn.taskId !== undefined) http.cancel(turn.taskId, reason).catch((error) => turn.fail(error));
    else turn.fail(new ClientError({ code: "canceled", message: reason }));
  };
  const turn = new Turn(messageId, { cancel }, signal);
  void http.follow(turn, controller.signal, { ...message, messageId });
  turn.reply.catch(() => {}).finally(() => controller.abort());
  return turn;
}
