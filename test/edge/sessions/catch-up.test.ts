import { describe, expect, it } from "vitest";
import { CatchUp, type CatchUpStart } from "../../../edge/sessions/catch-up.ts";

const start = (fields: Partial<CatchUpStart>): CatchUp =>
  new CatchUp({ savedHead: 10, seenAtMost: 42, unknownClients: [], positions: [], ...fields });

describe("after an eviction", () => {
  it("nothing is waited for when nobody can have seen more than is saved", () => {
    expect(start({ seenAtMost: 10 }).isUnderWay).toBe(false);
    expect(start({ positions: [10, 7] }).isUnderWay).toBe(false);
  });

  it("other turns wait until every number that a connection was sent has been given again", async () => {
    const catchUp = start({ positions: [12, 15] });
    expect([catchUp.isUnderWay, catchUp.highest]).toEqual([true, 15]);
    catchUp.reached(14);
    expect(catchUp.isUnderWay).toBe(true);
    catchUp.reached(15);
    expect(catchUp.isUnderWay).toBe(false);
    await catchUp.done;
  });

  it("a client that is away may have seen all that can have been sent, until it says what it has", () => {
    const catchUp = start({ unknownClients: ["a", "b"] });
    expect(catchUp.highest).toBe(42);
    catchUp.learn("a", 13, 10);
    expect(catchUp.isUnderWay).toBe(true);
    catchUp.learn("b", 11, 10);
    expect([catchUp.isUnderWay, catchUp.highest]).toEqual([true, 13]);
    catchUp.reached(13);
    expect(catchUp.isUnderWay).toBe(false);
  });

  it("it is over without the client when as many numbers have come as can have been seen", () => {
    const catchUp = start({ unknownClients: ["a"] });
    catchUp.reached(41);
    expect(catchUp.isUnderWay).toBe(true);
    catchUp.reached(42);
    expect(catchUp.isUnderWay).toBe(false);
  });

  it("what a client says that is not waited for changes nothing", () => {
    const catchUp = start({ unknownClients: ["a"] });
    catchUp.learn("stranger", 40, 10);
    expect(catchUp.highest).toBe(42);
    catchUp.learn("a", 10, 10);
    expect(catchUp.isUnderWay).toBe(false);
  });

  it("it is over when the turn has ended, and no number is outstanding then", () => {
    const catchUp = start({ positions: [20] });
    catchUp.end();
    expect([catchUp.isUnderWay, catchUp.highest]).toEqual([false, 0]);
  });
});
