/** What the bench's mock provider is: the same for the process that is it and the one that asks it. */

/** Time to the answer, or to the first token, milliseconds. */
export const MOCK_LATENCY_MS = 20;
/** Its one model. */
export const MOCK_MODEL = "healthy";
