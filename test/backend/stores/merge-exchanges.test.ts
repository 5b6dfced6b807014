/** Bringing together what several places know of one conversation. */
import { describe, expect, it } from "vitest";
import { mergeExchanges } from "../../../backend/stores/merge-exchanges.ts";
import { exchange } from "./conversation-store.contract.ts";

const ids = (exchanges: readonly { id: string }[]) => exchanges.map(({ id }) => id.slice(4)).join("");

describe("merged exchanges", () => {
  it("are what is kept, as it is, when nothing is missing", () => {
    const kept = [exchange("b", 2), exchange("c", 3)];
    expect(mergeExchanges(kept, [exchange("c", 3), exchange("b", 2)])).toBe(kept);
  });

  it("have what is missing in its place, at the end or in the middle, once", () => {
    const kept = [exchange("a", 1), exchange("c", 3)];
    const others = [exchange("b", 2), exchange("c", 3), exchange("d", 4), exchange("d", 4)];
    expect(ids(mergeExchanges(kept, others))).toBe("abcd");
  });

  it("do not bring back what is older than all that is kept", () => {
    expect(ids(mergeExchanges([exchange("c", 3)], [exchange("a", 1), exchange("d", 4)]))).toBe("cd");
  });

  it("are all of the others when nothing is kept, in the order of their questions", () => {
    expect(ids(mergeExchanges([], [exchange("b", 2), exchange("a", 1)]))).toBe("ab");
  });
});
