/** The client library as it is published, in Chromium, whose network goes away in the middle of an answer. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { type Browser, chromium } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { requirement } from "../support/requirements.ts";
import { type SessionGateway, startSessionGateway } from "../support/session-gateway.ts";

const PROJECT_DIRECTORY = fileURLToPath(new URL("../..", import.meta.url));
const CHROMIUM_FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];
const found = requirement("chromium");

describe.skipIf(!found.available)("in Chromium", () => {
  let gateway: SessionGateway;
  let pages: Server;
  let browser: Browser;
  const directory = mkdtempSync(join(tmpdir(), "parley-client-"));

  beforeAll(async () => {
    const tsc = join(PROJECT_DIRECTORY, "node_modules/.bin/tsc");
    execFileSync(tsc, ["-p", "tsconfig.client.json", "--outDir", directory], { cwd: PROJECT_DIRECTORY });
    pages = createServer(async (request, response) => {
      const path = request.url ?? "/";
      if (path === "/ticket") {
        response.setHeader("content-type", "application/json");
        response.end(JSON.stringify(await gateway.openSession()));
      } else if (path.endsWith(".js")) {
        response.setHeader("content-type", "text/javascript");
        response.end(readFileSync(join(directory, basename(path))));
      } else response.setHeader("content-type", "text/html").end("<!doctype html><title>client</title>");
    });
    await new Promise<void>((resolve) => pages.listen(0, "127.0.0.1", resolve));
    gateway = await startSessionGateway({ variables: { ALLOWED_ORIGINS: originOf(pages) } });
    browser = await chromium.launch({ executablePath: found.path, args: CHROMIUM_FLAGS });
  });

  afterAll(async () => {
    await browser?.close();
    pages?.close();
    await gateway?.stop();
    rmSync(directory, { recursive: true, force: true });
  });

  it("an answer is whole, and nothing repeated, although the browser was offline in the middle of it", async () => {
    const context = await browser.newContext();
    const page = await context.newPage();
    await page.goto(originOf(pages));
    await page.evaluate(
      `(async () => {
        const { createClient } = await import("/index.js");
        const ticketProvider = async () => (await fetch("/ticket")).json();
        const client = createClient({ url: ${JSON.stringify(gateway.url)}, ticketProvider });
        globalThis.states = [];
        globalThis.streamed = "";
        const session = client.connect({ onState: (state) => states.push(state) });
        globalThis.turn = session.send({ receiverId: "assistant", text: "words 100 every 20" });
        (async () => { for await (const e of turn) if (e.type === "delta") streamed += e.delta; })();
      })()`,
    );
    await page.waitForFunction("turn.text.length > 20");
    await context.setOffline(true);
    await page.waitForFunction("states.includes('waiting')");
    await context.setOffline(false);
    const reply = (await page.evaluate("turn.reply.then((reply) => reply.text)")) as string;
    const whole = Array.from({ length: 100 }, (_, word) => `${word} `).join("");
    expect(reply).toBe(whole);
    expect(await page.evaluate("streamed")).toBe(whole);
    expect(await page.evaluate("states")).toEqual(expect.arrayContaining(["open", "waiting", "connecting"]));
  }, 60_000);
});

function originOf(server: Server): string {
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}
