/** A table of an HTML document while it is read: rows of cells as text. What stands in a cell is one line of text. */
import type { HtmlText } from "./html-text.ts";

/** The outermost table; tables within it become text of the cell that they stand in. */
export class HtmlTable {
  readonly #out: HtmlText;
  /** Tables that are open: this one and those within it. */
  #depth = 1;
  #rowsCount = 0;
  #cells: string[] = [];
  #cell: string[] | undefined;

  constructor(out: HtmlText) {
    this.#out = out;
  }

  /** An element begins. */
  open(name: string): void {
    if (name === "table") this.#depth++;
    else if (this.#depth > 1) this.text(" ");
    else if (name === "tr") this.#endRow();
    else if (name === "td" || name === "th") this.#startCell();
    else this.text(" ");
  }

  /** An element ends. Returns whether it was the table itself. */
  close(name: string): boolean {
    if (name === "table") this.#depth--;
    else if (this.#depth === 1 && name === "tr") this.#endRow();
    else if (this.#depth === 1 && (name === "td" || name === "th")) this.#endCell();
    else this.text(" ");
    if (this.#depth > 0) return false;
    this.#endRow();
    this.#out.breakParagraph();
    return true;
  }

  /** Running text; outside of cells it is the table's caption, or white space. */
  text(text: string): void {
    if (this.#cell) this.#cell.push(text);
    else if (text.trim() !== "") this.#out.add(text);
  }

  #startCell(): void {
    this.#endCell();
    this.#cell = [];
  }

  #endCell(): void {
    if (this.#cell) this.#cells.push(this.#cell.join(""));
    this.#cell = undefined;
  }

  #endRow(): void {
    this.#endCell();
    if (this.#cells.some((cell) => cell.trim() !== "")) {
      this.#out.addRow(this.#cells, this.#rowsCount === 0);
      this.#rowsCount++;
    }
    this.#cells = [];
  }
}
