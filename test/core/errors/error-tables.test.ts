/** The closed error set on each wire. */
import { Code, ConnectError } from "@connectrpc/connect";
import { describe, expect, it } from "vitest";
import { CONNECT_CODE, fromConnectError, toConnectError } from "../../../core/errors/connect-errors.ts";
import { errorBody, HTTP_STATUS, httpStatusOf } from "../../../core/errors/http-errors.ts";
import { ERROR_CODES, ParleyError, toParleyError } from "../../../core/errors/parley-error.ts";

describe("the error tables", () => {
  it.each(ERROR_CODES)(
    "bring %s over Connect and back with message, reason, delay and violations",
    (code) => {
      const violations = [{ field: "text", description: "too long" }];
      const error = new ParleyError(code, "what was wrong", {
        reason: "some-reason",
        retryAfterMs: 1_500,
        details: { violations, providerCode: "content_filter" },
      });
      const connectError = toConnectError(error, "request-1");
      expect(connectError.code).toBe(CONNECT_CODE[code]);
      expect(fromConnectError(connectError)).toMatchObject({
        code,
        message: "what was wrong",
        reason: "some-reason",
        retryAfterMs: 1_500,
        details: { violations, providerCode: "content_filter" },
      });
    },
  );

  it("have a status of 4xx or 5xx for every code", () => {
    for (const code of ERROR_CODES) expect(HTTP_STATUS[code]).toBeGreaterThanOrEqual(400);
    expect(httpStatusOf(new ParleyError("invalid_argument", "", { reason: "body-too-large" }))).toBe(413);
    expect(httpStatusOf(new ParleyError("invalid_argument", "", { reason: "anything" }))).toBe(400);
  });

  it("let no unknown error's words out", () => {
    const error = toParleyError(new Error("password=hunter2"));
    const body = JSON.stringify(errorBody(error, "request-1"));
    expect(body).toContain("internal error");
    expect(body).toContain("request-1");
    expect(body).not.toContain("hunter2");
    expect(toConnectError(new Error("password=hunter2"), "r").message).not.toContain("hunter2");
  });

  it("do not pass on the words of a server that is not ours", () => {
    const foreign = new ConnectError("upstream connect error 10.0.0.7:8080", Code.Unavailable);
    const error = fromConnectError(foreign);
    expect(error.code).toBe("unavailable");
    expect(error.message).not.toContain("10.0.0.7");
  });

  it("carry over gRPC what a failed call has cost, and take nothing else for it", () => {
    const usage = { inputTokens: 12, outputTokens: 0 };
    const violations = [{ field: "f", description: "is wrong" }];
    const error = new ParleyError("internal", "", { details: { usage, violations } });
    expect(fromConnectError(toConnectError(error, "r")).details).toEqual({ usage, violations });
    const strange = new ParleyError("internal", "", { details: { usage: { inputTokens: "1e9", x: 1 } } });
    expect(fromConnectError(toConnectError(strange, "r")).details).toEqual({ usage: { outputTokens: 0 } });
    expect(fromConnectError(toConnectError(new ParleyError("internal", ""), "r")).details).toBeUndefined();
  });

  it("round the time to come back up to whole seconds", () => {
    const error = new ParleyError("unavailable", "", { retryAfterMs: 1 });
    expect(errorBody(error, "r").error.retryAfterSeconds).toBe(1);
  });
});
