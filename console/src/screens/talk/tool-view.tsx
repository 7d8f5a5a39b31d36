// A tool as it runs, with its arguments and its result folded, and the questions that wait for a person.
import { useState } from 'preact/hooks';
import type { BudgetQuestion, ToolRun } from '../../fabric/conversation/turns.ts';
import { Button } from '../../parts/form.tsx';
import { PlainText, visibleText } from '../../parts/markdown.tsx';
import { Dot, type Tone } from '../../parts/notices.tsx';
import { Duration } from '../../parts/values.tsx';

type Answer = (approve: boolean) => Promise<void>;

const TONES: Readonly<Record<ToolRun['state'], Tone>> = {
  waiting: 'warning',
  running: 'accent',
  done: 'ok',
  failed: 'failure',
  refused: 'quiet',
};

export function ToolView({ run, onAnswer }: { run: ToolRun; onAnswer: Answer }) {
  const { state, args, content, leftOut, startedAt, endedAt } = run;
  const name = visibleText(run.name);
  return (
    <section class="tool" aria-label={`Tool ${name}`}>
      <details>
        <summary>
          <Dot tone={TONES[state]} /> <code>{name}</code> <span class="muted">{state}</span>{' '}
          {endedAt !== undefined && (
            <span class="muted">
              <Duration ms={Math.max(0, endedAt - startedAt)} />
            </span>
          )}
        </summary>
        <h3>Arguments</h3>
        {args ? <JsonText value={args} /> : <p class="muted">None, or too long to show.</p>}
        <h3>Result</h3>
        {content === undefined ? <p class="muted">None yet.</p> : <PlainText text={content} />}
        {leftOut !== undefined && <p class="muted">{leftOut} more characters.</p>}
      </details>
      {state === 'waiting' && (
        <Question name={name} what={<JsonText value={args ?? {}} />} onAnswer={onAnswer} />
      )}
    </section>
  );
}

export function BudgetView({
  question: { state, args },
  onAnswer,
}: {
  question: BudgetQuestion;
  onAnswer: Answer;
}) {
  return (
    <section class="tool" aria-label="Budget">
      <p>The budget of the conversation is used up{state === 'waiting' ? '' : `; more was ${state}`}.</p>
      {state === 'waiting' && (
        <Question name="more budget" what={<JsonText value={args ?? {}} />} onAnswer={onAnswer} />
      )}
    </section>
  );
}

interface QuestionProps {
  name: string;
  what: preact.JSX.Element;
  onAnswer: Answer;
}

function Question({ name, what, onAnswer }: QuestionProps) {
  const [isAnswering, setAnswering] = useState(false);
  const answer = (approve: boolean): void => {
    setAnswering(true);
    void onAnswer(approve).finally(() => setAnswering(false));
  };
  return (
    <div class="question" role="alert">
      <p>
        The agent asks for approval of <code>{name}</code>.
      </p>
      {what}
      <div class="page-actions">
        <Button
          kind="main"
          disabled={isAnswering}
          aria-label={`Approve ${name}`}
          onClick={() => answer(true)}
        >
          Approve
        </Button>
        <Button disabled={isAnswering} aria-label={`Refuse ${name}`} onClick={() => answer(false)}>
          Refuse
        </Button>
      </div>
    </div>
  );
}

const JsonText = ({ value }: { value: unknown }) => (
  <div class="json">
    <PlainText text={JSON.stringify(value, null, 2)} />
  </div>
);
