// Checks the settings of a sentinel and a chat agent on this machine, for `fame up`, `make start` and `fame doctor`.
import { AGENT_VARIABLES, readAgentConfig, readPricesFile } from '@fame-fabric/agents/process';
import { DOOR_VARIABLES, readDoorSettings } from '@fame-fabric/doors/config';
import { readSentinelConfig, SENTINEL_VARIABLES } from '@fame-fabric/sentinel/internal';
import { isFabricError } from '@fame-fabric/shared';
import { configInvalid, type Environment, type Variable } from '@fame-fabric/shared/internal';
import { CLIENT_VARIABLES } from './config.ts';

/** Every variable of the fabric. */
export const ALL_VARIABLES: readonly Variable[] = [
  ...AGENT_VARIABLES,
  ...CLIENT_VARIABLES,
  ...SENTINEL_VARIABLES,
  ...DOOR_VARIABLES,
];

/** Checks all settings of both. @throws {CONFIG_INVALID} with the faults of both, each variable once */
export function checkSettings(env: Environment): void {
  const sentinelFaults = [
    ...faultsOf(() => readSentinelConfig(env)),
    ...faultsOf(() => readDoorSettings(env)),
  ];
  const reported = sentinelFaults.map(variableOf);
  // Checked without the port: 0 is valid for a sentinel, which then chooses one, but not for an agent.
  const agentFaults = faultsOf(() => readAgentConfig(localAgentEnv(env, '')));
  const faults = [...sentinelFaults, ...agentFaults.filter((fault) => !reported.includes(variableOf(fault)))];
  if (faults.length > 0) throw configInvalid(faults);
}

/** Checks the files that settings name, before a running agent is restarted for them. @throws {CONFIG_INVALID} */
export async function checkSettingsFiles(env: Environment): Promise<void> {
  const config = readAgentConfig(localAgentEnv(env, ''));
  if (config.pricesFile !== undefined) await readPricesFile(config.pricesFile);
  if (config.mcpServersFile === undefined) return;
  const { readMcpServersFile } = await import('@fame-fabric/agents/internal');
  await readMcpServersFile(config, env);
}

/**
 * Returns the environment of an agent that attaches to the sentinel on `port` of this machine, with its local key: a token of the
 * environment may belong to another sentinel.
 */
export const localAgentEnv = (env: Environment, port: number | ''): Environment => ({
  ...env,
  FAME_LISTENER_PORT: String(port),
  FAME_DIRECT_ADMISSION_URL: '',
  FAME_ADMISSION_TOKEN: '',
  FAME_ADMISSION_TOKEN_FILE: '',
  FAME_ADMISSION_TOKEN_URL: '',
});

const variableOf = (fault: string): string => fault.split(' ')[0]!;

function faultsOf(read: () => unknown): readonly string[] {
  try {
    read();
    return [];
  } catch (error) {
    if (!isFabricError(error, 'CONFIG_INVALID')) throw error;
    return error.details?.faults as readonly string[];
  }
}
