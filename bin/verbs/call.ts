// `fame call ADDRESS METHOD [JSON]`: one call of any operation, its result on stdout.

import type { Client } from '@fame-fabric/client/client';
import { createEnvelopePrinter } from '@fame-fabric/client/envelope-printer';
import { inert } from '@fame-fabric/client/inert-text';
import { createStyle } from '@fame-fabric/client/style';
import { FabricError, tryParseAddress } from '@fame-fabric/shared';
import { attach } from '../attach.ts';
import { readClientConfig } from '../config.ts';
import {
  onInterrupt,
  readDuration,
  textFlag,
  UsageError,
  type VerbInput,
  writeNote,
  writeOut,
} from '../verb.ts';

const CARD_TIMEOUT_MS = 500;

export async function run(verb: VerbInput): Promise<number> {
  const [address, method, json, ...rest] = verb.positionals;
  if (address === undefined || method === undefined || rest.length > 0) {
    throw new UsageError('call takes an address, a method and, if it has parameters, one JSON text');
  }
  if (!tryParseAddress(address)) {
    throw new FabricError('ADDRESS_INVALID', `"${address}" is not an address such as chat@fame.fabric`);
  }
  const params = readJson(json);
  const timeout = textFlag(verb, 'timeout');
  const timeoutMs = timeout === undefined ? undefined : readDuration(timeout, '--timeout');
  const config = readClientConfig(verb.env);
  const interrupt = onInterrupt();
  const options = { signal: interrupt.signal, ...(timeoutMs === undefined ? {} : { timeoutMs }) };
  const show = (value: unknown): void => writeOut(`${resultText(value, Boolean(verb.flags.json))}\n`);
  const style = createStyle(Boolean(process.stderr.isTTY) && config.hasColours);
  const mode = config.showEnvelopes;
  try {
    await using client = await attach({
      config,
      note: writeNote,
      signal: interrupt.signal,
      ...(mode === 'off' ? {} : { trace: createEnvelopePrinter({ write: writeNote, mode, style }) }),
    });
    if (verb.flags.stream)
      for await (const item of client.stream(address, method, params, options)) show(item);
    else {
      show(await client.call(address, method, params, options));
      if (await isStream(client, address, method))
        writeNote('This is a stream, of which the first item was printed. --stream prints all of them.\n');
    }
    return 0;
  } finally {
    interrupt.release();
  }
}

// Agents that have a card say in it which operations are streams. A courtesy, so it is not waited for long, nor missed.
async function isStream(client: Client, address: string, method: string): Promise<boolean> {
  try {
    const card = await client.call(address, 'agent.get_card', {}, { timeoutMs: CARD_TIMEOUT_MS });
    const { skills } = card as { skills?: unknown };
    return (
      Array.isArray(skills) && skills.some((one) => one?.id === method && one.tags?.includes?.('stream'))
    );
  } catch {
    return false; // the result is there; an agent without a card is none the worse for it
  }
}

/** An object is parameters by name, an array by position, anything else the one positional parameter. */
function readJson(json: string | undefined): unknown {
  if (json === undefined) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch (error) {
    throw new UsageError(`"${json}" is not JSON (${(error as Error).message}); text wants quotes: '"text"'`);
  }
  if (Array.isArray(value)) return { args: value };
  return typeof value === 'object' && value !== null ? value : { args: [value] };
}

// Text is printed as text, made inert; everything else, and everything with --json, as JSON.
function resultText(value: unknown, asJson: boolean): string {
  if (typeof value === 'string' && !asJson) return inert(value);
  return inert(JSON.stringify(value, null, asJson ? 0 : 2) ?? 'null');
}
