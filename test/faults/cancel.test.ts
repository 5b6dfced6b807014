/** A cancel reaches the provider, whichever backend hears it. */
import { afterAll, beforeAll, expect, it } from "vitest";
import { type OpenaiDouble, startOpenaiDouble } from "../support/openai-double.ts";
import { agentsAt } from "../support/persistent-caller.ts";
import { isPostgresAvailable } from "../support/postgres.ts";
import { requirement } from "../support/requirements.ts";
import { openShared, type SharedScene } from "./scene.ts";

const LIMIT_MS = 120_000;
/** Promised is a second, on a machine with time for it; held here, that nobody waits for the end of the answer. */
const CLOSED_WITHIN_MS = 5_000;
/** The answer would take ten seconds. */
const TOKENS = Array.from({ length: 200 }, (_, index) => `word-${index} `);
const TOKEN_INTERVAL_MS = 50;

const isAvailable = requirement("redis").available && isPostgresAvailable();
let model: OpenaiDouble;
let scene: SharedScene;
beforeAll(async () => {
  if (!isAvailable) return;
  model = await startOpenaiDouble({ tokens: TOKENS, tokenIntervalMs: TOKEN_INTERVAL_MS });
  scene = await openShared(model);
}, LIMIT_MS);
afterAll(async () => {
  await scene?.close();
  await model?.close();
}, LIMIT_MS);

it.skipIf(!isAvailable).each([
  ["the backend that answers", 0],
  ["another backend", 1],
])("a cancel at %s closes the provider's connection in mid-answer", { timeout: LIMIT_MS }, async (_, at) => {
  const { backends, headers } = scene;
  const [answering, hearing] = [backends[0], backends[at]].map((backend) => agentsAt(backend?.url ?? ""));
  const seen: (string | undefined)[] = [];
  let canceledAtMs = 0;
  const message = { receiverId: "assistant", text: `stop me at ${at}` };
  for await (const { body, taskId, sequence } of answering?.streamReply(message, { headers }) ?? []) {
    seen.push(body.case);
    if (sequence !== 5) continue;
    canceledAtMs = performance.now();
    await hearing?.cancelReply({ taskId }, { headers });
  }
  const { lastRequest } = model;
  expect(await lastRequest.closed).toBe("early");
  const closedAfterMs = (lastRequest.closedEarlyAtMs ?? Number.NaN) - canceledAtMs;
  console.log(`closed ${Math.round(closedAfterMs)} ms after the cancel`);
  expect(closedAfterMs).toBeLessThan(CLOSED_WITHIN_MS);
  expect(seen.at(-1)).toBe("status");
});
