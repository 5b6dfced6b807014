/** Documents made to hold up or bring down the process: each costs its limit, and the next one is read. */
import { constants, deflateRawSync, deflateSync } from "node:zlib";
import { afterEach, describe, expect, it } from "vitest";
import { DocumentReader } from "../../../backend/knowledge/document-reader.ts";
import type { DocumentMediaType } from "../../../core/knowledge/document-type.ts";
import { makePdf } from "../../support/make-pdf.ts";

const LIMIT_MS = 60_000;
const never = new AbortController().signal;
const bytesOf = (text: string) => new TextEncoder().encode(text);

let reader: DocumentReader;
afterEach(() => reader.close());

const read = (bytes: Uint8Array, mediaType: DocumentMediaType = "text/plain", signal = never) =>
  reader.read({ bytes, mediaType }, signal);

/** So many zero bytes, compressed: one block that is flushed to a byte's end, repeated, and the end of the stream. */
function zeros(count: number): Uint8Array {
  const block = deflateRawSync(Buffer.alloc(10_000_000), { finishFlush: constants.Z_FULL_FLUSH });
  const blocks = Array.from({ length: count / 10_000_000 }, () => block);
  return new Uint8Array(Buffer.concat([Buffer.from([0x78, 0x9c]), ...blocks, Buffer.from([3, 0])]));
}

/** The longest that the loop of this thread stood still while something went on. */
async function longestStandstillMs(work: Promise<unknown>): Promise<number> {
  let longest = 0;
  let last = performance.now();
  const timer = setInterval(() => {
    longest = Math.max(longest, performance.now() - last);
    last = performance.now();
  }, 5);
  await work.catch(() => undefined);
  clearInterval(timer);
  return longest;
}

describe("DocumentReader", () => {
  it("reads documents in their order, and keeps what was wrong with one in its error", async () => {
    reader = new DocumentReader();
    const [first, second, third] = await Promise.allSettled([
      read(bytesOf("one")),
      read(new Uint8Array(), "application/pdf"),
      read(bytesOf("three")),
    ]);
    expect(first).toMatchObject({ value: { text: "one", chunks: [{ start: 0, end: 3 }] } });
    expect(second).toMatchObject({ reason: { code: "invalid_argument", reason: "document-broken" } });
    expect(third.status).toBe("fulfilled");
  });

  it(
    "does not hold up the loop while it reads a line of 10 MB",
    async () => {
      reader = new DocumentReader();
      const work = read(bytesOf("x".repeat(9_999_999)));
      expect(await longestStandstillMs(work)).toBeLessThan(2_000);
      expect((await work).chunks.length).toBeGreaterThan(1_000);
    },
    LIMIT_MS,
  );

  it(
    "ends a document that takes too long, and reads the next one",
    async () => {
      reader = new DocumentReader({ timeoutMs: 50 });
      const slow = makePdf({ pages: Array.from({ length: 1_500 }, () => ["some words"]) });
      await expect(read(slow, "application/pdf")).rejects.toThrow(
        expect.objectContaining({ code: "invalid_argument", reason: "document-too-complex" }),
      );
      reader = new DocumentReader();
      expect((await read(bytesOf("next"))).text).toBe("next");
    },
    LIMIT_MS,
  );

  it(
    "ends a PDF that unpacks to more memory than it may take",
    async () => {
      reader = new DocumentReader({ memoryBytesMax: 128 * 2 ** 20 });
      const before = process.memoryUsage().rss;
      const bomb = makePdf({ pages: [["x"]], content: zeros(1_000_000_000) });
      let peak = 0;
      const timer = setInterval(() => {
        peak = Math.max(peak, process.memoryUsage().rss - before);
      }, 20);
      await expect(read(bomb, "application/pdf")).rejects.toThrow(/takes more than 128 MB/);
      clearInterval(timer);
      expect(peak).toBeLessThan(600 * 2 ** 20);
      expect((await read(bytesOf("next"))).text).toBe("next");
    },
    LIMIT_MS,
  );

  it.each([
    [
      "a tree of pages that contains itself",
      makePdf({ pages: [["x"]], pageTree: () => "<< /Type /Pages /Kids [2 0 R 2 0 R] /Count 2 >>" }),
    ],
    [
      "a root that is its own page",
      makePdf({ pages: [["x"]], pageTree: () => "<< /Type /Pages /Kids [1 0 R] /Parent 2 0 R /Count 1 >>" }),
    ],
    [
      "a count that is a lie",
      makePdf({ pages: [["x"]], pageTree: (kids) => `<< /Type /Pages /Kids [${kids}] /Count 1999 >>` }),
    ],
    [
      "streams within streams",
      makePdf({ pages: [["x"]], content: deflateSync(bytesOf("q ".repeat(100_000))) }),
    ],
  ])(
    "reads or refuses, in bounded time, %s",
    async (_, bytes) => {
      reader = new DocumentReader({ timeoutMs: 4_000 });
      const outcome = await read(bytes, "application/pdf").then(
        () => "read",
        (error) => error.code,
      );
      expect(["read", "invalid_argument"]).toContain(outcome);
    },
    LIMIT_MS,
  );

  it(
    "stops when its caller does, and refuses more than may wait",
    async () => {
      reader = new DocumentReader();
      const abort = new AbortController();
      const pages = Array.from({ length: 1_000 }, () => ["some words"]);
      const reading = read(makePdf({ pages }), "application/pdf", abort.signal);
      const waiting = Promise.allSettled(Array.from({ length: 40 }, () => read(bytesOf("x"))));
      setTimeout(() => abort.abort(new Error("left")), 50);
      await expect(reading).rejects.toThrow("left");
      const outcomes = await waiting;
      const refused = outcomes.filter(({ status }) => status === "rejected");
      expect(refused.length).toBeGreaterThan(0);
      expect(refused[0]).toMatchObject({
        reason: { code: "resource_exhausted", retryAfterMs: expect.any(Number) },
      });
      expect(outcomes[0]?.status).toBe("fulfilled");
    },
    LIMIT_MS,
  );
});
