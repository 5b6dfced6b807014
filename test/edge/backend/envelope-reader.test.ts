import { encodeEnvelope } from "@connectrpc/connect/protocol";
import { describe, expect, it } from "vitest";
import { ENVELOPE_BYTES_MAX, EnvelopeReader } from "../../../edge/backend/envelope-reader.ts";

const TEXTS = ["one", "", "three"];
const BYTES = joined(TEXTS.map((text, index) => encodeEnvelope(index, new TextEncoder().encode(text))));

function joined(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(parts.flatMap((part) => [...part]));
}

function bodyOf(...chunks: Uint8Array<ArrayBuffer>[]): ReadableStream<Uint8Array<ArrayBuffer>> {
  return new ReadableStream({
    start(controller) {
      for (const chunk of chunks) controller.enqueue(chunk);
      controller.close();
    },
  });
}

/** Each envelope's flags and text. */
async function readAll(...chunks: Uint8Array<ArrayBuffer>[]): Promise<[number, string][]> {
  const reader = new EnvelopeReader(bodyOf(...chunks));
  const envelopes: [number, string][] = [];
  do {
    for (let next = reader.take(); next; next = reader.take()) {
      envelopes.push([next.flags, new TextDecoder().decode(next.data)]);
    }
  } while (await reader.read());
  return envelopes;
}

const WHOLE = TEXTS.map((text, index): [number, string] => [index, text]);

describe("envelopes", () => {
  it("are the same wherever the chunks they come in are cut", async () => {
    for (let cut = 0; cut <= BYTES.length; cut++) {
      expect(await readAll(BYTES.slice(0, cut), BYTES.slice(cut))).toEqual(WHOLE);
    }
    expect(await readAll(...Array.from(BYTES, (byte) => Uint8Array.of(byte)))).toEqual(WHOLE);
  });

  it("are none of an empty body", async () => {
    expect(await readAll()).toEqual([]);
  });

  it("that are cut by the body's end are a broken stream", async () => {
    for (const length of [1, 4, 5, 7]) {
      await expect(readAll(BYTES.slice(0, length))).rejects.toThrow("the stream was cut");
    }
  });

  it("that claim to be larger than any of ours are refused before they are read", async () => {
    const header = (length: number) => {
      const bytes = new Uint8Array(5);
      new DataView(bytes.buffer).setUint32(1, length);
      return bytes;
    };
    await expect(readAll(header(ENVELOPE_BYTES_MAX + 1))).rejects.toThrow("an envelope of 33554433 bytes");
    await expect(readAll(header(0xffffffff))).rejects.toThrow("an envelope of 4294967295 bytes");
    await expect(readAll(header(ENVELOPE_BYTES_MAX))).rejects.toThrow("the stream was cut");
  });
});
