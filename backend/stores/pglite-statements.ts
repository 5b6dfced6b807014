/**
 * PGlite's own `query` has PostgreSQL parse and plan a statement each time, in three calls into the runtime. Here a
 * statement that comes a second time is prepared (extended query protocol, PostgreSQL manual 54.2.3), and from then on
 * is bound and executed in one call. All values stay text.
 */
import { type PGlite, protocol } from "@electric-sql/pglite";
import { type RawField, type RawResult, type RawStatement, toStatementError } from "./raw-sql-executor.ts";

/** Statements kept; several times as many as there are in this project. When it is reached, all are forgotten. */
const PREPARED_MAX = 500;

/** cached plan must not change result type; prepared statement does not exist. */
const STALE_STATES: readonly string[] = ["0A000", "26000"];

/** Commands whose tag counts no rows have no number at its end, e.g. `BEGIN`. */
const COMMAND_TAG = /^(?<command>\S+)(?:.* (?<rows>\d+))?$/;

interface Prepared {
  readonly name: string;
  readonly fields: readonly RawField[];
}

const { serialize } = protocol;

/** The statements of one session. Not for several calls at once. */
export class PgliteStatements {
  readonly #db: PGlite;
  /** Maps every known type to itself, in both directions: values stay text. */
  readonly #textOptions: { parsers: Record<string, <T>(value: T) => T>; serializers: Record<string, never> };
  /** By text; undefined: met once. */
  readonly #known = new Map<string, Prepared | undefined>();
  #names = 0;

  constructor(db: PGlite) {
    this.#db = db;
    const identity = (value: unknown) => value;
    // Plain objects: PGlite spreads them, and a Proxy would spread to nothing.
    const asText = (types: object) => Object.fromEntries(Object.keys(types).map((oid) => [oid, identity]));
    this.#textOptions = {
      parsers: asText(db.parsers) as Record<string, <T>(value: T) => T>,
      serializers: asText(db.serializers) as Record<string, never>,
    };
  }

  /** Runs it, prepared if it was met before. */
  async run(statement: RawStatement): Promise<RawResult> {
    const { text } = statement;
    if (!this.#known.has(text)) {
      const result = await this.#query(statement);
      if (this.#known.size >= PREPARED_MAX) await this.#forgetAll();
      this.#known.set(text, undefined);
      return result;
    }
    const prepared = this.#known.get(text) ?? (await this.#prepare(text));
    try {
      return await this.#execute(prepared, statement);
    } catch (error) {
      if (!STALE_STATES.includes(toStatementError(error)?.sqlState ?? "")) throw error;
      this.#known.delete(text);
      // A transaction has failed with its statement; outside of one, nothing has happened yet.
      if (this.#db.isInTransaction()) throw error;
      await this.#db.execProtocolStream(inOne(serialize.close({ type: "S", name: prepared.name })));
      return this.#query(statement);
    }
  }

  async #query({ text, params }: RawStatement): Promise<RawResult> {
    const result = await this.#db.query<(string | null)[]>(text, [...params], {
      ...this.#textOptions,
      rowMode: "array",
    });
    return {
      fields: result.fields,
      rows: result.rows,
      command: result.command ?? "",
      rowCount: result.rowCount ?? null,
    };
  }

  async #prepare(text: string): Promise<Prepared> {
    this.#names += 1;
    const name = `parley_${this.#names}`;
    const replies = await this.#db.execProtocolStream(
      inOne(serialize.parse({ name, text }), serialize.describe({ type: "S", name })),
    );
    const fields = replies.flatMap((reply) =>
      reply instanceof protocol.messages.RowDescriptionMessage ? reply.fields : [],
    );
    const prepared = { name, fields: fields.map(({ name, dataTypeID }) => ({ name, dataTypeID })) };
    this.#known.set(text, prepared);
    return prepared;
  }

  async #execute({ name, fields }: Prepared, { params }: RawStatement): Promise<RawResult> {
    const replies = await this.#db.execProtocolStream(
      inOne(serialize.bind({ statement: name, values: [...params] }), serialize.execute({})),
    );
    const rows: (string | null)[][] = [];
    let tag = "";
    for (const reply of replies) {
      if (reply instanceof protocol.messages.DataRowMessage) rows.push(reply.fields);
      else if (reply instanceof protocol.messages.CommandCompleteMessage) tag = reply.text;
    }
    const { command = "", rows: count } = COMMAND_TAG.exec(tag)?.groups ?? {};
    return { fields, rows, command, rowCount: count === undefined ? null : Number(count) };
  }

  async #forgetAll(): Promise<void> {
    this.#known.clear();
    if (!this.#db.isInTransaction()) await this.#db.exec("DEALLOCATE ALL");
  }
}

/** Messages and the Sync that ends them, to be answered in one call. */
function inOne(...messages: readonly Uint8Array[]): Uint8Array {
  return Buffer.concat([...messages, serialize.sync()]);
}
