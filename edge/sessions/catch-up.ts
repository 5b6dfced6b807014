/**
 * After an eviction in mid-answer: clients may have seen frames that were not saved. Their events are being made again
 * (`frame-log.ts`), and until that is done no other turn may get a number. It is done when every number that anybody
 * can have seen has been given again:
 *
 * - known: each client whose connection was open has said how far it is, or its connection is still there and knows;
 * - else: as many events have come as can have been unsaved, or the turn has ended.
 *
 * When neither happens in time, the numbers are given up.
 */
import type { Clients } from "./clients.ts";
import type { Connections } from "./connections.ts";
import type { FrameLog } from "./frame-log.ts";

/** What is known when an object comes back. */
export interface CatchUpStart {
  /** The last number that is saved. */
  readonly savedHead: number;
  /** The highest number that can have been given. */
  readonly seenAtMost: number;
  /** Clients whose connections were open, and are gone. */
  readonly unknownClients: readonly string[];
  /** The last number sent on each connection that is still there. */
  readonly positions: readonly number[];
}

/** See above. Holds no timer of its own. */
export class CatchUp {
  readonly done: Promise<void>;
  readonly #resolve: () => void;
  readonly #unknown: Set<string>;
  readonly #seenAtMost: number;
  #target: number;
  #isDone = false;

  constructor({ savedHead, seenAtMost, unknownClients, positions }: CatchUpStart) {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.done = promise;
    this.#resolve = resolve;
    this.#unknown = new Set(unknownClients);
    this.#seenAtMost = seenAtMost;
    this.#target = Math.max(savedHead, ...positions);
    this.reached(savedHead);
  }

  /** Whether numbers are still outstanding. */
  get isUnderWay(): boolean {
    return !this.#isDone;
  }

  /** The highest number that a client can name. */
  get highest(): number {
    return this.#isDone ? 0 : this.#unknown.size > 0 ? this.#seenAtMost : this.#target;
  }

  /** A client has come back and says what it has; `head` is where the numbers are. */
  learn(clientId: string, after: number, head: number): void {
    if (!this.#unknown.delete(clientId)) return;
    this.#target = Math.max(this.#target, after);
    this.reached(head);
  }

  /** Numbers have been given again up to `head`. */
  reached(head: number): void {
    const isKnown = this.#unknown.size === 0;
    if ((isKnown && head >= this.#target) || head >= this.#seenAtMost) this.end();
  }

  /** There is nothing more to wait for. */
  end(): void {
    this.#isDone = true;
    this.#resolve();
  }
}

/** What is known of a session whose object has just come back. */
export function beginCatchUp({
  log,
  clients,
  connections,
}: {
  readonly log: FrameLog;
  readonly clients: Clients;
  readonly connections: Connections;
}): CatchUp {
  const openIds = () => new Set(connections.all().map(({ clientId }) => clientId));
  const stillThere = openIds();
  const unknownClients = clients.connectedIds().filter((clientId) => !stillThere.has(clientId));
  const catchUp = new CatchUp({
    savedHead: log.head,
    seenAtMost: log.seenAtMost,
    unknownClients,
    positions: connections.all().map(({ cursor }) => cursor),
  });
  // Until then they count as connected, so that another eviction would not forget that they have seen something.
  void catchUp.done.then(() => {
    const open = openIds();
    for (const clientId of unknownClients) if (!open.has(clientId)) clients.disconnected(clientId);
  });
  return catchUp;
}
