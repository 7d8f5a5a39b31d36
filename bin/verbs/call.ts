// `fame call ADDRESS METHOD [JSON]`: calls any operation of an agent and prints its result.
import type { Client } from '@fame-fabric/client';
import { parseAddress } from '@fame-fabric/shared';
import { escapeControls, printableJson } from '@fame-fabric/shared/internal';
import { readClientConfig } from '../config.ts';
import { readDuration, textFlag } from '../flags.ts';
import { writeNote, writeOut } from '../output.ts';
import { UsageError, type VerbInput } from '../verb.ts';
import { withClient } from '../with-client.ts';

const CARD_TIMEOUT_MS = 500;

export async function run(input: VerbInput): Promise<number> {
  const [address, method, json] = input.positionals;
  if (address === undefined || method === undefined) {
    throw new UsageError('call takes an address, a method and, for parameters, one JSON text');
  }
  parseAddress(address); // throws ADDRESS_INVALID
  const params = readParams(json);
  const timeout = textFlag(input, 'timeout');
  const timeoutMs = timeout === undefined ? undefined : readDuration(timeout, '--timeout');
  const print = (value: unknown): void => writeOut(`${resultText(value, input.flags.json === true)}\n`);
  const config = readClientConfig(input.env);
  const connectTimeoutMs = Math.min(config.connectTimeoutMs, timeoutMs ?? Number.POSITIVE_INFINITY);
  return withClient({ ...config, connectTimeoutMs }, async (client, signal) => {
    const options = { signal, timeoutMs };
    if (input.flags.stream) {
      for await (const item of client.stream(address, method, params, options)) print(item);
      return;
    }
    print(await client.call(address, method, params, options));
    if (await isStream(client, address, method)) {
      writeNote('This operation streams; only its first item was printed. --stream prints all of them.\n');
    }
  });
}

// The card of an agent tags streaming operations. An agent may have no card, and the command does not wait for a slow one.
async function isStream(client: Client, address: string, method: string): Promise<boolean> {
  try {
    const card = await client.call(address, 'agent.get_card', {}, { timeoutMs: CARD_TIMEOUT_MS });
    const { skills } = card as { skills?: unknown };
    return (
      Array.isArray(skills) && skills.some((one) => one?.id === method && one.tags?.includes?.('stream'))
    );
  } catch {
    return false;
  }
}

/** Reads parameters: an object by name, an array by position, and any other value as the only positional parameter. */
function readParams(json: string | undefined): unknown {
  if (json === undefined) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch (error) {
    throw new UsageError(`"${json}" is not JSON (${(error as Error).message}). Text needs quotes: '"text"'`);
  }
  if (Array.isArray(value)) return { args: value };
  return typeof value === 'object' && value !== null ? value : { args: [value] };
}

/** Formats a result, safe to print: a string as text, any other value as JSON. With `asJson`, always JSON on one line. */
export function resultText(value: unknown, asJson: boolean): string {
  if (asJson) return printableJson(value);
  return typeof value === 'string' ? escapeControls(value) : printableJson(value, 2);
}
