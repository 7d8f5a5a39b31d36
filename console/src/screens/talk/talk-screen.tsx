// Talks to a chat agent. The route names the agent and the conversation, so a reload and a second tab show the same.
import { newId } from '@fame-fabric/shared';
import { useEffect } from 'preact/hooks';
import { href, navigate } from '../../app/router.ts';
import { catalogueError } from '../../fabric/catalogue.ts';
import { useChatAgents } from '../../fabric/conversation/chat-agents.ts';
import { sessionView } from '../../fabric/session.ts';
import { useTrace } from '../../fabric/trace.ts';
import { Code } from '../../parts/code.tsx';
import { Empty, Problem } from '../../parts/notices.tsx';
import { Page } from '../../parts/page.tsx';
import { Chat } from './chat.tsx';
import './talk.css';

export function TalkScreen({ args: [address, id] }: { args: readonly string[] }) {
  const agents = useChatAgents();
  useTrace();
  const preferred = sessionView.value?.chatAddress;
  const fallback = agents?.find((agent) => agent.address === preferred) ?? agents?.[0];
  const target = address ?? fallback?.address;
  useEffect(() => {
    if (target !== undefined && id === undefined) navigate(['talk', target, newId()], { replace: true });
  }, [target, id]);
  if (address !== undefined && id !== undefined)
    return <Chat key={`${address} ${id}`} address={address} id={id} agents={agents ?? []} />;
  return (
    <Page title="Talk">
      {catalogueError.value !== undefined && <Problem error={catalogueError.value} />}
      {agents?.length === 0 ? <NoAgent /> : <p class="muted">Looking for chat agents…</p>}
    </Page>
  );
}

const NoAgent = () => (
  <Empty title="No chat agent is attached">
    <p>Start the built-in chat agent on the machine of the sentinel. This page finds it within seconds.</p>
    <Code text="npx fame-fabric agent" label="Command" />
    <p>
      <a href={href('agents')}>Agents</a> lists all agents of the fabric.
    </p>
  </Empty>
);
