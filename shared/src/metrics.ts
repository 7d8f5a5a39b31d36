// Metrics in the Prometheus format, for Node. Loaded only by processes that serve metrics.
import './env/require-node.ts';

export { addProcessMetrics } from './metrics/process-metrics.ts';
export {
  type BucketCounts,
  Counter,
  counterOf,
  Gauge,
  gaugeOf,
  Histogram,
  histogramOf,
  type Reading,
  Registry,
} from './metrics/registry.ts';
