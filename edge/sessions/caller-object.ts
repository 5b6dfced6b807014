/**
 * All sessions of one key (or subject) as a Durable Object: counts them, and while any of them is connected looks now
 * and then whether the key is still good, for all of them together. So a session that idles needs no timer of its own,
 * and a key that is withdrawn ends its sessions within a minute.
 */

import { DurableObject } from "cloudflare:workers";
import type { DurableObjectState } from "@cloudflare/workers-types";
import { checkApiKey } from "../../core/auth/api-key.ts";
import type { Principal } from "../../core/auth/principal.ts";
import type { Compose } from "../composition.ts";
import { type CallerRpc, sessionOf } from "./caller-sessions.ts";
import { SESSIONS_PER_CALLER_MAX } from "./session-limits.ts";

/** With the 30 s for which the directory's cache is fresh and the time that a busy machine takes, less than a minute. */
const CHECK_EVERY_MS = 10_000;
/** Sessions told at once that their key is withdrawn. */
const TOLD_AT_ONCE_MAX = 50;
/** Longer than any session lives without a connection: what is left then has ended without a word. */
const FORGOTTEN_AFTER_MS = 25 * 3_600_000;

/** What the class is made with. */
export interface CallerObjectParts {
  readonly compose: Compose;
}

/** Makes the class that the Worker exports. */
export function defineCallerObject({ compose }: CallerObjectParts) {
  return class CallerObject extends DurableObject<object> implements CallerRpc {
    constructor(ctx: DurableObjectState, env: object) {
      super(ctx, env);
      ctx.storage.sql.exec(`
        CREATE TABLE IF NOT EXISTS sessions (
          session_id TEXT PRIMARY KEY,
          connected INTEGER NOT NULL,
          seen_at INTEGER NOT NULL
        );
        CREATE TABLE IF NOT EXISTS caller (id INTEGER PRIMARY KEY CHECK (id = 1), principal TEXT NOT NULL);
      `);
    }

    async add(principal: Principal, sessionId: string): Promise<boolean> {
      const { sql } = this.ctx.storage;
      if (this.#count() >= SESSIONS_PER_CALLER_MAX) {
        sql.exec("DELETE FROM sessions WHERE connected = 0 AND seen_at < ?", Date.now() - FORGOTTEN_AFTER_MS);
        if (this.#count() >= SESSIONS_PER_CALLER_MAX) return false;
      }
      sql.exec("INSERT OR REPLACE INTO caller VALUES (1, ?)", JSON.stringify(principal));
      sql.exec("INSERT OR REPLACE INTO sessions VALUES (?, 0, ?)", sessionId, Date.now());
      return true;
    }

    async connected(principal: Principal, sessionId: string, isConnected: boolean): Promise<void> {
      const { storage } = this.ctx;
      storage.sql.exec("INSERT OR REPLACE INTO caller VALUES (1, ?)", JSON.stringify(principal));
      storage.sql.exec(
        "INSERT OR REPLACE INTO sessions VALUES (?, ?, ?)",
        sessionId,
        isConnected ? 1 : 0,
        Date.now(),
      );
      // A token without a key ends by its own time, which each session knows.
      if (!isConnected || principal.keyId === "") return;
      if ((await storage.getAlarm()) === null) await storage.setAlarm(Date.now() + CHECK_EVERY_MS);
    }

    async removed(sessionId: string): Promise<void> {
      this.ctx.storage.sql.exec("DELETE FROM sessions WHERE session_id = ?", sessionId);
      if (this.#count() > 0) return;
      await this.ctx.storage.deleteAlarm();
      await this.ctx.storage.deleteAll();
      this.ctx.abort("its last session has ended");
    }

    async alarm(): Promise<void> {
      const connected = this.#connected();
      if (connected.length === 0) return;
      await this.ctx.storage.setAlarm(Date.now() + CHECK_EVERY_MS);
      const { principal } = this.ctx.storage.sql
        .exec<{ principal: string }>("SELECT principal FROM caller")
        .one();
      const { keyId, tenantId } = JSON.parse(principal) as Principal;
      const { directory, now } = compose(this.env);
      const verification = checkApiKey(await directory.findApiKey(keyId), now());
      if (verification.ok && verification.principal.scopes.includes("messages:send")) return;
      for (let from = 0; from < connected.length; from += TOLD_AT_ONCE_MAX) {
        const told = connected.slice(from, from + TOLD_AT_ONCE_MAX);
        await Promise.allSettled(told.map((id) => sessionOf(this.env, tenantId, id).endCredential()));
      }
    }

    #count(): number {
      return this.ctx.storage.sql.exec<{ count: number }>("SELECT COUNT(*) AS count FROM sessions").one()
        .count;
    }

    #connected(): string[] {
      const rows = this.ctx.storage.sql.exec<{ session_id: string }>(
        "SELECT session_id FROM sessions WHERE connected = 1",
      );
      return rows.toArray().map(({ session_id }) => session_id);
    }
  };
}
