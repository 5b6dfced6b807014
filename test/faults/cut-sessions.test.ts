import { afterAll, beforeAll, expect, it } from "vitest";
import { type SessionGateway, startSessionGateway } from "../support/session-gateway.ts";
import { runSessionCuts } from "./cut-sessions.ts";

let gateway: SessionGateway;

beforeAll(async () => {
  gateway = await startSessionGateway();
}, 60_000);
afterAll(() => gateway?.stop());

it("a conversation over connections that are cut 40 times loses no frame, repeats none and keeps their order", async () => {
  const report = await runSessionCuts({ gateway, rounds: 40, random: Math.random });
  expect(report.faults).toEqual([]);
  expect(report.wrongAnswers).toEqual([]);
  expect(report.messages).toBeGreaterThan(2);
}, 60_000);
