// The analysis of a team: reachability, loops, bounds, findings, and the worst case of one message.
import { Field } from '../../parts/form.tsx';
import { Tag } from '../../parts/notices.tsx';
import { Facts, Panel } from '../../parts/page.tsx';
import { Count, Money } from '../../parts/values.tsx';
import type { TeamDescription } from './team.ts';

interface AnalysisProps {
  team: TeamDescription;
  promptTokens: number;
  onPromptTokens: (tokens: number) => void;
}

export const AnalysisPanels = (props: AnalysisProps) => (
  <div class="teams-side">
    <WorstCase {...props} />
    <Structure team={props.team} />
    <Findings team={props.team} />
  </div>
);

const MAX_PROMPT_TOKENS = 10_000_000;

function WorstCase({ team, promptTokens, onPromptTokens }: AnalysisProps) {
  const { worst_case: worst } = team;
  const change = (text: string): void => {
    const tokens = Number(text);
    if (Number.isInteger(tokens) && tokens >= 1 && tokens <= MAX_PROMPT_TOKENS) onPromptTokens(tokens);
  };
  return (
    <Panel title="Worst case of one message">
      <Facts
        facts={{
          Handoffs: <Count value={worst.handoffs} />,
          'Model calls': <Count value={worst.model_calls} />,
          'Prompt tokens': <Count value={worst.prompt_tokens} />,
          'Reply tokens':
            worst.completion_tokens === null ? 'no bound' : <Count value={worst.completion_tokens} />,
          Cost: worst.cost === 'unknown' ? 'unknown' : <Money {...worst.cost} />,
        }}
      />
      {worst.unbounded.map((reason) => (
        <p class="muted" key={reason}>
          {reason}
        </p>
      ))}
      <Field
        label="Largest prompt, in tokens"
        hint="The figures are upper bounds for prompts up to this size."
      >
        {(control) => (
          <input
            {...control}
            type="number"
            min={1}
            max={MAX_PROMPT_TOKENS}
            step={1}
            defaultValue={String(promptTokens)}
            onChange={(event) => change(event.currentTarget.value)}
          />
        )}
      </Field>
    </Panel>
  );
}

function Structure({ team }: { team: TeamDescription }) {
  const { agents, cycles, longest_route: longest, limits } = team;
  const lost = agents.filter(({ reachable }) => !reachable).map(({ name }) => name);
  const { on_limit: onLimit } = limits;
  return (
    <Panel title="Analysis">
      <Facts
        facts={{
          Agents: <Count value={agents.length} />,
          'First agent': team.start,
          Unreachable: lost.length === 0 ? 'none' : lost.join(', '),
          Loops: cycles.length === 0 ? 'none' : cycles.map((names) => names.join(' ↔ ')).join('; '),
          'Longest route': longest ? longest.join(' → ') : 'only the limits end it',
          'Handoff limit': <Count value={limits.max_handoffs} />,
          'Visits of an agent': `at most ${limits.max_visits}`,
          'Model call limit': <Count value={limits.max_model_calls} />,
          'Cost limit': limits.max_usd === null ? 'none' : <Money amount={limits.max_usd} currency="USD" />,
          'At a limit': atLimit(onLimit),
        }}
      />
    </Panel>
  );
}

function atLimit(onLimit: TeamDescription['limits']['on_limit']): string {
  if (typeof onLimit === 'object') return `the message goes to ${onLimit.agent}`;
  return onLimit === 'ignore' ? 'the turn ends without an answer' : 'the turn fails';
}

function Findings({ team: { findings } }: { team: TeamDescription }) {
  return (
    <Panel title="Findings">
      {findings.length === 0 && <p>The check of the team found nothing.</p>}
      {findings.length > 0 && (
        <ul class="teams-findings">
          {findings.map(({ code, level, agent, message }) => (
            <li key={`${code} ${agent} ${message}`}>
              <Tag tone={level === 'error' ? 'failure' : 'warning'}>{code}</Tag>{' '}
              {agent === undefined ? message : `${agent}: ${message}`}
            </li>
          ))}
        </ul>
      )}
    </Panel>
  );
}
