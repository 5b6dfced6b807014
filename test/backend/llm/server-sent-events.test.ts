import { expect, it } from "vitest";
import { LINE_CHARACTERS_MAX } from "../../../backend/llm/read-lines.ts";
import { readServerSentEvents } from "../../../backend/llm/server-sent-events.ts";
import { collect } from "../../support/model-events.ts";

/** The events of a body that comes in pieces of so many bytes. */
async function read(body: string, pieceBytes = Number.POSITIVE_INFINITY) {
  const bytes = new TextEncoder().encode(body);
  const pieces: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; at += pieceBytes) pieces.push(bytes.slice(at, at + pieceBytes));
  const stream = ReadableStream.from(pieces);
  return (await collect(readServerSentEvents(stream.getReader()))).flat();
}

const data = (...texts: string[]) => texts.map((text) => ({ event: "", data: text }));

it.each([[1], [2], [7], [Number.POSITIVE_INFINITY]])(
  "does not care where the network cuts (%d bytes)",
  async (size) => {
    const events = await read(
      'data: {"text":"größer 🎉"}\n\ndata: two\r\n\r\nevent: error\ndata: three\n\n',
      size,
    );
    expect(events).toEqual([...data('{"text":"größer 🎉"}', "two"), { event: "error", data: "three" }]);
  },
);

it("leaves out comments, other fields and events without data", async () => {
  expect(await read(": keep-alive\n\nid: 7\nretry: 10\n\ndata:\n\nevent: x\n\ndata: a\n\n")).toEqual(
    data("a"),
  );
});

it("joins the lines of one event", async () => {
  expect(await read('data: {"a":\ndata: 1}\n\n')).toEqual(data('{"a":\n1}'));
});

it("takes exactly one space after the colon away", async () => {
  expect(await read("data:a\n\ndata:  b\n\n")).toEqual(data("a", " b"));
});

it("gives a last event that lacks its blank line, or its line end", async () => {
  expect(await read("data: a\n")).toEqual(data("a"));
  expect(await read("data: [DONE]")).toEqual(data("[DONE]"));
});

it("does not give what the end has cut off", async () => {
  expect(await read('data: {"a":1}\n\ndata: {"b":')).toEqual(data('{"a":1}'));
});

it("does not collect a line without end", async () => {
  const endless = "x".repeat(LINE_CHARACTERS_MAX + 1);
  await expect(read(endless, 65_536)).rejects.toMatchObject({ reason: "garbled" });
});
