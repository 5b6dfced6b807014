/** The backend as a program: `node backend/main.ts`. */
import { runBackend } from "./run-backend.ts";

await runBackend();
