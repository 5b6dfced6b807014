/** Who a message is from: the caller itself, or somebody it may speak for. */
import type { Principal } from "../auth/principal.ts";
import { ParleyError } from "../errors/parley-error.ts";

/**
 * The sender of a message.
 *
 * @param claimed `sender_id` as the caller gave it; empty for itself
 * @throws ParleyError `permission_denied` when it names another without the scope `messages:send-as`
 */
export function resolveSender(claimed: string, principal: Principal): string {
  if (claimed === "" || claimed === principal.subject) return principal.subject;
  if (principal.scopes.includes("messages:send-as")) return claimed;
  throw new ParleyError(
    "permission_denied",
    `this credential speaks for "${principal.subject}" only; leave \`senderId\` out, or use one with the scope messages:send-as`,
  );
}
