import { expect, it } from "vitest";
import { guardNdjson } from "../../../backend/llm/ndjson-guard.ts";

const TOKEN = '{"message":{"content":"größer 🎉"},"done":false}\n';
const DONE = '{"done":true,"done_reason":"stop"}\n';

/** The lines that pass the guard, from a body in pieces of so many bytes. */
async function guarded(body: string, pieceBytes = Number.POSITIVE_INFINITY): Promise<string[]> {
  const bytes = new TextEncoder().encode(body);
  const pieces: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; at += pieceBytes) pieces.push(bytes.slice(at, at + pieceBytes));
  const text = await new Response(guardNdjson(ReadableStream.from(pieces))).text();
  return text.split("\n").filter(Boolean);
}

it.each([[1], [7], [Number.POSITIVE_INFINITY]])(
  "does not care where the network cuts (%d bytes)",
  async (size) => {
    expect(await guarded(TOKEN + TOKEN + DONE, size)).toEqual([TOKEN.trim(), TOKEN.trim(), DONE.trim()]);
  },
);

it("leaves out blank lines and what follows the last line", async () => {
  expect(await guarded(`\n${TOKEN}\r\n${DONE}garbage\n`)).toEqual([TOKEN.trim(), DONE.trim()]);
});

it("takes a last line without its line end", async () => {
  expect(await guarded(TOKEN + DONE.trim())).toEqual([TOKEN.trim(), DONE.trim()]);
});

it.each([
  ["nothing", "", "truncated"],
  ["a body that ends too soon", TOKEN, "truncated"],
  ["a body that ends within a line", TOKEN + TOKEN.slice(0, 20), "truncated"],
  ["a line that is not JSON", `${TOKEN}{"mess\n${DONE}`, "garbled"],
  ["a line that is no object", `7\n${DONE}`, "garbled"],
  ["an HTML page", "<html></html>\n", "garbled"],
  ["an error line", `${TOKEN}{"error":"runner died"}\n`, "provider-unavailable"],
  [
    "an error about the context",
    '{"error":"the input length exceeds the context length"}\n',
    "context-window",
  ],
  ["an error of another form", '{"error":{"code":1}}\n', "provider-unavailable"],
])("fails %s", async (_, body, reason) => {
  await expect(guarded(body)).rejects.toMatchObject({ reason });
});

it("tells the server when nobody reads any more", async () => {
  let canceled = false;
  const body = new ReadableStream<Uint8Array>({
    start: (controller) => controller.enqueue(new TextEncoder().encode(TOKEN)),
    cancel: () => {
      canceled = true;
    },
  });
  const reader = guardNdjson(body).getReader();
  await reader.read();
  await reader.cancel();
  expect(canceled).toBe(true);
});
