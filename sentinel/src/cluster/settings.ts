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
const NATS_URL = { protocols: ['nats:', 'tls:'], example: 'nats://127.0.0.1:4222' };

/** Reads the settings of the cluster. Undefined without FAME_CLUSTER. */
export function readClusterSettings(
  env: EnvReader,
  securityProfile: string | undefined,
): ClusterSettings | undefined {
  const name = env.text('FAME_CLUSTER');
  const natsUrls = env.list('FAME_CLUSTER_NATS');
  const credentialsFile = env.text('FAME_CLUSTER_NATS_CREDS_FILE');
  for (const url of natsUrls) env.checkUrl('FAME_CLUSTER_NATS', url, NATS_URL);
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
