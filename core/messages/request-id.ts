/** Request ids: one per request, the same in every hop, log line and error. */

/** Header that carries the id in and out, on HTTP and as gRPC metadata. */
export const REQUEST_ID_HEADER = "x-request-id";

const CLEAN_REQUEST_ID = /^[A-Za-z0-9._-]{8,128}$/;

/** The caller's id when it is clean (8 to 128 characters of A-Z a-z 0-9 . _ -), else a new one. */
export function acceptOrMintRequestId(offered: string | null | undefined): string {
  return offered && CLEAN_REQUEST_ID.test(offered) ? offered : crypto.randomUUID();
}
