/** The ids that came lately, so that what comes again can be told from what is new. */

/** More than a mailbox hands out without an acknowledgement, many times over. */
const IDS_MAX = 1_000;

/** See above. */
export class RecentIds {
  readonly #ids = new Set<string>();

  /** Whether it is new; past the bound the oldest one is forgotten. */
  add(id: string): boolean {
    if (this.#ids.has(id)) return false;
    this.#ids.add(id);
    const [oldest = ""] = this.#ids;
    if (this.#ids.size > IDS_MAX) this.#ids.delete(oldest);
    return true;
  }
}
