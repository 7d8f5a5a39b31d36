// `fame chat [address]`: puts the REPL together from the terminal, or the pipe, that the process has.
import { createInterface } from 'node:readline/promises';
import type { Client } from '@fame-fabric/client/client';
import { createEnvelopePrinter } from '@fame-fabric/client/envelope-printer';
import { inert } from '@fame-fabric/client/inert-text';
import { chooseConversation } from '@fame-fabric/client/repl/choose-conversation';
import { HistoryFile } from '@fame-fabric/client/repl/history-file';
import { LeftConversations } from '@fame-fabric/client/repl/left-conversations';
import { PipedInput } from '@fame-fabric/client/repl/piped-input';
import { Repl } from '@fame-fabric/client/repl/repl';
import type { ReplInput } from '@fame-fabric/client/repl/repl-input';
import { TerminalInput } from '@fame-fabric/client/repl/terminal-input';
import { createStyle } from '@fame-fabric/client/style';
import { FabricError, isFabricError, systemClock, tryParseAddress } from '@fame-fabric/shared';
import { attach } from '../attach.ts';
import { readClientConfig } from '../config.ts';
import { getNodes } from '../sentinel-http.ts';
import { interrupted, textFlag, UsageError, type VerbInput, writeNote, writeOut } from '../verb.ts';
import { describeNodes } from './ps.ts';

export async function run(verb: VerbInput): Promise<number> {
  const config = readClientConfig(verb.env);
  const isResumed = verb.flags.resume === true;
  // The id of a conversation has no @.
  const given = verb.positionals.find((word) => !isResumed || word.includes('@'));
  const resumedId = verb.positionals.find((word) => word !== given);
  if (resumedId !== undefined && (!isResumed || verb.positionals.length - (given ? 1 : 0) > 1)) {
    throw new UsageError(`chat does not know what to do with "${verb.positionals.at(-1)}"`);
  }
  const { stdin, stdout, stderr } = process;
  const screen = stdout.isTTY ? stdout : stderr;
  const isInteractive = Boolean(stdin.isTTY && screen.isTTY);
  const style = createStyle(isInteractive && config.hasColours);
  const noteStyle = createStyle(Boolean(stderr.isTTY) && config.hasColours);

  let input: ReplInput | undefined;
  const note = (text: string): void => (input ? input.note(text) : writeNote(text));
  const left = new LeftConversations(config.dataDir, (reason) =>
    note(`Conversations are not kept: ${reason}\n`),
  );
  const earlier = isResumed
    ? await chooseConversation({
        all: left.list(),
        id: resumedId,
        address: given,
        defaultAddress: config.chatAddress,
        now: systemClock.now(),
        note: writeNote,
        ...(isInteractive ? { ask: (question) => askOnce(stdin, screen, question) } : {}),
      })
    : undefined;
  const address = given ?? earlier?.address ?? config.chatAddress;
  if (!tryParseAddress(address)) {
    throw new FabricError('ADDRESS_INVALID', `"${address}" is not an address such as chat@fame.fabric`);
  }

  const leaving = new AbortController();
  let client: Client | undefined;
  let repl: Repl | undefined;
  const onSignal = (): void => (input?.onInterrupt ? input.onInterrupt() : leaving.abort(interrupted()));
  const onGoodbye = (): void => {
    onSignal(); // as two times Ctrl-C: stop the turn, end the conversation, leave
    onSignal();
  };
  const onHangUp = (): void => {
    repl?.hangUp();
    leaving.abort(interrupted());
    void client?.close(); // the answer that is being written goes on at the agent
  };
  process.on('SIGINT', onSignal);
  process.on('SIGTERM', onGoodbye);
  process.on('SIGHUP', onHangUp);

  const trace = { isOn: config.showEnvelopes !== 'off' };
  const print = createEnvelopePrinter({
    write: (block) => note(block),
    mode: config.showEnvelopes === 'full' ? 'full' : 'metadata',
    style: noteStyle,
  });
  try {
    const attached = await attach({
      config,
      note: (text) => note(noteStyle.dim(text)),
      onConnection: (isThere) => repl?.connection(isThere),
      trace: (direction, envelope) => {
        if (trace.isOn) print(direction, envelope);
      },
      signal: leaving.signal,
    });
    client = attached;
    if (isInteractive) {
      const history = new HistoryFile(config.dataDir, (reason) => note(`History is not kept: ${reason}\n`));
      input = new TerminalInput({
        input: stdin,
        output: screen,
        prompt: style.cyan('Q> '),
        continuation: style.dim('.. '),
        history: history.load(),
        onLine: (line) => history.add(line),
      });
    } else input = new PipedInput(stdin, writeNote);
    endWhenNobodyReads(input);
    const conversationOptions = { turnTimeoutMs: config.turnTimeoutMs };
    repl = new Repl(
      {
        input,
        write: writeOut,
        converse: (systemPrompt) =>
          attached.conversation(address, {
            ...conversationOptions,
            ...(systemPrompt === undefined ? {} : { systemPrompt }),
          }),
        left,
        listAgents: async () => describeNodes(await getNodes(config.httpUrl)),
        trace,
        style,
        clock: systemClock,
      },
      {
        isInteractive,
        ...withSystemPrompt(textFlag(verb, 'system') ?? config.systemPrompt),
        ...(earlier
          ? {
              resumed: {
                conversation: attached.conversation(address, {
                  ...conversationOptions,
                  id: earlier.id,
                  isResumed: true,
                }),
                open: earlier.open,
              },
            }
          : {}),
        ...(isInteractive ? { indicator: { write: (text) => screen.write(text), clock: systemClock } } : {}),
      },
    );
    return await repl.run();
  } catch (error) {
    if (!earlier || !isFabricError(error, 'CONVERSATION_UNKNOWN')) throw error;
    left.forget(earlier.id);
    const text = `${address} has no conversation "${inert(earlier.id)}": it was ended or removed, or the id is another. \`npx fame chat --resume\` goes on with one that was left here`;
    throw new FabricError('CONVERSATION_UNKNOWN', text, { cause: error });
  } finally {
    input?.close();
    process.removeListener('SIGINT', onSignal);
    process.removeListener('SIGTERM', onGoodbye);
    process.removeListener('SIGHUP', onHangUp);
    await client?.close();
  }
}

async function askOnce(
  input: NodeJS.ReadableStream,
  output: NodeJS.WritableStream,
  question: string,
): Promise<string> {
  const lines = createInterface({ input, output });
  try {
    return await lines.question(question);
  } finally {
    lines.close();
  }
}

const withSystemPrompt = (systemPrompt: string | undefined) =>
  systemPrompt === undefined ? {} : { systemPrompt };

// `fame chat | head -1`: when the reader of the answers has gone, so has the reason to go on.
function endWhenNobodyReads(input: ReplInput): void {
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error;
    input.close();
  });
}
