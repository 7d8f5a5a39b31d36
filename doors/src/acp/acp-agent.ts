// The agent side of the Agent Client Protocol over two byte streams: an editor talks to one chat agent of the fabric.
import { type Client, Conversation, type ConversationSummary } from '@fame-fabric/client';
import type { Logger } from '@fame-fabric/shared';
import { cutText, errorMessage } from '@fame-fabric/shared/internal';
import { requestErrorOf } from './acp-errors.ts';
import { AcpSession } from './acp-session.ts';
import {
  type AgentContext,
  agent,
  type InitializeResponse,
  type ListSessionsResponse,
  methods,
  ndJsonStream,
  PROTOCOL_VERSION,
  RequestError,
} from './sdk.ts';

export interface AcpOptions {
  /** Attaches to the fabric. Called when the editor first needs it, and again after a failure. */
  readonly connect: () => Promise<Client>;
  /** Address of the chat agent. */
  readonly address: string;
  /** Version in `agentInfo`. */
  readonly version: string;
  /** System prompt of new sessions. @default the agent's own */
  readonly systemPrompt?: string | undefined;
  /** Model of the turns, one that the agent allows. @default the agent's own */
  readonly model?: string | undefined;
  /** Longest silence of a turn, in ms. @default 600_000 */
  readonly turnTimeoutMs?: number | undefined;
  /** A logger that does not write to `output`. */
  readonly log: Logger;
  /** Ends the connection when it aborts. */
  readonly signal?: AbortSignal | undefined;
  readonly input: ReadableStream<Uint8Array>;
  readonly output: WritableStream<Uint8Array>;
}

/** Largest message of an editor, in bytes: a prompt with files. */
const MAX_MESSAGE_BYTES = 4_194_304;
const MAX_SESSIONS = 256;
const LISTED = 20;
const MAX_TITLE_CHARS = 80;

/** Serves one editor until its connection ends. Running turns then continue at the agent. */
export async function serveAcp(options: AcpOptions): Promise<void> {
  const { address, version, log, signal, input, output } = options;
  let client: Promise<Client> | undefined;
  const connected = (): Promise<Client> => {
    client ??= options.connect().catch((error: unknown) => {
      client = undefined;
      throw requestErrorOf(error);
    });
    return client;
  };
  const sessions = new Map<string, AcpSession>();
  const sessionOf = (id: string): AcpSession => {
    const session = sessions.get(id);
    if (!session) throw RequestError.sessionNotFound(id);
    return session;
  };
  const gone = new AbortController();
  const open = async (editor: AgentContext, id?: string): Promise<AcpSession> => {
    if (id === undefined && sessions.size >= MAX_SESSIONS) {
      const text = `Session limit reached (${MAX_SESSIONS}). Close a session`;
      throw RequestError.invalidRequest({ code: 'QUOTA_EXCEEDED' }, text);
    }
    const fabric = await connected();
    const conversation = new Conversation(fabric, address, {
      id,
      isResumed: id !== undefined,
      systemPrompt: options.systemPrompt,
      turnTimeoutMs: options.turnTimeoutMs,
    });
    return new AcpSession({
      client: editor,
      conversation,
      conversations: fabric.conversations(address),
      gone: gone.signal,
      model: options.model,
      log,
    });
  };
  const reopen = async (editor: AgentContext, id: string, isShown: boolean): Promise<void> => {
    const session = await open(editor, id);
    await session.load(isShown);
    sessions.set(id, session);
  };
  const noteServers = (servers: readonly { readonly name: string }[] | undefined): void => {
    if (!servers?.length) return;
    const names = servers.map(({ name }) => cutText(name, 64)).join(', ');
    log.warn(
      `MCP servers of the editor are not used, because the agent runs elsewhere: ${names}. FAME_MCP_SERVERS gives servers to an agent.`,
    );
  };

  const initialized: InitializeResponse = {
    protocolVersion: PROTOCOL_VERSION,
    agentInfo: { name: 'fame-fabric', title: address, version },
    agentCapabilities: {
      loadSession: true,
      promptCapabilities: { image: false, audio: false, embeddedContext: true },
      mcpCapabilities: { http: false, sse: false },
      sessionCapabilities: { list: {}, resume: {}, close: {} },
    },
    authMethods: [],
  };
  const app = agent({ name: 'fame-fabric' })
    .onRequest(methods.agent.initialize, () => initialized)
    .onRequest(methods.agent.session.new, async ({ params, client: editor }) => {
      noteServers(params.mcpServers);
      const session = await open(editor);
      await session.start();
      sessions.set(session.id, session);
      return { sessionId: session.id };
    })
    .onRequest(methods.agent.session.load, async ({ params, client: editor }) => {
      noteServers(params.mcpServers);
      await reopen(editor, params.sessionId, true);
      return {};
    })
    .onRequest(methods.agent.session.resume, async ({ params, client: editor }) => {
      noteServers(params.mcpServers);
      await reopen(editor, params.sessionId, false);
      return {};
    })
    .onRequest(methods.agent.session.list, async ({ params }) =>
      listSessions(await connected(), address, params.cursor ?? undefined, params.cwd ?? process.cwd()),
    )
    .onRequest(methods.agent.session.close, ({ params }) => {
      sessionOf(params.sessionId).close();
      sessions.delete(params.sessionId);
      return {};
    })
    .onRequest(methods.agent.session.prompt, ({ params }) =>
      sessionOf(params.sessionId).prompt(params.prompt),
    )
    .onNotification(methods.agent.session.cancel, ({ params }) => sessions.get(params.sessionId)?.cancel());

  const connection = app.connect(ndJsonStream(output, input, { maxMessageBytes: MAX_MESSAGE_BYTES }));
  const stop = (): void => connection.close();
  signal?.addEventListener('abort', stop, { once: true });
  if (signal?.aborted) stop();
  connection.signal.addEventListener('abort', () => gone.abort(), { once: true });
  await connection.closed.catch((error: unknown) =>
    log.warn('the connection of the editor failed', { error: errorMessage(error) }),
  );
  gone.abort();
  signal?.removeEventListener('abort', stop);
  await (await client?.catch(() => undefined))?.close();
}

/** Lists open conversations, the latest change first. A page may be short. @throws {RequestError} */
async function listSessions(
  fabric: Client,
  address: string,
  before: string | undefined,
  cwd: string,
): Promise<ListSessionsResponse> {
  const conversations = fabric.conversations(address);
  const isOpen = ({ state }: ConversationSummary): boolean =>
    state === 'working' || state === 'input-required';
  try {
    const page = await conversations.list({ before, limit: LISTED });
    const sessions = await Promise.all(
      page.conversations.filter(isOpen).map(async ({ id, changed_at }) => {
        // The first message is among the first events.
        const { events } = await conversations.readEvents(id, { limit: 3 });
        const first = events.find((event) => event.type === 'turn')?.user_message ?? '';
        const title = cutText(first.replace(/\s+/g, ' ').trim(), MAX_TITLE_CHARS);
        return { sessionId: id, cwd, updatedAt: changed_at, ...(title === '' ? {} : { title }) };
      }),
    );
    return { sessions, ...(page.next === null ? {} : { nextCursor: page.next }) };
  } catch (error) {
    throw requestErrorOf(error);
  }
}
