/** How the backend reaches the edge: both programs must name the same things. */

/** Path of the edge's route for messages to peers that came to the backend. */
export const PEER_MESSAGES_PATH = "/internal/v1/peer-messages";

/** Header with the time that the caller is willing to wait, whole milliseconds. */
export const TIMEOUT_HEADER = "parley-timeout-ms";
