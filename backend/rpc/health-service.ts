/** grpc.health.v1: what this backend serves, and whether it still does. */
import type { ServiceImpl } from "@connectrpc/connect";
import { ParleyError } from "../../core/errors/parley-error.ts";
import {
  type Health,
  HealthCheckResponse_ServingStatus as Status,
} from "../../proto/gen/grpc/health/v1/health_pb.js";

/** Watches are open to everybody and never end. */
const WATCHERS_MAX = 256;
const WATCHERS_RETRY_AFTER_MS = 60_000;

/** The health of this process and its services. */
export class HealthStatus {
  readonly #services: ReadonlySet<string>;
  readonly #watchers = new Set<() => void>();
  #serving = true;

  /** @param services names of the services served; the empty name, the process itself, is always known */
  constructor(services: readonly string[]) {
    this.#services = new Set(["", ...services]);
  }

  /** From now on nothing is served; watchers are told. */
  stopServing(): void {
    this.#serving = false;
    for (const wake of this.#watchers) wake();
  }

  /** The status of a service; undefined for one that is not known. */
  of(service: string): Status | undefined {
    if (!this.#services.has(service)) return undefined;
    return this.#serving ? Status.SERVING : Status.NOT_SERVING;
  }

  /** Every service and its status. */
  all(): Record<string, { status: Status }> {
    const status = this.#serving ? Status.SERVING : Status.NOT_SERVING;
    return Object.fromEntries([...this.#services].map((service) => [service, { status }]));
  }

  /** Callers that wait for the next change. */
  get watcherCount(): number {
    return this.#watchers.size;
  }

  /** Resolves at the next change, or when the signal aborts. */
  changed(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      if (signal.aborted) return resolve();
      const wake = () => {
        this.#watchers.delete(wake);
        signal.removeEventListener("abort", wake);
        resolve();
      };
      this.#watchers.add(wake);
      signal.addEventListener("abort", wake, { once: true });
    });
  }
}

/** Makes the handlers of grpc.health.v1.Health. */
export function createHealthService(health: HealthStatus): ServiceImpl<typeof Health> {
  return {
    check({ service }) {
      const status = health.of(service);
      if (status === undefined) throw new ParleyError("not_found", `there is no service "${service}" here`);
      return { status };
    },

    list() {
      return { statuses: health.all() };
    },

    // The protocol keeps a watch on an unknown service open, in case the service appears.
    async *watch({ service }, { signal }) {
      if (health.watcherCount >= WATCHERS_MAX) {
        throw new ParleyError("resource_exhausted", "too many callers watch this backend's health", {
          retryable: true,
          retryAfterMs: WATCHERS_RETRY_AFTER_MS,
        });
      }
      while (!signal.aborted) {
        yield { status: health.of(service) ?? Status.SERVICE_UNKNOWN };
        await health.changed(signal);
      }
    },
  };
}
