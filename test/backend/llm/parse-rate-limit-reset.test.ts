import { describe, expect, it } from "vitest";
import { parseRateLimitResetMs } from "../../../backend/llm/parse-rate-limit-reset.ts";
import { RETRY_AFTER_MS_MAX } from "../../../backend/llm/parse-retry-after.ts";

const read = (headers: Record<string, string>) => parseRateLimitResetMs(new Headers(headers));
const tokens = (reset: string) =>
  read({ "x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": reset });

describe("when a rate limit has room again", () => {
  it.each([
    ["1s", 1_000],
    ["6m0s", 360_000],
    ["7.66s", 7_660],
    ["2m59.56s", 179_560],
    ["12ms", 12],
    ["1h0m30s", RETRY_AFTER_MS_MAX],
    ["1m", 60_000],
    ["3", 3_000],
    ["0s", 0],
  ])("is read from the duration %s", (text, ms) => {
    expect(tokens(text)).toBeCloseTo(ms, 6);
  });

  it.each(["", "soon", "-1s", "1s 2m", "1e9s", "9".repeat(400), "1d", "s", "NaN"])(
    "is not read from %j",
    (text) => {
      expect(tokens(text)).toBeUndefined();
    },
  );

  it("is when the limit that is used up has room, not the one that has", () => {
    const headers = {
      "x-ratelimit-remaining-requests": "9999",
      "x-ratelimit-reset-requests": "6ms",
      "x-ratelimit-remaining-tokens": "0",
      "x-ratelimit-reset-tokens": "6m0s",
    };
    expect(read(headers)).toBe(360_000);
    expect(read({ ...headers, "x-ratelimit-remaining-requests": "0" })).toBe(360_000);
    expect(read({ ...headers, "x-ratelimit-remaining-tokens": "17" })).toBeUndefined();
  });

  it("is the soonest when nothing says what is left", () => {
    expect(read({ "x-ratelimit-reset-requests": "2s", "x-ratelimit-reset-tokens": "9s" })).toBe(2_000);
  });

  it("is read from the headers of proxies: seconds, or a moment by the response's own clock", () => {
    const date = "Wed, 25 Nov 2026 10:00:00 GMT";
    const sentAtMs = Date.parse(date);
    expect(read({ "x-ratelimit-reset": "30" })).toBe(30_000);
    expect(read({ "ratelimit-reset": "30" })).toBe(30_000);
    expect(read({ "x-ratelimit-reset": String(sentAtMs / 1000 + 12), date })).toBe(12_000);
    expect(read({ "x-ratelimit-reset": String(sentAtMs + 1_500), date })).toBe(1_500);
    expect(read({ "x-ratelimit-reset": String(sentAtMs - 9_000), date })).toBe(0);
    expect(read({ "x-ratelimit-reset": String(sentAtMs) })).toBeUndefined();
  });

  it("is unknown without any of the headers", () => {
    expect(read({})).toBeUndefined();
  });
});
