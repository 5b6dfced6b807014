/** Documents over HTTP, through the real worker and the real backend: in, seen, replaced, out; and hostile ones. */
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { type IncomingMessage, request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text as readText } from "node:stream/consumers";
import { type CallOptions, Code, createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { DOCUMENT_BYTES_MAX } from "../../core/knowledge/document-size.ts";
import { KnowledgeService } from "../../proto/gen/parley/v1/knowledge_service_pb.js";
import { type Gateway, startGateway } from "../support/gateway.ts";
import { makePdf } from "../support/make-pdf.ts";
import { admin, api, eventually, makeKey } from "./administration-client.ts";
import type { Json } from "./ask.ts";

const LIMIT_MS = 120_000;
const DOCS = "/api/v1/knowledge/docs";
let gateway: Gateway;

beforeAll(async () => {
  gateway = await startGateway();
}, LIMIT_MS);
afterAll(async () => {
  await gateway.stop();
  gateway.remove();
}, LIMIT_MS);

/** Says how long the document is and sends its beginning only: it is refused before the rest is on its way. */
async function announce(path: string, bytes: number) {
  const sent = request(`${gateway.url}${DOCS}/documents/${path}`, {
    method: "PUT",
    headers: {
      authorization: `Bearer ${gateway.key}`,
      "content-type": "text/markdown",
      "content-length": bytes,
    },
  });
  sent.on("error", () => {});
  sent.write("y");
  const [answer] = (await once(sent, "response")) as [IncomingMessage];
  const body: Json = JSON.parse(await readText(answer));
  sent.destroy();
  return { status: answer.statusCode, body };
}

async function put(path: string, body: string | Uint8Array<ArrayBuffer>, contentType = "text/markdown") {
  const response = await fetch(`${gateway.url}${DOCS}/documents/${path}`, {
    method: "PUT",
    headers: { authorization: `Bearer ${gateway.key}`, ...(contentType && { "content-type": contentType }) },
    body: typeof body === "string" ? new TextEncoder().encode(body) : body,
  });
  return { status: response.status, body: (await response.json()) as Json };
}
const get = (path: string) => api(gateway, `GET ${DOCS}${path}`);
const readyDocument = (id: string) =>
  eventually(20_000, async () => (await get(`/documents/${id}`)).body.state === "ready");

describe("a document over HTTP", () => {
  it(
    "is put, read, listed, left alone when unchanged, replaced and deleted",
    async () => {
      const id = encodeURIComponent("guide/limits.md");
      const first = await put(
        `${id}?title=Limits&metadata={"year":2026}`,
        "# Limits\n\nTen requests a minute.",
      );
      expect([200, 202]).toContain(first.status);
      expect(first.body.document).toMatchObject({
        id: "guide/limits.md",
        title: "Limits",
        metadata: { year: 2026 },
      });
      await readyDocument(id);
      const same = await put(
        `${id}?title=Limits&metadata={"year":2026}`,
        "# Limits\n\nTen requests a minute.",
      );
      expect(same).toMatchObject({ status: 200, body: { unchanged: true } });
      expect((await get(`/documents/${id}?text=true`)).body.text).toBe("# Limits\n\nTen requests a minute.");
      expect((await put(id, "# Limits\n\nTwenty.")).body.unchanged).toBe(false);
      expect((await get("/documents")).body.documents).toMatchObject([
        { id: "guide/limits.md", chunksCount: 1 },
      ]);
      expect([204, 202]).toContain((await api(gateway, `DELETE ${DOCS}/documents/${id}`)).status);
      expect((await get(`/documents/${id}`)).status).toBe(404);
      const { body } = await api(gateway, "GET /api/v1/audit?targetKind=document");
      expect(body.entries[0]).toMatchObject({ action: "document.delete", targetId: "docs/guide/limits.md" });
      expect(body.entries[0].address).toMatch(/127\.0\.0\.1|::1/);
    },
    LIMIT_MS,
  );

  it(
    "may be a PDF or HTML",
    async () => {
      const pdf = await put(
        "paper",
        new Uint8Array(makePdf({ pages: [["Alpacas hum"]], title: "Paper" })),
        "application/pdf",
      );
      expect(pdf.body.document).toMatchObject({ title: "Paper", mediaType: "application/pdf" });
      await put(
        "page",
        "<title>Page</title><script>evil()</script><p>Caf&eacute;</p>",
        "text/html; charset=utf-8",
      );
      expect((await get("/documents/page?text=true")).body).toMatchObject({ title: "Page", text: "Café" });
    },
    LIMIT_MS,
  );

  it(
    "is refused with a status and words that say what to do",
    async () => {
      for (const [answer, status, reason, words] of [
        [await put("a", "x", ""), 415, "unsupported-media-type", /media type is missing/],
        [await put("a", "x", "image/png"), 415, "unsupported-media-type", /application\/pdf/],
        [await announce("a", 17 * 1024 * 1024), 413, "body-too-large", /16777216 bytes/],
        [await put("a", " "), 400, "document-empty", /no text/],
        [await put("a", new Uint8Array([0xff, 0x41])), 400, "document-encoding", /charset=/],
        [await put("a", "hello", "application/pdf"), 400, "document-broken", /save it again/],
        [await put("a?colour=red", "x"), 400, "invalid-input", /colour/],
        [await put("a?metadata=[1]", "x"), 400, undefined, /JSON object/],
        [await put("a?metadata={}", "<b>".repeat(100_000), "text/html"), 400, "document-too-complex", /deep/],
      ] as const) {
        expect(answer).toMatchObject({ status, body: { error: { message: expect.stringMatching(words) } } });
        expect(answer.body.error.reason).toBe(reason);
      }
      expect((await get("/documents/a")).status).toBe(404);
    },
    LIMIT_MS,
  );

  it(
    "made to break the process leaves it serving",
    async () => {
      const pages = Array.from({ length: 3_000 }, () => ["x"]);
      const answer = await put("bomb", new Uint8Array(makePdf({ pages })), "application/pdf");
      expect(answer).toMatchObject({ status: 400, body: { error: { reason: "document-too-long" } } });
      expect((await put("after", "still here")).body.document.id).toBe("after");
    },
    LIMIT_MS,
  );
});

describe("many documents over HTTP", () => {
  const many = Array.from({ length: 30 }, (_, number) => ({
    ...{ id: `m${number}`, mediaType: "text/plain", text: `number ${number}` },
  }));

  it(
    "are taken as JSON and as NDJSON, with a job that can be followed",
    async () => {
      const asJson = await api(gateway, "POST /api/v1/knowledge/bulk/documents", { body: many });
      expect([200, 202]).toContain(asJson.status);
      expect(asJson.body.results).toHaveLength(30);
      const job = `/api/v1/knowledge/bulk/jobs/${asJson.body.job.id}`;
      await eventually(30_000, async () => (await api(gateway, `GET ${job}`)).body.finished);
      expect((await api(gateway, `GET ${job}`)).body).toMatchObject({ total: 30, done: 30, failed: 0 });
      const asLines = await api(gateway, "POST /api/v1/knowledge/bulk/documents", {
        headers: { "content-type": "application/x-ndjson" },
        body: `${many.map((one) => JSON.stringify(one)).join("\n")}\n${JSON.stringify({
          ...{ id: "pdf", mediaType: "application/pdf" },
          contentBase64: Buffer.from(makePdf({ pages: [["hum"]] })).toString("base64"),
        })}\n`,
      });
      expect(asLines.body.results.map(({ status }: { status: string }) => status)).toEqual([
        ...many.map(() => "unchanged"),
        "queued",
      ]);
      const page = await api(gateway, "GET /api/v1/knowledge/bulk/documents?limit=20");
      const rest = await api(
        gateway,
        `GET /api/v1/knowledge/bulk/documents?limit=20&cursor=${page.body.nextCursor}`,
      );
      expect(page.body.documents.length + rest.body.documents.length).toBe(31);
      expect([202, 204]).toContain((await api(gateway, "DELETE /api/v1/knowledge/bulk")).status);
      expect((await api(gateway, "GET /api/v1/knowledge/bulk/documents")).status).toBe(404);
    },
    LIMIT_MS,
  );

  it.each([
    ["no list", {}, /.*/],
    ["an empty list", [], /.*/],
    ["too many", Array(501).fill(many[0]), /.*/],
    ["neither text nor bytes", [{ id: "a", mediaType: "text/plain" }], /either text or contentBase64/],
    ["broken base64", [{ id: "a", mediaType: "application/pdf", contentBase64: "*" }], /is not base64/],
  ])("are refused as a whole: %s", async (_, body, words) => {
    const answer = await api(gateway, `POST ${DOCS}/documents`, { body });
    expect(answer).toMatchObject({ status: 400, body: { error: { code: "invalid_argument" } } });
    expect(answer.body.error.message).toMatch(words);
  });
});

describe("documents by the command line, beside a running gateway", () => {
  const DOCUMENT_END = "--><p>Walruses whistle at night.</p>";
  /** HTML of so many bytes, nearly all of them a comment: what it says is short. */
  const html = (bytes: number) => `<!--${"x".repeat(bytes - 4 - DOCUMENT_END.length)}${DOCUMENT_END}`;

  it(
    "are taken up to 16 MiB each, indexed by the gateway, and named one by one where they are refused",
    async () => {
      const folder = mkdtempSync(join(tmpdir(), "parley-documents-"));
      writeFileSync(join(folder, "largest.html"), html(DOCUMENT_BYTES_MAX));
      writeFileSync(join(folder, "larger.html"), html(DOCUMENT_BYTES_MAX + 1));
      writeFileSync(join(folder, "latin-1.txt"), Buffer.from([0x63, 0x61, 0x66, 0xe9]));
      writeFileSync(join(folder, "small.md"), "# Otters\n\nOtters hold hands.");
      const ended = await admin(gateway, "knowledge", "ingest", folder, "--collection", "sea").catch(
        (error) => error,
      );
      rmSync(folder, { recursive: true });
      expect(ended).toMatchObject({
        code: 1,
        stderr: expect.stringContaining("larger.html: is larger than"),
      });
      expect(ended.stderr).toContain("latin-1.txt: the document is not utf-8 text");
      expect(JSON.parse(ended.stdout)).toMatchObject({ indexed: 2 });
      const found = async (query: string) =>
        (await api(gateway, "POST /api/v1/knowledge/sea/search", { body: { query } })).body.passages;
      expect(await found("when do walruses whistle")).toMatchObject([
        { documentId: "largest.html", text: "Walruses whistle at night." },
      ]);
      expect(await found("who do otters hold")).toMatchObject([{ documentId: "small.md" }]);
    },
    LIMIT_MS,
  );
});

describe("documents over gRPC", () => {
  const clientOf = () => createClient(KnowledgeService, createGrpcTransport({ baseUrl: gateway.backendUrl }));
  const document = { id: "a", contentType: "text/plain", content: new TextEncoder().encode("Llamas spit.") };

  it(
    "are put, found and deleted by keys with the scope for it, and by no other",
    async () => {
      const client = clientOf();
      const keyOf = async (scopes: string[]) => {
        const { text } = await makeKey(gateway, { scopes });
        return { headers: { authorization: `Bearer ${text}` } };
      };
      const [reader, writer, sender] = [
        await keyOf(["knowledge:read"]),
        await keyOf(["knowledge:write"]),
        await keyOf(["messages:send"]),
      ];
      const collection = "scoped";
      const writes = (call: CallOptions) => [
        () => client.putDocument({ collection, document }, call),
        () => client.putDocuments({ collection, documents: [document] }, call),
        () => client.deleteDocument({ collection, id: "a" }, call),
        () => client.deleteCollection({ collection }, call),
      ];
      const reads = (call: CallOptions) => [
        () => client.search({ collection, query: "llamas" }, call),
        () => client.getDocument({ collection, id: "a" }, call),
        () => client.listDocuments({ collection }, call),
        () => client.getJob({ collection, jobId: "j" }, call),
      ];
      const refused = [...writes(reader), ...reads(writer), ...writes(sender), ...reads(sender)];
      for (const call of refused) await expect(call()).rejects.toMatchObject({ code: Code.PermissionDenied });
      for (const call of [...writes({}), ...reads({})]) {
        await expect(call()).rejects.toMatchObject({ code: Code.Unauthenticated });
      }
      await client.putDocument({ collection, document }, writer);
      const search = async () => (await client.search({ collection, query: "llamas spit" }, reader)).passages;
      await eventually(30_000, async () => (await search()).length === 1);
      expect(await search()).toMatchObject([{ documentId: "a", text: "Llamas spit." }]);
      await client.deleteCollection({ collection }, writer);
      for (const gone of [search, () => client.listDocuments({ collection }, reader)])
        await expect(gone()).rejects.toMatchObject({ code: Code.NotFound });
    },
    LIMIT_MS,
  );
});

describe("a search over HTTP", () => {
  const search = (body: unknown) => api(gateway, "POST /api/v1/knowledge/recipes/search", { body });
  const DOCUMENTS = [
    ["pancakes", 2025, "# Pancakes\n\nPancakes need flour, milk and eggs, and a hot pan."],
    ["waffles", 2026, "# Waffles\n\nWaffles need flour, butter and an iron."],
  ] as const;

  it(
    "finds passages with their places, under filters, and nothing where nothing is relevant",
    async () => {
      const body = DOCUMENTS.map(([id, year, text]) => ({
        ...{ id, text, mediaType: "text/markdown", metadata: { year } },
      }));
      const put = await api(gateway, "POST /api/v1/knowledge/recipes/documents", { body });
      expect([200, 202]).toContain(put.status);
      await eventually(20_000, async () => (await search({ query: "flour" })).body.passages?.length === 2);
      const { status, body: found } = await search({ query: "What do pancakes need?", limit: 1 });
      expect(status).toBe(200);
      const [{ start, end, text, score, ...passage }] = found.passages;
      expect(passage).toMatchObject({ documentId: "pancakes", title: "Pancakes", metadata: { year: 2025 } });
      expect(DOCUMENTS[0][2].slice(start, end)).toBe(text);
      expect(score).toBeGreaterThan(0);
      const filtered = await search({ query: "flour", filter: [{ field: "year", range: { gt: 2025 } }] });
      expect(filtered.body.passages.map((each: Json) => each.documentId)).toEqual(["waffles"]);
      const hostile = await search({ query: "flour", filter: [{ field: "year", equals: "' OR 1=1 --" }] });
      expect(hostile.body).toEqual({ passages: [], state: "complete" });
      expect((await search({ query: "the capital of France" })).body.passages).toEqual([]);
    },
    LIMIT_MS,
  );

  it.each([
    ["no question", {}],
    ["an empty question", { query: "" }],
    ["too many passages", { query: "x", limit: 51 }],
    ["an operator for a field", { query: "x", filter: [{ field: "a OR b", equals: 1 }] }],
    ["a condition that says nothing", { query: "x", filter: [{ field: "a" }] }],
    ["bounds of two types", { query: "x", filter: [{ field: "a", range: { gt: 1, lt: "2" } }] }],
    ["something else", { query: "x", expression: "true" }],
  ])("refuses %s, saying where", async (_, body) => {
    const answer = await search(body);
    expect(answer.status).toBe(400);
    expect(answer.body.error.details.violations.length).toBeGreaterThan(0);
  });
});

describe("a collection that is not there", () => {
  const mistyped = (name: string) => [
    () => api(gateway, `GET /api/v1/knowledge/${name}/documents`),
    () => api(gateway, `POST /api/v1/knowledge/${name}/search`, { body: { query: "flour" } }),
  ];

  it(
    "is not found by searches and lists, with words that say what to do; an empty or shared one answers",
    async () => {
      for (const call of mistyped("nosuch")) {
        const { status, body } = await call();
        expect([status, body.error.code]).toEqual([404, "not_found"]);
        expect(body.error.message).toMatch(/no collection "nosuch"; check its name, or put a document/);
      }
      const listed = admin(gateway, "knowledge", "list", "--collection", "nosuch");
      await expect(listed).rejects.toMatchObject({
        code: 1,
        stderr: expect.stringMatching(/not_found: there is no collection "nosuch"; check its name/),
      });
      const document = "/api/v1/knowledge/emptied/documents/a";
      await api(gateway, `PUT ${document}`, { body: "hello", headers: { "content-type": "text/plain" } });
      expect([202, 204]).toContain((await api(gateway, `DELETE ${document}`)).status);
      await eventually(20_000, async () => (await mistyped("emptied")[1]?.())?.body.passages.length === 0);
      for (const call of [...mistyped("emptied"), ...mistyped("parley-docs")])
        expect((await call()).status).toBe(200);
    },
    LIMIT_MS,
  );
});
