import { describe, expect, it } from "vitest";
import { openaiClientSource } from "../../../backend/llm/openai-client.ts";
import { openaiFailure } from "../../../backend/llm/openai-failure.ts";
import { verdictOf } from "../../support/model-events.ts";

/** The failure that the SDK's error for this response becomes. */
async function failure(status: number, body: unknown, headers: Record<string, string> = {}, secret = "k") {
  const text = typeof body === "string" ? body : JSON.stringify(body);
  const source = openaiClientSource({
    apiKey: secret,
    fetch: async () => new Response(text, { status, headers }),
  });
  const client = await source();
  const error = await client.models.list().then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  return openaiFailure(error, { answering: false, secret });
}

const error = (fields: object) => ({
  error: { message: "words", type: null, param: null, code: null, ...fields },
});

describe("an error of an OpenAI-compatible server", () => {
  it.each([
    [429, { code: "rate_limit_exceeded" }, "rate-limited"],
    [429, { code: "slow_down" }, "rate-limited"],
    [503, { code: "slow_down" }, "rate-limited"],
    [503, { code: "server_is_overloaded" }, "overloaded"],
    [503, { type: "overloaded_error" }, "overloaded"],
    [503, {}, "provider-unavailable"],
    [429, { code: "rate_limit_exceeded", message: "Request too large for gpt-x on TPM" }, "context-window"],
    [413, { code: "rate_limit_exceeded", message: "Request too large for model" }, "context-window"],
    [413, {}, "context-window"],
    [400, { code: "invalid_prompt" }, "content-policy"],
    [403, { message: "Your input was flagged" }, "content-policy"],
    [408, {}, "provider-unavailable"],
    [429, {}, "rate-limited"],
    [429, { type: "insufficient_quota" }, "quota-exhausted"],
    [429, { type: "insufficient_quota", code: "credit_balance_exhausted" }, "quota-exhausted"],
    [429, { code: "organization_spend_limit_exceeded" }, "quota-exhausted"],
    [429, { code: "project_spend_limit_exceeded" }, "quota-exhausted"],
    [429, { code: "organization_usage_limit_exceeded" }, "quota-exhausted"],
    [402, {}, "quota-exhausted"],
    [400, { code: "context_length_exceeded" }, "context-window"],
    [400, { message: "This model's maximum context length is 4096 tokens." }, "context-window"],
    [
      400,
      { message: "exceeds the available context size", type: "exceed_context_size_error" },
      "context-window",
    ],
    [400, { code: "content_policy_violation" }, "content-policy"],
    [400, { code: "content_filter" }, "content-policy"],
    [401, { code: "invalid_api_key" }, "provider-credentials"],
    [403, {}, "provider-credentials"],
    [404, { code: "model_not_found" }, "model-not-found"],
    [409, {}, "provider-unavailable"],
    [500, {}, "provider-unavailable"],
    [529, {}, "overloaded"],
    [400, { message: "Unknown parameter", code: "unknown_parameter" }, "provider-refused"],
    [418, {}, "provider-refused"],
    [400, { code: "__proto__" }, "provider-refused"],
  ])("of status %i with %j is %s", async (status, fields, reason) => {
    expect(verdictOf(await failure(status, error(fields)))).toMatchObject({ reason });
  });

  it.each([
    ["text that is not JSON", 500, "<html>Bad Gateway</html>", "provider-unavailable"],
    ["another form of JSON", 404, { detail: "Not Found" }, "model-not-found"],
    ["nothing", 503, "", "provider-unavailable"],
  ])("may have a body of %s", async (_, status, body, reason) => {
    expect(verdictOf(await failure(status, body))).toMatchObject({ reason });
  });

  it("keeps the time that the provider asks for", async () => {
    const limited = await failure(429, error({}), { "retry-after": "120" });
    expect(limited.retryAfterMs).toBe(120_000);
    expect((await failure(429, error({}))).retryAfterMs).toBeUndefined();
  });

  it("waits for the limit that is used up where the provider names no other time, after 429 only", async () => {
    const headers = { "x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "6m0s" };
    expect((await failure(429, error({}), headers)).retryAfterMs).toBe(360_000);
    expect((await failure(429, error({}), { ...headers, "retry-after": "2" })).retryAfterMs).toBe(2_000);
    expect((await failure(503, error({}), headers)).retryAfterMs).toBeUndefined();
  });

  it("is not sent again when the provider says so, and never only because it says so", async () => {
    expect((await failure(503, error({}), { "x-should-retry": "false" })).retryable).toBe(false);
    expect((await failure(503, error({}), { "x-should-retry": "true" })).retryable).toBe(true);
    expect((await failure(400, error({}), { "x-should-retry": "true" })).retryable).toBe(false);
  });

  it("keeps the provider's words for the log, without the key, bounded", async () => {
    const secret = "very-secret-key";
    const words = `Incorrect key ${secret}, Bearer ${secret}, also sk-proj-abc_123. ${"x".repeat(100_000)}`;
    const refused = await failure(401, error({ message: words, code: "invalid_api_key" }), {}, secret);
    const kept = String(refused.cause);
    expect(kept).toContain("401 invalid_api_key");
    expect(kept).not.toContain(secret);
    expect(kept).not.toContain("abc_123");
    expect(kept.length).toBeLessThan(1_100);
    expect(refused.message).not.toContain("Incorrect key");
  });

  it("names in public only that the content policy refused", async () => {
    const refused = await failure(400, error({ code: "content_policy_violation" }));
    expect(refused).toMatchObject({ code: "failed_precondition", retryable: false });
    expect(refused.message).toBe("the model provider's content policy refused the request; change the text");
    expect(refused.details).toEqual({ providerCode: "content_policy_violation" });
  });

  it.each([
    [{ code: "content_filter", type: "a sentence" }, "content_filter"],
    [{ code: null, type: "moderation_blocked" }, "moderation_blocked"],
  ])("gives the provider's code for a refused content, of %j", async (fields, providerCode) => {
    expect((await failure(400, error(fields))).details).toEqual({ providerCode });
  });

  it("gives no code that is not a plain word: providers repeat what they were sent", async () => {
    const flagged = error({ message: "Your input was flagged", code: "the text: <b>secret</b>" });
    expect((await failure(403, flagged)).details).toEqual({ providerCode: "unspecified" });
  });
});

describe("a failure of the connection", () => {
  const broken = (code: string) =>
    Object.assign(new TypeError("terminated"), { cause: Object.assign(new Error(), { code }) });

  it.each([
    [new SyntaxError("bad"), true, "garbled"],
    [broken("UND_ERR_SOCKET"), true, "truncated"],
    [new TypeError("terminated"), true, "truncated"],
    [Object.assign(new Error("reset"), { code: "ECONNRESET" }), true, "truncated"],
    [broken("UND_ERR_SOCKET"), false, "provider-unavailable"],
    [broken("ECONNREFUSED"), false, "provider-unavailable"],
    [broken("UND_ERR_HEADERS_TIMEOUT"), false, "first-token-timeout"],
    [broken("UND_ERR_BODY_TIMEOUT"), true, "stalled"],
    [new TypeError("x is not a function"), true, "garbled"],
  ])("%s (answering: %s) is %s", (thrown, answering, reason) => {
    expect(verdictOf(openaiFailure(thrown, { answering }))).toMatchObject({ reason });
  });

  it("does not keep the credentials of an address", () => {
    const quoting = new TypeError("URL that includes credentials: http://user:hunter2@host/v1");
    expect(String(openaiFailure(quoting, { answering: false }).cause)).not.toContain("hunter2");
  });
});
