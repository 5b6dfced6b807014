/** How long a delta takes from the backend that sends it to the client that reads it, when nothing else goes on. */
import { setTimeout as sleep } from "node:timers/promises";
import type { SessionGateway } from "../../support/session-gateway.ts";
import { quantile } from "../load.ts";
import { nextFrame, openSocket } from "./bench-socket.ts";

const WARM_UP_TURNS = 50;
/** After `accepted` is saved, and after the frame before: what models take, and more than the coalescing. */
const THINKING_MS = 20;
const PAUSE_MS = 60;

/** Milliseconds. */
export interface FirstDeltaResult {
  turns: number;
  firstP50Ms: number;
  firstP99Ms: number;
  /** Of a delta that comes after a pause. */
  laterP50Ms: number;
  laterP99Ms: number;
}

/** One turn after the other, in one session. */
export async function measureFirstDelta(
  gateway: SessionGateway,
  apiKey: string,
  turns: number,
): Promise<FirstDeltaResult> {
  const socket = await openSocket(gateway.url, apiKey);
  const firstMs: number[] = [];
  const laterMs: number[] = [];
  for (let turn = -WARM_UP_TURNS; turn < turns; turn++) {
    const messageId = `first-${turn}`;
    const accepted = nextFrame(socket, (frame) => frame.accepted !== undefined);
    socket.send({ messageId, receiverId: "assistant", text: "hold" });
    await accepted;
    const task = gateway.tasks.of(messageId);
    const timed = async (figures: number[]) => {
      const read = nextFrame(socket, (frame) => frame.delta !== undefined);
      const sentAt = performance.now();
      task.delta("a word ");
      await read;
      if (turn >= 0) figures.push(performance.now() - sentAt);
    };
    await sleep(turn < 0 ? 0 : THINKING_MS);
    await timed(firstMs);
    if (turn >= 0 && turn % 4 === 0) {
      await sleep(PAUSE_MS);
      await timed(laterMs);
    }
    const end = nextFrame(socket, (frame) => frame.content !== undefined);
    task.finish();
    await end;
    gateway.tasks.byMessage.delete(messageId);
  }
  socket.close();
  return {
    turns,
    firstP50Ms: quantile(firstMs, 0.5),
    firstP99Ms: quantile(firstMs, 0.99),
    laterP50Ms: quantile(laterMs, 0.5),
    laterP99Ms: quantile(laterMs, 0.99),
  };
}
