/**
 * Reads the body of a request as JSON text: its media type and its size are checked before and while it is read,
 * so that an oversized body is never held, and what is not UTF-8 is refused.
 */
import { ParleyError } from "../../core/errors/parley-error.ts";
import { clientGone } from "./request-deadline.ts";

const JSON_MEDIA_TYPE = /^application\/(?:[\w!#$&^.+-]+\+)?json$/i;

/** What bounds the reading. */
export interface ReadBodyOptions {
  bytesMax: number;
  /** Ends the reading; its reason is thrown. */
  signal: AbortSignal;
}

/**
 * @returns the text; empty for no body
 * @throws ParleyError `invalid_argument`, with reason `unsupported-media-type` (415), `body-too-large` (413), or
 *   none (400) for text that is not UTF-8
 */
export async function readJsonText(request: Request, { bytesMax, signal }: ReadBodyOptions): Promise<string> {
  requireJsonMediaType(request.headers);
  const announcedBytes = Number(request.headers.get("content-length") ?? 0);
  if (announcedBytes > bytesMax) {
    void request.body?.cancel().catch(() => {});
    throw bodyTooLarge(bytesMax);
  }
  return request.body ? readText(request.body.getReader(), bytesMax, signal) : "";
}

async function readText(
  reader: ReadableStreamDefaultReader<Uint8Array>,
  bytesMax: number,
  signal: AbortSignal,
): Promise<string> {
  // A pending read settles when its reader is canceled; whether that is why is looked at after each one.
  signal.throwIfAborted();
  const onAbort = () => void reader.cancel(signal.reason).catch(() => {});
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    const decode = utf8Decoder();
    let text = "";
    let sizeBytes = 0;
    while (true) {
      const { done, value } = await reader.read().catch((cause: unknown) => {
        // workerd rejects the read that an abort cancels; the reason is the abort's then.
        throw signal.aborted ? signal.reason : clientGone(cause);
      });
      signal.throwIfAborted();
      if (done) return text + decode();
      sizeBytes += value.byteLength;
      if (sizeBytes > bytesMax) throw bodyTooLarge(bytesMax);
      text += decode(value);
    }
  } catch (error) {
    // Not awaited: how long the source takes to stop is not this answer's concern.
    void reader.cancel(error).catch(() => {});
    throw error;
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}

/** Decodes piece by piece; called without a piece, it ends the text. */
function utf8Decoder(): (bytes?: Uint8Array) => string {
  const decoder = new TextDecoder("utf-8", { fatal: true });
  return (bytes) => {
    try {
      return bytes ? decoder.decode(bytes, { stream: true }) : decoder.decode();
    } catch (cause) {
      throw new ParleyError("invalid_argument", "the body is not UTF-8 text", { cause });
    }
  };
}

function requireJsonMediaType(headers: Headers): void {
  const [mediaType = "", ...parameters] = (headers.get("content-type") ?? "").split(";");
  const charset = parameters
    .map((parameter) => /^\s*charset="?([^"]*)"?\s*$/i.exec(parameter)?.[1])
    .find((found) => found !== undefined);
  const encoding = headers.get("content-encoding") ?? "identity";
  const isUtf8 = charset === undefined || /^utf-?8$/i.test(charset.trim());
  if (JSON_MEDIA_TYPE.test(mediaType.trim()) && isUtf8 && encoding === "identity") return;
  throw new ParleyError(
    "invalid_argument",
    "the body must be JSON in UTF-8, uncompressed, with the header `Content-Type: application/json`",
    { reason: "unsupported-media-type" },
  );
}

function bodyTooLarge(bytesMax: number): ParleyError {
  return new ParleyError("invalid_argument", `the body is larger than the limit of ${bytesMax} bytes`, {
    reason: "body-too-large",
    details: { bytesMax },
  });
}
