import { expect, it } from "vitest";
import { linkAbort } from "../../../backend/llm/linked-abort.ts";

it("follows the caller's signal with its reason, also when it has aborted before", () => {
  const caller = new AbortController();
  const { controller } = linkAbort(caller.signal);
  caller.abort("gone");
  expect(controller.signal.reason).toBe("gone");
  expect(linkAbort(caller.signal).controller.signal.reason).toBe("gone");
});

it("follows it no more once unlinked, and never leads it", () => {
  const caller = new AbortController();
  const { controller, unlink } = linkAbort(caller.signal);
  unlink();
  controller.abort("ours");
  caller.abort("theirs");
  expect(controller.signal.reason).toBe("ours");
  expect(caller.signal.reason).toBe("theirs");
});
