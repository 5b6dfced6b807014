import { describe, expect, it } from "vitest";
import {
  CHECK_TIMEOUT_MS,
  type Dependency,
  RESULT_FRESH_MS,
  Readiness,
} from "../../../edge/health/readiness.ts";

describe("readiness", () => {
  it("asks all dependencies at the same time, and none for longer than its limit", async () => {
    const hang = (name: string): Dependency => ({
      name,
      kind: "backend",
      check: (signal) =>
        new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason))),
    });
    const startedAtMs = Date.now();
    const report = await new Readiness([hang("a"), hang("b")], Date.now).check();
    expect(Date.now() - startedAtMs).toBeLessThan(CHECK_TIMEOUT_MS * 1.5);
    expect(report).toMatchObject({
      ready: false,
      dependencies: [
        { name: "a", status: "failing", code: "deadline_exceeded" },
        { name: "b", status: "failing", code: "deadline_exceeded" },
      ],
    });
  });

  it("gives the last result to others while a check is under way", async () => {
    let nowMs = 0;
    let checks = 0;
    let release = () => {};
    const dependency: Dependency = {
      name: "a",
      kind: "database",
      check: () => {
        checks += 1;
        return checks === 1 ? Promise.resolve() : new Promise<void>((resolve) => (release = resolve));
      },
    };
    const readiness = new Readiness([dependency], () => nowMs);
    const first = await readiness.check();
    nowMs += RESULT_FRESH_MS;
    const pending = readiness.check();
    expect(await readiness.check()).toBe(first);
    expect(checks).toBe(2);
    release();
    expect(await pending).not.toBe(first);
  });
});
