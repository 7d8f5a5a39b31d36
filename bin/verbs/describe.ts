// `fame describe ADDRESS`: prints the operations of an agent. Agents of version 0.1 and of other software do not list their operations in
// `describe`; the names of their operations are on their card.
import type { Client } from '@fame-fabric/client';
import { FabricError, isFabricError, parseAddress } from '@fame-fabric/shared';
import { readClientConfig } from '../config.ts';
import { writeJson, writeOut } from '../output.ts';
import { UsageError, type VerbInput } from '../verb.ts';
import { withClient } from '../with-client.ts';
import { descriptionText, operationsOf } from './description-text.ts';

const TIMEOUT_MS = 10_000;

export async function run(input: VerbInput): Promise<number> {
  const [address] = input.positionals;
  if (address === undefined) throw new UsageError('describe takes the address of an agent');
  parseAddress(address); // throws ADDRESS_INVALID
  return withClient(readClientConfig(input.env), async (client, signal) => {
    const description = await describe(client, address, signal);
    if (input.flags.json) writeJson(description);
    else writeOut(descriptionText(address, description));
  });
}

/** True if the agent has no such operation. Agents of naylence report that as an internal error. */
const isUnknownOperation = (error: unknown): boolean =>
  isFabricError(error, 'METHOD_NOT_FOUND') ||
  isFabricError(error, 'OPERATION_UNSUPPORTED') ||
  (isFabricError(error, 'INTERNAL') && /^unknown rpc method/i.test(error.message));

/** Asks the agent to describe itself. @throws {METHOD_NOT_FOUND} if it does not list its operations; {NO_ROUTE | CALL_TIMEOUT | ...} */
async function describe(client: Client, address: string, signal: AbortSignal): Promise<unknown> {
  const ask = async (method: string): Promise<unknown> => {
    try {
      return await client.call(address, method, {}, { signal, timeoutMs: TIMEOUT_MS });
    } catch (error) {
      if (!isUnknownOperation(error)) throw error;
      return undefined;
    }
  };
  const description = await ask('describe');
  if (operationsOf(description) !== undefined) return description;
  const text = `${address} does not list its operations: it runs version 0.1 of this software, or other software`;
  const skills = namesOf(await ask('agent.get_card'));
  const known = skills.length > 0 ? `. Its card names ${skills.join(', ')}` : '';
  const fix = `Call an operation by its name: npx fame-fabric call ${address} NAME PARAMS.`;
  throw new FabricError('METHOD_NOT_FOUND', `${text}${known}.`, { details: { fix } });
}

const MAX_SKILLS = 20;

function namesOf(card: unknown): string[] {
  const { skills } = (card ?? {}) as { skills?: unknown };
  if (!Array.isArray(skills)) return [];
  return skills
    .slice(0, MAX_SKILLS)
    .map((skill) => skill?.id)
    .filter((id) => typeof id === 'string');
}
