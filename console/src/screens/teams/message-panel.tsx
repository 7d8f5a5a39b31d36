// The message whose path is lit: the newest of the team, that of a chosen conversation, or one that is sent from here.
import { isUndecided } from '@fame-fabric/client';
import { useEffect, useState } from 'preact/hooks';
import { client, pause } from '../../fabric/connection.ts';
import { Button, Field } from '../../parts/form.tsx';
import { describeError, Problem, Tag } from '../../parts/notices.tsx';
import { Facts, Panel } from '../../parts/page.tsx';
import { Count, Money } from '../../parts/values.tsx';
import { followMessage, type MessagePath } from './message-path.ts';
import type { TeamDescription } from './team.ts';
import { shortText } from './team-layout.ts';

/** Pause between two looks for a newer conversation, in ms. */
const LIST_MS = 3_000;
/** Shortest pause between two renderings of a path, in ms. */
const RENDER_MS = 50;
const TURN_TIMEOUT_MS = 600_000;
/** Time limit of one `read_events`; the next one continues behind it. */
const FOLLOW_MS = 3_600_000;
/** Pause before a lost agent is asked again, in ms. */
const RETRY_MS = 1_000;
const LISTED = 20;
const NEWEST = '';

interface Listed {
  readonly id: string;
  readonly owner?: string;
  readonly changed_at: string;
}

export interface Messages {
  readonly path: MessagePath | undefined;
  readonly conversations: readonly Listed[];
  /** The conversation that is followed; `undefined` without any. */
  readonly followed: string | undefined;
  /** The choice of the person; empty for the newest conversation. */
  readonly chosen: string;
  readonly error: unknown;
  choose(id: string): void;
  /** Sends a message in the conversation that was started here, or in a new one. */
  send(text: string): void;
}

/** Follows the newest conversation of a team, or the chosen one. */
export function useMessages(address: string, team: TeamDescription): Messages {
  const connected = client.value;
  const [conversations, setConversations] = useState<readonly Listed[]>([]);
  const [chosen, setChosen] = useState(NEWEST);
  const [path, setPath] = useState<MessagePath>();
  const [error, setError] = useState<unknown>();
  const [own, setOwn] = useState<string>();
  const followed = chosen === NEWEST ? (conversations[0]?.id ?? own) : chosen;
  const owner = conversations.find(({ id }) => id === followed)?.owner;

  useEffect(() => {
    if (!connected) return undefined;
    let timer: ReturnType<typeof setTimeout>;
    let isOver = false;
    const look = async (): Promise<void> => {
      try {
        const page = await connected.conversations(address).list({ limit: LISTED });
        if (!isOver) setConversations(page.conversations);
      } catch (failure) {
        // A page without a credential may not list conversations. It can still follow the messages that it sends.
        if (!isOver && describeError(failure).code !== 'AUTH_FORBIDDEN') setError(failure);
      }
      if (!isOver) timer = setTimeout(() => void look(), LIST_MS);
    };
    void look();
    return () => {
      isOver = true;
      clearTimeout(timer);
    };
  }, [connected, address]);

  useEffect(() => {
    if (!connected || followed === undefined) return undefined;
    const controller = new AbortController();
    setPath(undefined);
    const follow = async (): Promise<void> => {
      let latest: MessagePath | undefined;
      let isScheduled = false;
      const show = (): void => {
        isScheduled = false;
        if (!controller.signal.aborted) setPath(latest);
      };
      let after = 0;
      while (!controller.signal.aborted) {
        try {
          const params = { conversation_id: followed, follow: true, after, ...(owner && { owner }) };
          const events = connected.stream<{ type: string; seq: number }>(address, 'read_events', params, {
            signal: controller.signal,
            timeoutMs: FOLLOW_MS,
          });
          for await (const event of events) {
            after = event.seq;
            latest = followMessage(team, latest, event);
            if (!isScheduled) setTimeout(show, RENDER_MS);
            isScheduled = true;
          }
          return;
        } catch (failure) {
          if (controller.signal.aborted) return;
          if (!isUndecided(failure) && describeError(failure).code !== 'CALL_TIMEOUT') {
            setError(failure);
            return;
          }
          await pause(RETRY_MS, controller.signal);
        }
      }
    };
    void follow();
    return () => controller.abort();
  }, [connected, address, followed, owner, team]);

  const send = async (text: string): Promise<void> => {
    if (!connected) return;
    setError(undefined);
    try {
      const conversation = connected.conversation(address, own === undefined ? {} : { id: own });
      if (own === undefined) await conversation.start();
      setOwn(conversation.id);
      setChosen(conversation.id);
      await connected.call(
        address,
        'run_turn',
        { conversation_id: conversation.id, user_message: text },
        { timeoutMs: TURN_TIMEOUT_MS },
      );
    } catch (failure) {
      setError(failure);
    }
  };
  return { path, conversations, followed, chosen, error, choose: setChosen, send: (text) => void send(text) };
}

const TONES = { running: 'accent', done: 'ok', failed: 'failure' } as const;

export function MessagePanel({ messages, team }: { messages: Messages; team: TeamDescription }) {
  const { path, conversations, followed, chosen, error } = messages;
  const [text, setText] = useState('');
  const submit = (event: Event): void => {
    event.preventDefault();
    if (text.trim() === '') return;
    messages.send(text);
    setText('');
  };
  const choices =
    followed === undefined || conversations.some(({ id }) => id === followed)
      ? conversations
      : [{ id: followed, changed_at: '' }, ...conversations];
  return (
    <Panel title="Path of a message">
      <form class="teams-send" onSubmit={submit}>
        <Field label="Send a message to the team">
          {(control) => (
            <input
              {...control}
              type="text"
              autocomplete="off"
              value={text}
              placeholder="Where is my order 1042?"
              onInput={(event) => setText(event.currentTarget.value)}
            />
          )}
        </Field>
        <Button kind="main" type="submit" disabled={client.value === undefined}>
          Send
        </Button>
      </form>
      <Field label="Follow a conversation">
        {(control) => (
          <select
            {...control}
            value={chosen}
            onChange={(event) => messages.choose(event.currentTarget.value)}
          >
            <option value={NEWEST}>the newest</option>
            {choices.map(({ id, changed_at: changed }) => (
              <option key={id} value={id}>
                {changed === '' ? id : `${id} (${new Date(changed).toLocaleTimeString()})`}
              </option>
            ))}
          </select>
        )}
      </Field>
      {error !== undefined && <Problem error={error} />}
      {!path && <p class="muted">No message yet. Its path appears in the drawing while the team works.</p>}
      {path && <PathView path={path} team={team} />}
    </Panel>
  );
}

function PathView({ path, team }: { path: MessagePath; team: TeamDescription }) {
  const { limits } = team;
  const names = path.nodes.map((id) => id.slice(id.indexOf(' ') + 1));
  return (
    <>
      <p role="status">
        <Tag tone={TONES[path.state]}>{path.code ?? path.state}</Tag> "{shortText(path.message, 120)}"
      </p>
      <Facts
        facts={{
          Path: names.length > 0 ? names.join(' → ') : 'the first agent has it',
          Handoffs: `${path.handoffs} of ${limits.max_handoffs}`,
          'Model calls': `${path.modelCalls} of ${limits.max_model_calls}`,
          Tokens: <Count value={path.tokens} />,
          Cost: path.cost ? <Money {...path.cost} /> : undefined,
        }}
      />
    </>
  );
}
