// Serves `/metrics` of an agent process, if FAME_METRICS_PORT is set. It needs no key: the metrics name no caller and quote no text,
// and the port is on the loopback interface unless FAME_METRICS_HOST names another one.
import { readFileSync } from 'node:fs';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type Clock, FabricError } from '@fame-fabric/shared';
import { errorMessage } from '@fame-fabric/shared/internal';
import { addProcessMetrics, Registry } from '@fame-fabric/shared/metrics';
import {
  http,
  isLoopback,
  limitServer,
  originFault,
  refusalBody,
  SERVER_OPTIONS,
} from '@fame-fabric/shared/router';
import { TurnMetrics } from '../telemetry/turn-metrics.ts';
import type { TurnObserver } from '../telemetry/turn-observer.ts';

/** Connections at once. A scraper needs one. */
const MAX_CONNECTIONS = 16;

export interface MetricsServerOptions {
  readonly port: number;
  readonly host: string;
  readonly clock: Clock;
}

export class MetricsServer {
  /** Feeds the metrics of turns. */
  readonly observer: TurnObserver;
  readonly #registry = new Registry();
  readonly #host: string;
  readonly #server: Server;

  private constructor({ host, clock }: MetricsServerOptions) {
    this.#host = host;
    this.observer = new TurnMetrics(this.#registry, clock);
    addProcessMetrics(this.#registry, ownVersion());
    this.#server = http.createServer(
      SERVER_OPTIONS,
      (request, response) => void this.#answer(request, response),
    );
    this.#server.maxConnections = MAX_CONNECTIONS;
    limitServer(this.#server);
  }

  /** Listens. @throws {CONFIG_INVALID} if the port cannot be opened */
  static async open(options: MetricsServerOptions): Promise<MetricsServer> {
    const metrics = new MetricsServer(options);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const server = metrics.#server;
    server.once('error', reject);
    server.listen(options.port, options.host, () => resolve());
    try {
      await promise;
    } catch (error) {
      throw new FabricError(
        'CONFIG_INVALID',
        `FAME_METRICS_PORT: port ${options.port} of ${options.host} cannot be opened: ${errorMessage(error)}`,
      );
    }
    server.off('error', reject);
    return metrics;
  }

  /** Host and port, as in a URL. */
  get authority(): string {
    const { port } = this.#server.address() as AddressInfo;
    return `${this.#host.includes(':') ? `[${this.#host}]` : this.#host}:${port}`;
  }

  async close(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#server.close(() => resolve());
    this.#server.closeAllConnections();
    await promise;
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const fault = this.#hostFault(request);
    if (fault !== undefined) return refuse(response, 403, 'AUTH_FORBIDDEN', fault);
    const { method = '', url = '' } = request;
    if (url.split('?', 1)[0] !== '/metrics' || (method !== 'GET' && method !== 'HEAD'))
      return refuse(response, 404, 'NO_ROUTE', 'This port serves GET /metrics only.');
    try {
      const text = await this.#registry.metrics();
      response.writeHead(200, { 'content-type': this.#registry.contentType });
      response.end(method === 'HEAD' ? '' : text);
    } catch (error) {
      refuse(response, 500, 'INTERNAL', errorMessage(error));
    }
  }

  // A web page may not read the port, by a foreign origin or by a DNS name that points at this machine.
  #hostFault({ headers }: IncomingMessage): string | undefined {
    if (headers.origin !== undefined) return 'Web pages may not read this port.';
    if (!isLoopback(this.#host)) return undefined;
    return originFault(headers, { allowedOrigins: [], allowedHosts: [] })?.replace(/: add it to .*$/, '');
  }
}

function ownVersion(): string {
  const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'));
  return String(version);
}

function refuse(
  response: ServerResponse,
  status: number,
  code: 'AUTH_FORBIDDEN' | 'NO_ROUTE' | 'INTERNAL',
  message: string,
): void {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify(refusalBody(code, message)));
}
