/** What callers of a cached directory may rely on, by the age of what it knows. */
import { beforeEach, describe, expect, it } from "vitest";
import type { Agent } from "../../../core/directory/agent.ts";
import { CachedDirectory } from "../../../core/directory/cached-directory.ts";
import type { ApiKeyRecord, Directory, Tenant } from "../../../core/directory/directory.ts";
import { ParleyError } from "../../../core/errors/parley-error.ts";

const SECOND_MS = 1_000;
const MINUTE_MS = 60 * SECOND_MS;

const unavailable = () => new ParleyError("unavailable", "no database", { retryable: true });
const keyRecord = (keyId: string, revokedAtMs?: number): ApiKeyRecord => ({
  keyId,
  tenantId: "acme",
  subject: "alice",
  scopes: [],
  secretSha256: "0".repeat(64),
  expiresAtMs: undefined,
  revokedAtMs,
  limits: {},
  tenantLimits: {},
});

/** A store whose lookups answer at once, fail, or wait until the test lets them answer. */
class ManualDirectory implements Directory {
  lookups = 0;
  answer: () => ApiKeyRecord | undefined = () => keyRecord("k");
  #held: (() => void)[] | undefined;

  async findApiKey(_keyId: string, signal?: AbortSignal): Promise<ApiKeyRecord | undefined> {
    this.lookups++;
    const { answer } = this;
    if (this.#held) {
      const held = this.#held;
      await new Promise<void>((resolve, reject) => {
        held.push(resolve);
        signal?.addEventListener("abort", () => reject(unavailable()), { once: true });
      });
    }
    return answer();
  }

  async findTenant(id: string): Promise<Tenant | undefined> {
    this.lookups++;
    const { answer } = this;
    return answer() && { id, name: id, limits: {} };
  }

  async findAgent(tenantId: string, agentId: string): Promise<Agent | undefined> {
    this.lookups++;
    const { answer } = this;
    return answer() && ({ tenantId, id: agentId, name: `${tenantId}'s ${agentId}` } as Agent);
  }

  async listAgents(tenantId: string): Promise<readonly Agent[]> {
    this.lookups++;
    return [{ tenantId, id: "only" } as Agent];
  }

  hold(): void {
    this.#held = [];
  }

  release(): void {
    const held = this.#held;
    this.#held = undefined;
    for (const resolve of held ?? []) resolve();
  }
}

describe.each([{ coalesce: true }, { coalesce: false }])(
  "CachedDirectory, coalesce: $coalesce",
  ({ coalesce }) => {
    let nowMs = 0;
    let source: ManualDirectory;
    let directory: CachedDirectory;
    /** The waits of refreshes; a test ends them in place of time. */
    let timeouts: { delayMs: number; controller: AbortController }[];

    beforeEach(() => {
      nowMs = 1_000_000;
      timeouts = [];
      source = new ManualDirectory();
      directory = new CachedDirectory(source, {
        now: () => nowMs,
        coalesce,
        startTimeLimit: (delayMs) => {
          const controller = new AbortController();
          timeouts.push({ delayMs, controller });
          return { signal: controller.signal, clear: () => {} };
        },
      });
    });

    const fail = () => {
      source.answer = () => {
        throw unavailable();
      };
    };
    const find = (keyId = "k", signal?: AbortSignal) => directory.findApiKey(keyId, signal);

    it("asks the store once in 30 s, and again after", async () => {
      await find();
      nowMs += 30 * SECOND_MS - 1;
      await find();
      expect(source.lookups).toBe(1);
      nowMs += 1;
      await find();
      expect(source.lookups).toBe(2);
    });

    it("counts the age of a value from when its lookup began, not from when it was answered", async () => {
      source.hold();
      const found = find();
      nowMs += 20 * SECOND_MS;
      source.release();
      await found;
      nowMs += 10 * SECOND_MS;
      await find();
      expect(source.lookups).toBe(2);
    });

    it("shows a revoked key as revoked within 60 s, however often it is looked up meanwhile", async () => {
      await find();
      source.answer = () => keyRecord("k", nowMs);
      let revokedSeenAfterMs = 0;
      for (let ageMs = 0; ageMs <= MINUTE_MS; ageMs += SECOND_MS) {
        nowMs += SECOND_MS;
        const record = await find();
        if (record?.revokedAtMs !== undefined) break;
        revokedSeenAfterMs = ageMs;
      }
      expect(revokedSeenAfterMs).toBeLessThan(MINUTE_MS);
    });

    it.each([55 * SECOND_MS, 9 * MINUTE_MS])(
      "shows a revoked key as revoked at once, to all, when it was not looked up for %d ms",
      async (ageMs) => {
        await find();
        source.answer = () => keyRecord("k", nowMs);
        nowMs += ageMs;
        const records = await Promise.all([find(), find(), find()]);
        expect(records.map((record) => record?.revokedAtMs !== undefined)).toEqual([true, true, true]);
      },
    );

    it("keeps other callers going with a value of under 55 s while one of them refreshes it", async () => {
      await find();
      nowMs += 54 * SECOND_MS;
      source.hold();
      const refreshed = find();
      expect(await find()).toEqual(keyRecord("k"));
      expect(source.lookups).toBe(2);
      source.answer = () => keyRecord("k", nowMs);
      source.release();
      await refreshed;
      expect(source.lookups).toBe(2);
    });

    it("lets the next caller refresh when the one that did has not come back after 2 s", async () => {
      await find();
      nowMs += 40 * SECOND_MS;
      source.hold();
      find().catch(() => undefined);
      nowMs += 2 * SECOND_MS;
      const next = find();
      expect(source.lookups).toBe(coalesce ? 2 : 3);
      source.release();
      expect(await next).toEqual(keyRecord("k"));
    });

    it("goes on with what it knows for 10 min while the store is unavailable, and not longer", async () => {
      await find();
      fail();
      nowMs += 10 * MINUTE_MS - 1;
      expect(await find()).toEqual(keyRecord("k"));
      nowMs += 1;
      await expect(find()).rejects.toMatchObject({ code: "unavailable" });
    });

    it("leaves an unavailable store alone for 2 s where there is a value to go on with", async () => {
      await find();
      fail();
      nowMs += MINUTE_MS;
      await find();
      await find();
      expect(source.lookups).toBe(2);
      nowMs += 2 * SECOND_MS;
      source.answer = () => keyRecord("k", 7);
      expect(await find()).toEqual(keyRecord("k", 7));
    });

    it("waits 2 s for a slow store, and then goes on with what it knows", async () => {
      await find();
      nowMs += MINUTE_MS;
      source.hold();
      const found = find();
      expect(timeouts).toMatchObject([{ delayMs: 2_000 }]);
      timeouts[0]?.controller.abort(new DOMException("too slow", "TimeoutError"));
      expect(await found).toEqual(keyRecord("k"));
      source.release();
    });

    it("waits for a slow store as long as it takes where it knows nothing", async () => {
      source.hold();
      const found = find();
      nowMs += MINUTE_MS;
      source.release();
      expect(await found).toEqual(keyRecord("k"));
      expect(timeouts).toEqual([]);
    });

    it("does not hide a failure other than unavailability behind what it knows", async () => {
      await find();
      nowMs += MINUTE_MS;
      source.answer = () => {
        throw new ParleyError("failed_precondition", "broken");
      };
      await expect(find()).rejects.toMatchObject({ code: "failed_precondition" });
    });

    it("remembers for 5 s that something is missing", async () => {
      source.answer = () => undefined;
      expect(await find()).toBeUndefined();
      nowMs += 5 * SECOND_MS - 1;
      expect(await find()).toBeUndefined();
      expect(source.lookups).toBe(1);
      nowMs += 1;
      source.answer = () => keyRecord("k");
      expect(await find()).toEqual(keyRecord("k"));
    });

    it("does not take something for missing because the store is unavailable", async () => {
      source.answer = () => undefined;
      await find();
      fail();
      nowMs += 5 * SECOND_MS;
      await expect(find()).rejects.toMatchObject({ code: "unavailable" });
    });

    it("forgets at once what the store says is gone", async () => {
      await find();
      nowMs += MINUTE_MS;
      source.answer = () => undefined;
      expect(await find()).toBeUndefined();
      fail();
      nowMs += 5 * SECOND_MS;
      await expect(find()).rejects.toMatchObject({ code: "unavailable" });
    });

    it("does not remember a failure", async () => {
      fail();
      await expect(find()).rejects.toMatchObject({ code: "unavailable" });
      source.answer = () => keyRecord("k");
      expect(await find()).toEqual(keyRecord("k"));
    });

    it("ends the wait of a caller that goes away, and only of that one", async () => {
      source.hold();
      const controller = new AbortController();
      const gone = find("k", controller.signal);
      const staying = find("k");
      controller.abort();
      await expect(gone).rejects.toBeInstanceOf(ParleyError);
      source.release();
      expect(await staying).toEqual(keyRecord("k"));
    });

    it("keeps tenants, agents and lists apart", async () => {
      expect(await directory.findAgent("acme", "a")).toMatchObject({ name: "acme's a" });
      expect(await directory.findAgent("other", "a")).toMatchObject({ name: "other's a" });
      expect(await directory.findAgent('acme","a', "")).toMatchObject({ name: `acme","a's ` });
      expect(await directory.listAgents("acme")).toEqual([{ tenantId: "acme", id: "only" }]);
      expect(await directory.listAgents("other")).toEqual([{ tenantId: "other", id: "only" }]);
      expect(source.lookups).toBe(5);
      await directory.findAgent("acme", "a");
      await directory.listAgents("acme");
      expect(source.lookups).toBe(5);
    });

    it("keeps at most 10,000 keys, and forgets the one used longest ago first", async () => {
      for (let id = 0; id < 10_000; id++) await find(`k${id}`);
      await find("k0");
      await find("one-more");
      source.lookups = 0;
      await find("k0");
      expect(source.lookups).toBe(0);
      await find("k1");
      expect(source.lookups).toBe(1);
    });

    it("does not lose keys that exist to a flood of ids that do not", async () => {
      await find("real");
      source.answer = () => undefined;
      for (let id = 0; id < 20_000; id++) await find(`made-up-${id}`);
      source.lookups = 0;
      expect(await find("real")).toEqual(keyRecord("k"));
      expect(source.lookups).toBe(0);
    });
  },
);

describe("CachedDirectory", () => {
  const ask = async (coalesce: boolean) => {
    const source = new ManualDirectory();
    const directory = new CachedDirectory(source, { now: () => 0, coalesce });
    source.hold();
    const answers = Array.from({ length: 5 }, () => directory.findApiKey("k"));
    source.release();
    await Promise.all(answers);
    return source.lookups;
  };

  it("asks once for many callers at once when it coalesces", async () => {
    expect(await ask(true)).toBe(1);
  });

  it("never makes one caller wait for the lookup of another when it does not", async () => {
    expect(await ask(false)).toBe(5);
  });

  it("asks again for what it was told to forget, and only for that", async () => {
    const source = new ManualDirectory();
    const directory = new CachedDirectory(source, { now: () => 0, coalesce: false });
    const lookUpAll = async () => {
      await directory.findApiKey("k");
      await directory.findAgent("acme", "a");
      await directory.findAgent("acme", "b");
      await directory.listAgents("acme");
      await directory.listAgents("other");
      return source.lookups;
    };
    expect(await lookUpAll()).toBe(5);
    expect(await lookUpAll()).toBe(5);
    directory.forgetApiKey("k");
    directory.forgetAgent("acme", "a");
    expect(await lookUpAll()).toBe(8);
  });

  it("does not let an answer replace one whose lookup began later", async () => {
    let nowMs = 0;
    const waiting: ((record: ApiKeyRecord) => void)[] = [];
    const source = {
      findApiKey: () => new Promise<ApiKeyRecord>((resolve) => waiting.push(resolve)),
    } as unknown as Directory;
    const directory = new CachedDirectory(source, { now: () => nowMs, coalesce: false });
    const earlier = directory.findApiKey("k");
    nowMs += 1;
    const later = directory.findApiKey("k");
    waiting[1]?.(keyRecord("k", 5));
    await later;
    waiting[0]?.(keyRecord("k"));
    expect(await earlier).toEqual(keyRecord("k", 5));
    expect(await directory.findApiKey("k")).toEqual(keyRecord("k", 5));
  });
});
