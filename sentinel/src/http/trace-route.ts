// The route of the live trace.
import type { Clock } from '@fame-fabric/shared';
import type { Granted } from '../access/access.ts';
import type { ClusterView } from '../cluster/status.ts';
import type { FastifyInstance, FastifyRequest } from './fastify.ts';
import { LineStreams, type LineStreamsDeps } from './line-streams.ts';
import type { TraceListener, TraceTap } from './trace.ts';

export const TRACE_PATH = '/fame/v1/trace';
const MAX_READERS = 8;
/** `fetch` gives up after 300 s without data. */
const KEEP_ALIVE_MS = 60_000;

export interface TraceRouteDeps extends LineStreamsDeps {
  trace: TraceTap;
  clock: Clock;
  /** @default this sentinel is in no cluster */
  cluster?: ClusterView | undefined;
}

/** `callerOf` returns the caller of a request that was admitted. */
export function traceRoute(
  app: FastifyInstance,
  deps: TraceRouteDeps,
  callerOf: (request: FastifyRequest) => Granted,
): void {
  const { clock, cluster, trace } = deps;
  const streams = new LineStreams(deps, {
    page: 'trace',
    maxReaders: MAX_READERS,
    keepAliveMs: KEEP_ALIVE_MS,
  });
  app.get(TRACE_PATH, async (request, reply) =>
    streams.open({ request, reply, caller: callerOf(request) }, (stream) => {
      let dropped = 0;
      const push: TraceListener = (entries, missed) => {
        if (!stream.hasRoom) {
          dropped += entries.length + missed;
          return;
        }
        const lines = entries.map((entry) => JSON.stringify(entry));
        const lost = dropped + missed;
        dropped = 0;
        if (lost > 0) lines.push(JSON.stringify({ t: clock.now(), missed: lost }));
        stream.push(`${lines.join('\n')}\n`);
      };
      const stop = trace.listen(push);
      const stopOthers = cluster?.watch(push);
      return () => {
        stop();
        stopOthers?.();
      };
    }),
  );
}
