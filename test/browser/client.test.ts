/** The client library as it is published, in Chromium, against the whole product; its network goes away in mid-answer. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { type Browser, chromium } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { answerText } from "../support/double-answer.ts";
import { type Gateway, startGateway } from "../support/gateway.ts";
import { type OpenaiDouble, startOpenaiDouble } from "../support/openai-double.ts";
import { requirement } from "../support/requirements.ts";

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
  let gateway: Gateway;
  let provider: OpenaiDouble;
  let pages: Server;
  let browser: Browser;
  const directory = mkdtempSync(join(tmpdir(), "parley-client-"));

  beforeAll(async () => {
    execFileSync(process.execPath, ["scripts/build-client.ts", directory], { cwd: PROJECT_DIRECTORY });
    pages = createServer(async (request, response) => {
      const path = request.url ?? "/";
      if (path === "/ticket") {
        response.setHeader("content-type", "application/json");
        response.end(await openSession());
      } else if (path.endsWith(".js")) {
        response.setHeader("content-type", "text/javascript");
        response.end(readFileSync(join(directory, basename(path))));
      } else response.setHeader("content-type", "text/html").end("<!doctype html><title>client</title>");
    });
    await new Promise<void>((resolve) => pages.listen(0, "127.0.0.1", resolve));
    provider = await startOpenaiDouble({ tokenIntervalMs: 40 });
    gateway = await startGateway({
      environment: { OPENAI_BASE_URL: provider.baseUrl, ALLOWED_ORIGINS: originOf(pages) },
    });
    browser = await chromium.launch({ executablePath: found.path, args: CHROMIUM_FLAGS });
  });

  afterAll(async () => {
    await browser?.close();
    pages?.close();
    await gateway?.stop();
    gateway?.remove();
    await provider?.close();
    rmSync(directory, { recursive: true, force: true });
  });

  /** What a page's own server does, which holds the key. */
  async function openSession(): Promise<string> {
    const answer = await fetch(`${gateway.url}/api/v1/a2a/sessions`, {
      method: "POST",
      headers: { authorization: `Bearer ${gateway.key}` },
    });
    return answer.text();
  }

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
        globalThis.turn = session.send({ receiverId: "assistant", text: "hello" });
        (async () => { for await (const e of turn) if (e.type === "delta") streamed += e.delta; })();
      })()`,
    );
    await page.waitForFunction("turn.text.length > 20");
    await context.setOffline(true);
    await page.waitForFunction("states.includes('waiting')");
    await context.setOffline(false);
    const reply = (await page.evaluate("turn.reply.then((reply) => reply.text)")) as string;
    const whole = answerText("hello");
    expect(reply).toBe(whole);
    expect(await page.evaluate("streamed")).toBe(whole);
    expect(await page.evaluate("states")).toEqual(expect.arrayContaining(["open", "waiting", "connecting"]));
  }, 60_000);
});

function originOf(server: Server): string {
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}
