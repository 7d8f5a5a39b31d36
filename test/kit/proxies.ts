// nginx and Caddy as processes on a free port, with the configurations of docs/operating and TLS. A test replaces only the
// settings that depend on the machine: ports, paths of the certificate, and for Caddy the certificate itself.
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { DebianPackage } from './debian-package.ts';
import { freePort, Proc, ROOT } from './processes.ts';
import { temporaryDirectory } from './sentinel.ts';

/** The host name of the configurations. */
export const HOST = 'fabric.example.org';

const NGINX = new DebianPackage('nginx', 'usr/sbin/nginx');
const CADDY = new DebianPackage('caddy', 'usr/bin/caddy');

export function ensureProxies(): void {
  NGINX.ensure();
  CADDY.ensure();
}

export type ProxyKind = 'nginx' | 'caddy';
export const hasProxy = (kind: ProxyKind): boolean => (kind === 'nginx' ? NGINX : CADDY).isUsable;

export interface RunningProxy {
  readonly proc: Proc;
  readonly port: number;
  /** Admission URL by the name of the proxy. */
  readonly url: string;
  /** Environment of a program that uses the proxy: its certificate, and the address of its name. */
  readonly env: Record<string, string>;
}

/** A certificate for the host name, signed by itself. */
function makeCertificate(directory: string): { cert: string; key: string } {
  const cert = join(directory, 'cert.pem');
  const key = join(directory, 'key.pem');
  const words = `req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=${HOST} -addext subjectAltName=DNS:${HOST}`;
  execFileSync('openssl', [...words.split(' '), '-keyout', key, '-out', cert], { stdio: 'pipe' });
  return { cert, key };
}

/** Replaces each text, which must be there. */
function replaceAll(text: string, pairs: readonly (readonly [string, string])[]): string {
  for (const [from, to] of pairs) {
    if (!text.includes(from)) throw new Error(`The configuration has no "${from}"`);
    text = text.replaceAll(from, to);
  }
  return text;
}

const configuration = (name: string): string => readFileSync(join(ROOT, 'docs/operating', name), 'utf8');

export interface ProxyOptions {
  /**
   * PEM file with the issuer of the sentinel's certificate: nginx then speaks TLS to the sentinel too, and leaves the check of keys
   * to it. @default the sentinel speaks plain HTTP
   */
  sentinelCa?: string | undefined;
}

/** Starts the proxy before the sentinel on `sentinelPort`. */
export async function startProxy(
  kind: ProxyKind,
  sentinelPort: number,
  { sentinelCa }: ProxyOptions = {},
): Promise<RunningProxy> {
  const directory = temporaryDirectory();
  const port = await freePort();
  const upstream = `127.0.0.1:${sentinelPort}`;
  const certificate = makeCertificate(directory);
  const options = { directory, port, upstream, sentinelCa, ...certificate };
  const proc = kind === 'nginx' ? startNginx(options) : startCaddy(options);
  await proc.waitFor(kind === 'nginx' ? /getrlimit/ : /serving initial configuration/);
  const resolver = fileURLToPath(new URL('./loopback-name.mjs', import.meta.url));
  return {
    proc,
    port,
    url: `wss://${HOST}:${port}/fame/v1/attach/ws/downstream`,
    env: { NODE_EXTRA_CA_CERTS: certificate.cert, NODE_OPTIONS: `--import=${resolver}`, LOOPBACK_NAME: HOST },
  };
}

interface StartOptions extends ProxyOptions {
  directory: string;
  port: number;
  upstream: string;
  cert: string;
  key: string;
}

function startNginx({ directory, port, upstream, cert, key, sentinelCa }: StartOptions): Proc {
  const toSentinel: [string, string][] =
    sentinelCa === undefined
      ? []
      : [
          ['auth_request /_fame_key;', ''],
          [
            'proxy_http_version 1.1;',
            `proxy_http_version 1.1; proxy_ssl_verify on; proxy_ssl_trusted_certificate ${sentinelCa}; proxy_ssl_name localhost;`,
          ],
          ['http://127.0.0.1:8000', 'https://127.0.0.1:8000'],
        ];
  const site = replaceAll(configuration('nginx.conf'), [
    ...toSentinel,
    ['listen 443 ssl', `listen 127.0.0.1:${port} ssl`],
    ['/etc/ssl/fame/fullchain.pem', cert],
    ['/etc/ssl/fame/privkey.pem', key],
    ['127.0.0.1:8000', upstream],
  ]);
  writeFileSync(join(directory, 'fame.conf'), site);
  const paths = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
    .map((name) => `${name}_temp_path ${directory}/${name};`)
    .join(' ');
  // One process, so that a test can end it by its pid.
  const main = `daemon off; master_process off; pid ${directory}/pid; error_log stderr notice;
events { worker_connections 256; }
http { access_log off; ${paths} include ${directory}/fame.conf; }
`;
  writeFileSync(join(directory, 'nginx.conf'), main);
  const args = ['-e', 'stderr', '-p', directory, '-c', join(directory, 'nginx.conf')];
  return new Proc(NGINX.path!, args, { name: 'nginx' });
}

function startCaddy({ directory, port, upstream, cert, key }: StartOptions): Proc {
  const site = replaceAll(configuration('Caddyfile'), [
    [`${HOST} {`, `${HOST}:${port} {\n\tbind 127.0.0.1\n\ttls ${cert} ${key}`],
    ['127.0.0.1:8000', upstream],
  ]);
  const file = join(directory, 'Caddyfile');
  writeFileSync(file, `{\n\tadmin off\n\tauto_https disable_redirects\n}\n${site}`);
  const env = { XDG_DATA_HOME: directory, XDG_CONFIG_HOME: directory, HOME: directory };
  return new Proc(CADDY.path!, ['run', '--config', file, '--adapter', 'caddyfile'], { name: 'caddy', env });
}
