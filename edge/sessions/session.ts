/**
 * One session while its object is in memory: puts together the log of frames, the turns, the connections and the
 * clients, and decides when the object is needed next. All of it can be made again from storage at any moment.
 */
import type { DurableObjectState } from "@cloudflare/workers-types";
import { ParleyError } from "../../core/errors/parley-error.ts";
import type { Composition } from "../composition.ts";
import { beginCatchUp, type CatchUp } from "./catch-up.ts";
import type { ClientFrame } from "./client-frame.ts";
import { Clients } from "./clients.ts";
import type { CloseCause } from "./close-codes.ts";
import type { Connection } from "./connection.ts";
import { Connections } from "./connections.ts";
import { errorFrame } from "./error-frame.ts";
import type { Frame, FrameBody } from "./frame.ts";
import { FrameLog } from "./frame-log.ts";
import { PeerTurns } from "./peer-turns.ts";
import type { RunningTurn } from "./running-turn.ts";
import type { SessionTimings } from "./session-limits.ts";
import { recheckOwner, type SessionOwner } from "./session-owner.ts";
import { readSessionRecord, saveOwner, touchSession } from "./session-record.ts";
import { TurnStore, type TurnSummary } from "./turn-store.ts";
import { Turns } from "./turns.ts";

/** What a session is made of. */
export interface SessionOptions {
  readonly ctx: DurableObjectState;
  /** The object's bindings. */
  readonly env: object;
  readonly composition: Composition;
  readonly timings: SessionTimings;
  /** A turn has ended; for the log. */
  onTurnEnd(session: Session, turn: RunningTurn): void;
  /** The gateway has closed a connection; for the log. */
  onClose(session: Session, cause: CloseCause): void;
  /** Nobody is connected any more. */
  onDeserted(session: Session): void;
}

/** See above. */
export class Session {
  readonly id: string;
  readonly log: FrameLog;
  readonly turns: Turns;
  readonly connections: Connections;
  readonly clients: Clients;
  readonly catchUp: CatchUp;
  readonly peers: PeerTurns;
  readonly #options: SessionOptions;
  readonly #store: TurnStore;
  #owner: SessionOwner;
  #saveTimer: ReturnType<typeof setTimeout> | undefined;
  #alarmAtMs = Number.POSITIVE_INFINITY;
  #hasEnded = false;

  /** Its tables must be there. Takes up the turns that an eviction cut. */
  constructor(options: SessionOptions) {
    const { ctx, composition, timings } = options;
    const { sql } = ctx.storage;
    const { now } = composition;
    const record = readSessionRecord(sql);
    this.#options = options;
    this.id = record.sessionId;
    this.#owner = record.owner;
    this.#store = new TurnStore(sql);
    this.log = new FrameLog({
      sql,
      now,
      frameAgeMs: timings.frameAgeMs,
      onSave: (owner, frames) => this.#store.progress(owner, frames),
      tasksAmong: (from, to) => this.tasksAmong(from, to),
    });
    this.clients = new Clients(sql, now, timings);
    this.connections = new Connections({
      ctx,
      now,
      timings,
      log: this.log,
      onClose: (cause) => options.onClose(this, cause),
      onGone: (connection) => this.#onGone(connection),
    });
    this.catchUp = this.#beginCatchUp();
    this.peers = new PeerTurns({
      env: options.env,
      sql,
      sessionId: this.id,
      log: this.log,
      store: this.#store,
      catchUp: this.catchUp,
      composition,
      isConnected: () => this.connections.count > 0,
      send: (frame) => this.#send(frame),
    });
    this.turns = new Turns({
      log: this.log,
      store: this.#store,
      catchUp: this.catchUp,
      composition,
      timings,
      inBackground: (work) => this.#inBackground(work),
      sendToPeer: (message, admitted, owner) => this.peers.send(message, admitted, owner),
      onFrame: (turn, body, isLast) => this.#onFrame(turn, body, isLast),
    });
    this.turns.restore(record.owner);
    if (this.turns.count > 0) this.scheduleAlarm();
  }

  get owner(): SessionOwner {
    return this.#owner;
  }

  /** Handles a client's frame; what is wrong with it is told to the client alone. */
  async handle(connection: Connection, frame: ClientFrame): Promise<void> {
    const { ack, message, requestId } = frame;
    try {
      if (ack !== undefined) this.#acknowledge(connection, ack);
      if (message === undefined) return;
      if (message.body.case === "cancel") return await this.turns.cancel(message);
      const outcome = await this.turns.take(message, frame, () => this.recheckOwner());
      this.scheduleAlarm();
      if (outcome.taken) return;
      if (outcome.before) this.#tellAgain(connection, outcome.before);
      else this.end("credentialEnded");
    } catch (cause) {
      connection.sendUnnumbered(errorFrame(cause as ParleyError, { requestId, message }));
    }
  }

  /** The owner as of now; undefined when its credential is not good any more. */
  async recheckOwner(): Promise<SessionOwner | undefined> {
    const { directory, now } = this.#options.composition;
    const owner = await recheckOwner(this.#owner, directory, now());
    if (owner && JSON.stringify(owner) !== JSON.stringify(this.#owner)) this.adopt(owner);
    return owner;
  }

  /** The same caller has come with another credential, which the session rests on from now on. */
  adopt(owner: SessionOwner): void {
    this.#owner = owner;
    saveOwner(this.#options.ctx.storage.sql, owner);
  }

  /** The tasks with events among some numbers. */
  tasksAmong(from: number, to: number): TurnSummary[] {
    return this.#store.among(from, to);
  }

  /** A client is connected, from a number on. */
  connected(connection: Connection): void {
    this.catchUp.learn(connection.clientId, connection.cursor, this.log.head);
    touchSession(this.#options.ctx.storage.sql, this.#options.composition.now());
    this.scheduleAlarm();
    this.connections.catchUp(connection);
    this.#inBackground(this.peers.reachable(this.#owner));
  }

  /** What the object's alarm does: it looks after everything that time changes. False when the session is over. */
  async onAlarm(): Promise<boolean> {
    this.#alarmAtMs = Number.POSITIVE_INFINITY;
    const { composition, timings, ctx } = this.#options;
    this.connections.reapSilent();
    if (this.connections.count > 0 && !this.peers.isAttached) {
      this.#inBackground(this.peers.reachable(this.#owner));
    }
    this.log.dropOlderThan(composition.now() - timings.frameAgeMs);
    const { expiresAtMs = Number.POSITIVE_INFINITY } = this.#owner.principal;
    if (expiresAtMs <= composition.now()) this.end("credentialEnded");
    const { seenAtMs } = readSessionRecord(ctx.storage.sql);
    const isDeserted = this.connections.count === 0 && this.turns.count === 0;
    if (isDeserted && seenAtMs + timings.idleMs <= composition.now()) return false;
    this.scheduleAlarm();
    return true;
  }

  /** Sees to it that the object is there when it is needed next. An alarm that is set earlier looks again itself. */
  scheduleAlarm(putOff = false): void {
    if (this.#hasEnded) return;
    const { ctx, composition, timings } = this.#options;
    const nowMs = composition.now();
    const { expiresAtMs = Number.POSITIVE_INFINITY } = this.#owner.principal;
    const isConnected = this.connections.count > 0;
    const dueAtMs = Math.min(
      this.turns.count > 0 ? nowMs + timings.recoverAfterMs : Number.POSITIVE_INFINITY,
      this.connections.nextReapAtMs() ?? nowMs + timings.idleMs,
      isConnected ? expiresAtMs : Number.POSITIVE_INFINITY,
    );
    if (dueAtMs >= this.#alarmAtMs && !putOff) return;
    this.#alarmAtMs = dueAtMs;
    void ctx.storage.setAlarm(dueAtMs);
  }

  /** Ends connections and turns, for a cause; the session itself can be come back to until it expires. */
  end(cause: CloseCause): void {
    this.connections.closeAll(cause);
    if (cause === "credentialEnded") return;
    this.#hasEnded = true;
    this.turns.stop();
    clearTimeout(this.#saveTimer);
  }

  /** Keeps the object until work is done whose failure is nobody's: it is done again at the next occasion. */
  #inBackground(work: Promise<unknown>): void {
    this.#options.ctx.waitUntil(work.catch(() => {}));
  }

  #acknowledge({ clientId, cursor }: Connection, through: number): void {
    if (through > cursor) {
      throw new ParleyError(
        "invalid_argument",
        `metadata.ack is ${through}, and only ${cursor} has been sent on this connection`,
      );
    }
    this.clients.acknowledge(clientId, through);
    this.#inBackground(this.peers.acknowledged(through, this.#owner));
    // While a turn goes on, the next save is near, and costs no more with it.
    if (this.#saveTimer === undefined) this.#dropAcknowledged();
  }

  #dropAcknowledged(): void {
    if (!this.clients.writeAcknowledged()) return;
    const byAll = this.clients.acknowledgedByAll();
    if (byAll !== undefined) this.log.drop(byAll);
  }

  /** A message that was taken before: its events come by themselves, unless the client has had the first of them. */
  #tellAgain(connection: Connection, { messageId, taskId, contextId }: TurnSummary): void {
    if (taskId === "") return;
    const envelope = { inReplyTo: messageId, taskId, contextId, metadata: { duplicate: true }, accepted: {} };
    connection.sendUnnumbered(JSON.stringify(envelope));
  }

  #onFrame(turn: RunningTurn, body: FrameBody, isLast: boolean): void {
    if (this.#hasEnded) return;
    if (this.catchUp.isUnderWay && ("restart" in body.envelope || (isLast && !body.envelope["sequence"]))) {
      // The backend tells another story than the one that clients may have seen.
      this.#giveUpNumbers();
    }
    this.#send(this.log.append(turn.id, body));
    if (isLast) this.#onLastFrame(turn);
    // While the model thinks, there is time for it; from here on the task itself can be asked for.
    else if ("accepted" in body.envelope) this.#save();
    else this.#saveTimer ??= setTimeout(() => this.#save(), this.#options.timings.saveAfterMs);
  }

  #onLastFrame(turn: RunningTurn): void {
    this.#save();
    this.#store.end(turn.id);
    if (this.log.owner === turn.id) this.log.own(undefined);
    this.catchUp.end();
    // The alarm for turns that an eviction may cut would wake the object for nothing.
    if (this.turns.count === 0) this.scheduleAlarm(true);
    this.#options.onTurnEnd(this, turn);
  }

  #send(frame: Frame): void {
    this.connections.broadcast(frame);
    this.catchUp.reached(this.log.head);
  }

  #save(): void {
    clearTimeout(this.#saveTimer);
    this.#saveTimer = undefined;
    this.log.save();
    this.#dropAcknowledged();
  }

  #onGone({ clientId, cursor }: Connection): void {
    if (this.#hasEnded) return;
    // What this client has seen must not be forgotten with it.
    this.#save();
    if (cursor <= this.log.head) this.clients.disconnected(clientId);
    touchSession(this.#options.ctx.storage.sql, this.#options.composition.now());
    this.scheduleAlarm();
    if (this.connections.count > 0) return;
    this.#inBackground(this.peers.reachable(this.#owner));
    this.#options.onDeserted(this);
  }

  #beginCatchUp(): CatchUp {
    const catchUp = beginCatchUp(this);
    if (!catchUp.isUnderWay) return catchUp;
    const timer = setTimeout(() => this.#giveUpNumbers(), this.#options.timings.catchUpMs);
    void catchUp.done.then(() => clearTimeout(timer));
    return catchUp;
  }

  #giveUpNumbers(): void {
    if (!this.catchUp.isUnderWay) return;
    const [from, to] = [this.log.head + 1, this.catchUp.highest];
    const { owner } = this.log;
    const tasks = owner === undefined ? [] : this.#store.summaryOf(owner);
    const frame = this.log.skip(to, {
      envelope: { metadata: { missed: { from, to, tasks } } },
    });
    this.catchUp.end();
    if (frame) this.connections.broadcast(frame);
  }
}
