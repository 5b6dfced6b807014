/**
 * The text of a PDF, page by page. Runs where it can be ended from outside: a hostile file may make pdf.js work for
 * ever or unpack without end, and nothing here stops that.
 */
import { documentError, PAGES_MAX, TEXT_CHARACTERS_MAX, textTooLong } from "./document-limits.ts";
import { cutHeading } from "./document-structure.ts";
import { PAGE_END } from "./read-plain-text.ts";

/** A PDF, read. */
export interface PdfContent {
  /** Pages, parted by {@link PAGE_END}. */
  readonly text: string;
  /** As its properties say; undefined when they do not. */
  readonly title: string | undefined;
}

/** A line farther below the one before it than this many of its own heights begins a paragraph. */
const PARAGRAPH_GAP = 1.7;

type PdfDocument = Awaited<ReturnType<typeof import("unpdf")["getDocumentProxy"]>>;
type PdfPage = Awaited<ReturnType<PdfDocument["getPage"]>>;
type PageItem = Awaited<ReturnType<PdfPage["getTextContent"]>>["items"][number];

/** @throws ParleyError with a DocumentProblem as reason */
export async function readPdf(bytes: Uint8Array): Promise<PdfContent> {
  const { getDocumentProxy } = await import("unpdf");
  const pdf = await getDocumentProxy(bytes, {
    useSystemFonts: false,
    disableFontFace: true,
    stopAtErrors: false,
    verbosity: 0,
  }).catch((error: unknown) => {
    throw pdfError(error);
  });
  if (pdf.numPages > PAGES_MAX) throw tooManyPages(pdf.numPages);
  const pages: string[] = [];
  let characters = 0;
  for (let number = 1; number <= pdf.numPages; number++) {
    const text = await readPage(pdf, number);
    characters += text.length;
    if (characters > TEXT_CHARACTERS_MAX) throw textTooLong();
    pages.push(text);
  }
  return { text: pages.join(PAGE_END), title: await readTitle(pdf) };
}

async function readPage(pdf: PdfDocument, number: number): Promise<string> {
  try {
    const page = await pdf.getPage(number);
    const { items } = await page.getTextContent({ includeMarkedContent: false });
    page.cleanup();
    return pageText(items);
  } catch (error) {
    throw pdfError(error);
  }
}

/** Lines as they are set; a wide gap between them is an empty line. */
function pageText(items: readonly PageItem[]): string {
  let text = "";
  let baseline: number | undefined;
  for (const item of items) {
    if (!("str" in item)) continue;
    const y: number = item.transform[5];
    const isAtLineStart = text === "" || text.endsWith("\n");
    if (isAtLineStart && item.str.trim() !== "") {
      const gap = baseline === undefined ? 0 : baseline - y;
      if (item.height > 0 && Math.abs(gap) > PARAGRAPH_GAP * item.height) text += "\n";
      baseline = y;
    }
    text += item.hasEOL ? `${item.str}\n` : item.str;
    if (text.length > TEXT_CHARACTERS_MAX) throw textTooLong();
  }
  // Fonts without a proper encoding give control characters, and halves of pairs; neither can be stored.
  return text
    .toWellFormed()
    .replaceAll(/[^\P{Cc}\n\t]/gu, "")
    .trim();
}

async function readTitle(pdf: PdfDocument): Promise<string | undefined> {
  const { info } = await pdf.getMetadata().catch(() => ({ info: {} }));
  const { Title: title } = info as { Title?: unknown };
  const text = typeof title === "string" ? title.toWellFormed().replaceAll(/\p{Cc}+/gu, " ") : "";
  return cutHeading(text) || undefined;
}

/** What pdf.js throws, by its name. */
function pdfError(error: unknown) {
  const { name = "" } = error as { name?: string };
  if (name === "ParleyError") return error;
  if (name === "PasswordException") {
    return documentError(
      "document-encrypted",
      "the PDF is encrypted; save it without a password and send it again",
      error,
    );
  }
  return documentError(
    "document-broken",
    "the PDF is broken and cannot be read; open it and save it again, e.g. by printing it to a PDF file",
    error,
  );
}

function tooManyPages(count: number) {
  return documentError(
    "document-too-long",
    `the PDF has ${count} pages; a document may have ${PAGES_MAX}, divide it into several`,
  );
}
