import { pino } from "pino";
import { describe, expect, it } from "vitest";
import { createBackendLimiter } from "../../../backend/limits/backend-limiter.ts";
import { readEdgeConfig } from "../../../edge/env.ts";
import { createEdgeLimiter } from "../../../edge/limits/edge-limiter.ts";
import { TEST_ENV } from "../../edge/support/edge-harness.ts";
import { callOn } from "./limiter.contract.ts";

const edgeLimiter = (limitsEnabled: string) =>
  createEdgeLimiter(readEdgeConfig({ ...TEST_ENV, LIMITS_ENABLED: limitsEnabled }), {}, () => {});
const backendLimiter = (limitsEnabled: string) =>
  createBackendLimiter({ LIMITS_ENABLED: limitsEnabled === "true" }, pino({ level: "silent" }));

describe.each([
  ["edge", edgeLimiter],
  ["backend", backendLimiter],
])("LIMITS_ENABLED at the %s", (_, limiterOf) => {
  it("switches limits off with false: everything is admitted, and said to be limited by nobody", async () => {
    const limiter = limiterOf("false");
    const call = callOn(1);
    for (let request = 0; request < 3; request++) {
      expect(await limiter.takeRequest(call)).toMatchObject({ admitted: true, decidedBy: "none" });
      expect(await limiter.reserveTokens(call, 1)).toMatchObject({ admitted: true, remaining: 1 });
    }
  });

  it("leaves them on with true", async () => {
    const limiter = limiterOf("true");
    const call = callOn(1);
    expect(await limiter.takeRequest(call)).toMatchObject({ admitted: true });
    expect(await limiter.takeRequest(call)).toMatchObject({ admitted: false });
  });
});
