/** In which form the caller wants its reply: content negotiation by `Accept` (RFC 9110, section 12.5.1). */
import { parseAccept } from "hono/utils/accept";
import { ParleyError } from "../../core/errors/parley-error.ts";

/** One JSON body at the end, or server-sent events as they come. */
export type ReplyFormat = "json" | "event-stream";

const FORMATS: Readonly<Record<string, ReplyFormat>> = {
  "application/json": "json",
  "application/*": "json",
  "*/*": "json",
  "text/event-stream": "event-stream",
  "text/*": "event-stream",
};

/**
 * The format with the highest quality; among equals, the one named first; without a header, JSON.
 *
 * @throws ParleyError `invalid_argument` (400, reason `not-acceptable`) when none of ours is named. The closed
 *   code set has no code of its own for 406, and what is wrong is an argument of the request.
 */
export function replyFormatOf(accept: string | undefined): ReplyFormat {
  if (accept === undefined || accept.trim() === "") return "json";
  for (const { type, q } of parseAccept(accept)) {
    const format = FORMATS[type.toLowerCase()];
    if (format && q > 0) return format;
  }
  throw new ParleyError(
    "invalid_argument",
    "the reply can be application/json or text/event-stream; `Accept` names neither",
    { reason: "not-acceptable" },
  );
}
