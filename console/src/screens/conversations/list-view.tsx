// The conversations of all agents, latest change first, with filters and pages.
import { isFabricError } from '@fame-fabric/shared';
import { useEffect, useMemo, useRef, useState } from 'preact/hooks';
import { href } from '../../app/router.ts';
import { client } from '../../fabric/connection.ts';
import { type ChatAgent, useChatAgents } from '../../fabric/conversation/chat-agents.ts';
import { type ListedConversation, MergedList } from '../../fabric/conversation/merged-list.ts';
import { Button } from '../../parts/form.tsx';
import { visibleText } from '../../parts/markdown.tsx';
import { Empty, Problem, Tag } from '../../parts/notices.tsx';
import { Page } from '../../parts/page.tsx';
import { type Column, Table } from '../../parts/table.tsx';
import { Count, Money } from '../../parts/values.tsx';
import { type Filter, Filters, NO_FILTER } from './filters.tsx';
import { stateTag } from './states.tsx';

const PAGE = 50;

/** The list of the conversations that match the filter. A change of the filter starts over. */
function useList(agents: readonly ChatAgent[] | undefined, filter: Filter, version: number) {
  const connected = client.value;
  const [rows, setRows] = useState<readonly ListedConversation[]>();
  const [isLoading, setLoading] = useState(false);
  const key = agents?.map(({ address }) => address).join(' ');
  const list = useMemo(
    () => (connected && agents ? listOf(connected, agents, filter) : undefined),
    [connected, key, filter, version],
  );
  const current = useRef(list);
  current.current = list;
  const load = async (isFirst: boolean): Promise<void> => {
    if (!list) return;
    setLoading(true);
    const found = await list.next(PAGE);
    if (current.current !== list) return;
    setRows((before) => (isFirst ? found : [...(before ?? []), ...found]));
    setLoading(false);
  };
  useEffect(() => void load(true), [list]);
  return { rows, isLoading, list, more: () => void load(false) };
}

function listOf(
  connected: NonNullable<typeof client.value>,
  agents: readonly ChatAgent[],
  filter: Filter,
): MergedList {
  const { agent, state, isFailed, owner, minCost, search } = filter;
  const sources = agents
    .filter(({ address, canList }) => canList && (agent === '' || agent === address))
    .map(({ address }) => ({
      agent: address,
      page: (before: string | undefined) =>
        connected.conversations(address).list({
          state: state === '' ? undefined : state,
          failed: isFailed || undefined,
          owner: owner === '' ? undefined : owner,
          search: search === '' ? undefined : search,
          before,
          limit: PAGE,
        }),
    }));
  return new MergedList(
    sources,
    ({ cost }) => minCost === undefined || (typeof cost === 'object' && cost.amount >= minCost),
  );
}

export function ListView() {
  const agents = useChatAgents();
  const [filter, setFilter] = useState<Filter>(NO_FILTER);
  const [version, setVersion] = useState(0);
  const { rows, isLoading, list, more } = useList(agents, filter, version);
  const errors = [...(list?.errors ?? [])];
  const isForbidden =
    errors.length > 0 && errors.every(([, error]) => isFabricError(error, 'AUTH_FORBIDDEN'));
  return (
    <Page title="Conversations" actions={<Button onClick={() => setVersion(version + 1)}>Refresh</Button>}>
      <Filters agents={agents ?? []} filter={filter} onChange={setFilter} />
      {isForbidden ? (
        <Empty title="The list needs a credential">
          <p>Sign in to see your conversations; with the local key, those of all owners.</p>
          <a class="button button-main" href="#/sign-in">
            Sign in
          </a>
        </Empty>
      ) : (
        errors.map(([agent, error]) => (
          <Problem key={agent} error={error} fix={`Agent: ${visibleText(agent)}`} />
        ))
      )}
      {rows !== undefined && rows.length > 0 && (
        <Table
          label="Conversations"
          columns={COLUMNS}
          rows={rows}
          rowKey={({ agent, owner, id }) => JSON.stringify([agent, owner, id])}
        />
      )}
      {rows?.length === 0 && !isLoading && !isForbidden && (
        <NoConversation filter={filter} isOver={list?.isOver ?? true} />
      )}
      <p class="muted" role="status">
        {isLoading || rows === undefined ? 'Loading…' : ''}
      </p>
      {list && !list.isOver && !isLoading && <Button onClick={more}>Load more</Button>}
    </Page>
  );
}

const NoConversation = ({ filter, isOver }: { filter: Filter; isOver: boolean }) =>
  filter === NO_FILTER ? (
    <Empty title="There is no conversation yet">
      <p>Every conversation with a chat agent appears here, whichever program started it.</p>
      <a class="button button-main" href={href('talk')}>
        Talk to an agent
      </a>
    </Empty>
  ) : (
    <Empty title={isOver ? 'No conversation matches the filter' : 'No match so far'} />
  );

const COLUMNS: readonly Column<ListedConversation>[] = [
  {
    name: 'Conversation',
    cell: ({ agent, id, forked_from: origin }) => (
      <>
        <a href={href('conversations', agent, id)}>{visibleText(id)}</a> {origin && <Tag>fork</Tag>}
      </>
    ),
  },
  { name: 'Agent', cell: ({ agent }) => visibleText(agent) },
  { name: 'State', cell: ({ state, last_outcome }) => stateTag(state, last_outcome) },
  { name: 'Owner', cell: ({ owner }) => visibleText(owner) },
  { name: 'Turns', isNumber: true, cell: ({ turns }) => <Count value={turns} /> },
  { name: 'Tokens', isNumber: true, cell: ({ usage }) => <Count value={usage.total_tokens ?? 0} /> },
  {
    name: 'Cost',
    isNumber: true,
    cell: ({ cost }) => (typeof cost === 'object' ? <Money {...cost} /> : <span class="muted">unknown</span>),
  },
  {
    name: 'Changed',
    cell: ({ changed_at }) => (
      <time class="value" dateTime={changed_at}>
        {new Date(changed_at).toLocaleString()}
      </time>
    ),
  },
];
