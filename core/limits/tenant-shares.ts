/**
 * Divides a bounded room among tenants, so that none can fill it for all: a tenant may hold as much as a fixed
 * multiple of what is left (dynamic thresholds: Choudhury and Hahne, "Dynamic queue length thresholds for
 * shared-memory packet switches", IEEE/ACM Transactions on Networking 6(2), 1998). Nobody's share needs to be
 * configured or reserved: it shrinks as others come, and whoever has nothing yet finds room.
 */

/**
 * Of the room left. One tenant alone gets three quarters of the whole, two that both want all of it three sevenths
 * each, N of them 3/(3N+1); the rest stays for the next.
 */
const MULTIPLE_MAX = 3;

/** Who holds how much of a room. Counts only: what is held is the caller's. */
export class TenantShares {
  readonly #capacity: number;
  /** By tenant; those who hold nothing are not in it. */
  readonly #held = new Map<string, number>();
  #total = 0;

  /** @param capacity in whatever unit is taken and given back */
  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  /**
   * Whether the tenant may take more.
   *
   * @param multiple of the room left that it may hold; less than the default leaves room in its share for what
   *   must not be refused later. With 1, a tenant alone stops at half of the whole
   */
  hasRoom(tenantId: string, multiple: number = MULTIPLE_MAX): boolean {
    return (this.#held.get(tenantId) ?? 0) < multiple * (this.#capacity - this.#total);
  }

  /** Counts what has been taken, wanted or not: asking first is the caller's business. */
  take(tenantId: string, amount: number): void {
    this.#held.set(tenantId, (this.#held.get(tenantId) ?? 0) + amount);
    this.#total += amount;
  }

  /** Gives back what was taken. */
  release(tenantId: string, amount: number): void {
    const held = (this.#held.get(tenantId) ?? 0) - amount;
    if (held > 0) this.#held.set(tenantId, held);
    else this.#held.delete(tenantId);
    this.#total -= amount;
  }

  /** The tenant that holds most; undefined when nobody holds anything. */
  get heaviest(): string | undefined {
    let heaviest: string | undefined;
    let most = 0;
    for (const [tenantId, held] of this.#held) {
      if (held > most) [heaviest, most] = [tenantId, held];
    }
    return heaviest;
  }

  /** All that is held. */
  get total(): number {
    return this.#total;
  }
}
