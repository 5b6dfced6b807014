/** Which passages answer a question, in which order, for whom, and when there is no answer. */
import { describe, expect, it } from "vitest";
import {
  type KnowledgeDocument,
  MemoryPassageIndex,
  PASSAGES_MAX,
} from "../../../backend/knowledge/memory-passage-index.ts";

const SIGNAL = new AbortController().signal;

const GUIDE: KnowledgeDocument = {
  id: "docs/guide.md",
  text: `# Parley guide

Parley is a gateway for AI agents. Clients reach agents by HTTPS, WebSocket or gRPC.

## Start

Run npm start. It builds the worker, starts the backend and prints a curl command.

### Ports

The edge listens on port 8787 and the backend on port 8080; set PORT and BACKEND_PORT to change them.

## Failure

When a model fails before the first token, the next model of the chain answers. When Redis fails, the context is
rebuilt from the durable log.

## API keys

A key is shown once. Only a hash of its secret is stored. A revoked key is refused within 60 seconds.

## Speed

The gateway adds 4 ms of latency at 16 connections.
`,
};
const ERRORS: KnowledgeDocument = {
  id: "docs/errors.md",
  text: `# Errors

Every error has a code, a message and a request id.

## Codes

The codes are a closed set: not_found, conflict, unavailable and others.

## Retry

An error with Retry-After may be retried by the client after that time.
`,
};

function indexOf(documents: readonly KnowledgeDocument[], tenantId?: string): MemoryPassageIndex {
  const index = new MemoryPassageIndex();
  index.replaceCollection({ tenantId, collection: "docs" }, documents);
  return index;
}

const shared = indexOf([GUIDE, ERRORS]);
const ask = (
  query: string,
  { index = shared, tenantId = "acme", collection = "docs", passagesMax = 5 } = {},
) => index.retrieve({ tenantId, collection, query, passagesMax }, SIGNAL);

describe("MemoryPassageIndex finds", () => {
  it.each([
    ["How do I start it?", "Start"],
    ["which port does the backend use", "Ports"],
    ["What happens when Redis is down?", "Failure"],
    ["Are API keys stored?", "API keys"],
    ["error codes", "Codes"],
    ["How can a client retry?", "Retry"],
    ["WHAT ABOUT LATENCY???", "Speed"],
    ["I am completely new here; please tell me which model answers when a model fails.", "Failure"],
  ])("for %j first what stands under %s", async (question, heading) => {
    const [best] = await ask(question);
    expect(best?.headings.at(-1)).toBe(heading);
  });

  it("passages as they stand in the document, with their place", async () => {
    const [best] = await ask("How do I start it?");
    expect(best).toEqual({
      documentId: "docs/guide.md",
      title: "Parley guide",
      headings: ["Start"],
      text: "Run npm start. It builds the worker, starts the backend and prints a curl command.",
      start: expect.any(Number),
      end: expect.any(Number),
      score: expect.any(Number),
    });
    expect(GUIDE.text.slice(best?.start, best?.end)).toBe(best?.text);
  });

  it("the best first, and no more than asked for", async () => {
    const passages = await ask("gateway backend model key error");
    const scores = passages.map(({ score }) => score);
    expect(scores).toEqual(scores.toSorted((a, b) => b - a));
    expect(await ask("error", { passagesMax: 1 })).toHaveLength(1);
    expect(await ask("error", { passagesMax: 0 })).toEqual([]);
  });

  it("words of the title and the headings, and counts them more than words of the text", async () => {
    const index = indexOf([
      { id: "a.md", text: "# Backups\n\nOnce a day, to another disk." },
      { id: "b.md", text: "# Disks\n\nKeep backups on another disk, made once a day." },
      { id: "c.md", text: "# Other\n\nNothing of that." },
    ]);
    expect((await ask("backup", { index })).map(({ documentId }) => documentId)).toEqual(["a.md", "b.md"]);
  });

  it("what BM25 scores it", async () => {
    const [best] = await ask("alpha", {
      index: indexOf([
        { id: "a.md", text: "# x\n\nalpha" },
        { id: "b.md", text: "# x\n\nbeta beta beta" },
      ]),
    });
    // Lengths 1 + 2 and 3 + 2 (a word of the title counts twice), average 4; the term is in one passage of two.
    const idf = Math.log(1 + 1.5 / 1.5);
    expect(best?.score).toBeCloseTo((idf * 1 * 2.2) / (1 + 1.2 * (0.25 + 0.75 * (3 / 4))), 10);
  });

  it("the same in the same order every time, equal scores in the order of the documents", async () => {
    const twins = ["a.md", "b.md", "c.md"].map((id) => ({ id, text: "# Twin\n\nThe same words." }));
    const found = await ask("same words", { index: indexOf(twins) });
    expect(found.map(({ documentId }) => documentId)).toEqual(["a.md", "b.md", "c.md"]);
  });
});

describe("MemoryPassageIndex finds nothing", () => {
  it.each([
    "what is the airspeed of a swallow",
    "What is the capital of France?",
    "Who won the world cup in 1998?",
    "how do I cook rice",
    "translate good morning to german",
    "give me a recipe for chocolate cake",
    // One common word of ours among words that are not must not do.
    "write a message to the mayor of Casterbridge",
    "how many people live in the city of the gateway arch",
    // Nothing but stop words.
    "what is it and who are you?",
    "",
    "???",
    "🦢",
  ])("for %j", async (question) => {
    expect(await ask(question)).toEqual([]);
  });

  it("in a collection that does not exist or is empty", async () => {
    expect(await ask("error", { collection: "other" })).toEqual([]);
    expect(await ask("error", { index: indexOf([]) })).toEqual([]);
    expect(await ask("constructor", { collection: "__proto__" })).toEqual([]);
  });

  it("of another tenant", async () => {
    const index = indexOf([ERRORS], "acme");
    expect(await ask("error codes", { index, tenantId: "acme" })).not.toEqual([]);
    expect(await ask("error codes", { index, tenantId: "globex" })).toEqual([]);
  });
});

describe("MemoryPassageIndex", () => {
  it("prefers a tenant's own collection to a shared one of the same name", async () => {
    const index = indexOf([GUIDE]);
    index.replaceCollection({ tenantId: "acme", collection: "docs" }, [ERRORS]);
    expect((await ask("error codes", { index, tenantId: "acme" }))[0]?.documentId).toBe("docs/errors.md");
    expect((await ask("npm start", { index, tenantId: "globex" }))[0]?.documentId).toBe("docs/guide.md");
    expect(await ask("npm start", { index, tenantId: "acme" })).toEqual([]);
  });

  it("forgets what a collection held before", async () => {
    const index = indexOf([GUIDE]);
    index.replaceCollection({ tenantId: undefined, collection: "docs" }, [ERRORS]);
    expect(await ask("npm start", { index })).toEqual([]);
  });

  it("reads only the beginning of an endless question", async () => {
    const strangers = Array.from({ length: 100_000 }, (_, i) => `stranger${i}`).join(" ");
    const question = `error codes ${"the ".repeat(1_000)}${strangers}`;
    const startedAtMs = performance.now();
    expect(await ask(question)).not.toEqual([]);
    expect(performance.now() - startedAtMs).toBeLessThan(1_000);
  });

  it("refuses more passages than memory should hold", () => {
    const huge = { id: "huge.md", text: "# a\nb\n".repeat(PASSAGES_MAX + 1) };
    expect(() => indexOf([huge])).toThrow(RangeError);
  });

  it("does not answer a caller that has left", async () => {
    const query = { tenantId: "acme", collection: "docs", query: "error", passagesMax: 5 };
    await expect(shared.retrieve(query, AbortSignal.abort(new Error("left")))).rejects.toThrow("left");
  });
});
