// The admission URL, at which nodes attach to a sentinel, and the settings that determine it.
import { ISSUER_VARIABLES, type IssuerSettings, readIssuerSettings } from '../access/issuer-settings.ts';
import type { EnvReader } from '../env/read-env.ts';
import type { Variable } from '../env/variable.ts';
import { isLoopbackHost } from './loopback.ts';

/** Path under which a sentinel admits nodes. */
export const ATTACH_PATH = '/fame/v1/attach/ws/downstream';

/** Returns the admission URL of a sentinel that listens on `host` and `port`, with TLS or without. */
export const admissionUrl = (host: string, port: number, hasTls = false): string =>
  `${hasTls ? 'wss' : 'ws'}://${host.includes(':') ? `[${host}]` : host}:${port}${ATTACH_PATH}`;

/** The variables that select the sentinel to attach to. Agents and commands share them. */
export const ADMISSION_VARIABLES: readonly Variable[] = Object.freeze<Variable[]>([
  {
    name: 'FAME_DIRECT_ADMISSION_URL',
    type: 'list',
    default: `ws://127.0.0.1:<FAME_LISTENER_PORT>${ATTACH_PATH}`,
    description:
      'Admission URL of the sentinel; ws:// or wss://. In a cluster, the URLs of several sentinels, separated by commas: after a failed attempt the node tries the next one, and after a lost connection the others in a random order.',
  },
  {
    name: 'FAME_LISTENER_PORT',
    type: 'integer',
    default: '8000',
    description: 'Port of the sentinel on this machine; used when FAME_DIRECT_ADMISSION_URL is not set.',
  },
  {
    name: 'FAME_LISTENER_HOST',
    type: 'text',
    default: '127.0.0.1',
    description: 'Interface of the sentinel on this machine; used when FAME_DIRECT_ADMISSION_URL is not set.',
  },
  {
    name: 'FAME_TLS_CERT_FILE',
    type: 'path',
    default: '(none)',
    description:
      'Certificate of the sentinel on this machine. If it is set, and FAME_DIRECT_ADMISSION_URL is not, nodes attach with wss://.',
  },
  {
    name: 'FAME_ADMISSION_TOKEN',
    type: 'text',
    default: '',
    description:
      'Key or token to send to the sentinel. Unset: that of FAME_ADMISSION_TOKEN_FILE, else the local key in FAME_DATA_DIR or in the nearest .fame of this and the parent directories, which is sent to loopback only.',
    secret: true,
  },
  {
    name: 'FAME_ADMISSION_TOKEN_FILE',
    type: 'path',
    default: '',
    description:
      'File with the key or token, such as `token` in the data directory of the sentinel. Read again for each attempt to attach.',
  },
  {
    name: 'FAME_CLIENT_CERT_FILE',
    type: 'path',
    default: '',
    description:
      'PEM file with a client certificate, for a wss:// sentinel with FAME_TLS_CLIENT_CA_FILE. Read again for each attach.',
  },
  {
    name: 'FAME_CLIENT_KEY_FILE',
    type: 'path',
    default: '',
    description: 'PEM file with the private key of FAME_CLIENT_CERT_FILE.',
  },
  {
    name: 'FAME_SECURITY_PROFILE',
    type: 'choice',
    default: '(none)',
    description:
      'overlay signs the messages of this node, and refuses messages of others that are not signed. The sentinel needs the same profile. Other profiles change nothing here.',
  },
  ...ISSUER_VARIABLES,
]);

/** PEM files of a node that identifies itself by a client certificate. */
export interface ClientCertificate {
  readonly certFile: string;
  readonly keyFile: string;
}

/** Reads the files of the client certificate. Records faults in `reader`. */
export function readClientCertificate(reader: EnvReader): ClientCertificate | undefined {
  const certFile = reader.text('FAME_CLIENT_CERT_FILE');
  const keyFile = reader.text('FAME_CLIENT_KEY_FILE');
  if (certFile !== undefined && keyFile !== undefined) return { certFile, keyFile };
  if (certFile !== undefined)
    reader.check('FAME_CLIENT_CERT_FILE', certFile, false, 'FAME_CLIENT_KEY_FILE to be set too');
  if (keyFile !== undefined)
    reader.check('FAME_CLIENT_KEY_FILE', keyFile, false, 'FAME_CLIENT_CERT_FILE to be set too');
  return undefined;
}

/** Settings of the token that a node sends. `AdmissionToken` reads it. */
export interface TokenSettings {
  readonly token: string | undefined;
  readonly tokenFile: string | undefined;
  /** FAME_DATA_DIR, undefined if unset. */
  readonly dataDir: string | undefined;
  /** Issuer of the tokens. @default none */
  readonly issuer?: IssuerSettings | undefined;
}

/** Reads the settings of the token. Records faults in `reader`. */
export const readTokenSettings = (reader: EnvReader): TokenSettings => ({
  token: reader.secret('FAME_ADMISSION_TOKEN'),
  tokenFile: reader.fileOfSecret('FAME_ADMISSION_TOKEN'),
  dataDir: reader.text('FAME_DATA_DIR'),
  issuer: readIssuerSettings(reader),
});

/** The sentinel on this machine, as its settings describe it. */
interface LocalListener {
  readonly host: string;
  readonly port: number;
  /** True if it serves TLS. */
  readonly hasTls: boolean;
  readonly url: string;
}

/** Reads the settings of the sentinel on this machine. Records faults in `reader`. */
export function readLocalListener(reader: EnvReader): LocalListener {
  const port = reader.integer('FAME_LISTENER_PORT', 8000, 1, 65_535);
  const listener = reader.text('FAME_LISTENER_HOST') ?? '127.0.0.1';
  // A sentinel that listens on every interface is reached through loopback.
  const host = { '0.0.0.0': '127.0.0.1', '::': '::1' }[listener] ?? listener;
  const hasTls = reader.text('FAME_TLS_CERT_FILE') !== undefined;
  const url = admissionUrl(host, port, hasTls);
  reader.check('FAME_LISTENER_HOST', host, URL.canParse(url), 'a host name or an IP address');
  return { host, port, hasTls, url };
}

/** The sentinels to attach to. */
export interface AdmissionUrls {
  /** The one that is tried first. */
  readonly url: string;
  /** Other sentinels of the same cluster, in the order in which they are tried. */
  readonly otherUrls: readonly string[];
}

/** Reads the URLs of the sentinels to attach to. Records faults in `reader`, including those of the settings for the local sentinel. */
export function readAdmissionUrls(reader: EnvReader, example?: string): AdmissionUrls {
  const { url: local } = readLocalListener(reader);
  const options = { protocols: ['ws:', 'wss:'], example: example ?? local };
  const [url, ...otherUrls] = reader
    .list('FAME_DIRECT_ADMISSION_URL')
    .filter((one) => reader.checkUrl('FAME_DIRECT_ADMISSION_URL', one, options));
  return { url: url ?? local, otherUrls };
}

/** The URL that decides whether a found key may be sent: one of another machine, if there is one. */
export const leastTrustedUrl = ({ url, otherUrls }: AdmissionUrls): string =>
  [url, ...otherUrls].find((one) => !isLoopbackHost(URL.parse(one)?.hostname ?? '')) ?? url;
