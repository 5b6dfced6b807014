/**
 * How a backend says that a message was sent again: another request had made its task, and has been charged for it. Not
 * in the events, which are the same for everybody who follows the task.
 */

/** Header of the backend's answer; there, with any value, when the message had its task already. */
export const KNOWN_TASK_HEADER = "parley-known-task";
