/** `npm run bench -- NAME …`: runs the bench of that name, `messages` when the first argument names none. */
import { runGatesBench } from "./gates/gates-bench.ts";
import { runKnowledgeBench } from "./knowledge/knowledge-bench.ts";
import { runSessionsBench } from "./sessions/sessions-bench.ts";

const [name, ...rest] = process.argv.slice(2);
if (name === "knowledge") await runKnowledgeBench(rest);
else if (name === "gates") await runGatesBench();
else if (name === "sessions") await runSessionsBench(rest);
// It is a program of its own, which reads the arguments and runs when it is loaded.
else if (name === undefined || name === "messages" || name.startsWith("--")) await import("./messages.ts");
else throw new Error(`there is no bench ${name}; there are messages, gates, knowledge and sessions`);
