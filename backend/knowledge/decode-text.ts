/**
 * Bytes to text, without guessing: the encoding is the one that a byte order mark or the sender names, else UTF-8, and
 * what does not fit it is refused rather than stored as replacement characters that no search would find.
 */
import { type DocumentProblem, documentError } from "./document-limits.ts";

/** Marks that encodings begin with. */
const BYTE_ORDER_MARKS: readonly { bytes: readonly number[]; charset: string }[] = [
  { bytes: [0xef, 0xbb, 0xbf], charset: "utf-8" },
  { bytes: [0xff, 0xfe], charset: "utf-16le" },
  { bytes: [0xfe, 0xff], charset: "utf-16be" },
];

/** What files begin with that are often sent as text, and what to do with them. */
const OTHER_FILES: readonly { magic: string; advice: string }[] = [
  { magic: "%PDF-", advice: "this is a PDF file; send it with `Content-Type: application/pdf`" },
  { magic: "PK\x03\x04", advice: "this is a ZIP or Office file; save it as PDF, HTML or text" },
  { magic: "\xd0\xcf\x11\xe0", advice: "this is an old Office file; save it as PDF, HTML or text" },
  { magic: "\x1f\x8b", advice: "this is compressed; send the file that is in it" },
  { magic: "\x89PNG", advice: "this is an image; recognise its text first (OCR)" },
  { magic: "\xff\xd8\xff", advice: "this is an image; recognise its text first (OCR)" },
];

/** Control characters that text does not have; a tab, line ends, form feed and escape it may have. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const CONTROL = /[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f]/g;
/** A stray one happens in old files; binary data has one in ten. */
const CONTROL_SHARE_MAX = 0.005;

/**
 * The text of a document, without byte order mark; what else it has stays as it is.
 *
 * @param charset as the sender named it; a byte order mark that contradicts it wins, as in browsers
 * @throws ParleyError with a {@link DocumentProblem} as reason
 */
export function decodeText(bytes: Uint8Array, charset?: string): string {
  refuseOtherFiles(bytes);
  const marked = BYTE_ORDER_MARKS.find(({ bytes: mark }) =>
    mark.every((byte, index) => bytes[index] === byte),
  );
  const named = marked?.charset ?? charset ?? "utf-8";
  const text = decode(bytes, named);
  const controls = text.match(CONTROL)?.length ?? 0;
  if (text.includes("\0") || controls > text.length * CONTROL_SHARE_MAX) {
    throw refused(
      "document-binary",
      "this is not text but binary data; send text, Markdown, HTML or PDF, with its `Content-Type`",
    );
  }
  return text;
}

function decode(bytes: Uint8Array, charset: string): string {
  let decoder: InstanceType<typeof TextDecoder>;
  try {
    decoder = new TextDecoder(charset, { fatal: true });
  } catch (cause) {
    throw refused(
      "document-encoding",
      `the encoding "${charset.slice(0, 40)}" is not known; convert the document to UTF-8`,
      cause,
    );
  }
  try {
    return decoder.decode(bytes);
  } catch (cause) {
    throw refused(
      "document-encoding",
      `the document is not ${decoder.encoding} text; name its encoding, e.g. \`Content-Type: text/plain; ` +
        "charset=windows-1252`, or convert it to UTF-8",
      cause,
    );
  }
}

function refuseOtherFiles(bytes: Uint8Array): void {
  const head = String.fromCharCode(...bytes.subarray(0, 8));
  const found = OTHER_FILES.find(({ magic }) => head.startsWith(magic));
  if (found) throw refused("document-binary", found.advice);
}

function refused(problem: DocumentProblem, message: string, cause?: unknown) {
  return documentError(problem, message, cause);
}
