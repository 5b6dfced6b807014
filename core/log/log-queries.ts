/** What callers may ask the durable log for: the query strings of its routes and the options of the command line. */
import * as z from "zod";
import { MESSAGE_ORDERS, MESSAGES_PAGE_MAX, type MessageSearch } from "./message-search.ts";
import { USAGE_GROUPINGS, type UsageQuery } from "./usage.ts";

const DAY_MS = 86_400_000;
/** What is asked for when no time is given. */
const USAGE_DAYS_DEFAULT = 30;
const ID_CHARACTERS_MAX = 128;

/** A date (its beginning, UTC) or a time with its offset. */
const moment = z.union([z.iso.date(), z.iso.datetime({ offset: true })], {
  error: "must be a date, e.g. 2026-11-01, or a time, e.g. 2026-11-01T12:00:00Z",
});
const id = z.string().min(1).max(ID_CHARACTERS_MAX);

/** What to count, as texts. */
export const usageQuerySchema = z.strictObject({
  from: moment
    .optional()
    .describe(`First moment that counts; default: ${USAGE_DAYS_DEFAULT} days before \`to\``),
  to: moment.optional().describe("First moment that does not count any more; default: now"),
  groupBy: z
    .string()
    .regex(
      new RegExp(`^(?:${USAGE_GROUPINGS.join("|")})(?:,(?:${USAGE_GROUPINGS.join("|")}))*$`),
      `must be any of ${USAGE_GROUPINGS.join(", ")}, separated by commas`,
    )
    .default("day")
    .describe(`Any of ${USAGE_GROUPINGS.join(", ")}, separated by commas`),
});

/** Which messages, as texts. */
export const messageQuerySchema = z.strictObject({
  context: id.optional(),
  agent: id.optional().describe("Messages to this agent and its replies"),
  sender: id.optional(),
  from: moment.optional(),
  to: moment.optional(),
  order: z.enum(MESSAGE_ORDERS).optional(),
  cursor: z.string().max(64).optional().describe("`nextCursor` of the page before, with the same search"),
  limit: z.coerce.number<string>().int().min(1).max(MESSAGES_PAGE_MAX).optional(),
});

/** The question to `readUsage`. */
export function toUsageQuery(
  tenantId: string,
  { from, to, groupBy }: z.output<typeof usageQuerySchema>,
  nowMs: number,
): UsageQuery {
  const toMs = to === undefined ? nowMs : Date.parse(to);
  return {
    tenantId,
    fromMs: from === undefined ? toMs - USAGE_DAYS_DEFAULT * DAY_MS : Date.parse(from),
    toMs,
    groupBy: USAGE_GROUPINGS.filter((grouping) => groupBy.split(",").includes(grouping)),
  };
}

/** The question to `searchMessages`. */
export function toMessageSearch(
  tenantId: string,
  { context, agent, sender, from, to, order, cursor, limit }: z.output<typeof messageQuerySchema>,
): MessageSearch {
  return {
    tenantId,
    ...(context !== undefined && { contextId: context }),
    ...(agent !== undefined && { agentId: agent }),
    ...(sender !== undefined && { senderId: sender }),
    ...(from !== undefined && { fromMs: Date.parse(from) }),
    ...(to !== undefined && { toMs: Date.parse(to) }),
    ...(order !== undefined && { order }),
    ...(cursor !== undefined && { cursor }),
    ...(limit !== undefined && { limit }),
  };
}
