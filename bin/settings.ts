// All settings of a sentinel and a chat agent on this machine, checked before anything is started: by `fame up`, by
// `make start`, which hands its environment on to both, and by `fame doctor`.
import { readAgentConfig } from '@fame-fabric/agents/process';
import { readSentinelConfig } from '@fame-fabric/sentinel/internal';
import { FabricError, isFabricError } from '@fame-fabric/shared';
import type { Environment } from '@fame-fabric/shared/internal';

/** @throws {CONFIG_INVALID} with what either of them finds */
export function checkSettings(env: Environment): void {
  const faults = faultsOf(() => readSentinelConfig(env));
  const told = faults.map(variableOf);
  // The port is the sentinel's business: it may choose one.
  const ofTheAgent = faultsOf(() => readAgentConfig(besideSentinel(env, '')));
  const all = [...faults, ...ofTheAgent.filter((fault) => !told.includes(variableOf(fault)))];
  if (all.length === 0) return;
  const count = all.length === 1 ? 'a fault' : `${all.length} faults`;
  throw new FabricError('CONFIG_INVALID', `The configuration has ${count}:\n  ${all.join('\n  ')}`, {
    details: { faults: all },
  });
}

/** The environment of an agent that attaches to the sentinel on this machine at `port`. */
export const besideSentinel = (env: Environment, port: number | ''): Environment => ({
  ...env,
  FAME_LISTENER_PORT: String(port),
  FAME_DIRECT_ADMISSION_URL: '',
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
