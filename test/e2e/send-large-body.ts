/** Sends a body piece by piece, to see how much of it is taken before it is refused. */
import { request } from "node:http";
import type { Gateway } from "../support/gateway.ts";

const PIECE = Buffer.alloc(64 * 1_024, "words ");

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

/** Sends until it is answered or all is sent; what was answered, and how much had been sent by then. */
export function sendLargeBody(
  gateway: Gateway,
  { method, path, contentType, bytes, announced, head = "" }: Sending,
) {
  return new Promise<{ status: number; reason: string; sentBytes: number }>((resolve, reject) => {
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
      while (!isAnswered && sentBytes < bytes) {
        const piece = PIECE.subarray(0, Math.min(PIECE.length, bytes - sentBytes));
        sentBytes += piece.length;
        if (!sending.write(piece)) return void sending.once("drain", pump);
      }
      if (!isAnswered) sending.end();
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
