// The settings of a cluster. Every sentinel loads this file, so it imports nothing else of the cluster.
import type { EnvReader } from '@fame-fabric/shared/internal';

export interface ClusterSettings {
  /** Name of the cluster. */
  readonly name: string;
  /** URLs of the NATS servers, with their credentials. */
  readonly natsUrls: readonly string[];
  /** File with credentials for NATS. @default none */
  readonly credentialsFile: string | undefined;
}

/** The name is a token of every subject. */
const CLUSTER_NAME = /^[A-Za-z0-9_-]{1,64}$/;
const NATS_PROTOCOLS = ['nats:', 'tls:'];

/** Reads the settings of the cluster. Undefined without FAME_CLUSTER. */
export function readClusterSettings(
  env: EnvReader,
  securityProfile: string | undefined,
): ClusterSettings | undefined {
  const name = env.text('FAME_CLUSTER');
  const natsUrls = env.list('FAME_CLUSTER_NATS');
  const credentialsFile = env.text('FAME_CLUSTER_NATS_CREDS_FILE');
  if (!areNatsUrls(natsUrls)) {
    // A URL may have a password, so the fault does not quote it.
    env.faults.push(
      'FAME_CLUSTER_NATS is not a list of URLs such as nats://127.0.0.1:4222 or tls://USER:PASSWORD@HOST:4222, all with the same user; special characters of a password are percent-encoded',
    );
  }
  if (name === undefined) {
    if (natsUrls.length > 0)
      env.faults.push('FAME_CLUSTER_NATS is set, and FAME_CLUSTER is not; set both or neither');
    return undefined;
  }
  env.check(
    'FAME_CLUSTER',
    name,
    CLUSTER_NAME.test(name),
    '1 to 64 letters, digits, underscores and hyphens',
  );
  if (natsUrls.length === 0) {
    env.faults.push('FAME_CLUSTER is set, and FAME_CLUSTER_NATS is not; set it to the URL of a NATS server');
  }
  if (env.text('FAME_PARENT_URL') !== undefined) {
    env.faults.push('FAME_CLUSTER and FAME_PARENT_URL are both set; a sentinel of a cluster has no parent');
  }
  if (securityProfile === 'overlay') {
    env.faults.push(
      'FAME_CLUSTER is set, and the profile overlay does not sign between sentinels of a cluster; choose another FAME_SECURITY_PROFILE',
    );
  }
  return { name, natsUrls, credentialsFile };
}

// The client of NATS has one user for all servers.
function areNatsUrls(texts: readonly string[]): boolean {
  const users = new Set<string>();
  for (const text of texts) {
    const url = URL.parse(text);
    if (!url?.hostname || !NATS_PROTOCOLS.includes(url.protocol)) return false;
    try {
      const user = `${decodeURIComponent(url.username)}:${decodeURIComponent(url.password)}`;
      if (user !== ':') users.add(user);
    } catch {
      return false;
    }
  }
  return users.size <= 1;
}
