// Admission URLs: where nodes attach to a sentinel, and that of the sentinel on this machine.
import type { EnvReader } from '../env/read-env.ts';

/** Path under which a sentinel admits nodes. */
export const ATTACH_PATH = '/fame/v1/attach/ws/downstream';

/** The admission URL of a sentinel that listens on `host` and `port`. */
export const admissionUrl = (host: string, port: number): string =>
  `ws://${host.includes(':') ? `[${host}]` : host}:${port}${ATTACH_PATH}`;

/** Reads where the sentinel on this machine is reached. Reports faults to `reader`. */
export function readLocalListener(reader: EnvReader): { host: string; port: number; url: string } {
  const port = reader.integer('FAME_LISTENER_PORT', 8000, 1, 65_535);
  const listener = reader.text('FAME_LISTENER_HOST') ?? '127.0.0.1';
  // A sentinel that listens on every interface is reached through loopback.
  const host = { '0.0.0.0': '127.0.0.1', '::': '::1' }[listener] ?? listener;
  const url = admissionUrl(host, port);
  reader.check('FAME_LISTENER_HOST', host, URL.canParse(url), 'a host name or an IP address');
  return { host, port, url };
}
