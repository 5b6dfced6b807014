/** Finding out about ports before a program fails on one. */
import { describe, expect, it } from "vitest";
import { requireFreePort } from "../../scripts/free-port.ts";

describe("requireFreePort", () => {
  it("finds a port when any will do", async () => {
    expect(await requireFreePort({ host: "127.0.0.1", port: 0, variable: "PORT" })).toBeGreaterThan(1023);
  });

  it("says when a host is not of this machine", async () => {
    const request = requireFreePort({ host: "192.0.2.1", port: 8787, variable: "PORT" });
    await expect(request).rejects.toThrow("port 8787 on 192.0.2.1 is not an address of this machine");
  });
});
