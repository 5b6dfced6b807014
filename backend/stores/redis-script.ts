/** A Lua script for Redis and the hash that Redis knows it by. It runs whole or not at all, between other commands. */
import { createHash } from "node:crypto";

/** See above. Made once for each script, where it is defined. */
export class RedisScript {
  readonly lua: string;
  readonly sha1: string;

  constructor(lua: string) {
    this.lua = lua;
    this.sha1 = createHash("sha1").update(lua).digest("hex");
  }
}
