/**
 * The Durable Object of a peer's mailbox: one for each peer, so that its messages have one order. It talks to the
 * sessions of the peer and of senders, and wakes by alarm when something expires or has to be tried again.
 */

import { DurableObject } from "cloudflare:workers";
import type { DurableObjectState } from "@cloudflare/workers-types";
import { toParleyError } from "../../core/errors/parley-error.ts";
import { sessionOf } from "../sessions/caller-sessions.ts";
import { toRefusal } from "../sessions/opening.ts";
import { Mailbox } from "./mailbox.ts";
import {
  ENDED_KEPT_MS,
  FOLLOW_MS,
  RETRY_MS,
  SESSIONS_ATTACHED_MAX,
  UNACKNOWLEDGED_CHARACTERS_MAX,
  UNACKNOWLEDGED_MAX,
} from "./mailbox-limits.ts";
import type { FollowedTask, MailboxMessage, MailboxRpc, TaskOfCaller } from "./mailbox-rpc.ts";
import { type MailboxEntry, MailboxStore } from "./mailbox-store.ts";

/** Entries whose senders are told in one step. */
const TOLD_STEP = 50;

/** See above. */
export class MailboxObject extends DurableObject<object> implements MailboxRpc {
  readonly #store: MailboxStore;
  readonly #mailbox: Mailbox;
  /** Who waits for events, by task. */
  readonly #waiting = new Map<string, Set<() => void>>();
  /** One at a time, as order matters. */
  #handing: Promise<void> | undefined;
  #telling: Promise<void> | undefined;

  constructor(ctx: DurableObjectState, env: object) {
    super(ctx, env);
    this.#store = new MailboxStore(ctx.storage.sql);
    this.#mailbox = new Mailbox({
      store: this.#store,
      now: Date.now,
      onEvent: (taskId) => {
        for (const wake of this.#waiting.get(taskId) ?? []) wake();
      },
    });
  }

  async accept(message: MailboxMessage) {
    return refusing(async () => {
      this.#store.create();
      const outcome = await this.#mailbox.accept(message);
      await this.#look();
      return outcome;
    });
  }

  async reply(message: MailboxMessage) {
    return refusing(async () => {
      const taken = this.#mailbox.reply(message);
      await this.#look();
      return { taken };
    });
  }

  async follow(task: FollowedTask) {
    return refusing(async () => {
      const now = this.#mailbox.events(task, task.after);
      if (now.events.length > 0 || now.ended || task.waitMs <= 0) return now;
      await this.#nextEvent(task);
      return this.#mailbox.events(task, task.after);
    });
  }

  async cancel(task: TaskOfCaller) {
    return refusing(async () => {
      const outcome = this.#mailbox.cancel(task);
      await this.#look();
      return outcome;
    });
  }

  async attach(tenantId: string, peerId: string, sessionId: string): Promise<void> {
    this.#store.create();
    const { attachment = 0, sessionIds = [] } = this.#store.state() ?? {};
    const attached = [...sessionIds.filter((id) => id !== sessionId), sessionId].slice(
      -SESSIONS_ATTACHED_MAX,
    );
    this.#store.saveState({ tenantId, peerId, sessionIds: attached, attachment: attachment + 1 });
    await this.#look();
  }

  async detach(sessionId: string): Promise<void> {
    if (!this.#store.state()?.sessionIds.includes(sessionId)) return;
    this.#forget(sessionId);
    await this.#look();
  }

  async acknowledge(sequences: readonly number[]): Promise<void> {
    for (const sequence of sequences) this.#mailbox.acknowledge(sequence);
    await this.#look();
  }

  async alarm(): Promise<void> {
    this.#mailbox.expire();
    if (this.#store.exists) this.#mailbox.forget();
    if (this.#store.isEmpty() && !this.#store.state()?.sessionIds.length) {
      await this.ctx.storage.deleteAlarm();
      await this.ctx.storage.deleteAll();
      this.ctx.abort("the mailbox is empty");
      return;
    }
    await this.#look();
  }

  /** After any change: hands messages on, tells senders, and sets the alarm. */
  async #look(): Promise<void> {
    if (!this.#store.exists) return;
    this.#handing ??= this.#hand().finally(() => {
      this.#handing = undefined;
    });
    this.#telling ??= this.#tell().finally(() => {
      this.#telling = undefined;
    });
    this.ctx.waitUntil(Promise.allSettled([this.#handing, this.#telling]));
    const nextMs = Math.min(this.#store.nextExpiryMs() ?? Infinity, Date.now() + ENDED_KEPT_MS);
    await this.#alarmAt(nextMs);
  }

  async #alarmAt(atMs: number): Promise<void> {
    const setMs = await this.ctx.storage.getAlarm();
    if (setMs === null || atMs < setMs) await this.ctx.storage.setAlarm(Math.max(atMs, Date.now()));
  }

  /** Hands what waits to the peer's session, in order, as long as there is something new to hand. */
  async #hand(): Promise<void> {
    while (true) {
      const { tenantId = "", sessionIds = [], attachment = 0 } = this.#store.state() ?? {};
      const sessionId = sessionIds.at(-1);
      if (sessionId === undefined) return;
      const due = handedAtOnce(this.#store.waiting(UNACKNOWLEDGED_MAX)).filter(
        ({ handedTo }) => handedTo < attachment,
      );
      if (due.length === 0) return;
      const items = due.map(({ sequence, text }) => ({ sequence, text }));
      try {
        const isTaken = await sessionOf(this.env, tenantId, sessionId).deliver(items);
        if (!isTaken) this.#forget(sessionId);
        else for (const { sequence } of items) this.#store.handed(sequence, attachment);
      } catch {
        return this.#alarmAt(Date.now() + RETRY_MS);
      }
    }
  }

  /** A session is gone; what only it has been handed goes to another one, if there is one. */
  #forget(sessionId: string): void {
    const state = this.#store.state();
    if (!state) return;
    const sessionIds = state.sessionIds.filter((id) => id !== sessionId);
    this.#store.saveState({ ...state, sessionIds, attachment: state.attachment + 1 });
  }

  /** Tells senders' sessions what has become of their messages. */
  async #tell(): Promise<void> {
    while (true) {
      const { tenantId = "" } = this.#store.state() ?? {};
      const untold = this.#store.untold(TOLD_STEP);
      if (untold.length === 0) return;
      let failures = 0;
      for (const { sequence, sessionId, events, told } of untold) {
        try {
          const isTaken = await sessionOf(this.env, tenantId, sessionId).tell(events.slice(told));
          this.#store.told(sequence, isTaken ? events.length : told, isTaken ? sessionId : "");
        } catch {
          // One session that cannot be told must not keep the others waiting.
          failures += 1;
        }
      }
      if (failures > 0) return this.#alarmAt(Date.now() + RETRY_MS);
    }
  }

  /** Resolves with the next event of a task, or after a while without one. */
  async #nextEvent({ taskId, waitMs }: FollowedTask): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, Math.min(waitMs, FOLLOW_MS));
    const waiters = this.#waiting.get(taskId) ?? new Set();
    this.#waiting.set(taskId, waiters.add(resolve));
    await promise;
    clearTimeout(timer);
    waiters.delete(resolve);
    if (waiters.size === 0) this.#waiting.delete(taskId);
  }
}

/** The first messages that wait, as many as may be unacknowledged together. */
function handedAtOnce(waiting: readonly MailboxEntry[]): MailboxEntry[] {
  let characters = 0;
  return waiting.filter(({ text }, index) => {
    characters += text.length;
    return index === 0 || characters <= UNACKNOWLEDGED_CHARACTERS_MAX;
  });
}

async function refusing<Outcome>(work: () => Promise<Outcome>) {
  try {
    return await work();
  } catch (error) {
    return { refusal: toRefusal(toParleyError(error)) };
  }
}
