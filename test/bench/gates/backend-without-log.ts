/** The backend with a durable log that writes nothing: what writing costs is the difference. */
import { runBackend } from "../../../backend/run-backend.ts";

await runBackend({ logStore: { encode: () => "", insert: async () => {} } });
