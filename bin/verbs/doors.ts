// `fame doors`: serves the doors in a separate process, for any sentinel, until a signal ends it.
import { startRemoteDoors } from '@fame-fabric/doors';
import { readDoorProcessSettings } from '@fame-fabric/doors/config';
import { EXIT, isJsonLog, lifeLine, naylenceWarnings, redactUrl } from '@fame-fabric/shared/internal';
import { createLog } from '@fame-fabric/shared/node';
import { agentAddressOf, type ServedAddress } from '@fame-fabric/shared/router';
import { readClientConfig, sentinelOf } from '../config.ts';
import { misspeltWarnings } from '../misspelt.ts';
import { getNodes } from '../sentinel-http.ts';
import { ALL_VARIABLES } from '../settings.ts';
import type { VerbInput } from '../verb.ts';

export async function run({ env: given, flags }: VerbInput): Promise<number> {
  const env = {
    ...given,
    ...(flags.url === undefined ? {} : { FAME_DIRECT_ADMISSION_URL: String(flags.url) }),
    ...(flags.port === undefined ? {} : { FAME_DOORS_PORT: String(flags.port) }),
    ...(flags.host === undefined ? {} : { FAME_DOORS_HOST: String(flags.host) }),
  };
  const settings = readDoorProcessSettings(env);
  const config = readClientConfig(env);
  const isJson = isJsonLog(settings.logFormat, Boolean(process.stderr.isTTY));
  const writeLife = (text: string, level?: 'warn'): void => {
    process.stderr.write(lifeLine('doors', text, isJson, level));
  };
  for (const line of [...misspeltWarnings(env, ALL_VARIABLES), ...naylenceWarnings(env)])
    writeLife(line, 'warn');
  const log = createLog('doors', settings.logLevel, undefined, settings.logFormat);
  const sentinel = sentinelOf(config);
  const listAddresses = async (): Promise<ServedAddress[]> => {
    const { nodes } = await getNodes(sentinel, { isOfCluster: true });
    return nodes.flatMap(({ id, path, since, addresses }) =>
      addresses
        .flatMap((address) => agentAddressOf(address) ?? [])
        .map((address) => ({ address, attach: JSON.stringify([id, path, since]) })),
    );
  };
  const doors = await startRemoteDoors({
    url: config.url,
    settings,
    listAddresses,
    securityProfile: config.securityProfile,
    connectTimeoutMs: config.connectTimeoutMs,
    log,
  });
  writeLife(
    `The doors ${settings.names.join(', ')} listen on ${doors.url}, for the sentinel at ${redactUrl(config.url)}`,
  );
  if (!doors.isCredentialNeeded)
    writeLife('The sentinel asks for no credentials (open mode), so the doors accept every caller.');
  return untilSignal(async () => {
    writeLife('The doors are draining; a second signal ends them at once');
    await doors.drain();
  });
}

/** Resolves to the exit code once a signal has ended `stop`. */
function untilSignal(stop: () => Promise<void>): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  let signals = 0;
  const onSignal = (signal: NodeJS.Signals): void => {
    if (++signals > 1) process.exit(signal === 'SIGINT' ? EXIT.interrupted : EXIT.terminated);
    stop().then(() => resolve(EXIT.ok), reject);
  };
  process.on('SIGTERM', onSignal);
  process.on('SIGINT', onSignal);
  return promise;
}
