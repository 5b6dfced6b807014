/** `node test/faults/cut-sessions-main.ts [cuts]`: the long form, 1,000 cuts by default; prints what came of them. */
import { startSessionGateway } from "../support/session-gateway.ts";
import { runSessionCuts } from "./cut-sessions.ts";

const CUTS_DEFAULT = 1_000;

const gateway = await startSessionGateway();
try {
  const rounds = Number(process.argv[2] ?? CUTS_DEFAULT);
  const report = await runSessionCuts({ gateway, rounds, random: Math.random });
  console.log(JSON.stringify(report, null, 2));
  process.exitCode = report.faults.length + report.wrongAnswers.length > 0 ? 1 : 0;
} finally {
  await gateway.stop();
}
