/** A directory that remembers: keys and agents stay usable while the store behind it is slow or away. */
import type { Clock } from "../resilience/deadline.ts";
import { startTimeLimit, type TimeLimit } from "../resilience/time-limit.ts";
import type { Agent } from "./agent.ts";
import type { ApiKeyRecord, Directory, Tenant } from "./directory.ts";
import { LookupCache } from "./lookup-cache.ts";

/** About 500 bytes each. */
const API_KEYS_MAX = 10_000;
const TENANTS_MAX = 5_000;
/** A configuration is some kilobytes, at its limits 150 KB; a Worker has 128 MB in all. */
const AGENTS_MAX = 500;
/** A list holds up to a thousand agents. */
const AGENT_LISTS_MAX = 20;

/** How a directory caches. */
export interface CachedDirectoryOptions {
  /** Milliseconds; monotonic where the platform offers it. */
  readonly now: Clock;
  /**
   * Whether concurrent lookups of one thing share one call of the store. Must be `false` in a Worker: there a
   * promise belongs to the request that made it, and a request that awaits another one's fails with "Cannot
   * perform I/O on behalf of a different request", or hangs when that other request is gone.
   */
  readonly coalesce: boolean;
  /** Default {@link startTimeLimit}. */
  readonly startTimeLimit?: (limitMs: number) => TimeLimit;
}

/** What a change is told to, by those who made it; others see it when their copy is no longer fresh. */
export interface DirectoryCache {
  forgetApiKey(keyId: string): void;
  /** Also the tenant's list of agents. */
  forgetAgent(tenantId: string, agentId: string): void;
}

/**
 * {@link Directory} in front of another one. Values are fresh for 30 s, usable for 10 min while the other one is
 * unavailable, and never honoured for more than 60 s while it answers; {@link LookupCache} has the particulars.
 * Bounded: the entries used longest ago are forgotten.
 */
export class CachedDirectory implements Directory, DirectoryCache {
  readonly #source: Directory;
  readonly #apiKeys: LookupCache<ApiKeyRecord>;
  readonly #tenants: LookupCache<Tenant>;
  readonly #agents: LookupCache<Agent>;
  readonly #agentLists: LookupCache<readonly Agent[]>;

  constructor(source: Directory, options: CachedDirectoryOptions) {
    const shared = {
      now: options.now,
      coalesce: options.coalesce,
      startTimeLimit: options.startTimeLimit ?? startTimeLimit,
    };
    this.#source = source;
    this.#apiKeys = new LookupCache({ ...shared, entriesMax: API_KEYS_MAX });
    this.#tenants = new LookupCache({ ...shared, entriesMax: TENANTS_MAX });
    this.#agents = new LookupCache({ ...shared, entriesMax: AGENTS_MAX });
    this.#agentLists = new LookupCache({ ...shared, entriesMax: AGENT_LISTS_MAX });
  }

  findApiKey(keyId: string, signal?: AbortSignal): Promise<ApiKeyRecord | undefined> {
    return this.#apiKeys.get(keyId, (inner) => this.#source.findApiKey(keyId, inner), signal);
  }

  findTenant(tenantId: string, signal?: AbortSignal): Promise<Tenant | undefined> {
    return this.#tenants.get(tenantId, (inner) => this.#source.findTenant(tenantId, inner), signal);
  }

  findAgent(tenantId: string, agentId: string, signal?: AbortSignal): Promise<Agent | undefined> {
    return this.#agents.get(
      agentKey(tenantId, agentId),
      (inner) => this.#source.findAgent(tenantId, agentId, inner),
      signal,
    );
  }

  async listAgents(tenantId: string, signal?: AbortSignal): Promise<readonly Agent[]> {
    const lookup = (inner: AbortSignal | undefined) => this.#source.listAgents(tenantId, inner);
    return (await this.#agentLists.get(tenantId, lookup, signal)) ?? [];
  }

  forgetApiKey(keyId: string): void {
    this.#apiKeys.forget(keyId);
  }

  forgetAgent(tenantId: string, agentId: string): void {
    this.#agents.forget(agentKey(tenantId, agentId));
    this.#agentLists.forget(tenantId);
  }
}

/** As JSON, so that no pair of ids can be mistaken for another pair. */
function agentKey(tenantId: string, agentId: string): string {
  return JSON.stringify([tenantId, agentId]);
}
