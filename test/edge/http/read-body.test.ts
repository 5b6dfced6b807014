import { describe, expect, it } from "vitest";
import { ParleyError } from "../../../core/errors/parley-error.ts";
import { readJsonText } from "../../../edge/http/read-body.ts";

function requestOf(body: ReadableStream<Uint8Array> | string | null): Request {
  return new Request("http://edge/", {
    method: "POST",
    body,
    headers: { "content-type": "application/json" },
    duplex: "half",
  } as RequestInit);
}

describe("readJsonText", () => {
  it("puts a character together that is cut by two chunks", async () => {
    const bytes = new TextEncoder().encode('"€"');
    const body = new ReadableStream<Uint8Array>({
      start(controller) {
        for (const byte of bytes) controller.enqueue(Uint8Array.of(byte));
        controller.close();
      },
    });
    const { signal } = new AbortController();
    expect(await readJsonText(requestOf(body), { bytesMax: 100, signal })).toBe('"€"');
  });

  it("is empty for a request without a body", async () => {
    const { signal } = new AbortController();
    expect(await readJsonText(requestOf(null), { bytesMax: 100, signal })).toBe("");
  });

  it("stops waiting for a body that does not come when its signal says so", async () => {
    let canceled = false;
    const body = new ReadableStream<Uint8Array>({
      cancel() {
        canceled = true;
      },
    });
    const abort = new AbortController();
    const reading = readJsonText(requestOf(body), { bytesMax: 100, signal: abort.signal });
    const reason = new ParleyError("deadline_exceeded", "too late");
    abort.abort(reason);
    await expect(reading).rejects.toBe(reason);
    expect(canceled).toBe(true);
  });

  it("takes a body that breaks off as a client that has gone", async () => {
    const body = new ReadableStream<Uint8Array>({
      pull: (controller) => controller.error(new Error("reset")),
    });
    const { signal } = new AbortController();
    const reading = readJsonText(requestOf(body), { bytesMax: 100, signal });
    await expect(reading).rejects.toMatchObject({ code: "canceled" });
  });
});
