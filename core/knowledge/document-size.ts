/** Sizes of documents that both programs must agree on. */

/**
 * Largest document, bytes. A Worker holds a body three times on its way through (as it comes, as a message, as it
 * goes), of the 128 MiB that it has; the text of a very long book is a quarter of this.
 */
export const DOCUMENT_BYTES_MAX = 16 * 1_048_576;
/** Documents of one bulk request; they are read one after the other within the request's time. */
export const BULK_DOCUMENTS_MAX = 500;
/** Largest body of a bulk request: a Worker holds it as text, as JSON and as a message at once. */
export const BULK_BYTES_MAX = 8 * 1_048_576;
/** Documents on one page of a list. */
export const DOCUMENTS_LISTED_MAX = 200;
/** Room for the other fields of a request that carries {@link DOCUMENT_BYTES_MAX}. */
export const DOCUMENT_MESSAGE_BYTES_MAX = DOCUMENT_BYTES_MAX + 1_048_576;
