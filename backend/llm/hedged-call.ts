/**
 * Two calls for one answer: a second model is asked when the first takes long to begin, and whichever begins first
 * goes on alone. The other's connection is closed at once. Only for an answer of which nothing is out.
 */
import type { AnswerEvent, ModelLink } from "./answer-event.ts";
import type { AttemptResult } from "./model-attempt.ts";

/** A call that has been prepared; it begins when its first event is asked for. */
export interface Call {
  readonly link: ModelLink;
  readonly events: AsyncGenerator<AnswerEvent, AttemptResult>;
  /** Closes its connection; it then records itself as abandoned. */
  abandon(): void;
}

/** How it went with the calls that came to an end of their own; the last one decides. */
export interface EndedCall {
  readonly link: ModelLink;
  readonly result: AttemptResult;
}

/** What there is to be asked. */
export interface HedgeOptions {
  readonly first: Call;
  readonly afterMs: number;
  /** Makes the second call, if there is one to be made by then. */
  readonly second: () => Call | undefined;
}

type Step = IteratorResult<AnswerEvent, AttemptResult>;

/** Yields the events of the call that begins first. Throws only the reason of the calls' own signal. */
export async function* hedgedCall(options: HedgeOptions): AsyncGenerator<AnswerEvent, EndedCall[]> {
  const { first, afterMs } = options;
  const firstStep = first.events.next();
  const second = (await settlesWithin(firstStep, afterMs)) ? undefined : options.second();
  if (!second) return [yield* goOn(first, firstStep)];
  const secondStep = second.events.next();
  const [leader, step] = await Promise.race([
    firstStep.then((settled) => [first, settled] as const),
    secondStep.then((settled) => [second, settled] as const),
  ]);
  const [follower, followerStep] = leader === first ? [second, secondStep] : [first, firstStep];
  // A call that ended without a token has failed: the other one is all that is left.
  if (step.done) return [ended(leader, step.value), yield* goOn(follower, followerStep)];
  follower.abandon();
  followerStep.catch(() => {});
  return [yield* goOn(leader, step)];
}

async function* goOn(call: Call, begun: Step | Promise<Step>): AsyncGenerator<AnswerEvent, EndedCall> {
  let step = await begun;
  try {
    for (; !step.done; step = await call.events.next()) yield step.value;
    return ended(call, step.value);
  } finally {
    // The consumer may have stopped early.
    await call.events.return(undefined as never);
  }
}

function ended({ link }: Call, result: AttemptResult): EndedCall {
  return { link, result };
}

/** Whether the promise settles before the time is up; rejects as it does. */
async function settlesWithin(promise: Promise<unknown>, delayMs: number): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<boolean>((resolve) => {
    timer = setTimeout(resolve, delayMs, false);
  });
  const settled = promise.then(() => true);
  try {
    return await Promise.race([settled, late]);
  } finally {
    clearTimeout(timer);
  }
}
