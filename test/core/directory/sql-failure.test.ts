import { describe, expect, it } from "vitest";
import { databaseUnavailable, statementFailure } from "../../../core/directory/sql-failure.ts";

describe("statementFailure", () => {
  it.each([
    ["08006", "connection failure"],
    ["57P01", "admin shutdown"],
    ["57P03", "cannot connect now"],
    ["57014", "statement timeout"],
    ["53300", "too many connections"],
    ["28P01", "invalid password"],
    ["3D000", "no such database"],
    ["40001", "serialization failure"],
    ["40P01", "deadlock"],
    ["25006", "read-only transaction"],
    ["58030", "disk failure"],
  ])("is unavailable, to be tried again, for %s (%s)", (sqlState) => {
    expect(statementFailure(sqlState, undefined)).toMatchObject({ code: "unavailable", retryable: true });
  });

  it.each([
    ["23505", "unique violation"],
    ["42P01", "undefined table"],
    ["22P02", "invalid text"],
    ["08P01", "wrong number of parameters"],
    ["XX000", "internal error"],
    ["", "nothing known"],
  ])("is internal, not to be tried again, for %s (%s)", (sqlState) => {
    expect(statementFailure(sqlState, undefined)).toMatchObject({ code: "internal", retryable: false });
  });

  it("keeps the foreign failure as its cause and out of its message", () => {
    const cause = new Error("Key (secret)=(abc) already exists");
    for (const failure of [statementFailure("23505", cause), databaseUnavailable(cause)]) {
      expect(failure.cause).toBe(cause);
      expect(failure.message).not.toContain("secret");
    }
  });
});
