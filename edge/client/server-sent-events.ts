/** Reads server-sent events (WHATWG HTML, section 9.2) off a body; only `data` counts here. */

/** Characters of one event: a reply of the largest size, with room. */
const EVENT_LENGTH_MAX = 8 * 1024 * 1024;

/** The data of each event, in order. */
export async function* readEvents(body: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  const reader = body.getReader();
  let buffered = "";
  try {
    for (let part = await reader.read(); !part.done; part = await reader.read()) {
      buffered += decoder.decode(part.value, { stream: true });
      // A carriage return at the end may be half of a line end.
      const events = buffered.split(/\r\n\r\n|\n\n|\r\r(?!$)/);
      buffered = events.pop() ?? "";
      if (buffered.length > EVENT_LENGTH_MAX) throw new Error("an event is too long");
      for (const event of events) {
        const data = dataOf(event);
        if (data !== "") yield data;
      }
    }
  } finally {
    await reader.cancel().catch(() => {});
  }
}

function dataOf(event: string): string {
  return event
    .split(/\r\n|\n|\r/)
    .filter((line) => line.startsWith("data:"))
    .map((line) => line.slice(line[5] === " " ? 6 : 5))
    .join("\n");
}
