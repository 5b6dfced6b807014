/**
 * The mock provider that the scenarios of `failover-scenarios.ts` are played against: the OpenAI double, answering
 * with nothing but the canonical sixty tokens, and its record of requests as the scenarios are judged by.
 */
import type { FaultTimes, WallAttempt } from "./failover-scenarios.ts";
import { type OpenaiDouble, startOpenaiDouble } from "./openai-double.ts";

/** A running wall. */
export interface Wall {
  readonly double: OpenaiDouble;
  readonly baseUrl: string;
  /** Requests for these models, oldest first. */
  attempts(...models: readonly string[]): WallAttempt[];
  close(): Promise<void>;
}

/** How it is started. */
export interface WallOptions {
  readonly times: Pick<FaultTimes, "stallMs">;
  readonly port?: number;
  /** Between two tokens, milliseconds. Default 5, so that faults come in the middle of a stream. */
  readonly tokenIntervalMs?: number;
}

/** Starts a wall on the loopback. */
export async function startWall({ times, port = 0, tokenIntervalMs = 5 }: WallOptions): Promise<Wall> {
  const double = await startOpenaiDouble({
    port,
    tokenIntervalMs,
    stallMs: times.stallMs,
    repeatsQuestion: false,
  });
  return {
    double,
    baseUrl: double.baseUrl,
    attempts: (...models) =>
      double.requests
        .filter(({ body }) => models.includes(body?.model))
        .map(({ body, receivedAtMs }) => ({ model: body.model, atMs: receivedAtMs })),
    close: () => double.close(),
  };
}
