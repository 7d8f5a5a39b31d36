// Iteration in a span. A generator runs in the context of its reader, so each call of it is made in the span.
import type { TraceSpan } from './tracing.ts';

/** Reads `items` with `span` as the active one. */
export function spanned<T>(span: TraceSpan, items: AsyncGenerator<T, void>): AsyncGenerator<T, void> {
  return {
    next: () => span.run(() => items.next()),
    return: () => span.run(() => items.return()),
    throw: (error) => span.run(() => items.throw(error)),
    [Symbol.asyncIterator]() {
      return this;
    },
    [Symbol.asyncDispose]: () => span.run(() => items[Symbol.asyncDispose]()),
  };
}
