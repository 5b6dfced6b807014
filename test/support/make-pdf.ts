/** PDF files for tests, made by hand so that they can be broken in exact ways. */
import { deflateSync } from "node:zlib";

/** Contents of a PDF. */
export interface PdfParts {
  /** Lines of text of each page. */
  readonly pages: readonly (readonly string[])[];
  readonly title?: string;
  /** In place of the first page's content: already compressed (FlateDecode). */
  readonly content?: Uint8Array;
  /** Added to the dictionary of the trailer, e.g. `/Encrypt …`. */
  readonly trailer?: string;
  /** How the tree of pages is written; default: one node with all pages. */
  readonly pageTree?: (kids: string, count: number) => string;
}

/** A PDF 1.4 file with one font, its content streams compressed. */
export function makePdf({ pages, title = "", content, trailer = "", pageTree }: PdfParts): Uint8Array {
  const objects: Uint8Array[] = [];
  const add = (body: string | Uint8Array) =>
    objects.push(typeof body === "string" ? Buffer.from(body) : body);
  const firstPage = 5;
  const kids = pages.map((_, index) => `${firstPage + 2 * index} 0 R`).join(" ");
  add("<< /Type /Catalog /Pages 2 0 R >>");
  add(pageTree?.(kids, pages.length) ?? `<< /Type /Pages /Kids [${kids}] /Count ${pages.length} >>`);
  add("<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>");
  add(`<< /Title (${title}) >>`);
  for (const [index, lines] of pages.entries()) {
    const number = firstPage + 2 * index + 1;
    add(
      `<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Resources << /Font << /F1 3 0 R >> >> /Contents ${number} 0 R >>`,
    );
    const text = lines.map((line) => `(${line.replaceAll(/[()\\]/g, "\\$&")}) Tj 0 -14 Td`).join("\n");
    const data = index === 0 && content ? content : deflateSync(`BT /F1 12 Tf 50 740 Td\n${text}\nET`);
    add(
      Buffer.concat([
        Buffer.from(`<< /Length ${data.length} /Filter /FlateDecode >>\nstream\n`),
        data,
        Buffer.from("\nendstream"),
      ]),
    );
  }
  return assemble(objects, trailer);
}

function assemble(objects: readonly Uint8Array[], trailer: string): Uint8Array {
  const parts: Uint8Array[] = [Buffer.from("%PDF-1.4\n")];
  let length = parts[0]?.length ?? 0;
  const offsets: number[] = [];
  for (const [index, object] of objects.entries()) {
    offsets.push(length);
    const whole = Buffer.concat([Buffer.from(`${index + 1} 0 obj\n`), object, Buffer.from("\nendobj\n")]);
    parts.push(whole);
    length += whole.length;
  }
  const rows = offsets.map((offset) => `${String(offset).padStart(10, "0")} 00000 n \n`).join("");
  parts.push(
    Buffer.from(
      `xref\n0 ${objects.length + 1}\n0000000000 65535 f \n${rows}trailer\n` +
        `<< /Size ${objects.length + 1} /Root 1 0 R /Info 4 0 R ${trailer} >>\nstartxref\n${length}\n%%EOF\n`,
    ),
  );
  return new Uint8Array(Buffer.concat(parts));
}
