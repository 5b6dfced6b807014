/**
 * A scripted conversation over connections that are cut at random moments, and what became of it: frames lost, frames
 * repeated, answers that are not what the agent said. The client does what `docs/sessions.md` asks of clients.
 */
import { CUTS, type Cut, startCuttingProxy } from "../support/cutting-proxy.ts";
import { SessionClient } from "../support/session-client.ts";
import type { SessionGateway } from "../support/session-gateway.ts";
import { eventually } from "../support/session-wait.ts";

/** How hard it is made. */
export interface SessionCutsOptions {
  gateway: SessionGateway;
  /** Cuts. */
  rounds: number;
  /** Uniform in [0, 1). */
  random: () => number;
}

/** What came of it. */
export interface SessionCutsReport {
  cuts: Record<Cut, number>;
  connections: number;
  messages: number;
  events: number;
  /** Gaps and repeats, in words. */
  faults: string[];
  /** Messages whose answer was not whole. */
  wrongAnswers: string[];
  durationMs: number;
}

const MESSAGES_AT_ONCE = 2;
/** A client that hears nothing for so long takes its connection for dead; real ones take longer. */
const DEAD_AFTER_MS = 150;
const CUT_WITHIN_MS = 80;

const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

/** Runs it to the end. */
export async function runSessionCuts(options: SessionCutsOptions): Promise<SessionCutsReport> {
  const { gateway, rounds, random } = options;
  const startedAtMs = Date.now();
  const proxy = await startCuttingProxy(gateway.url);
  const { ticket, resumeToken } = await gateway.openSession();
  const client = new SessionClient(proxy.url, ticket);
  client.acknowledges = true;
  const conversation = new Conversation(client);
  const cuts: Record<Cut, number> = { drop: 0, "half-close": 0, stall: 0, delay: 0 };
  let connections = 0;
  try {
    for (let round = 0; round < rounds; round++) {
      // Now and then the cut comes while the connection is being opened.
      const opening = connect(client, resumeToken);
      connections += 1;
      if (random() < 0.9) {
        await opening;
        conversation.speak();
      }
      await pause(random() * CUT_WITHIN_MS);
      const kind = CUTS[Math.floor(random() * CUTS.length)] ?? "drop";
      cuts[kind] += 1;
      proxy.cut(kind);
      conversation.speak();
      await Promise.race([client.closed, pause(DEAD_AFTER_MS)]);
      client.abandon();
      await opening;
    }
    await finish(client, conversation, resumeToken);
  } finally {
    await proxy.stop();
  }
  return {
    cuts,
    connections,
    messages: conversation.asked.length,
    events: client.last,
    faults: client.faults,
    wrongAnswers: conversation.asked.filter((id) => client.turn(id).text !== gateway.tasks.of(id).text),
    durationMs: Date.now() - startedAtMs,
  };
}

/** One try; a client whose first answer was lost has the resume token of its session. */
async function connect(client: SessionClient, resumeToken: string): Promise<boolean> {
  try {
    await Promise.race([
      client.connect(),
      pause(DEAD_AFTER_MS * 4).then(() => Promise.reject(new Error("no first frame"))),
    ]);
    return true;
  } catch {
    if (client.token.startsWith("parley.ticket.")) client.token = resumeToken;
    return false;
  }
}

async function finish(client: SessionClient, conversation: Conversation, resumeToken: string): Promise<void> {
  for (let attempt = 0; attempt < 10; attempt++) {
    if (!(await connect(client, resumeToken))) continue;
    conversation.speak(true);
    await eventually(() => conversation.isAnswered(), 30_000);
    return client.close();
  }
  throw new Error("the last connection could not be opened");
}

/** Messages that are sent again until something has come of them. */
class Conversation {
  readonly asked: string[] = [];
  readonly #client: SessionClient;

  constructor(client: SessionClient) {
    this.#client = client;
  }

  isAnswered(): boolean {
    return this.asked.every((id) => this.#client.turn(id).end);
  }

  speak(isLast = false): void {
    if (this.#client.socket?.readyState !== WebSocket.OPEN) return;
    const open = this.asked.filter((id) => !this.#client.turn(id).end);
    while (open.length < MESSAGES_AT_ONCE && !isLast) {
      const id = `cut-${this.asked.length}`;
      this.asked.push(id);
      open.push(id);
    }
    for (const messageId of open) {
      if (this.#client.turn(messageId).sequence > 0) continue;
      this.#client.send({ messageId, receiverId: "assistant", text: "words 40 every 4" });
    }
  }
}
