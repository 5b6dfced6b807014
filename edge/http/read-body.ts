/**
 * Reads the body of a request: its media type and its size are checked before and while it is read, so that an
 * oversized body is never held, and JSON that is not UTF-8 is refused.
 */
import { ParleyError } from "../../core/errors/parley-error.ts";
import { joinBytes } from "../../core/messages/join-bytes.ts";
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
export async function readJsonText(request: Request, options: ReadBodyOptions): Promise<string> {
  requireJsonMediaType(request.headers);
  const decode = utf8Decoder();
  let text = "";
  for await (const piece of piecesOf(request, options)) text += decode(piece);
  return text + decode();
}

/**
 * The body as it is; whoever calls looks at its media type.
 *
 * @throws ParleyError `invalid_argument`, with reason `body-too-large` (413), or `unsupported-media-type` (415) when
 *   it is compressed
 */
export async function readBytes(
  request: Request,
  options: ReadBodyOptions,
): Promise<Uint8Array<ArrayBuffer>> {
  if (isCompressed(request.headers)) {
    throw new ParleyError("invalid_argument", "the body must be sent uncompressed", {
      reason: "unsupported-media-type",
    });
  }
  const pieces: Uint8Array<ArrayBuffer>[] = [];
  for await (const piece of piecesOf(request, options)) pieces.push(piece);
  return joinBytes(pieces);
}

async function* piecesOf(
  request: Request,
  { bytesMax, signal }: ReadBodyOptions,
): AsyncGenerator<Uint8Array<ArrayBuffer>, void, undefined> {
  const announcedBytes = Number(request.headers.get("content-length") ?? 0);
  if (announcedBytes > bytesMax) {
    void request.body?.cancel().catch(() => {});
    throw bodyTooLarge(bytesMax);
  }
  if (!request.body) return;
  // A pending read settles when its reader is canceled; whether that is why is looked at after each one.
  signal.throwIfAborted();
  const reader = request.body.getReader();
  const onAbort = () => void reader.cancel(signal.reason).catch(() => {});
  signal.addEventListener("abort", onAbort, { once: true });
  let isRead = false;
  try {
    let sizeBytes = 0;
    while (true) {
      const { done, value } = await reader.read().catch((cause: unknown) => {
        // workerd rejects the read that an abort cancels; the reason is the abort's then.
        throw signal.aborted ? signal.reason : clientGone(cause);
      });
      signal.throwIfAborted();
      isRead = done;
      if (done) return;
      sizeBytes += value.byteLength;
      if (sizeBytes > bytesMax) throw bodyTooLarge(bytesMax);
      yield value;
    }
  } finally {
    // Not awaited: how long the source takes to stop is not this answer's concern.
    if (!isRead) void reader.cancel().catch(() => {});
    signal.removeEventListener("abort", onAbort);
  }
}

function isCompressed(headers: Headers): boolean {
  return (headers.get("content-encoding") ?? "identity") !== "identity";
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
  const isUtf8 = charset === undefined || /^utf-?8$/i.test(charset.trim());
  if (JSON_MEDIA_TYPE.test(mediaType.trim()) && isUtf8 && !isCompressed(headers)) return;
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
