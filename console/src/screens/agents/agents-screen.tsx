// The agents of the fabric: cards, and for one agent its operations with their forms.
import { useEffect, useState } from 'preact/hooks';
import { href } from '../../app/router.ts';
import { type CatalogueEntry, catalogue, catalogueError, loadCatalogue } from '../../fabric/catalogue.ts';
import { client } from '../../fabric/connection.ts';
import { useTrace } from '../../fabric/trace.ts';
import { Code } from '../../parts/code.tsx';
import { Button } from '../../parts/form.tsx';
import { Empty, Problem } from '../../parts/notices.tsx';
import { Page } from '../../parts/page.tsx';
import { AgentCard, operationsOf } from './agent-card.tsx';
import { OperationPanel } from './operation-panel.tsx';
import './agents.css';

export function AgentsScreen({ args: [address, operation] }: { args: readonly string[] }) {
  const connected = client.value;
  useTrace();
  useEffect(() => {
    if (connected) void loadCatalogue();
  }, [connected]);
  return address === undefined ? <Cards /> : <OneAgent address={address} operation={operation} />;
}

const Reload = () => <Button onClick={() => void loadCatalogue()}>Reload</Button>;

function Cards() {
  const [search, setSearch] = useState('');
  const entries = catalogue.value;
  const words = search.toLowerCase().split(/\s+/).filter(Boolean);
  const shown = entries?.filter((entry) => words.every((word) => textOf(entry).includes(word)));
  return (
    <Page
      title="Agents"
      actions={
        <>
          {entries && entries.length > 0 && (
            <input
              type="search"
              aria-label="Search agents and operations"
              placeholder="Search"
              value={search}
              onInput={(event) => setSearch(event.currentTarget.value)}
            />
          )}
          <Reload />
        </>
      }
    >
      {catalogueError.value !== undefined && (
        <Problem error={catalogueError.value} onRetry={() => void loadCatalogue()} />
      )}
      {entries === undefined && catalogueError.value === undefined && (
        <p role="status">Loading the agents…</p>
      )}
      {entries?.length === 0 && (
        <Empty title="No agent is attached">
          <p>Start one in a terminal. It appears here after Reload.</p>
          <Code text="npx fame-fabric agent math" label="Command" />
        </Empty>
      )}
      {shown && entries && entries.length > 0 && shown.length === 0 && (
        <p role="status">No agent and no operation contains "{search}".</p>
      )}
      {shown && shown.length > 0 && (
        <ul class="agents-cards">
          {shown.map((entry) => (
            <AgentCard key={entry.address} entry={entry} />
          ))}
        </ul>
      )}
    </Page>
  );
}

const textOf = (entry: CatalogueEntry): string =>
  [entry.address, entry.description?.description ?? '', ...operationsOf(entry).map(({ name }) => name)]
    .join(' ')
    .toLowerCase();

function OneAgent({ address, operation: wanted }: { address: string; operation: string | undefined }) {
  const entry = catalogue.value?.find((one) => one.address === address);
  const operations = entry ? operationsOf(entry) : [];
  const operation = operations.find(({ name }) => name === wanted) ?? operations[0];
  const isLoading = catalogueError.value === undefined && (catalogue.value === undefined || isWaiting(entry));
  return (
    <Page
      title={address}
      actions={
        <>
          <a class="button" href={href('agents')}>
            All agents
          </a>
          <AgentLinks address={address} operations={operations} />
          <Reload />
        </>
      }
    >
      {entry?.description?.description && <p>{entry.description.description}</p>}
      {catalogueError.value !== undefined && (
        <Problem error={catalogueError.value} onRetry={() => void loadCatalogue()} />
      )}
      {isLoading && <p role="status">Loading the operations…</p>}
      {catalogue.value !== undefined && !entry && (
        <Empty title="No node serves this address">
          <p>The agent may have stopped. Reload shows it when it is back.</p>
        </Empty>
      )}
      {entry?.error !== undefined && (
        <Problem
          error={entry.error}
          fix="Agents of version 0.1 and of other software do not list their operations. Call them by name: npx fame-fabric call ADDRESS NAME."
          onRetry={() => void loadCatalogue()}
        />
      )}
      {entry?.description && operations.length === 0 && <p>It has no operations.</p>}
      {operation && (
        <div class="agents-detail">
          <nav aria-label="Operations" class="agents-operations">
            <ul>
              {operations.map(({ name }) => (
                <li key={name}>
                  <a
                    href={href('agents', address, name)}
                    aria-current={name === operation.name ? 'page' : undefined}
                  >
                    {name}
                  </a>
                </li>
              ))}
            </ul>
            {entry?.description?.truncated && (
              <p class="muted">It has more operations, which did not fit into its answer.</p>
            )}
          </nav>
          <OperationPanel key={`${address} ${operation.name}`} address={address} operation={operation} />
        </div>
      )}
    </Page>
  );
}

const isWaiting = (entry: CatalogueEntry | undefined): boolean =>
  entry !== undefined && entry.description === undefined && entry.error === undefined;

const AgentLinks = ({
  address,
  operations,
}: {
  address: string;
  operations: readonly { name: string }[];
}) => {
  const has = (name: string): boolean => operations.some((one) => one.name === name);
  return (
    <>
      {has('run_turn') && (
        <a class="button" href={href('talk', address)}>
          Talk
        </a>
      )}
      {has('describe_team') && (
        <a class="button" href={href('teams', address)}>
          Team
        </a>
      )}
    </>
  );
};
