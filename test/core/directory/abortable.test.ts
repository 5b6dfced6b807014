import { describe, expect, it } from "vitest";
import { abortable } from "../../../core/directory/abortable.ts";
import { ParleyError } from "../../../core/errors/parley-error.ts";

describe("abortable", () => {
  const never = new Promise<never>(() => undefined);

  it("is the promise's own outcome when the signal stays quiet", async () => {
    const { signal } = new AbortController();
    expect(await abortable(Promise.resolve(1), signal)).toBe(1);
    await expect(abortable(Promise.reject(new Error("own")), signal)).rejects.toThrow("own");
  });

  it("ends as canceled when the signal aborts, before or while it waits", async () => {
    await expect(abortable(never, AbortSignal.abort())).rejects.toMatchObject({ code: "canceled" });
    const controller = new AbortController();
    const waiting = abortable(never, controller.signal);
    controller.abort();
    await expect(waiting).rejects.toMatchObject({ code: "canceled" });
  });

  it("ends as unavailable when the signal was a timeout", async () => {
    const waiting = abortable(never, AbortSignal.timeout(1));
    await expect(waiting).rejects.toMatchObject({ code: "unavailable", retryable: true });
  });

  it("ends with the ParleyError that the signal carries", async () => {
    const reason = new ParleyError("deadline_exceeded", "too late");
    await expect(abortable(never, AbortSignal.abort(reason))).rejects.toBe(reason);
  });

  it("leaves no listener behind on a signal that outlives it", async () => {
    const { signal } = new AbortController();
    let listeners = 0;
    const { addEventListener, removeEventListener } = signal;
    signal.addEventListener = (...args: Parameters<typeof addEventListener>) => {
      listeners++;
      addEventListener.apply(signal, args);
    };
    signal.removeEventListener = (...args: Parameters<typeof removeEventListener>) => {
      listeners--;
      removeEventListener.apply(signal, args);
    };
    await abortable(Promise.resolve(), signal);
    await abortable(Promise.reject(new Error("own")), signal).catch(() => undefined);
    expect(listeners).toBe(0);
  });
});
