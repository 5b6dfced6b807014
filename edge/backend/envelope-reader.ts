/**
 * Takes the body of a streaming answer apart: a sequence of envelopes, each one byte of flags, four of length (big
 * endian) and so many of data. Source: the Connect protocol, "Streaming-Response".
 */
import { Code, ConnectError } from "@connectrpc/connect";
import { joinBytes } from "../../core/messages/join-bytes.ts";

const HEADER_BYTES = 5;
/** The longest answer of a backend, with room; what claims to be longer is not one of ours. */
export const ENVELOPE_BYTES_MAX = 32 * 1_048_576;

/** See above. */
export interface Envelope {
  readonly flags: number;
  readonly data: Uint8Array;
}

/** Envelopes as they come, several from one chunk, one from several. */
export class EnvelopeReader {
  readonly #body: ReadableStreamDefaultReader<Uint8Array<ArrayBuffer>>;
  /** Read, and not taken apart; begins at an envelope. */
  #bytes: Uint8Array<ArrayBuffer> = new Uint8Array();
  #offset = 0;

  constructor(body: ReadableStream<Uint8Array<ArrayBuffer>>) {
    this.#body = body.getReader();
  }

  /** An envelope that has come whole already. */
  take(): Envelope | undefined {
    const start = this.#offset + HEADER_BYTES;
    if (start > this.#bytes.length) return undefined;
    const end = start + this.#lengthNext();
    if (end > this.#bytes.length) return undefined;
    const flags = this.#bytes[this.#offset] ?? 0;
    this.#offset = end;
    return { flags, data: this.#bytes.subarray(start, end) };
  }

  /**
   * Reads on until something has come; false at the body's end.
   *
   * @throws ConnectError when the body ends within an envelope, or one is larger than {@link ENVELOPE_BYTES_MAX}
   */
  async read(): Promise<boolean> {
    const rest = this.#bytes.subarray(this.#offset);
    const chunks = rest.length > 0 ? [rest] : [];
    let { length } = rest;
    const wanted = length < HEADER_BYTES ? HEADER_BYTES : HEADER_BYTES + this.#lengthNext();
    while (length < wanted) {
      const { done, value } = await this.#body.read();
      if (done && length === 0) return false;
      if (done) throw streamCut();
      chunks.push(value);
      length += value.length;
    }
    this.#bytes = joinBytes(chunks);
    this.#offset = 0;
    return true;
  }

  #lengthNext(): number {
    const { buffer, byteOffset } = this.#bytes;
    const length = new DataView(buffer, byteOffset + this.#offset + 1).getUint32(0);
    if (length <= ENVELOPE_BYTES_MAX) return length;
    throw new ConnectError(`an envelope of ${length} bytes, over ${ENVELOPE_BYTES_MAX}`, Code.Internal);
  }
}

/** The body has ended, and what it carries has not. Its cause says that the connection broke, as with any other. */
export function streamCut(): ConnectError {
  const message = "the stream was cut";
  return new ConnectError(message, Code.Unavailable, undefined, undefined, message);
}
