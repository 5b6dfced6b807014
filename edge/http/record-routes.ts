/** What is on record of the caller's tenant: its usage, its messages, and the changes that administrators made. */
import type { Context } from "hono";
import { listAudit } from "../../core/administration/audit.ts";
import { validate } from "../../core/administration/violations.ts";
import {
  messageQuerySchema,
  toMessageSearch,
  toUsageQuery,
  usageQuerySchema,
} from "../../core/log/log-queries.ts";
import { searchMessages } from "../../core/log/message-search.ts";
import { readUsage } from "../../core/log/usage.ts";
import { administrationCall } from "./administration-call.ts";
import type { EdgeEnv } from "./edge-env.ts";
import { readQuery } from "./read-input.ts";

/** Tokens and messages, counted. */
export async function getUsage(c: Context<EdgeEnv>): Promise<Response> {
  const { sql, now } = c.get("composition");
  const query = toUsageQuery(c.get("principal").tenantId, validate(usageQuerySchema, readQuery(c)), now());
  const usage = await readUsage(sql, query, c.get("abort").signal);
  const [from, to] = [query.fromMs, query.toMs].map((ms) => new Date(ms).toISOString());
  return c.json({ from, to, usage });
}

/** A page of messages. */
export async function listMessages(c: Context<EdgeEnv>): Promise<Response> {
  const search = toMessageSearch(c.get("principal").tenantId, validate(messageQuerySchema, readQuery(c)));
  return c.json(await searchMessages(c.get("composition").sql, search, c.get("abort").signal));
}

/** A page of administrative changes, newest first. */
export async function getAudit(c: Context<EdgeEnv>): Promise<Response> {
  return c.json(await listAudit(administrationCall(c), readQuery(c)));
}
