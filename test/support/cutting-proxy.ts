/**
 * A TCP proxy that treats its connections badly, when it is told to: `drop` resets both ends, `half-close` ends what goes
 * to the client and still takes what comes from it, `stall` passes nothing on any more and says nothing either, `delay`
 * holds everything back for a while, and then resets.
 */

import type { AddressInfo } from "node:net";
import { connect, createServer, type Socket } from "node:net";

/** The ways to cut. */
export const CUTS = ["drop", "half-close", "stall", "delay"] as const;

/** One of {@link CUTS}. */
export type Cut = (typeof CUTS)[number];

const DELAY_MS = 40;

interface Pair {
  client: Socket;
  server: Socket;
}

/** A running proxy. */
export interface CuttingProxy {
  readonly url: string;
  /** Cuts every connection that is open. */
  cut(kind: Cut): void;
  stop(): Promise<void>;
}

/** Forwards to a port of loopback. */
export async function startCuttingProxy(targetUrl: string): Promise<CuttingProxy> {
  const pairs = new Set<Pair>();
  const port = Number(new URL(targetUrl).port);
  const listener = createServer({ allowHalfOpen: true, noDelay: true }, (client) => {
    const server = connect({ port, host: "127.0.0.1", allowHalfOpen: true, noDelay: true });
    const pair = { client, server };
    pairs.add(pair);
    for (const socket of [client, server]) {
      socket.on("error", () => destroy(pair));
      socket.on("close", () => {
        destroy(pair);
        pairs.delete(pair);
      });
    }
    client.pipe(server);
    server.pipe(client);
  });
  await new Promise<void>((resolve) => listener.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(listener.address() as AddressInfo).port}`,
    cut(kind) {
      for (const pair of pairs) cutPair(pair, kind);
    },
    async stop() {
      for (const pair of pairs) destroy(pair);
      await new Promise((resolve) => listener.close(resolve));
    },
  };
}

function cutPair(pair: Pair, kind: Cut): void {
  const { client, server } = pair;
  if (kind === "drop") {
    destroy(pair);
    return;
  }
  server.unpipe(client);
  if (kind === "half-close") {
    client.end();
    server.resume();
    return;
  }
  client.unpipe(server);
  if (kind === "delay") setTimeout(() => destroy(pair), DELAY_MS);
}

function destroy({ client, server }: Pair): void {
  client.resetAndDestroy();
  server.resetAndDestroy();
}
