/** What a message must have before it goes anywhere, and what the server sets on it. */
import type { Principal } from "../../core/auth/principal.ts";
import { ParleyError } from "../../core/errors/parley-error.ts";
import { requireContent } from "../../core/messages/envelope.ts";
import { resolveSender } from "../../core/messages/resolve-sender.ts";
import type { A2AMessage } from "../../proto/gen/parley/v1/agent_service_pb.js";

/**
 * Checks a sender's message and completes it in place: who sent it, and an id when it has none. With the id set
 * here, before the first attempt, the backend recognises a second attempt as the same message and does not run
 * it twice; that is what makes retries safe.
 *
 * @throws ParleyError `invalid_argument` or `permission_denied`
 */
export function admitMessage(message: A2AMessage, principal: Principal): void {
  if (message.receiverId === "") {
    throw new ParleyError(
      "invalid_argument",
      'the message names no receiver: set `receiverId` to an agent\'s id, e.g. {"receiverId":"assistant","text":"hi"}; GET /api/v1/agents lists those you can reach',
    );
  }
  requireContent(message);
  message.senderId = resolveSender(message.senderId, principal);
  if (message.messageId === "") message.messageId = crypto.randomUUID();
}
