/**
 * HTML as Markdown text: what a reader of the page sees, in its structure. Scripts, styles, event handlers and all
 * other attributes, hidden elements and navigation are left out; nothing is loaded and nothing is run.
 */
import { Parser } from "htmlparser2";
import { documentError, HTML_DEPTH_MAX } from "./document-limits.ts";
import { cutHeading } from "./document-structure.ts";
import { HtmlTable } from "./html-table.ts";
import { HtmlText } from "./html-text.ts";

/** An HTML document, read. */
export interface HtmlContent {
  /** Markdown. */
  readonly text: string;
  /** Of the element `title`; undefined without one. */
  readonly title: string | undefined;
}

/** What is in them is not for readers, or not of this page. */
const LEFT_OUT: ReadonlySet<string> = new Set(
  `script style template noscript iframe object embed applet svg math canvas audio video nav button select`.split(
    " ",
  ),
);
const PARAGRAPHS: ReadonlySet<string> = new Set(
  `address article aside blockquote body caption center dd details dialog div dl dt fieldset figcaption figure footer
   form header hgroup hr legend main p section summary`.split(/\s+/),
);
const LISTS: ReadonlySet<string> = new Set(["ul", "ol", "menu"]);
/** Their text is kept apart until they end. */
const CAPTURED: ReadonlySet<string> = new Set(["title", "pre"]);
const HEADING = /^h([1-6])$/;
const HIDDEN_STYLE = /(?:^|;)\s*(?:display\s*:\s*none|visibility\s*:\s*hidden)/i;

/**
 * Time and memory grow with the length of the document.
 *
 * @throws ParleyError with reason `document-too-complex` or `document-too-long`
 */
export function readHtml(html: string): HtmlContent {
  const reader = new HtmlReader();
  const parser = new Parser(
    {
      onopentag: (name, attributes) => reader.open(name, attributes),
      onclosetag: (name) => reader.close(name),
      ontext: (text) => reader.text(text),
    },
    { decodeEntities: true },
  );
  parser.end(html);
  return reader.finish();
}

/** Follows the elements as they open and close; the parser closes each one that it has opened. */
class HtmlReader {
  readonly #out = new HtmlText();
  #depth = 0;
  #listDepth = 0;
  /** The depth of the element whose content is left out; undefined outside of such. */
  #leftOutAt: number | undefined;
  #captured: { depth: number; parts: string[] } | undefined;
  #table: HtmlTable | undefined;
  #title: string | undefined;

  open(name: string, attributes: Readonly<Record<string, string>>): void {
    this.#depth++;
    if (this.#depth > HTML_DEPTH_MAX) throw tooDeep();
    if (this.#leftOutAt !== undefined) return;
    if (LEFT_OUT.has(name) || isHidden(attributes)) this.#leftOutAt = this.#depth;
    else if (name === "img") this.text(attributes["alt"] ?? "");
    else if (name === "br") this.#openLine();
    else if (this.#captured) return;
    else if (CAPTURED.has(name)) this.#captured = { depth: this.#depth, parts: [] };
    else if (this.#table) this.#table.open(name);
    else this.#openBlock(name);
  }

  close(name: string): void {
    const depth = this.#depth--;
    if (this.#leftOutAt !== undefined) {
      if (this.#leftOutAt === depth) this.#leftOutAt = undefined;
    } else if (this.#captured) {
      if (this.#captured.depth === depth) this.#release(name, this.#captured.parts.join(""));
    } else if (this.#table) {
      if (this.#table.close(name)) this.#table = undefined;
    } else this.#closeBlock(name);
  }

  text(text: string): void {
    if (this.#leftOutAt !== undefined) return;
    if (this.#captured) this.#captured.parts.push(text);
    else if (this.#table) this.#table.text(text);
    else this.#out.add(text);
  }

  finish(): HtmlContent {
    return { text: this.#out.finish(), title: this.#title };
  }

  /** The first title is the document's; the others are of pictures. */
  #release(name: string, text: string): void {
    this.#captured = undefined;
    if (name === "title") this.#title ??= cutHeading(text.replaceAll(/\s+/g, " ")) || undefined;
    else if (this.#table) this.#table.text(text);
    else this.#out.addCode(text);
  }

  #openLine(): void {
    if (this.#captured || this.#table) this.text("\n");
    else this.#out.breakLine();
  }

  #openBlock(name: string): void {
    const level = HEADING.exec(name)?.[1];
    if (level) this.#out.startHeading(Number(level));
    else if (name === "table") {
      this.#out.breakParagraph();
      this.#table = new HtmlTable(this.#out);
    } else if (LISTS.has(name)) {
      if (this.#listDepth === 0) this.#out.breakParagraph();
      this.#listDepth++;
    } else if (name === "li") this.#out.startItem(Math.max(1, this.#listDepth));
    // A paragraph in an item goes on where the item is.
    else if (PARAGRAPHS.has(name)) this.#listDepth === 0 ? this.#out.breakParagraph() : this.#out.add(" ");
  }

  #closeBlock(name: string): void {
    if (LISTS.has(name)) {
      this.#listDepth = Math.max(0, this.#listDepth - 1);
      if (this.#listDepth === 0) this.#out.breakParagraph();
    } else if (name === "li") this.#out.breakLine();
    else if (HEADING.test(name)) this.#out.breakParagraph();
    else if (PARAGRAPHS.has(name)) this.#listDepth === 0 ? this.#out.breakParagraph() : this.#out.add(" ");
  }
}

function isHidden({ hidden, style }: Readonly<Record<string, string | undefined>>): boolean {
  return hidden !== undefined || (style !== undefined && HIDDEN_STYLE.test(style));
}

function tooDeep() {
  return documentError(
    "document-too-complex",
    `the document's elements stand more than ${HTML_DEPTH_MAX} deep in one another; send its text`,
  );
}
