// `fame chat [ADDRESS]`: runs the client's prompt on the terminal or the pipe of this process.
import { createInterface } from 'node:readline/promises';
import { type Client, createEnvelopePrinter, type EnvelopeTrace } from '@fame-fabric/client';
import {
  chooseConversation,
  completeCommand,
  HistoryFile,
  PipedInput,
  Repl,
  type ReplInput,
  type SavedConversation,
  SavedConversations,
  TerminalInput,
} from '@fame-fabric/client/repl';
import { FabricError, isFabricError, parseAddress, systemClock } from '@fame-fabric/shared';
import { createStyle, type Style } from '@fame-fabric/shared/internal';
import { attach } from '../attach.ts';
import { type ClientConfig, readClientConfig, sentinelOf } from '../config.ts';
import { textFlag } from '../flags.ts';
import { interrupted } from '../interrupt.ts';
import { onStdoutClosed, writeNote, writeOut } from '../output.ts';
import { getNodes } from '../sentinel-http.ts';
import { UsageError, type VerbInput } from '../verb.ts';
import { describeNodes } from './ps.ts';

export async function run(input: VerbInput): Promise<number> {
  const config = readClientConfig(input.env);
  const target = readTarget(input);
  return new ChatProcess(config, textFlag(input, 'system') ?? config.systemPrompt).run(target);
}

/** The conversation that the command line selects. */
interface Target {
  address: string | undefined;
  isResumed: boolean;
  /** The conversation to resume; `undefined` if the user chooses it from a list. */
  id: string | undefined;
}

/** @throws {UsageError} */
function readTarget({ positionals, flags }: VerbInput): Target {
  const isResumed = flags.resume === true;
  // With --resume, an argument without @ is the id of a conversation.
  const address = positionals.find((word) => !isResumed || word.includes('@'));
  const id = positionals.find((word) => word !== address);
  const hasExtra = id !== undefined && (!isResumed || positionals.length - (address ? 1 : 0) > 1);
  if (hasExtra) throw new UsageError(`chat takes no argument "${positionals.at(-1)}"`);
  return { address, isResumed, id };
}

type Resumed = Pick<SavedConversation, 'id' | 'address' | 'open'>;

class ChatProcess {
  readonly #config: ClientConfig;
  readonly #systemPrompt: string | undefined;
  readonly #screen = process.stdout.isTTY ? process.stdout : process.stderr;
  readonly #isInteractive = Boolean(process.stdin.isTTY && this.#screen.isTTY);
  readonly #style: Style;
  readonly #noteStyle: Style;
  readonly #saved: SavedConversations;
  readonly #trace: { isOn: boolean };
  readonly #leaving = new AbortController();
  #input: ReplInput | undefined;
  #client: Client | undefined;
  #repl: Repl | undefined;

  constructor(config: ClientConfig, systemPrompt: string | undefined) {
    this.#config = config;
    this.#systemPrompt = systemPrompt;
    this.#style = createStyle(this.#isInteractive && config.hasColours);
    this.#noteStyle = createStyle(Boolean(process.stderr.isTTY) && config.hasColours);
    this.#trace = { isOn: config.showEnvelopes !== 'off' };
    this.#saved = new SavedConversations(config.dataDir, (reason) =>
      this.#note(`Conversations are not saved: ${reason}\n`),
    );
  }

  async run(target: Target): Promise<number> {
    const resumed = target.isResumed ? await this.#chooseConversation(target) : undefined;
    const address = target.address ?? resumed?.address ?? this.#config.chatAddress;
    parseAddress(address); // throws ADDRESS_INVALID
    const releaseSignals = this.#handleSignals();
    try {
      this.#client = await this.#attach();
      this.#input = this.#openInput();
      onStdoutClosed(() => this.#input?.close());
      this.#repl = this.#openRepl(this.#client, this.#input, address, resumed);
      return await this.#repl.run();
    } catch (error) {
      if (!resumed || !isFabricError(error, 'CONVERSATION_UNKNOWN')) throw error;
      this.#saved.remove(resumed.id);
      const text = `${address} has no conversation "${resumed.id}": it was ended or removed, or the id is wrong. \`npx fame chat --resume\` lists the conversations of this machine`;
      throw new FabricError('CONVERSATION_UNKNOWN', text, { cause: error });
    } finally {
      this.#input?.close();
      releaseSignals();
      await this.#client?.close();
    }
  }

  #note(text: string): void {
    if (this.#input) this.#input.note(text);
    else writeNote(text);
  }

  #chooseConversation({ id, address }: Target): Promise<Resumed> {
    return chooseConversation({
      saved: this.#saved.list(),
      id,
      address,
      defaultAddress: this.#config.chatAddress,
      now: systemClock.now(),
      writeNote,
      prompt: this.#isInteractive ? (question) => promptOnce(this.#screen, question) : undefined,
    });
  }

  /** Installs the signal handlers. Returns a function that removes them. */
  #handleSignals(): () => void {
    const interrupt = (): void => {
      if (this.#input?.onInterrupt) this.#input.onInterrupt();
      else this.#leaving.abort(interrupted());
    };
    const terminate = (): void => {
      interrupt(); // like Ctrl-C twice: cancel the turn and leave
      interrupt();
    };
    const hangUp = (): void => {
      this.#repl?.hangUp();
      this.#leaving.abort(interrupted());
      void this.#client?.close(); // a running turn continues at the agent
    };
    process.on('SIGINT', interrupt);
    process.on('SIGTERM', terminate);
    process.on('SIGHUP', hangUp);
    return () => {
      process.removeListener('SIGINT', interrupt);
      process.removeListener('SIGTERM', terminate);
      process.removeListener('SIGHUP', hangUp);
    };
  }

  #attach(): Promise<Client> {
    const print = createEnvelopePrinter({
      write: (block) => this.#note(block),
      mode: this.#config.showEnvelopes === 'full' ? 'full' : 'metadata',
      style: this.#noteStyle,
    });
    const trace: EnvelopeTrace = (direction, envelope) => {
      if (this.#trace.isOn) print(direction, envelope);
    };
    return attach({
      config: this.#config,
      writeNote: (text) => this.#note(this.#noteStyle.dim(text)),
      onConnection: (isConnected) => this.#repl?.showConnection(isConnected),
      trace,
      signal: this.#leaving.signal,
    });
  }

  #openInput(): ReplInput {
    if (!this.#isInteractive) return new PipedInput(process.stdin, writeNote);
    const history = new HistoryFile(this.#config.dataDir, (reason) =>
      this.#note(`The history is not kept: ${reason}\n`),
    );
    return new TerminalInput({
      input: process.stdin,
      output: this.#screen,
      prompt: this.#style.cyan('Q> '),
      continuation: this.#style.dim('.. '),
      history: history.load(),
      onMessage: (message) => history.add(message),
      complete: completeCommand,
    });
  }

  #openRepl(client: Client, input: ReplInput, address: string, resumed: Resumed | undefined): Repl {
    const { turnTimeoutMs } = this.#config;
    const indicator = { write: (text: string) => void this.#screen.write(text), clock: systemClock };
    return new Repl(
      {
        input,
        write: writeOut,
        newConversation: (systemPrompt) => client.conversation(address, { turnTimeoutMs, systemPrompt }),
        saved: this.#saved,
        listAgents: async () => describeNodes(await getNodes(sentinelOf(this.#config))),
        trace: this.#trace,
        style: this.#style,
        clock: systemClock,
      },
      {
        isInteractive: this.#isInteractive,
        systemPrompt: this.#systemPrompt,
        resumed: resumed && {
          conversation: client.conversation(address, { turnTimeoutMs, id: resumed.id, isResumed: true }),
          open: resumed.open,
        },
        indicator: this.#isInteractive ? indicator : undefined,
      },
    );
  }
}

async function promptOnce(output: NodeJS.WritableStream, question: string): Promise<string> {
  const lines = createInterface({ input: process.stdin, output });
  try {
    return await lines.question(question);
  } finally {
    lines.close();
  }
}
