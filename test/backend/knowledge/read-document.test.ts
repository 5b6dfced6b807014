/** From bytes to text and chunks: encodings, broken files, and where chunks stand in the text. */
import { describe, expect, it } from "vitest";
import { CHUNKS_MAX, TEXT_CHARACTERS_MAX } from "../../../backend/knowledge/document-limits.ts";
import { readDocument } from "../../../backend/knowledge/read-document.ts";
import type { DocumentMediaType } from "../../../core/knowledge/document-type.ts";
import { makePdf } from "../../support/make-pdf.ts";

const bytesOf = (text: string) => new TextEncoder().encode(text);
const read = (content: string | Uint8Array, mediaType: DocumentMediaType = "text/plain", charset?: string) =>
  readDocument({ bytes: typeof content === "string" ? bytesOf(content) : content, mediaType, charset });
const reasonOf = (promise: Promise<unknown>) =>
  promise.then(
    () => "taken",
    (error) => error.reason,
  );

describe("readDocument", () => {
  it("gives chunks whose places in the stored text are exact, for every media type", async () => {
    const markdown = `# Title\n\n${"A sentence of the intro 😀. ".repeat(200)}\n\n## Part\n\n${"x y ".repeat(900)}`;
    const html = `<title>Page</title><h1>Title</h1>${"<p>Some words &amp; more 😀 of them.</p>".repeat(100)}`;
    const pdf = makePdf({ pages: [["First page"], ["Second page"]], title: "Paper" });
    for (const document of [
      await read(markdown, "text/markdown"),
      await read(markdown),
      await read(html, "text/html"),
      await read(pdf, "application/pdf"),
    ]) {
      expect(document.chunks.length).toBeGreaterThan(1);
      let previous = 0;
      for (const { start, end } of document.chunks) {
        expect(start).toBeGreaterThanOrEqual(previous);
        const text = document.text.slice(start, end);
        expect(text.trim()).toBe(text.trimStart());
        expect(text.isWellFormed()).toBe(true);
        previous = end;
      }
      expect(document.text.isWellFormed() && !document.text.includes("\0")).toBe(true);
    }
  });

  it("stores text and Markdown as they were sent, without a byte order mark", async () => {
    expect((await read("\uFEFFone\r\n\r\ntwo\r\n")).text).toBe("one\r\n\r\ntwo\r\n");
    expect((await read("# not a heading in plain text")).chunks[0]?.start).toBe(0);
  });

  it("takes the title from the caller, else from the document", async () => {
    const bytes = bytesOf("# From the text\n\nwords");
    expect((await readDocument({ bytes, mediaType: "text/markdown" })).title).toBe("From the text");
    expect((await readDocument({ bytes, mediaType: "text/markdown", title: "Given" })).title).toBe("Given");
    expect((await read("<title>A &amp; B</title>words", "text/html")).title).toBe("A & B");
    expect((await read(makePdf({ pages: [["x"]], title: "Paper" }), "application/pdf")).title).toBe("Paper");
    expect((await read("words")).title).toBeUndefined();
  });

  it("takes front matter and headings without text from Markdown, and from HTML what they look like as text", async () => {
    const markdown = await read("---\ntitle: Own\n---\n# Who owns callay?\n## Team Tulgey", "text/markdown");
    expect(markdown).toMatchObject({ title: "Own", chunks: [{ start: 19, headings: [] }] });
    const html = await read(
      "<p>---<br>title: X<br>---</p><h1>Who owns callay?</h1><h2>Tulgey</h2>",
      "text/html",
    );
    expect(html.title).toBe("Who owns callay?");
    const texts = html.chunks.map(({ start, end }) => html.text.slice(start, end));
    expect(texts).toEqual([expect.stringContaining("title: X"), "## Tulgey"]);
  });

  it("reads a PDF page by page, its lines and paragraphs kept, and cites the page", async () => {
    const pages = [["First line", "second (line)", "", "", "New paragraph"], ["# Not a heading"]];
    const { text, chunks } = await read(makePdf({ pages }), "application/pdf");
    expect(text).toBe("First line\nsecond (line)\n\nNew paragraph\f# Not a heading");
    expect(chunks.map(({ headings }) => headings)).toEqual([["Page 1"], ["Page 2"]]);
  });
});

describe("an encoding", () => {
  const word = "Größe naïve";
  it.each([
    ["UTF-8 without being named", bytesOf(word), undefined],
    ["UTF-8 with a mark", bytesOf(`\uFEFF${word}`), undefined],
    ["UTF-16LE with a mark", Buffer.from(`\uFEFF${word}`, "utf16le"), undefined],
    ["UTF-16BE with a mark", Buffer.from(`\uFEFF${word}`, "utf16le").swap16(), undefined],
    ["Latin-1, named", Buffer.from(word, "latin1"), "ISO-8859-1"],
    ["UTF-8 with a mark, wrongly named", bytesOf(`\uFEFF${word}`), "windows-1252"],
  ])("is understood: %s", async (_, bytes, charset) => {
    expect((await read(new Uint8Array(bytes), "text/plain", charset)).text).toBe(word);
  });

  it("of HTML may stand in the document", async () => {
    const html = Buffer.from(`<meta charset="iso-8859-1"><p>${word}</p>`, "latin1");
    expect((await read(new Uint8Array(html), "text/html")).text).toBe(word);
  });

  it.each([
    [
      "Latin-1 that is not named",
      Buffer.from(word, "latin1"),
      undefined,
      "document-encoding",
      /charset=windows-1252/,
    ],
    ["UTF-8 cut in a character", bytesOf("ö").subarray(0, 1), undefined, "document-encoding", /not utf-8/],
    [
      "a name that nobody knows",
      bytesOf(word),
      "klingon",
      "document-encoding",
      /convert the document to UTF-8/,
    ],
    [
      "half a UTF-16 pair",
      Buffer.from([0xff, 0xfe, 0x3d, 0xd8, 0x61, 0]),
      undefined,
      "document-encoding",
      /utf-16le/,
    ],
    ["UTF-16 without a mark", Buffer.from(word, "utf16le"), undefined, "document-", /./],
  ])("that is wrong is refused with what to do: %s", async (_, bytes, charset, reason, message) => {
    const failure = read(new Uint8Array(bytes), "text/plain", charset);
    await expect(failure).rejects.toThrow(message);
    expect(await reasonOf(failure)).toContain(reason);
  });
});

describe("a document that cannot be used", () => {
  it.each([
    ["nothing", "", "text/plain", "document-empty"],
    ["no letter and no digit", " \n--- ***\n", "text/markdown", "document-empty"],
    ["nothing but front matter", "---\ntitle: X\n---\n", "text/markdown", "document-empty"],
    ["HTML without text", "<script>x</script><p> </p>", "text/html", "document-empty"],
    ["binary data as text", Buffer.from([1, 2, 3, 0, 65, 66]), "text/plain", "document-binary"],
    ["a PDF as text", makePdf({ pages: [["x"]] }), "text/markdown", "document-binary"],
    ["an Office file as text", Buffer.from("PK\x03\x04xxxx"), "text/plain", "document-binary"],
    ["text as a PDF", "hello", "application/pdf", "document-broken"],
    ["half a PDF", makePdf({ pages: [["x"]] }).subarray(0, 60), "application/pdf", "document-broken"],
    ["a PDF without text", makePdf({ pages: [[], []] }), "application/pdf", "document-empty"],
  ] as const)("is refused by name: %s", async (_, content, mediaType, reason) => {
    expect(
      await reasonOf(read(typeof content === "string" ? content : new Uint8Array(content), mediaType)),
    ).toBe(reason);
  });

  it("is an encrypted PDF: the error says to take the password away", async () => {
    const encrypt =
      "/Encrypt << /Filter /Standard /V 1 /R 2 /P -44 " +
      `/O <${"00".repeat(32)}> /U <${"11".repeat(32)}> >> /ID [<${"22".repeat(16)}> <${"22".repeat(16)}>]`;
    const failure = read(makePdf({ pages: [["x"]], trailer: encrypt }), "application/pdf");
    await expect(failure).rejects.toThrow(/without a password/);
    expect(await reasonOf(failure)).toBe("document-encrypted");
  });

  it("has more pages than the limit", async () => {
    const pages = Array.from({ length: 10_000 }, () => ["x"]);
    await expect(read(makePdf({ pages }), "application/pdf")).rejects.toThrow(/10000 pages.*2000/);
  });

  it("has more text or more chunks than the limits", async () => {
    expect(await reasonOf(read("word ".repeat(TEXT_CHARACTERS_MAX / 5)))).toBe("taken");
    expect(await reasonOf(read("word ".repeat(TEXT_CHARACTERS_MAX / 5 + 1)))).toBe("document-too-long");
    const sections = "# a\nb\n".repeat(CHUNKS_MAX + 1);
    await expect(read(sections, "text/markdown")).rejects.toThrow(/10001 chunks; 10000 are allowed/);
    const html = `<p>${"a b ".repeat(TEXT_CHARACTERS_MAX / 2)}`;
    expect(await reasonOf(read(html, "text/html"))).toBe("document-too-long");
  }, 60_000);
});
