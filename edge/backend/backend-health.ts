/** Asks a backend address whether it serves: `grpc.health.v1` over Connect. */
import { createClient, type Transport } from "@connectrpc/connect";
import { ParleyError } from "../../core/errors/parley-error.ts";
import { Health, HealthCheckResponse_ServingStatus } from "../../proto/gen/grpc/health/v1/health_pb.js";
import { toBackendFailure } from "./backend-failure.ts";

/** @throws ParleyError when the address does not answer before the signal aborts, or says that it does not serve */
export async function checkBackendHealth(transport: Transport, signal: AbortSignal): Promise<void> {
  let status: HealthCheckResponse_ServingStatus;
  try {
    // Asked of the server as a whole, by no name.
    ({ status } = await createClient(Health, transport).check({ service: "" }, { signal }));
  } catch (cause) {
    throw toBackendFailure(cause, signal).error;
  }
  if (status !== HealthCheckResponse_ServingStatus.SERVING) {
    throw new ParleyError("unavailable", "the backend says that it does not serve");
  }
}
