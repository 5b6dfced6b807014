import { expect, it } from "vitest";
import { parseRetryAfterMs, RETRY_AFTER_MS_MAX } from "../../../backend/llm/parse-retry-after.ts";

const DATE = "Fri, 20 Nov 2026 12:00:00 GMT";

it.each<[string, Record<string, string>, number | undefined]>([
  ["seconds", { "retry-after": "2" }, 2_000],
  ["fractions of seconds", { "retry-after": "0.5" }, 500],
  ["zero", { "retry-after": "0" }, 0],
  ["milliseconds, which are more exact than seconds", { "retry-after-ms": "150", "retry-after": "1" }, 150],
  ["seconds when the milliseconds are nonsense", { "retry-after-ms": "soon", "retry-after": "1" }, 1_000],
  ["a date, from the response's own", { "retry-after": "Fri, 20 Nov 2026 12:00:30 GMT", date: DATE }, 30_000],
  ["a date that has passed as no wait", { "retry-after": "Fri, 20 Nov 2026 11:00:00 GMT", date: DATE }, 0],
  ["no date without the response's own", { "retry-after": DATE }, undefined],
  ["no other form of date", { "retry-after": "2026-11-20T12:00:30Z", date: DATE }, undefined],
  ["no negative number", { "retry-after": "-5" }, undefined],
  ["no other notation", { "retry-after": "1e9" }, undefined],
  ["no impossible date", { "retry-after": "Fri, 99 Nov 2026 12:00:30 GMT", date: DATE }, undefined],
  ["a very long time as the longest", { "retry-after": "999999999" }, RETRY_AFTER_MS_MAX],
  ["nothing", {}, undefined],
])("reads %s", (_, headers, delayMs) => {
  expect(parseRetryAfterMs(new Headers(headers))).toBe(delayMs);
});
