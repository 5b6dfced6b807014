import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createEdgeHarness, type ErrorAnswer } from "../support/edge-harness.ts";

const HELLO = { receiverId: "assistant", text: "hello" };

/** What stands at the backend's address, and is no backend. */
interface ForeignAnswer {
  status: number;
  headers?: Record<string, string>;
  body?: string;
}

let answer: ForeignAnswer;
let requestCount: number;
let server: Server;
let url: string;

beforeEach(async () => {
  requestCount = 0;
  server = createServer((request, response) => {
    requestCount += 1;
    request.resume();
    response.writeHead(answer.status, { "content-type": "text/html", ...answer.headers });
    response.end(answer.body ?? "<h1>a proxy's page with its 10.1.2.3 secrets</h1>");
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterEach(() => new Promise((resolve) => server.close(resolve)));

describe("something that is not our backend", () => {
  it.each<[string, ForeignAnswer, number, string, number]>([
    ["a gateway without its origin", { status: 502 }, 503, "unavailable", 3],
    ["a gateway that is too busy", { status: 503 }, 503, "unavailable", 3],
    ["Cloudflare, whose origin refuses", { status: 521 }, 503, "unavailable", 3],
    ["Cloudflare, whose origin times out", { status: 522 }, 503, "unavailable", 3],
    ["Cloudflare, in place of a 504 of the backend", { status: 504 }, 504, "deadline_exceeded", 1],
    ["a redirect", { status: 302, headers: { location: "/elsewhere" } }, 503, "unavailable", 3],
    ["a page", { status: 200 }, 503, "unavailable", 3],
    ["another service", { status: 404 }, 503, "unavailable", 3],
    ["a firewall", { status: 403 }, 500, "internal", 1],
    [
      "a reply that is no message",
      { status: 200, headers: { "content-type": "application/proto" }, body: "\xff\xff\xff" },
      503,
      "unavailable",
      3,
    ],
  ])("such as %s is not taken for an answer", async (_, foreign, status, code, attempts) => {
    answer = foreign;
    const edge = await createEdgeHarness({ BACKEND_URLS: url });
    for (const accept of ["application/json", "text/event-stream"]) {
      requestCount = 0;
      const refusal = await edge.post(HELLO, { headers: { accept } });
      const text = await refusal.text();
      expect({ status: refusal.status, text }).toMatchObject({ status });
      expect((JSON.parse(text) as ErrorAnswer).error.code).toBe(code);
      expect(text).not.toMatch(/10\.1\.2\.3|<h1>/);
      if (accept === "application/json") expect(requestCount).toBe(attempts);
    }
  });

  it("is heard when it says when to come back", async () => {
    answer = { status: 503, headers: { "retry-after": "7" } };
    const edge = await createEdgeHarness({ BACKEND_URLS: url, REQUEST_TIMEOUT_MS: "5000" });
    const refusal = await edge.post(HELLO);
    expect(refusal.status).toBe(503);
    expect(refusal.headers.get("retry-after")).toBe("7");
    expect(requestCount).toBe(1);
  });
});
