/**
 * A session's dealings with mailboxes: what it sends to peers, what becomes of that, and, when its caller is a peer
 * itself, what is addressed to it. All of these frames can be had from nowhere else, so they are saved before they are
 * sent; each comes once, however often a mailbox says it.
 */
import type { SqlStorage } from "@cloudflare/workers-types";
import { envelopeToJson } from "../../core/messages/envelope.ts";
import type { A2AMessage } from "../../proto/gen/parley/v1/agent_service_pb.js";
import { endsTask } from "../backend/ends-task.ts";
import type { Composition } from "../composition.ts";
import { type Delivered, mailboxOf } from "../peers/mailbox-rpc.ts";
import { unwrap } from "../peers/peer-backend.ts";
import { readPeerEvent } from "../peers/peer-task.ts";
import { handedOn } from "../peers/routed-backend.ts";
import { findPeer } from "../routing/find-peer.ts";
import { type Route, routeToAgent } from "../routing/route-message.ts";
import type { AdmittedTurn } from "./admit-turn.ts";
import type { CatchUp } from "./catch-up.ts";
import type { Frame } from "./frame.ts";
import type { FrameLog } from "./frame-log.ts";
import type { SessionOwner } from "./session-owner.ts";
import type { TurnStore } from "./turn-store.ts";

/** In place of a delivery's number: it has been acknowledged, and the mailbox has yet to say that it knows. */
const ACKNOWLEDGED = 0;

/** What they touch. */
export interface PeerTurnsOptions {
  readonly env: object;
  readonly sql: SqlStorage;
  readonly sessionId: string;
  readonly log: FrameLog;
  readonly store: TurnStore;
  readonly catchUp: CatchUp;
  readonly composition: Pick<Composition, "directory" | "now">;
  /** Whether anybody is connected to this session. */
  isConnected(): boolean;
  /** Sends a frame that is saved. */
  send(frame: Frame): void;
}

/** See above. */
export class PeerTurns {
  readonly #options: PeerTurnsOptions;
  #isAttached = false;
  #said: Promise<void> = Promise.resolve();

  constructor(options: PeerTurnsOptions) {
    this.#options = options;
  }

  /**
   * Sends a message to a peer, or a peer's reply to who asked. False when the message is for somebody else.
   *
   * @throws ParleyError when the mailbox refuses
   */
  async send(
    message: A2AMessage,
    { text, fingerprint, route }: AdmittedTurn,
    owner: SessionOwner,
  ): Promise<boolean> {
    const { tenantId, subject } = owner.principal;
    const target = await this.#handOn(message, { text, route }, owner);
    if (target === undefined) {
      await this.#append([handedOn(message)], fingerprint);
      return true;
    }
    if (target.agent.config.kind !== "peer") return false;
    const { sessionId, env } = this.#options;
    const peerId = message.receiverId;
    const ttlMs = target.agent.config.messageTtlSeconds * 1_000;
    const accepted = await mailboxOf(env, tenantId, peerId).accept({
      ...{ tenantId, peerId, text, subject, sessionId, ttlMs },
    });
    await this.#append(unwrap(accepted).events.map(readPeerEvent), fingerprint);
    return true;
  }

  /** A mailbox tells what has become of a message. */
  tell(events: readonly string[]): Promise<void> {
    return this.#append(events.map(readPeerEvent), "");
  }

  /** The caller's mailbox hands messages over, in order. */
  async deliver(items: readonly Delivered[]): Promise<void> {
    const { sql, log, catchUp, send } = this.#options;
    await catchUp.done;
    for (const { sequence, text } of items) {
      const known = sql.exec<{ last: number }>("SELECT last FROM deliveries WHERE sequence = ?", sequence);
      const [row] = known.toArray();
      if (row && (row.last === ACKNOWLEDGED || row.last >= log.keptFrom)) continue;
      const frame = log.appendSaved({ envelope: envelopeToJson(readPeerEvent(text)) });
      sql.exec("INSERT OR REPLACE INTO deliveries VALUES (?, ?)", sequence, frame.last);
      send(frame);
    }
  }

  /** A client has everything up to a number; the mailbox can let go of that. */
  async acknowledged(through: number, { principal }: SessionOwner): Promise<void> {
    const { sql, env, log, sessionId } = this.#options;
    if (sql.exec("SELECT 1 FROM deliveries LIMIT 1").toArray().length === 0) return;
    const { tenantId, subject } = principal;
    const mailbox = mailboxOf(env, tenantId, subject);
    sql.exec(
      "UPDATE deliveries SET last = ? WHERE last <= ? AND last >= ?",
      ACKNOWLEDGED,
      through,
      log.keptFrom,
    );
    // What was dropped before anybody acknowledged it may never have been read: it is handed over once more.
    const dropped = this.#deliveries("last > ? AND last <= ?", ACKNOWLEDGED, through);
    for (const sequence of dropped) sql.exec("DELETE FROM deliveries WHERE sequence = ?", sequence);
    const acknowledged = this.#deliveries("last = ?", ACKNOWLEDGED);
    if (acknowledged.length > 0) await mailbox.acknowledge(acknowledged);
    for (const sequence of acknowledged) {
      sql.exec("DELETE FROM deliveries WHERE sequence = ? AND last = ?", sequence, ACKNOWLEDGED);
    }
    if (dropped.length > 0) await mailbox.attach(tenantId, subject, sessionId);
  }

  #deliveries(condition: string, ...values: number[]): number[] {
    const rows = this.#options.sql.exec<{ sequence: number }>(
      `SELECT sequence FROM deliveries WHERE ${condition}`,
      ...values,
    );
    return rows.toArray().map(({ sequence }) => sequence);
  }

  /** Whether its mailbox knows of this session, as far as is known; false for callers that are no peers. */
  get isAttached(): boolean {
    return this.#isAttached;
  }

  /**
   * When the caller is a peer, tells its mailbox whether it can be reached here. One word after the other, and each as
   * things are when it is its turn: a connection that is gone and the next one can be a millisecond apart.
   */
  reachable(owner: SessionOwner): Promise<void> {
    const said = this.#said.then(() => this.#sayReachable(owner));
    this.#said = said.catch(() => {});
    return said;
  }

  async #sayReachable({ principal }: SessionOwner): Promise<void> {
    const { env, composition, sessionId } = this.#options;
    const { tenantId, subject } = principal;
    if (!(await findPeer(composition.directory, tenantId, subject))) return;
    const mailbox = mailboxOf(env, tenantId, subject);
    this.#isAttached = false;
    if (!this.#options.isConnected()) return mailbox.detach(sessionId);
    await mailbox.attach(tenantId, subject, sessionId);
    this.#isAttached = true;
  }

  /** Undefined when it was a reply, which is with who asked by now; else who the message is for. */
  async #handOn(
    message: A2AMessage,
    { text, route }: Pick<AdmittedTurn, "text" | "route">,
    { principal }: SessionOwner,
  ): Promise<Route | undefined> {
    if (route.target !== "reply") return route;
    const { env, composition } = this.#options;
    const { tenantId, subject } = principal;
    const mailbox = mailboxOf(env, tenantId, subject);
    const { taken } = unwrap(await mailbox.reply({ tenantId, peerId: subject, text, subject, ttlMs: 0 }));
    if (taken) return undefined;
    const { signal } = new AbortController();
    return routeToAgent(composition.directory, tenantId, message.receiverId, signal);
  }

  async #append(events: readonly A2AMessage[], fingerprint: string): Promise<void> {
    const { log, store, catchUp, composition, send } = this.#options;
    await catchUp.done;
    for (const event of events) {
      const { inReplyTo: messageId, contextId, sequence } = event;
      store.addTold({ messageId, contextId, startedAtMs: composition.now() }, fingerprint);
      if (sequence > 0 && sequence <= store.taskSequenceOf(messageId)) continue;
      const frame = log.appendSaved({ envelope: envelopeToJson(event) });
      store.progress(messageId, [frame]);
      if (endsTask(event)) store.end(messageId);
      send(frame);
    }
  }
}
