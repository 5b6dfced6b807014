/** Turns whatever a handler throws into a Connect error with our details, and logs every call once. */
import type { Message } from "@bufbuild/protobuf";
import type { ConnectError, Interceptor, StreamResponse } from "@connectrpc/connect";
import { toConnectError } from "../../core/errors/connect-errors.ts";
import { type Caller, callerOf } from "./caller.ts";

/** What is logged of a call when it has ended. */
export interface CallRecord {
  procedure: string;
  caller: Caller | undefined;
  durationMs: number;
  /** As it left; undefined when the call succeeded. */
  error: ConnectError | undefined;
}

/** Makes the interceptor; `now` is monotonic, milliseconds. */
export function createErrorInterceptor(onCall: (record: CallRecord) => void, now: () => number): Interceptor {
  return (next) => async (request) => {
    const startedAtMs = now();
    const caller = callerOf({ values: request.contextValues });
    const procedure = `${request.service.typeName}/${request.method.name}`;
    const end = (error: unknown) => {
      const connectError = error === undefined ? undefined : toConnectError(error, caller?.requestId ?? "");
      onCall({ procedure, caller, durationMs: now() - startedAtMs, error: connectError });
      return connectError;
    };
    try {
      const response = await next(request);
      if (response.stream)
        return { ...response, message: observe(response.message, end) as typeof response.message };
      end(undefined);
      return response;
    } catch (error) {
      throw end(error);
    }
  };
}

/** The same messages; an error is translated, and the end is reported once however it comes about. */
async function* observe(
  messages: StreamResponse["message"],
  end: (error: unknown) => ConnectError | undefined,
): AsyncGenerator<Message, void, undefined> {
  let failed = false;
  try {
    yield* messages as AsyncIterable<Message>;
  } catch (error) {
    failed = true;
    throw end(error);
  } finally {
    if (!failed) end(undefined);
  }
}
