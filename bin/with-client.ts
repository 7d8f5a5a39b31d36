// A command that attaches, makes requests and ends: `call`, `describe`.
import { type Client, createEnvelopePrinter } from '@fame-fabric/client';
import { connectionText } from '@fame-fabric/client/internal';
import { createStyle, EXIT } from '@fame-fabric/shared/internal';
import { attach } from './attach.ts';
import type { ClientConfig } from './config.ts';
import { onInterrupt } from './interrupt.ts';
import { writeNote } from './output.ts';

/**
 * Attaches a client and runs `action` with it, until `action` ends or the user interrupts it: then `signal` aborts. Returns the exit
 * code. @throws the errors of `attach` and `action`
 */
export async function withClient(
  config: ClientConfig,
  action: (client: Client, signal: AbortSignal) => Promise<void>,
): Promise<number> {
  const mode = config.showEnvelopes;
  const style = createStyle(Boolean(process.stderr.isTTY) && config.hasColours);
  const interrupt = onInterrupt();
  try {
    await using client = await attach({
      config,
      writeNote,
      onConnection: (isConnected) => writeNote(`${connectionText(isConnected)}\n`),
      signal: interrupt.signal,
      trace: mode === 'off' ? undefined : createEnvelopePrinter({ write: writeNote, mode, style }),
    });
    await action(client, interrupt.signal);
    return EXIT.ok;
  } catch (error) {
    if (!interrupt.signal.aborted) throw error;
    writeNote('Interrupted\n');
    return interrupt.exitCode;
  } finally {
    interrupt.release();
  }
}
