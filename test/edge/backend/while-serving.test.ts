/** A slow answer is waited for; a hung backend is left. */
import { Code } from "@connectrpc/connect";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { whileServing } from "../../../edge/backend/while-serving.ts";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

/** A call whose answer the test gives; `end` rejects it, as the wire does. */
function startCall(check: () => Promise<void>) {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const end = vi.fn(() => reject(new Error("ended")));
  const checked = vi.fn(check);
  return { watched: whileServing({ check: checked, end, answer: promise }), answer: resolve, end, checked };
}

describe("whileServing", () => {
  it("asks nothing about a call that is answered soon", async () => {
    const call = startCall(async () => {});
    await vi.advanceTimersByTimeAsync(2_000);
    call.answer("fine");
    expect(await call.watched).toBe("fine");
    await vi.advanceTimersByTimeAsync(60_000);
    expect(call.checked).not.toHaveBeenCalled();
  });

  it("waits for a slow answer as long as the address serves", async () => {
    const call = startCall(async () => {});
    await vi.advanceTimersByTimeAsync(29_000);
    expect(call.checked).toHaveBeenCalledTimes(6);
    call.answer("at last");
    expect(await call.watched).toBe("at last");
    expect(call.end).not.toHaveBeenCalled();
  });

  it("ends the call as unavailable once the address does not say that it serves", async () => {
    const call = startCall(() => Promise.reject(new Error("no answer")));
    const failed = expect(call.watched).rejects.toMatchObject({ code: Code.Unavailable });
    await vi.advanceTimersByTimeAsync(3_000);
    await failed;
    expect(call.end).toHaveBeenCalledOnce();
  });
});
