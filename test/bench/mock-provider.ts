/** The bench's mock provider in a process of its own: tells its parent where it listens, ends with it; `node mock-provider.ts [latency ms]`. */
import { startOpenaiDouble } from "../support/openai-double.ts";
import { MOCK_LATENCY_MS } from "./mock-settings.ts";

const double = await startOpenaiDouble({ latencyMs: Number(process.argv[2] ?? MOCK_LATENCY_MS) });
process.send?.({ url: double.baseUrl });
process.on("disconnect", () => process.exit(0));
