/** When connections are looked at, with sockets that do nothing but keep what the runtime keeps for them. */
import type { DurableObjectState, WebSocket } from "@cloudflare/workers-types";
import { describe, expect, it } from "vitest";
import { Connections } from "../../../edge/sessions/connections.ts";
import type { FrameLog } from "../../../edge/sessions/frame-log.ts";
import { SESSION_TIMINGS } from "../../../edge/sessions/session-limits.ts";

const SILENT_MS = SESSION_TIMINGS.silentMs;
const STARTED_AT_MS = 1_000_000;

/** What the runtime keeps of one socket while its object hibernates. */
class KeptSocket {
  attachment = "";
  pingedAt: Date | null = null;
  closeCode: number | undefined;
  bufferedAmount = 0;
  send(): void {}
  close(code: number): void {
    this.closeCode = code;
  }
  serializeAttachment(attachment: object): void {
    this.attachment = JSON.stringify(attachment);
  }
  deserializeAttachment(): object {
    return JSON.parse(this.attachment);
  }
}

function newRuntime() {
  const sockets: KeptSocket[] = [];
  const runtime = { nowMs: STARTED_AT_MS, sockets, connections: undefined as unknown as Connections };
  const ctx = {
    getWebSockets: () => sockets,
    acceptWebSocket: (socket: KeptSocket) => sockets.push(socket),
    getWebSocketAutoResponseTimestamp: ({ pingedAt }: KeptSocket) => pingedAt,
  } as unknown as DurableObjectState;
  const wake = () => {
    runtime.connections = new Connections({
      ctx,
      log: {} as FrameLog,
      now: () => runtime.nowMs,
      timings: SESSION_TIMINGS,
      onClose: () => {},
      onGone: () => {},
    });
  };
  wake();
  return Object.assign(runtime, {
    wake,
    open(clientId: string): KeptSocket {
      const socket = new KeptSocket();
      const attachment = { clientId, cursor: 0, heardAtMs: runtime.nowMs };
      runtime.connections.accept(socket as unknown as WebSocket, attachment);
      return socket;
    },
    /** Lets time pass until the next alarm, which finds the object hibernating. */
    untilNextLook(): number {
      const dueAtMs = runtime.connections.nextReapAtMs() ?? 0;
      const waitedMs = dueAtMs - runtime.nowMs;
      runtime.nowMs = dueAtMs;
      wake();
      return waitedMs;
    },
  });
}

describe("a connection", () => {
  it("that goes on pinging is looked at less and less often, but every 20 minutes", () => {
    const runtime = newRuntime();
    const socket = runtime.open("tab");
    const waits: number[] = [];
    for (let look = 0; look < 7; look++) {
      waits.push(runtime.untilNextLook() / SILENT_MS);
      socket.pingedAt = new Date(runtime.nowMs);
      runtime.connections.reapSilent();
    }
    expect(waits).toEqual([1, 2, 4, 8, 16, 16, 16]);
    expect(16 * SILENT_MS).toBe(20 * 60_000);
    expect(socket.closeCode).toBeUndefined();
  });

  it("that is silent is closed at the first look after 75 s", () => {
    const runtime = newRuntime();
    const [silent, pinging] = [runtime.open("silent"), runtime.open("pinging")];
    runtime.nowMs += SILENT_MS - 1;
    pinging.pingedAt = new Date(runtime.nowMs);
    runtime.connections.reapSilent();
    expect(silent.closeCode).toBeUndefined();
    runtime.nowMs += 1;
    runtime.connections.reapSilent();
    expect([silent.closeCode, pinging.closeCode]).toEqual([4409, undefined]);
    expect(runtime.connections.count).toBe(1);
  });

  it("that is new is looked at after 75 s, whatever others there are", () => {
    const runtime = newRuntime();
    const old = runtime.open("old");
    for (let look = 0; look < 5; look++) {
      runtime.untilNextLook();
      old.pingedAt = new Date(runtime.nowMs);
      runtime.connections.reapSilent();
    }
    runtime.open("new");
    expect(runtime.untilNextLook()).toBe(SILENT_MS);
  });
});
