/** The backend's addresses and whose turn it is: round robin among those whose breaker lets a call pass. */
import type { AddressBreaker } from "./address-breaker.ts";

/** Picks addresses. Holds no connections; what an address is beside its breaker does not matter here. */
export class AddressPool<Address extends { readonly breaker: AddressBreaker }> {
  readonly #addresses: readonly Address[];
  #turn: number;

  /**
   * @param addresses at least one
   * @param random uniform in [0, 1); isolates start at different addresses
   */
  constructor(addresses: readonly Address[], random: () => number) {
    this.#addresses = addresses;
    this.#turn = Math.floor(random() * addresses.length);
  }

  /** How many addresses there are. */
  get size(): number {
    return this.#addresses.length;
  }

  /**
   * The next address, preferably one not tried yet, never one of `excluded`; undefined when the breakers of all
   * others are open. The caller makes the call and reports its outcome to the breaker.
   */
  pick(tried: ReadonlySet<Address>, excluded: ReadonlySet<Address> = new Set()): Address | undefined {
    const start = this.#turn;
    this.#turn = (this.#turn + 1) % this.#addresses.length;
    const inTurn = [...this.#addresses.slice(start), ...this.#addresses.slice(0, start)];
    const passing = inTurn.filter((address) => address.breaker.waitMs() === 0 && !excluded.has(address));
    const picked = passing.find((address) => !tried.has(address)) ?? passing[0];
    picked?.breaker.admit();
    return picked;
  }

  /** Milliseconds until the first of the breakers, but those of `excluded`, lets a call pass. */
  waitMs(excluded: ReadonlySet<Address> = new Set()): number {
    const others = this.#addresses.filter((address) => !excluded.has(address));
    return Math.min(...others.map((address) => address.breaker.waitMs()));
  }
}
