// Declares jobs and handlers. A declaration is a function; calling it describes work, which begins when it is added to a tree.
import { type ErrorMode, HandlerCall, JobRef, type Self } from './task-node.ts';

/**
 * Declares a job: a step that runs alone. The queue waits for its body, so slow work belongs in a handler. The body
 * calls the handler, or returns it to make its result the result of the job.
 */
export function defineJob<I = void, R = void>(
  name: string,
  body: (self: Self, input: I) => R | HandlerCall<R> | Promise<R | HandlerCall<R>>,
  options: { errors?: ErrorMode | undefined } = {},
): (input: I) => JobRef<R> {
  const { errors } = options;
  return (input) => new JobRef({ name, errors, timeoutMs: undefined, body: (self) => body(self, input) });
}

/** Declares a handler: a step that runs beside others. After `timeoutMs` it fails with NODE_TIMEOUT. */
export function defineHandler<A extends unknown[], R>(
  name: string,
  body: (self: Self, ...args: A) => Promise<R> | R,
  options: { timeoutMs?: number | undefined; errors?: ErrorMode | undefined } = {},
): (...args: A) => HandlerCall<R> {
  const { timeoutMs, errors } = options;
  return (...args) => new HandlerCall({ name, errors, timeoutMs, body: (self) => body(self, ...args) });
}
