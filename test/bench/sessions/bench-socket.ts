/** One connection of a session, as light as the bench needs it: a key in the header, and whoever looks at its frames. */
import { WebSocket } from "undici";

const OPEN_LIMIT_MS = 30_000;

/** A frame, as far as the bench reads it. */
export interface BenchFrame {
  inReplyTo?: string;
  accepted?: object;
  delta?: string;
  content?: object;
  error?: { code: string; message: string };
  metadata?: { sessionSequence?: number; session?: object };
}

/** See above. */
export interface BenchSocket {
  onFrame: (frame: BenchFrame) => void;
  readonly isOpen: boolean;
  send(frame: object | string): void;
  close(): void;
}

/** Begins a session; resolves at its first frame. */
export function openSocket(url: string, apiKey: string): Promise<BenchSocket> {
  const socket = new WebSocket(`${url.replace(/^http/, "ws")}/ws/v1/a2a/stream`, {
    protocols: ["parley.v1"],
    headers: { authorization: `Bearer ${apiKey}` },
  });
  const opened = Promise.withResolvers<BenchSocket>();
  const timer = setTimeout(() => opened.reject(new Error("no first frame")), OPEN_LIMIT_MS);
  const bench: BenchSocket = {
    onFrame: () => {},
    get isOpen() {
      return socket.readyState === WebSocket.OPEN;
    },
    send: (frame) => socket.send(typeof frame === "string" ? frame : JSON.stringify(frame)),
    close: () => socket.close(),
  };
  socket.addEventListener("message", ({ data }) => {
    if (data === "pong") return;
    const frame = JSON.parse(String(data)) as BenchFrame;
    if (!frame.metadata?.session) return bench.onFrame(frame);
    clearTimeout(timer);
    opened.resolve(bench);
  });
  socket.addEventListener("error", () => opened.reject(new Error("the connection was refused")));
  socket.addEventListener("close", () => opened.reject(new Error("closed before it was open")));
  return opened.promise;
}

/** Opened at the same time. */
const AT_ONCE = 32;

/** Where sockets are opened, with which keys, and when. */
export interface Opening {
  readonly url: string;
  readonly keys: readonly string[];
  /** Resolves when there is room for another one; false when there will be none. */
  roomForOne?(): Promise<boolean>;
  /** Told of each at once, which pings from then on. */
  onOpen?(socket: BenchSocket): void;
}

/** Many of them, as many as can be opened in the time; the keys take turns. */
export async function openSockets(
  { url, keys, roomForOne, onOpen }: Opening,
  count: number,
  limitMs = 60_000,
): Promise<BenchSocket[]> {
  const endsAt = performance.now() + limitMs;
  const sockets: BenchSocket[] = [];
  let begun = 0;
  const opener = async () => {
    while (begun < count && performance.now() < endsAt) {
      const socket = await openSocket(url, keys[begun++ % keys.length] ?? "");
      sockets.push(socket);
      onOpen?.(socket);
      if (roomForOne && !(await roomForOne())) return;
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, opener));
  return sockets;
}

/** Resolves with the next frame that is wanted. */
export function nextFrame(
  socket: BenchSocket,
  isWanted: (frame: BenchFrame) => boolean,
): Promise<BenchFrame> {
  return new Promise((resolve, reject) => {
    socket.onFrame = (frame) => {
      if (frame.error) reject(new Error(`${frame.error.code}: ${frame.error.message}`));
      if (isWanted(frame)) resolve(frame);
    };
  });
}
