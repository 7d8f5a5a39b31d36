// The screen Health: the last 15 minutes of the sentinel and of the agents, from their memory.
import { useMemo, useState } from 'preact/hooks';
import { attachCommand } from '../../fabric/attach-command.ts';
import { catalogueError } from '../../fabric/catalogue.ts';
import { historyError, historySource, historyView } from '../../fabric/history.ts';
import { useSource } from '../../fabric/shared-source.ts';
import { Chart } from '../../parts/chart.tsx';
import { Code } from '../../parts/code.tsx';
import { describeError, Empty, Problem } from '../../parts/notices.tsx';
import { Page } from '../../parts/page.tsx';
import { agentCharts, type Chart as ChartModel, chartSummary, sentinelCharts, valueText } from './charts.ts';
import { type AgentStatistics, statistics, statisticsSource } from './statistics.ts';
import './health.css';

export function HealthScreen() {
  useSource(historySource);
  useSource(statisticsSource);
  return (
    <Page title="Health">
      <p class="muted">
        The last 15 minutes, from memory; a new value every 5 seconds. Point at a chart to read all of them at
        that time.
      </p>
      <SentinelHealth />
      <AgentsHealth />
    </Page>
  );
}

function SentinelHealth() {
  const view = historyView.value;
  const error = historyError.value;
  const charts = useMemo(() => (view ? sentinelCharts(view.samples, view.intervalMs) : undefined), [view]);
  return (
    <section class="health-group" aria-labelledby="health-sentinel">
      <h2 id="health-sentinel">Sentinel</h2>
      {error !== undefined && (
        <Problem
          error={error}
          fix={view && 'The charts show the last known values. They continue by themselves.'}
        />
      )}
      {charts === undefined && error === undefined && (
        <p class="muted" aria-busy="true">
          Loading…
        </p>
      )}
      {charts?.length === 0 && (
        <Empty title="The first values arrive in a few seconds">
          <p>The sentinel has just started. It adds a value to each chart every 5 seconds.</p>
        </Empty>
      )}
      {charts && <Charts charts={charts} />}
    </section>
  );
}

const ALL = '';

function AgentsHealth() {
  const list = statistics.value;
  const [chosen, setChosen] = useState(ALL);
  const selected = list?.filter(({ address }) => chosen === ALL || address === chosen);
  const charts = useMemo(
    () =>
      agentCharts(
        (selected ?? []).map(({ samples }) => samples),
        selected?.[0]?.intervalMs ?? 5_000,
      ),
    [list, chosen],
  );
  return (
    <section class="health-group" aria-labelledby="health-agents">
      <div class="panel-head">
        <h2 id="health-agents">Agents</h2>
        {list && list.length > 1 && (
          <label>
            Show{' '}
            <select value={chosen} onChange={(event) => setChosen(event.currentTarget.value)}>
              <option value={ALL}>all agents</option>
              {list.map(({ address }) => (
                <option key={address} value={address}>
                  {address}
                </option>
              ))}
            </select>
          </label>
        )}
      </div>
      {catalogueError.value !== undefined && <Problem error={catalogueError.value} />}
      <Faults list={selected ?? []} />
      {list === undefined && catalogueError.value === undefined && (
        <p class="muted" aria-busy="true">
          Loading…
        </p>
      )}
      {list?.length === 0 && <NoStatistics />}
      {list &&
        list.length > 0 &&
        charts.length === 0 &&
        selected!.every(({ error }) => error === undefined) && (
          <Empty title="No turns yet">
            <p>The charts appear a few seconds after the first turn of an agent.</p>
            <a class="button button-main" href="#/talk">
              Talk to an agent
            </a>
          </Empty>
        )}
      {selected && selected.length > 1 && charts.length > 0 && (
        <p class="muted">
          Counts are the sums over {selected.length} agents. The time to first token is that of the slowest.
        </p>
      )}
      <Charts charts={charts} />
    </section>
  );
}

const NoStatistics = () => (
  <Empty title="No agent reports statistics">
    <p>Chat agents report their turns, their tokens and their cost. Start one in a terminal:</p>
    <Code text={attachCommand(location)} label="Command" />
    <p>Agents before version 0.2 report none.</p>
  </Empty>
);

/** Errors of agents, grouped by their text: many agents often fail in the same way. */
function Faults({ list }: { list: readonly AgentStatistics[] }) {
  const byText = new Map<string, { error: unknown; addresses: string[] }>();
  for (const { address, error } of list) {
    if (error === undefined) continue;
    const { code = '', message } = describeError(error);
    const known = byText.get(code + message);
    if (known === undefined) byText.set(code + message, { error, addresses: [address] });
    else known.addresses.push(address);
  }
  return (
    <>
      {[...byText].map(([text, { error, addresses }]) => (
        <Problem key={text} error={error} fix={`No new statistics of ${addresses.join(', ')}.`} />
      ))}
    </>
  );
}

const Charts = ({ charts }: { charts: readonly ChartModel[] }) => (
  <div class="health-charts">
    {charts.map((chart) => (
      <Chart
        key={chart.id}
        title={chart.title}
        summary={chartSummary(chart)}
        times={chart.times}
        lines={chart.lines}
        valueText={(value) => valueText(value, chart.unit)}
        isBinary={chart.unit === 'bytes'}
        syncKey="health"
      />
    ))}
  </div>
);
