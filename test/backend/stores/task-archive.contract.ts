/**
 * What a task archive guarantees on every database, and what engines promise with it: a message that was accepted is
 * answered by the process that comes after. On a database with the schema of this version.
 */
import { create } from "@bufbuild/protobuf";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { AgentRunner } from "../../../backend/agents/agent-runner.ts";
import { createEchoAgent } from "../../../backend/agents/echo-agent.ts";
import { GroupCommitLog } from "../../../backend/stores/message-log.ts";
import { SqlMessageLogStore } from "../../../backend/stores/sql-message-log.ts";
import { SqlTaskArchive } from "../../../backend/stores/sql-task-archive.ts";
import { createLogTurnRecorder } from "../../../backend/tasks/log-turn-recorder.ts";
import type { TaskEngine } from "../../../backend/tasks/task-engine.ts";
import { TaskRecovery } from "../../../backend/tasks/task-recovery.ts";
import type { SqlClient } from "../../../core/directory/sql-client.ts";
import { HistorySchema } from "../../../proto/gen/parley/v1/agent_service_pb.js";
import { textOfPieces } from "../../support/persistent-caller.ts";
import { ann, createEngine, eventsOf, request } from "../tasks/engine-fixture.ts";
import { problemsOf } from "../tasks/shared-fixture.ts";

const LEASE_MS = 300;
const WORDS = Array.from({ length: 300 }, (_, index) => `word-${index} `);

/** Says `words` words and then stands still for ever, as far as anybody outside can see. */
function stuckAfter(words: number): AgentRunner {
  return {
    async *answer(_, signal) {
      for (const text of WORDS.slice(0, words)) yield { type: "text-delta", text };
      await new Promise((_resolve, reject) => {
        signal.addEventListener("abort", () => reject(signal.reason), { once: true });
      });
    },
  };
}

/** `exclusive`: only one process at a time can use the database. */
export function taskArchiveContract(client: () => SqlClient, { exclusive }: { exclusive: boolean }): void {
  describe("a task archive", () => {
    const ends: (() => void)[] = [];
    beforeEach(async () => {
      for (const table of ["messages", "task_claims", "backends"])
        await client().query(`DELETE FROM ${table}`, []);
    });
    afterEach(() => {
      for (const end of ends.splice(0)) end();
    });

    /** A backend process; `die` leaves everything as a SIGKILL does. */
    async function startBackend(runner: AgentRunner) {
      const backendId = crypto.randomUUID();
      let isDead = false;
      let standstill: PromiseWithResolvers<void> | undefined;
      const mortal: SqlClient = {
        async query(text, params, signal) {
          await standstill?.promise;
          return isDead ? new Promise(() => {}) : client().query(text, params, signal);
        },
      };
      const log = new GroupCommitLog({
        store: new SqlMessageLogStore(mortal),
        now: () => performance.now(),
        random: Math.random,
        onFailure: ({ error }) => {
          throw error;
        },
      });
      const archive = new SqlTaskArchive({
        client: mortal,
        backendId,
        leaseMs: exclusive ? undefined : LEASE_MS,
      });
      const recovery = new TaskRecovery({
        archive,
        leaseMs: LEASE_MS,
        isAlone: exclusive,
        now: () => performance.now(),
        onFailure: (error) => {
          throw error;
        },
      });
      const recorder = createLogTurnRecorder(log, Date.now, backendId);
      const engine = createEngine(runner, { recorder: Object.assign(recorder, { rows: [] }), recovery });
      await engine.recover();
      const die = () => {
        isDead = true;
        void recovery.close();
      };
      ends.push(die);
      const standStill = () => {
        standstill = Promise.withResolvers();
      };
      return { engine, die, standStill, goOn: () => standstill?.resolve() };
    }

    const found = (engine: TaskEngine, taskId: string) =>
      expect
        .poll(
          () =>
            engine.find(ann, taskId).then(
              ({ id }) => id,
              () => "",
            ),
          { timeout: 10_000 },
        )
        .toBe(taskId);

    async function rowsOf(taskId: string) {
      return client().query<{ role: string; errorCode: string | null }>(
        `SELECT role, error_code AS "errorCode" FROM messages WHERE task_id = $1 ORDER BY position`,
        [taskId],
      );
    }

    it("lets the next process answer what one accepted, with every number once and one row", async () => {
      const first = await startBackend(stuckAfter(200));
      const task = await first.engine.accept(request("one two", { messageId: "m1", contextId: "c1" }));
      const before = [];
      for await (const event of task.events.follow(0, new AbortController().signal)) {
        before.push(event);
        if (event.sequence === 201) break;
      }
      await task.acceptance;
      first.die();
      const { engine } = await startBackend(createEchoAgent());
      await found(engine, task.id);
      const events = await eventsOf(await engine.find(ann, task.id));
      const after = events.slice(before.length);
      expect(problemsOf([...before, ...after])).toEqual([]);
      expect(textOfPieces([...before, ...after])).toBe("one two");
      expect(events[0]).toEqual(before[0]);
      expect(events.at(-1)).toMatchObject({ messageId: before[0]?.messageId, text: "one two" });
      expect(await rowsOf(task.id)).toEqual([
        { role: "user", errorCode: null },
        { role: "agent", errorCode: null },
      ]);
      const again = await engine.accept(request("one two", { messageId: "m1", contextId: "c1" }));
      expect(again.id).toBe(task.id);
    });

    it("takes up turns of one context in their order, and what a message brought for its turn", async () => {
      const first = await startBackend(stuckAfter(1));
      for (const text of ["1", "2", "3"]) await first.engine.accept(request(text, { contextId: "c" }));
      const history = create(HistorySchema, { instructions: "be brief", turns: [] });
      const given = await first.engine.accept(request("4", { history }));
      await given.acceptance;
      first.die();
      const answered: string[] = [];
      const { engine } = await startBackend({
        async *answer(turn, signal) {
          const part = turn.content.parts[0]?.content;
          answered.push(`${part?.case === "text" ? part.value : ""}${turn.instructions}`);
          yield* createEchoAgent().answer(turn, signal);
        },
      });
      await found(engine, given.id);
      await expect
        .poll(() => answered.filter((text) => !text.startsWith("4")), { timeout: 10_000 })
        .toEqual(["1", "2", "3"]);
      expect(answered).toContain("4be brief");
    });

    it("tells of a task that ended in an earlier process: same reply, same position, sent again or resumed", async () => {
      const first = await startBackend(createEchoAgent());
      const task = await first.engine.accept(request("one two", { messageId: "m1", contextId: "c1" }));
      const seen = await eventsOf(task);
      first.die();
      const { engine } = await startBackend(stuckAfter(0));
      await found(engine, task.id);
      const again = await engine.accept(request("one two", { messageId: "m1", contextId: "c1" }));
      const events = await eventsOf(again);
      expect(problemsOf(events)).toEqual([]);
      expect(events.at(-1)).toEqual(seen.at(-1));
      await expect(
        engine.accept(request("other", { messageId: "m1", contextId: "c1" })),
      ).rejects.toMatchObject({ code: "conflict" });
    });

    it("tells how a task failed, and that one was canceled, in the same words", async () => {
      const first = await startBackend({
        // biome-ignore lint/correctness/useYield: it fails before it says anything
        async *answer() {
          throw new RangeError("secret detail");
        },
      });
      const failed = await first.engine.accept(request("hi"));
      const last = (await eventsOf(failed)).at(-1);
      const stuck = await startBackend(stuckAfter(2));
      const canceled = await stuck.engine.accept(request("hi"));
      canceled.cancel();
      const end = (await eventsOf(canceled)).at(-1);
      first.die();
      stuck.die();
      const { engine } = await startBackend(createEchoAgent());
      for (const [task, expected] of [
        [failed, last],
        [canceled, end],
      ] as const) {
        await found(engine, task.id);
        const restored = await engine.find(ann, task.id);
        expect((await eventsOf(restored)).at(-1)?.body).toMatchObject({ case: expected?.body.case });
        expect(restored.failure?.code).toBe(task.failure?.code);
        expect(restored.events.sequence).toBe(task.events.sequence);
      }
    });

    it("gives up a task that has ended one process after the other, and records why", async () => {
      let taskId = "";
      for (let deaths = 0; deaths < 4; deaths++) {
        const dying = await startBackend(stuckAfter(1));
        if (taskId === "") {
          const task = await dying.engine.accept(request("hi"));
          await task.acceptance;
          taskId = task.id;
        } else await found(dying.engine, taskId);
        dying.die();
      }
      const { engine } = await startBackend(createEchoAgent());
      await found(engine, taskId);
      const events = await eventsOf(await engine.find(ann, taskId));
      expect(events.at(-1)?.body).toMatchObject({ case: "error", value: { code: "internal" } });
      expect(await rowsOf(taskId)).toContainEqual({ role: "agent", errorCode: "internal" });
    });

    if (exclusive) return;

    it("keeps a backend that stood still from recording what another one has taken up", async () => {
      let open = () => {};
      const gate = new Promise<void>((resolve) => {
        open = resolve;
      });
      const paused = await startBackend({
        async *answer(turn, signal) {
          yield { type: "text-delta", text: "…" };
          await gate;
          yield* createEchoAgent().answer(turn, signal);
        },
      });
      const task = await paused.engine.accept(request("hi"));
      await task.acceptance;
      paused.standStill();
      const other = await startBackend(createEchoAgent());
      await expect.poll(() => rowsOf(task.id).then((rows) => rows.length), { timeout: 10_000 }).toBe(2);
      paused.goOn();
      open();
      await expect.poll(() => task.events.isBroken, { timeout: 10_000 }).toBe(true);
      expect(task.events.ended).toBe(false);
      const events = await eventsOf(await other.engine.find(ann, task.id));
      expect(events.at(-1)?.text).toBe("hi");
    });

    it("leaves alone what a living backend runs, and gives what a dead one ran to one only", async () => {
      const living = await startBackend(stuckAfter(1));
      const task = await living.engine.accept(request("hi"));
      await task.acceptance;
      const others = await Promise.all([1, 2].map(() => startBackend(createEchoAgent())));
      await new Promise((resolve) => setTimeout(resolve, 3 * LEASE_MS));
      for (const { engine } of others) await expect(engine.find(ann, task.id)).rejects.toThrow();
      living.die();
      await expect.poll(() => rowsOf(task.id).then((rows) => rows.length), { timeout: 10_000 }).toBe(2);
      const finds = await Promise.allSettled(others.map(({ engine }) => engine.find(ann, task.id)));
      expect(finds.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
    });
  });
}
