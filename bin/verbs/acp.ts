// `fame acp`: serves an editor over stdin and stdout, as an agent of the Agent Client Protocol. stdout carries only the protocol; everything
// else goes to stderr.
import { readFileSync } from 'node:fs';
import { Readable, Writable } from 'node:stream';
import { serveAcp } from '@fame-fabric/doors/acp';
import { parseAddress } from '@fame-fabric/shared';
import { EXIT } from '@fame-fabric/shared/internal';
import { createLog } from '@fame-fabric/shared/node';
import { attach } from '../attach.ts';
import { readClientConfig } from '../config.ts';
import { textFlag } from '../flags.ts';
import { onInterrupt } from '../interrupt.ts';
import { writeNote } from '../output.ts';
import type { VerbInput } from '../verb.ts';

export async function run(input: VerbInput): Promise<number> {
  const url = textFlag(input, 'url');
  const config = readClientConfig(
    url === undefined ? input.env : { ...input.env, FAME_DIRECT_ADMISSION_URL: url },
  );
  const address = textFlag(input, 'agent') ?? config.chatAddress;
  parseAddress(address); // throws ADDRESS_INVALID
  const interrupt = onInterrupt();
  const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
    version: string;
  };
  try {
    await serveAcp({
      connect: () =>
        attach({
          config,
          writeNote,
          onConnection: (isConnected) =>
            writeNote(isConnected ? 'Connected again\n' : 'Connection lost; trying again\n'),
          signal: interrupt.signal,
        }),
      address,
      version,
      systemPrompt: textFlag(input, 'system') ?? config.systemPrompt,
      model: textFlag(input, 'model'),
      turnTimeoutMs: config.turnTimeoutMs,
      log: createLog('acp', 'info', 2),
      signal: interrupt.signal,
      input: Readable.toWeb(process.stdin) as ReadableStream<Uint8Array>,
      output: Writable.toWeb(process.stdout),
    });
    return interrupt.signal.aborted ? interrupt.exitCode : EXIT.ok;
  } finally {
    interrupt.release();
  }
}
