// The details of a turn: the text as the user saw it beside the prompt that the model received, the tools, and the raw events.
import type { PromptReport } from '@fame-fabric/client';
import { useEffect, useState } from 'preact/hooks';
import { client } from '../../fabric/connection.ts';
import { type Turn, textOf, toolsOf } from '../../fabric/conversation/turns.ts';
import { Field } from '../../parts/form.tsx';
import { Markdown, PlainText, visibleText } from '../../parts/markdown.tsx';
import { Problem, Tag } from '../../parts/notices.tsx';

export interface TurnDetailsProps {
  turn: Turn;
  address: string;
  conversationId: string;
}

export function TurnDetails({ turn, address, conversationId }: TurnDetailsProps) {
  const tools = toolsOf(turn);
  return (
    <div class="turn-details">
      <div class="side-by-side">
        <section class="side" aria-label="As the user saw it">
          <h3>As the user saw it</h3>
          <div class="quote">
            <PlainText text={turn.userMessage} />
          </div>
          {textOf(turn) === '' ? <p class="muted">No text.</p> : <Markdown text={textOf(turn)} />}
        </section>
        <section class="side" aria-label="As the model received it">
          <h3>As the model received it</h3>
          <Prompt turn={turn} address={address} conversationId={conversationId} />
        </section>
      </div>
      {tools.map((run, index) => (
        <details key={index} class="raw">
          <summary>
            Tool <code>{visibleText(run.name)}</code> <span class="muted">{run.state}</span>
          </summary>
          <h3>Arguments</h3>
          <PlainText text={run.args ? JSON.stringify(run.args, null, 2) : 'None, or too long to show.'} />
          <h3>Result</h3>
          <PlainText text={run.content ?? 'None.'} />
          {run.leftOut !== undefined && <p class="muted">{run.leftOut} more characters.</p>}
        </details>
      ))}
      <RawEvents turn={turn} />
    </div>
  );
}

function RawEvents({ turn: { events, eventsLeftOut } }: { turn: Turn }) {
  const [isShown, setShown] = useState(false);
  return (
    <details class="raw" onToggle={({ currentTarget }) => setShown(currentTarget.open)}>
      <summary>Raw events ({events.length + eventsLeftOut})</summary>
      {isShown && <PlainText text={events.map((event) => JSON.stringify(event)).join('\n')} />}
      {eventsLeftOut > 0 && <p class="muted">{eventsLeftOut} more are not kept. The export has all.</p>}
    </details>
  );
}

/** The steps of a turn that a model received. A step that failed is asked again under the same number. */
const stepsOf = ({ calls }: Turn): number[] => [...new Set(calls.map(({ step }) => step))];

function Prompt({ turn, address, conversationId }: TurnDetailsProps) {
  const steps = stepsOf(turn);
  const [chosen, setStep] = useState<number>();
  const step = chosen ?? steps.at(-1) ?? 1;
  const [loaded, setLoaded] = useState<{ report?: PromptReport; error?: unknown }>({});
  const connected = client.value;
  useEffect(() => {
    let isCurrent = true;
    setLoaded({});
    connected
      ?.conversations(address)
      .prompt(conversationId, turn.id, step)
      .then(
        (report) => isCurrent && setLoaded({ report }),
        (error: unknown) => isCurrent && setLoaded({ error }),
      );
    return () => {
      isCurrent = false;
    };
  }, [connected, address, conversationId, turn.id, step]);
  const { report, error } = loaded;
  return (
    <>
      {steps.length > 1 && (
        <Field label="Model call">
          {(control) => (
            <select
              {...control}
              value={step}
              onChange={({ currentTarget }) => setStep(Number(currentTarget.value))}
            >
              {steps.map((one) => (
                <option key={one} value={one}>
                  {one} of {steps.length}
                </option>
              ))}
            </select>
          )}
        </Field>
      )}
      {error !== undefined && <Problem error={error} />}
      {report === undefined && error === undefined && <p class="muted">Loading…</p>}
      {report && <Report report={report} />}
    </>
  );
}

function Report({ report: { messages, verified, left_out: leftOut } }: { report: PromptReport }) {
  if (messages === null)
    return <p class="muted">The agent has changed since, and cannot rebuild the messages.</p>;
  return (
    <>
      <p>
        {verified ? (
          <Tag tone="ok">matches the recorded digest</Tag>
        ) : (
          <Tag tone="warning">differs from the recorded digest</Tag>
        )}
      </p>
      {leftOut !== undefined && <p class="muted">{leftOut} messages are left out here; they are too long.</p>}
      <ol class="prompt">
        {messages.map((message, index) => (
          <li key={index}>
            <Tag tone={message.role === 'user' ? 'accent' : 'quiet'}>{message.role}</Tag>
            {message.content !== null && message.content !== '' && (
              <PlainText text={message.content} shownChars={4_000} />
            )}
            {message.role === 'assistant' && message.tool_calls && (
              <PlainText
                text={message.tool_calls
                  .map(({ function: { name, arguments: args } }) => `${name}(${args})`)
                  .join('\n')}
              />
            )}
          </li>
        ))}
      </ol>
    </>
  );
}
