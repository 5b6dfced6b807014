/** What stands between the events of a task and its followers: see the methods. */
import type { A2AMessage } from "../../proto/gen/parley/v1/agent_service_pb.js";

/**
 * Keeps numbers honest across a crash. Events are shown before they are kept anywhere, so whoever takes the task over
 * must know which numbers followers may have seen: the gate lets an event through only when its number lies within
 * what has been reserved. One event at a time asks.
 */
export interface EventGate {
  /** Undefined when the event with this number may be shown at once; else it may when the promise resolves. */
  admit(sequence: number): Promise<void> | undefined;
  /** Events have been appended to the log. */
  appended(): void;
  /** Resolves with whether the task is still this backend's; asked before its reply is made durable. */
  isHeld(): Promise<boolean>;
  /**
   * Called with the last event, numbered, before it is shown. Resolves with false when the task is another backend's
   * by now: then it must not be shown.
   */
  end(last: A2AMessage, mayRunAgain: boolean): Promise<boolean>;
}
