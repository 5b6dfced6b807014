/** Request ids and trace context: what is taken from a caller. */
import { describe, expect, it } from "vitest";
import { acceptOrMintRequestId } from "../../../core/messages/request-id.ts";
import { acceptOrStartTrace, traceparentOf } from "../../../core/messages/trace-context.ts";

const uuid = /^[0-9a-f]{8}-/;
const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";

describe("request ids", () => {
  it("are kept when clean", () => {
    expect(acceptOrMintRequestId("order-4711.retry_2")).toBe("order-4711.retry_2");
  });

  it.each([
    [undefined],
    [null],
    [""],
    ["short"],
    ["x".repeat(129)],
    ["with space"],
    ["line\nend-and-more"],
    ["ünïcödé-id"],
  ])("are made anew for %j", (offered) => {
    expect(acceptOrMintRequestId(offered)).toMatch(uuid);
  });
});

describe("trace context", () => {
  it("goes on with a caller's trace under a span of its own", () => {
    const trace = acceptOrStartTrace(traceparent);
    expect(trace).toMatchObject({ traceId: "0af7651916cd43dd8448eb211c80319c", flags: "00" });
    expect(trace.spanId).not.toBe("b7ad6b7169203331");
    expect(traceparentOf(trace)).toMatch(/^00-0af7651916cd43dd8448eb211c80319c-[0-9a-f]{16}-00$/);
  });

  it.each([
    [undefined],
    [""],
    ["garbage"],
    [traceparent.replace(/^00/, "ff")],
    [`00-${"0".repeat(32)}-b7ad6b7169203331-01`],
  ])("starts a trace for %j", (header) => {
    expect(acceptOrStartTrace(header).traceId).toMatch(/^[0-9a-f]{32}$/);
    expect(acceptOrStartTrace(header).traceId).not.toBe("0af7651916cd43dd8448eb211c80319c");
  });
});
