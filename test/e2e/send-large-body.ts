/** Sends a body piece by piece, to see how much of it is taken before it is refused. */
import { request } from "node:http";
import type { Gateway } from "../support/gateway.ts";

const PIECE = Buffer.alloc(64 * 1_024, "words ");
/** Between two pieces, in which the socket is looked at. */
const PAUSE_MS = 1;
const ATTEMPTS_MAX = 5;

/** A body to send. */
export interface Sending {
  readonly method: string;
  readonly path: string;
  readonly contentType: string;
  readonly bytes: number;
  /** Whether the length is said beforehand. */
  readonly announced: boolean;
  /** Of the body, before the filling and after it. */
  readonly head?: string;
}

/** What was answered, and how much had been sent by then. */
export interface Refusal {
  readonly status: number;
  readonly reason: string;
  readonly sentBytes: number;
}

/**
 * Sends until it is answered or all is sent. The gateway answers and closes; when it does so in the middle of a write,
 * Node gives the write's failure and throws the answer away, so it is sent again then.
 */
export async function sendLargeBody(gateway: Gateway, sending: Sending): Promise<Refusal> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await sendOnce(gateway, sending);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (attempt === ATTEMPTS_MAX || (code !== "EPIPE" && code !== "ECONNRESET")) throw error;
    }
  }
}

function sendOnce(
  gateway: Gateway,
  { method, path, contentType, bytes, announced, head = "" }: Sending,
): Promise<Refusal> {
  return new Promise((resolve, reject) => {
    let sentBytes = 0;
    let isAnswered = false;
    const sending = request(`${gateway.url}${path}`, {
      method,
      headers: {
        authorization: `Bearer ${gateway.key}`,
        "content-type": contentType,
        ...(announced && { "content-length": String(bytes) }),
      },
    });
    sending.once("response", (response) => {
      isAnswered = true;
      const at = sentBytes;
      let text = "";
      response.setEncoding("utf8").on("data", (piece: string) => {
        text += piece;
      });
      response.once("end", () => {
        sending.destroy();
        resolve({ status: response.statusCode ?? 0, reason: JSON.parse(text).error.reason, sentBytes: at });
      });
    });
    sending.on("error", (error) => {
      if (!isAnswered) reject(error);
    });
    const pump = () => {
      if (isAnswered) return;
      if (sentBytes === bytes) return void sending.end();
      const piece = PIECE.subarray(0, Math.min(PIECE.length, bytes - sentBytes));
      sentBytes += piece.length;
      sending.write(piece, () => setTimeout(pump, PAUSE_MS));
    };
    if (head !== "") {
      sending.write(head);
      sentBytes += head.length;
    }
    // A length that is too large is refused by itself; whoever goes on sending may find the connection closed.
    if (!announced) return pump();
    sending.write(PIECE);
    sentBytes += PIECE.length;
  });
}
