// `fame offline-model`: serves the built-in model through an OpenAI-compatible endpoint, for tests and demonstrations.
import { startOfflineServer } from '@fame-fabric/agents/internal';
import { EXIT } from '@fame-fabric/shared/internal';
import { readPort, textFlag } from '../flags.ts';
import { aborted, onInterrupt } from '../interrupt.ts';
import { writeNote } from '../output.ts';
import type { VerbInput } from '../verb.ts';

const DEFAULT_PORT = 8100;

export async function run(input: VerbInput): Promise<number> {
  const port = readPort(input) ?? DEFAULT_PORT;
  const server = await startOfflineServer({ port, host: textFlag(input, 'host') ?? '127.0.0.1' });
  writeNote(
    `The offline model answers at ${server.url}; Ctrl-C ends it.\nUse it with OPENAI_BASE_URL=${server.url}\n`,
  );
  const { signal, release } = onInterrupt();
  await aborted(signal);
  release();
  await server.close();
  return EXIT.ok;
}
