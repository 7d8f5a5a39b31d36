// Teams: the drawn team with the path of a message, and beside it the analysis of the team.
import { useEffect, useMemo, useState } from 'preact/hooks';
import { href } from '../../app/router.ts';
import { catalogue, catalogueError, loadCatalogue } from '../../fabric/catalogue.ts';
import { client } from '../../fabric/connection.ts';
import { useTrace } from '../../fabric/trace.ts';
import { Code } from '../../parts/code.tsx';
import { Button } from '../../parts/form.tsx';
import { Empty, Problem } from '../../parts/notices.tsx';
import { Page, Panel } from '../../parts/page.tsx';
import { Table } from '../../parts/table.tsx';
import { MessagePanel, useMessages } from './message-panel.tsx';
import { readTeam, type TeamDescription, type TeamRoute } from './team.ts';
import { AnalysisPanels } from './team-analysis.tsx';
import { TeamDrawing } from './team-drawing.tsx';
import { layoutTeam } from './team-layout.ts';
import './teams.css';

const isTeam = ({ operations }: { operations?: unknown } = {}): boolean =>
  Array.isArray(operations) && operations.some((one) => one?.name === 'describe_team');

export function TeamsScreen({ args: [wanted] }: { args: readonly string[] }) {
  const connected = client.value;
  useTrace();
  useEffect(() => {
    if (connected) void loadCatalogue();
  }, [connected]);
  const entries = catalogue.value;
  const teams = entries?.filter(({ description }) => isTeam(description)).map(({ address }) => address) ?? [];
  const isLoading =
    entries === undefined || entries.some(({ description, error }) => !description && error === undefined);
  const address = wanted ?? teams[0];
  return (
    <Page
      title={address ?? 'Teams'}
      actions={
        <>
          {teams
            .filter((team) => team !== address)
            .map((team) => (
              <a key={team} class="button" href={href('teams', team)}>
                {team}
              </a>
            ))}
          {address !== undefined && (
            <a class="button" href={href('agents', address)}>
              Operations
            </a>
          )}
          <Button onClick={() => void loadCatalogue()}>Reload</Button>
        </>
      }
    >
      {catalogueError.value !== undefined && (
        <Problem error={catalogueError.value} onRetry={() => void loadCatalogue()} />
      )}
      {address !== undefined && <OneTeam key={address} address={address} />}
      {address === undefined && isLoading && catalogueError.value === undefined && (
        <p role="status">Looking for teams…</p>
      )}
      {address === undefined && !isLoading && (
        <Empty title="No team is attached">
          <p>
            A team is a set of agents behind one address. Each agent has a narrow task, and its function call
            selects the next one. Start the example in a terminal, then press Reload.
          </p>
          <Code text="npx fame-fabric agent team" label="Command" />
        </Empty>
      )}
    </Page>
  );
}

const DEFAULT_PROMPT_TOKENS = 8_000;

function OneTeam({ address }: { address: string }) {
  const connected = client.value;
  const [team, setTeam] = useState<TeamDescription>();
  const [error, setError] = useState<unknown>();
  const [promptTokens, setPromptTokens] = useState(DEFAULT_PROMPT_TOKENS);
  const [attempt, setAttempt] = useState(0);
  useEffect(() => {
    if (!connected) return undefined;
    const controller = new AbortController();
    const { signal } = controller;
    connected
      .call(address, 'describe_team', { prompt_tokens: promptTokens }, { signal, timeoutMs: 10_000 })
      .then(readTeam)
      .then(
        (read) => {
          if (signal.aborted) return;
          setTeam(read);
          setError(undefined);
        },
        (failure: unknown) => {
          if (!signal.aborted) setError(failure);
        },
      );
    return () => controller.abort();
  }, [connected, address, promptTokens, attempt]);

  if (error !== undefined)
    return (
      <Problem
        error={error}
        fix="Teams of version 0.2 and later describe themselves. Check that this agent is a team."
        onRetry={() => setAttempt(attempt + 1)}
      />
    );
  if (!team) return <p role="status">Loading the team…</p>;
  return (
    <TeamView address={address} team={team} promptTokens={promptTokens} onPromptTokens={setPromptTokens} />
  );
}

interface TeamViewProps {
  address: string;
  team: TeamDescription;
  promptTokens: number;
  onPromptTokens: (tokens: number) => void;
}

function TeamView({ address, team, promptTokens, onPromptTokens }: TeamViewProps) {
  const layout = useMemo(() => layoutTeam(team), [team]);
  const messages = useMessages(address, team);
  return (
    <div class="teams-columns">
      <div class="teams-main">
        <Panel title="Agents and routes">
          <TeamDrawing layout={layout} start={team.start} path={messages.path} />
          {team.truncated && (
            <p class="muted">The team is larger than one answer, so a part of it is missing.</p>
          )}
          <Legend />
        </Panel>
        <MessagePanel messages={messages} team={team} />
        <RoutesPanel routes={team.routes} />
        {team.diagram && (
          <details class="panel">
            <summary>As a Mermaid diagram</summary>
            <Code text={team.diagram} label="Mermaid diagram" />
          </details>
        )}
      </div>
      <AnalysisPanels team={team} promptTokens={promptTokens} onPromptTokens={onPromptTokens} />
    </div>
  );
}

const Legend = () => (
  <p class="muted teams-legend">
    The dot marks the first agent. Rounded boxes are functions, ends without an answer (ignore) and agents on
    other nodes. ↻ marks a route on a loop. Dashed boxes cannot be reached.
  </p>
);

const RoutesPanel = ({ routes }: { routes: readonly TeamRoute[] }) => (
  <details class="panel">
    <summary>Table of routes</summary>
    <Table
      label="Routes"
      rows={routes}
      rowKey={({ from, value, to }) => `${from} ${value ?? ''} ${value === null} ${to.kind} ${to.name}`}
      columns={[
        { name: 'From', cell: ({ from }) => from },
        { name: 'Argument', cell: ({ argument }) => argument },
        { name: 'Value', cell: ({ value }) => value ?? 'otherwise' },
        { name: 'To', cell: ({ to }) => (to.kind === 'agent' ? to.name : `${to.name} (${to.kind})`) },
      ]}
    />
  </details>
);
