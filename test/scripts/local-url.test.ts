/** Where a server is reached, by what it listens on. */
import { describe, expect, it } from "vitest";
import { hostAndPort, localUrl, toLocalUrl } from "../../scripts/local-url.ts";

describe("localUrl", () => {
  it.each([
    ["127.0.0.1", "http://127.0.0.1:80"],
    ["localhost", "http://localhost:80"],
    ["192.168.1.2", "http://192.168.1.2:80"],
    ["0.0.0.0", "http://127.0.0.1:80"],
    ["::1", "http://[::1]:80"],
    ["::", "http://[::1]:80"],
  ])("reaches a server on %s at %s", (host, url) => {
    expect(localUrl(host, 80)).toBe(url);
  });
});

describe("toLocalUrl", () => {
  it.each([
    ["http://127.0.0.1:8080", "http://127.0.0.1:8080"],
    ["http://0.0.0.0:8080", "http://127.0.0.1:8080"],
    ["http://[::]:8080", "http://[::1]:8080"],
  ])("makes of %s: %s", (url, reachable) => {
    expect(toLocalUrl(url)).toBe(reachable);
  });
});

describe("hostAndPort", () => {
  it("puts only IPv6 hosts in brackets, and listens where it was told", () => {
    expect(hostAndPort("::", 80)).toBe("[::]:80");
    expect(hostAndPort("0.0.0.0", 80)).toBe("0.0.0.0:80");
  });
});
