/** Which events end a task. */
import { TaskState } from "../../proto/gen/lf/a2a/v1/a2a_pb.js";
import type { A2AMessage } from "../../proto/gen/parley/v1/agent_service_pb.js";

/** Whether a stream may end with this event; a status other than "submitted" and "working" waits for the sender. */
export function endsTask({ body }: A2AMessage): boolean {
  if (body.case === "content" || body.case === "error") return true;
  if (body.case !== "status") return false;
  const underWay = [TaskState.UNSPECIFIED, TaskState.SUBMITTED, TaskState.WORKING];
  return !underWay.includes(body.value.state);
}
